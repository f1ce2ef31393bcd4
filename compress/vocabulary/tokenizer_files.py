"""The files of a tokenizer beside its tokenizer.json: each is rewritten for a smaller vocabulary, or left out because
it can't be."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from palmtop.compress.vocabulary.tokenizer_vocabulary import Vocabulary
from palmtop.data.tokenization import FILE

SENTENCEPIECE = ("spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model")
"""SentencePiece's own files, in which the pieces can't be renumbered alone; tokenizer.json says the same and is what is
read."""


@dataclass(frozen=True)
class Renumbered:
    """A vocabulary after it was trimmed."""

    vocabulary: Vocabulary
    order: Sequence[int]
    """Old ids, in the order of the new ones."""
    pad: int
    """The new id of the padding."""
    max_length: int
    """Tokens of the longest text, specials included."""

    @cached_property
    def new(self) -> dict[int, int]:
        """The new id of each old one that stayed."""
        return {old: place for place, old in enumerate(self.order)}


def write_tokenizer(folder: Path, out: Path, renumbered: Renumbered) -> list[str]:
    """Write tokenizer.json and what of its like lies in `folder`; return the names of the files that were left out."""
    (out / FILE).write_text(
        json.dumps(renumbered.vocabulary.written, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    for name, rewrite in _REWRITTEN.items():
        if (folder / name).is_file():
            (out / name).write_text(rewrite((folder / name).read_text(encoding="utf-8"), renumbered), encoding="utf-8")
    return [name for name in SENTENCEPIECE if (folder / name).is_file()]


def is_tokenizer_file(name: str) -> bool:
    """Whether `write_tokenizer` writes a file or leaves it out."""
    return name == FILE or name in _REWRITTEN or name in SENTENCEPIECE


def _lines(_: str, renumbered: Renumbered) -> str:
    """vocab.txt: a token a line, at the place of its id."""
    return "".join(f"{token}\n" for token in renumbered.vocabulary.tokens.values())


def _ids(_: str, renumbered: Renumbered) -> str:
    """vocab.json."""
    return _json({token: number for number, token in renumbered.vocabulary.tokens.items()})


def _merges(_: str, renumbered: Renumbered) -> str:
    """merges.txt: a pair a line, by rank."""
    merges = renumbered.vocabulary.written["model"]["merges"]
    return "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)


def _added(text: str, renumbered: Renumbered) -> str:
    """added_tokens.json: ids by token."""
    return _json({token: renumbered.new[number] for token, number in json.loads(text).items()})


def _config(text: str, renumbered: Renumbered) -> str:
    """tokenizer_config.json: the ids of added tokens, and the longest text."""
    config: dict[str, Any] = json.loads(text)
    if "added_tokens_decoder" in config:
        ids = {str(renumbered.new[int(number)]): token for number, token in config["added_tokens_decoder"].items()}
        config["added_tokens_decoder"] = ids
    if "model_max_length" in config:
        config["model_max_length"] = min(config["model_max_length"], renumbered.max_length)
    return _json(config)


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


_REWRITTEN: dict[str, Callable[[str, Renumbered], str]] = {
    "vocab.txt": _lines,
    "vocab.json": _ids,
    "merges.txt": _merges,
    "added_tokens.json": _added,
    "tokenizer_config.json": _config,
}
