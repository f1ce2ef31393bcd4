"""Texts labelled by nobody but a table: each gets the label whose description means most nearly what it says, by
sentence vectors."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palmtop import task_kinds
from palmtop.errors import UserError, raise_all
from palmtop.loaded import Model
from palmtop.task_kinds.label_words import unfit
from palmtop.task_kinds.sentence_embedding import Vector
from palmtop.yaml_file import read_mapping

TEMPERATURE = 0.05
"""By which cosines are divided before the softmax: 1/20, the scale that sentence encoders are trained with."""
CHUNK = 256
"""Texts that are asked at a time."""
LEAST = 2
"""Labels of a table."""

Vectors = Callable[[Sequence[str]], Float[ndarray, "texts width"]]
"""Texts -> their vectors, of length 1."""


@dataclass(frozen=True)
class Labelled:
    """A text with the label that suits it best."""

    text: str
    label: str
    confidence: float
    """The label's probability among all labels: no calibrated one, but it ranks texts by how sure the table is."""


def read_table(path: Path) -> dict[str, tuple[str, ...]]:
    """The descriptions of each label, from a YAML file: {labels: {label: description, or a list of several}}.

    Raises:
        UserError: every fault of the table.
    """
    table = read_mapping(path).get("labels")
    if not isinstance(table, dict) or len(table) < LEAST:
        raise UserError(f"{path}: write 'labels:' and below it at least {LEAST} labels, each with what it means")
    found = {str(label): _descriptions(given) for label, given in table.items()}
    faults = [
        f"{path}: the label '{label}' has no description: say what it means" for label in found if not found[label]
    ]
    raise_all(faults + [f"{path}: {fault}" for label in found if (fault := unfit(label, "labels"))])
    return found


def vectors_of(model: Model) -> Vectors:
    """What gives texts' vectors by a model.

    Raises:
        UserError: it gives none.
    """
    if not task_kinds.find(model.purpose.kind).apart:
        raise UserError(
            f"{model.bundle.path} is a model for {model.purpose.kind.replace('_', ' ')}: labelling by descriptions "
            "wants one for sentence embedding, such as an adopted sentence encoder"
        )

    def vectors(texts: Sequence[str]) -> Float[ndarray, "texts width"]:
        answers = model.ask([(text,) for text in texts])
        found = np.array([answer.vector for answer in answers if isinstance(answer, Vector)], np.float64)
        return _unit(found)

    return vectors


def labelled(
    texts: Iterable[str], table: Mapping[str, Sequence[str]], vectors: Vectors, temperature: float = TEMPERATURE
) -> Iterable[Labelled]:
    """Each text with its label, in their order.

    A label stands where the mean of its descriptions' vectors points.
    """
    names = list(table)
    means = _unit(np.stack([vectors(table[name]).mean(axis=0) for name in names]))
    left = iter(texts)
    while some := list(islice(left, CHUNK)):
        shares = _softmax(vectors(some) @ means.T / temperature)
        for text, row in zip(some, shares, strict=True):
            best = int(row.argmax())
            yield Labelled(text, names[best], float(row[best]))


def _descriptions(given: Any) -> tuple[str, ...]:
    several = given if isinstance(given, list) else [given]
    return tuple(str(one).strip() for one in several if one is not None and str(one).strip())


def _unit(vectors: Float[ndarray, "rows width"]) -> Float[ndarray, "rows width"]:
    made: Float[ndarray, "rows width"] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return made


def _softmax(values: Float[ndarray, "rows labels"]) -> Float[ndarray, "rows labels"]:
    raised = np.exp(values - values.max(axis=1, keepdims=True))
    made: Float[ndarray, "rows labels"] = raised / raised.sum(axis=1, keepdims=True)
    return made
