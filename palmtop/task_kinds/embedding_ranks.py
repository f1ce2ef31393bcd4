"""Retrieval by embeddings: at which rank of its neighbours a text finds what it should."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from numpy import ndarray

TOP = 10
"""Neighbours that nDCG looks at."""
AT_ONCE = 1024
"""Texts whose neighbours are looked for at a time: with 100,000 others 400 MB."""


def of_pairs(
    first: Float32[ndarray, "pairs width"], second: Float32[ndarray, "pairs width"], texts: Sequence[str]
) -> Float64[ndarray, "pairs 2"]:
    """For each first text, the rank of its own second text among all different second texts, from 1, and nDCG@10.

    Of equal cosines, its own comes last: vectors that are all the same find nothing.

    Args:
        texts: the second texts; equal ones are one document.
    """
    _, firsts, own = np.unique(np.array(texts, dtype=object).astype(str), return_index=True, return_inverse=True)
    queries, documents = unit(first), unit(second)[firsts]
    ranks = np.empty(len(queries))
    for start in range(0, len(queries), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        found = queries[part] @ documents.T
        ranks[part] = (found >= found[np.arange(len(found)), own[part]][:, None]).sum(axis=1)
    return np.stack([ranks, np.where(ranks <= TOP, 1 / np.log2(1 + ranks), 0.0)], axis=1)


def of_classes(
    vectors: Float32[ndarray, "texts width"], classes: Int[ndarray, " texts"]
) -> Float64[ndarray, "texts 2"]:
    """For each text, the rank of the nearest other text of its class among all others, and nDCG@10 of all of its class.

    A text that is the only one of its class finds nothing.
    """
    queries, made = unit(vectors), []
    for start in range(0, len(queries), AT_ONCE):
        found = queries[start : start + AT_ONCE] @ queries.T
        for row, cosines in enumerate(found, start):
            made.append(_of_class(np.delete(cosines, row), np.delete(classes, row) == classes[row]))
    return np.array(made, np.float64)


def unit(vectors: Float32[ndarray, "texts width"]) -> Float32[ndarray, "texts width"]:
    """Each vector brought to length 1."""
    made: Float32[ndarray, "texts width"] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return made


def _of_class(cosines: Float[ndarray, " others"], right: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> list[float]:
    if not right.any():
        return [float(len(cosines) + 1), 0.0]
    rank = 1 + int((cosines[~right] >= cosines[right].max()).sum())
    # of equal cosines, those of the class come last here too
    order = np.lexsort((right, -cosines))[:TOP]
    gains = 1 / np.log2(2 + np.arange(TOP))
    return [float(rank), float(gains[: len(order)] @ right[order] / gains[: min(TOP, int(right.sum()))].sum())]
