"""A student's own tokenizer: its teacher's, cut to the tokens that the training texts need most."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from palmtop.bundle import Bundle
from palmtop.compress.learning.torch_bundles import copy_tokenizer
from palmtop.compress.vocabulary.segmentation import counts
from palmtop.compress.vocabulary.token_choice import check_room, chosen, trimmed
from palmtop.compress.vocabulary.tokenizer_files import SENTENCEPIECE, Renumbered, write_tokenizer
from palmtop.compress.vocabulary.tokenizer_vocabulary import Vocabulary
from palmtop.compress.vocabulary.weight_rows import token_ids
from palmtop.folders import fill_once
from palmtop.signature import Signature


@dataclass(frozen=True)
class OwnTokenizer:
    """Where it lies, and what its ids are."""

    folder: Path
    """With tokenizer.json."""
    rows: Sequence[int]
    """The teacher's id of each of its tokens."""
    pad: int
    """Its id of the padding."""


def own_tokenizer(
    source: Bundle,
    signature: Signature,
    texts: Sequence[tuple[str, ...]],
    most: int,
    scratch: Path,
    say: Callable[[str], None],
) -> OwnTokenizer:
    """The source's tokenizer with at most so many tokens; with fewer than it has, one of its own in `scratch`.

    Args:
        signature: of the source, with the length at which texts are cut.
        texts: whose tokens stay first, the most frequent first. Where they need fewer, others follow by their ids: the
            student has a vector for them from its teacher, though it never reads them in training.

    Raises:
        UserError: more tokens can't go, or its kind can't be cut.
    """
    config = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
    if most >= config["vocab_size"]:
        return OwnTokenizer(source.path, range(config["vocab_size"]), signature.pad_id)
    vocabulary = Vocabulary.read(source.path)
    floor = vocabulary.floor() | (token_ids(config) & {*vocabulary.tokens, *vocabulary.outside})
    check_room("vocabulary", most, floor)
    needed = counts(vocabulary, [part for text in texts for part in text])
    made = trimmed(vocabulary, chosen(vocabulary, floor, needed, most), signature.pad_id, signature.max_length)
    folder = scratch / "tokenizer"
    fill_once(folder, lambda into: _write(source, made, into), say)
    return OwnTokenizer(folder, made.order, made.pad)


def _write(source: Bundle, made: Renumbered, into: Path) -> None:
    copy_tokenizer(source.path, into)
    for name in SENTENCEPIECE:
        (into / name).unlink(missing_ok=True)
    write_tokenizer(source.path, into, made)
