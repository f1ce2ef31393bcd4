"""A corpus as token sequences: wrapped in the tokenizer's special tokens, cut to length, with what was left out
counted."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from palmtop.compress.language_models.corpus import Document, sentences
from palmtop.compress.learning.encoded import Encoded
from palmtop.data.special_tokens import Vocabulary, Wrapping, plain_tokenizer
from palmtop.errors import UserError
from palmtop.signature import Signature

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SHORTEST = 12
"""Tokens, specials included: shorter sequences are left out (DistilBERT's reference code: those of 11 and fewer)."""
MOST_UNKNOWN = 0.5
"""Sequences with at least this share of unknown tokens are left out (the same code)."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
"""All, for a teacher and a student that may want others."""
_ENCODED_AT_ONCE = 1000


def sequences(
    documents: Sequence[Document], folder: Path, signature: Signature, wrapped: bool = True
) -> tuple[Encoded, dict[str, int]]:
    """Every text a sequence of its own; one that is too long is cut in chunks, each wrapped again. With what was
    counted.

    Not wrapped is how decoders take text. Labels are 0.

    Raises:
        UserError: nothing is left.
    """
    tokenizer, vocabulary = plain_tokenizer(folder), Vocabulary.of(folder)
    wrapping = Wrapping.of(tokenizer)
    first, last = (wrapping.first, wrapping.last) if wrapped else ((), ())
    room = signature.max_length - len(first) - len(last)
    counts = {"texts": 0, "cut": 0, "too_short": 0, "unknown": 0}
    kept: list[list[int]] = []
    for ids in _encoded([text for document in documents for text in document], tokenizer):
        counts["texts"] += 1
        counts["cut"] += len(ids) > room
        for start in range(0, len(ids), room):
            _keep([*first, *ids[start : start + room], *last], vocabulary, kept, counts)
    return _as_encoded(kept, [0] * len(kept), None, signature, counts)


def sentence_pairs(
    documents: Sequence[Document], folder: Path, signature: Signature, seed: int
) -> tuple[Encoded, dict[str, int]]:
    """Pairs of runs of consecutive sentences, swapped in half of them: label 0 in order, 1 swapped (ALBERT, 1909.11942,
    3.1).

    Sentences of a document are gathered until they fill the length; the run is parted after one of them, drawn evenly.
    A run of one sentence has no order and is left out (the reference code takes a second one from elsewhere); a
    sentence longer than half the length is cut to it.

    Raises:
        UserError: nothing is left.
    """
    tokenizer, vocabulary = plain_tokenizer(folder), Vocabulary.of(folder)
    wrapping = Wrapping.of(tokenizer)
    room = signature.max_length - len(wrapping.first) - len(wrapping.between) - len(wrapping.pair_last)
    counts = {"texts": sum(map(len, documents)), "alone": 0, "too_short": 0, "unknown": 0}
    random = np.random.default_rng((seed, 1))
    kept: list[list[int]] = []
    seconds: list[int] = []
    halves = [_parted(run, random) for document in documents for run in _runs(document, tokenizer, room, counts)]
    swapped = random.permutation(np.arange(len(halves)) % 2)
    labels = []
    for (before, after), swap in zip(halves, swapped.tolist(), strict=True):
        one, two = (after, before) if swap else (before, after)
        if _keep([*wrapping.first, *one, *wrapping.between, *two, *wrapping.pair_last], vocabulary, kept, counts):
            seconds.append(len(wrapping.first) + len(one) + len(wrapping.between))
            labels.append(swap)
    return _as_encoded(kept, labels, (seconds, wrapping.second_type), signature, counts)


def _runs(document: Document, tokenizer: "Tokenizer", room: int, counts: dict[str, int]) -> Iterator[list[list[int]]]:
    """Runs of at least two sentences, as token ids, of at most `room` tokens together."""
    gathered: list[list[int]] = []
    for ids in _encoded([sentence for text in document for sentence in sentences(text)], tokenizer):
        sentence = ids[: room // 2]
        if gathered and sum(map(len, gathered)) + len(sentence) > room:
            counts["alone"] += len(gathered) == 1
            yield from [gathered] if len(gathered) > 1 else []
            gathered = []
        gathered.append(sentence)
    counts["alone"] += len(gathered) == 1
    yield from [gathered] if len(gathered) > 1 else []


def _parted(run: list[list[int]], random: np.random.Generator) -> tuple[list[int], list[int]]:
    place = int(random.integers(1, len(run)))
    return [token for sentence in run[:place] for token in sentence], [
        token for sentence in run[place:] for token in sentence
    ]


def _keep(ids: list[int], vocabulary: Vocabulary, kept: list[list[int]], counts: dict[str, int]) -> bool:
    """Append a sequence, or count why not."""
    if len(ids) < SHORTEST:
        counts["too_short"] += 1
    elif vocabulary.unknown is not None and ids.count(vocabulary.unknown) >= MOST_UNKNOWN * len(ids):
        counts["unknown"] += 1
    else:
        kept.append(ids)
        return True
    return False


def _as_encoded(
    kept: list[list[int]],
    labels: list[int],
    second: tuple[list[int], int] | None,
    signature: Signature,
    counts: dict[str, int],
) -> tuple[Encoded, dict[str, int]]:
    if not kept:
        raise UserError(
            f"no text is left to learn from: of {counts['texts']:,} texts, {counts['too_short']:,} sequences have "
            f"fewer than {SHORTEST} tokens and {counts['unknown']:,} are half unknown; give longer texts, or unit: "
            "paragraph"
        )
    lengths = [len(ids) for ids in kept]
    offsets: Int[ndarray, " rows_plus_one"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.concatenate([np.asarray(ids, np.int32) for ids in kept])
    types = np.zeros_like(ids)
    if second is not None:
        starts, number = second
        for row, start in enumerate(starts):
            types[offsets[row] + start : offsets[row + 1]] = number
    made = Encoded(
        ids,
        types,
        offsets,
        np.asarray(labels, np.int64),
        INPUTS,
        signature.pad_id,
        counts.get("cut", 0),
        length=signature.only_length,
    )
    return made, counts | {"sequences": len(kept), "tokens": len(ids)}


def _encoded(texts: Sequence[str], tokenizer: "Tokenizer") -> Iterator[list[int]]:
    """Token ids of texts, without special tokens."""
    for start in range(0, len(texts), _ENCODED_AT_ONCE):
        for row in tokenizer.encode_batch(list(texts[start : start + _ENCODED_AT_ONCE]), add_special_tokens=False):
            yield row.ids
