"""The rows of a model that belong to its tokens and positions, cut to those that stay: weights and config of a Hugging
Face folder."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from palmtop.errors import UserError
from palmtop.families.family import Family

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
POSITION_ROWS = re.compile(r"(^|\.)embeddings\.position_embeddings\.weight$")
POSITION_COLUMNS = re.compile(r"(^|\.)embeddings\.position_ids$")
"""Their numbers, which older checkpoints hold, [1, positions]."""
TOKEN_WORDS = re.compile(r"_token_id$|^(bos|eos|pad|unk|mask)_index$")
"""A config's words for tokens; those with 'index' are XLM's."""
OLD_SIZE = "n_words"
"""How XLM's older configs say it once more how many tokens there are."""


@dataclass(frozen=True)
class Cut:
    """What stays."""

    tokens: Sequence[int]
    """Old ids, in the order of the new ones."""
    positions: range
    """Old rows of the position table, in a row."""


@dataclass(frozen=True)
class _Named:
    """Which weights of a family belong to its tokens."""

    table: re.Pattern[str]
    """The table that is looked up; palmtop's own factorized one too."""
    rows: re.Pattern[str]
    """With a row for each token: the table; of a language model the decoder, where it is not that table, and its
    bias."""
    columns: re.Pattern[str]
    """With a column for each token: the part of MobileBERT's decoder that the narrow table lacks, [width, tokens]."""

    @classmethod
    def of(cls, family: Family) -> Self:
        """By the ends of their names."""
        last = family.table.rsplit(".", maxsplit=1)[-1]
        tables = (f"{last}.weight", f"{last}.table.weight")
        return cls(_ends(tables), _ends((*tables, *family.token_rows)), _ends(family.token_columns))

    def tokens(self, name: str) -> bool:
        """Whether a weight has a row or a column for each token."""
        return bool(self.rows.search(name) or self.columns.search(name))


@dataclass(frozen=True)
class Sizes:
    """Bytes and rows, before and after."""

    token_bytes: tuple[int, int]
    """All weights with a row for each token; a tied table is stored, and counted, once."""
    positions: tuple[int, int] | None
    """Rows of the position table; None for a model that has none."""


def cut_weights(folder: Path, out: Path, vocab_size: int, cut: Cut, family: Family) -> Sizes:
    """Write the weights in `folder` to `out` with fewer rows; every row that stays is the same bit for bit.

    Raises:
        UserError: a weight has the vocabulary's size and isn't known to be of tokens, or the table of tokens isn't
        found.
    """
    from safetensors.torch import load_file, save_file

    state: dict[str, Tensor] = {}
    for name in weight_files(folder):
        state |= load_file(folder / name)
    named = _Named.of(family)
    _check(state, vocab_size, folder, family)
    made = {name: _cut(name, weight, cut, named) for name, weight in state.items()}
    save_file(made, out / WEIGHTS, metadata={"format": "pt"})
    table = next((name for name in state if POSITION_ROWS.search(name)), None)
    return Sizes(
        (_token_bytes(state, named), _token_bytes(made, named)),
        (len(state[table]), len(made[table])) if table else None,
    )


def weight_files(folder: Path) -> list[str]:
    """The names of a model's weight files: one, or the shards that an index names."""
    if not (folder / INDEX).is_file():
        return [WEIGHTS]
    return sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))


def cut_config(config: Mapping[str, Any], cut: Cut, has_positions: bool) -> dict[str, Any]:
    """The config of the smaller model: sizes, and each token that it names by its new number (None where the tokenizer
    never had it)."""
    new = {old: place for place, old in enumerate(cut.tokens)}
    words = ("vocab_size", *([OLD_SIZE] if OLD_SIZE in config else ()))
    made = copy.deepcopy(dict(config)) | dict.fromkeys(words, len(cut.tokens))
    for name, value in config.items():
        if TOKEN_WORDS.search(name):
            made[name] = [new.get(number) for number in value] if isinstance(value, list) else new.get(value)
    if has_positions:
        if (
            "max_relative_positions" in config and config["max_relative_positions"] < 1
        ):  # DeBERTa's word for: as many as positions
            made["max_relative_positions"] = config["max_position_embeddings"]
        made["max_position_embeddings"] = len(cut.positions)
    return made


def token_ids(config: Mapping[str, Any]) -> set[int]:
    """The ids that a config names."""
    named = [value for name, value in config.items() if TOKEN_WORDS.search(name)]
    return {
        number
        for value in named
        for number in (value if isinstance(value, list) else [value])
        if isinstance(number, int)
    }


def _check(state: "Mapping[str, Tensor]", vocab_size: int, folder: Path, family: Family) -> None:
    named = _Named.of(family)
    known = [name for name in state if named.tokens(name)]
    if not any(named.table.search(name) for name in known):
        table = family.table.rsplit(".", maxsplit=1)[-1]
        raise UserError(
            f"the weights in {folder} have no {table}.weight: palmtop can't tell which rows are the tokens'"
        )
    wrong = [f"{name} {list(state[name].shape)}" for name in known if vocab_size not in state[name].shape]
    others = [
        f"{name} {list(weight.shape)}"
        for name, weight in state.items()
        if name not in known and weight.shape[:1] == (vocab_size,) and weight.shape[0] not in _other_sizes(state, known)
    ]
    if wrong or others:
        raise UserError(
            f"the weights in {folder} don't fit a vocabulary of {vocab_size} tokens that palmtop can trim: "
            f"{', '.join(wrong + others)}"
        )


def _other_sizes(state: "Mapping[str, Tensor]", known: Sequence[str]) -> set[int]:
    """Sizes that a model has for other reasons than its vocabulary: those of its other matrices' columns."""
    return {int(weight.shape[1]) for name, weight in state.items() if name not in known and weight.ndim > 1}


def _cut(name: str, weight: "Tensor", cut: Cut, named: _Named) -> "Tensor":
    import torch

    if named.rows.search(name):
        return weight[torch.tensor(cut.tokens)]
    if named.columns.search(name):
        return weight[:, torch.tensor(cut.tokens)]
    if POSITION_ROWS.search(name):
        return weight[cut.positions.start : cut.positions.stop].clone()
    return weight[:, : len(cut.positions)].clone() if POSITION_COLUMNS.search(name) else weight


def _token_bytes(state: "Mapping[str, Tensor]", named: _Named) -> int:
    return sum(weight.nbytes for name, weight in state.items() if named.tokens(name))


def _ends(names: Sequence[str]) -> re.Pattern[str]:
    """Dotted names that end with one of these; none where there are none."""
    return re.compile(rf"(^|\.)({'|'.join(map(re.escape, names))})$") if names else re.compile(r"(?!)")
