"""Which tokens of a teacher's tokenizer make up each token of a student's: the rows that the student's table starts
from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from palmtop.compress.other_family.bodies import BEGINS
from palmtop.data.special_tokens import Vocabulary, Wrapping, plain_tokenizer
from palmtop.data.tokenization import FILE
from palmtop.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPACES = ("▁", "Ġ")
"""What stands for the space before a word: SentencePiece's sign, and that of tokenizers over bytes."""


@dataclass(frozen=True)
class Words:
    """A bundle's tokenizer, asked for the meaning of its tokens."""

    folder: Path
    tokenizer: "Tokenizer"

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read a bundle's."""
        return cls(folder, plain_tokenizer(folder))

    @cached_property
    def ids(self) -> dict[str, int]:
        """Every token's id."""
        return dict(self.tokenizer.get_vocab(with_added_tokens=True))

    @property
    def size(self) -> int:
        """Rows that a table must have."""
        return max(self.ids.values()) + 1

    @cached_property
    def roles(self) -> dict[str, int]:
        """The special tokens by what they are for."""
        known, around = Vocabulary.of(self.folder), Wrapping.of(self.tokenizer)
        found = {
            "first": around.first[0] if around.first else None,
            "last": around.last[0] if around.last else None,
            "mask": known.mask,
            "unknown": known.unknown,
        }
        return {role: number for role, number in found.items() if number is not None}

    @cached_property
    def special(self) -> frozenset[int]:
        """The ids of tokens that are no piece of a text."""
        return frozenset(Vocabulary.of(self.folder).special)

    @property
    def types(self) -> int:
        """How many kinds of token it tells apart."""
        return 1 + max(self.tokenizer.encode("a", "a").type_ids)

    def surface(self, token: str) -> tuple[str, bool]:
        """What a token stands for in a text, and whether it begins a word."""
        model: Mapping[str, Any] = self._written["model"]
        if model["type"] == "WordPiece":
            inside = model.get("continuing_subword_prefix", "##")
            return (token.removeprefix(inside), False) if token.startswith(inside) else (token, True)
        begins = token.startswith(SPACES)
        bare = token.lstrip("".join(SPACES)) if begins else token
        return (self._from_bytes(bare) if self._of_bytes else bare), begins

    def form(self, surface: str, begins: bool) -> tuple[str, ...]:
        """How a token of this tokenizer would be written that stands for that."""
        model: Mapping[str, Any] = self._written["model"]
        if model["type"] == "WordPiece":
            inside = model.get("continuing_subword_prefix", "##")
            return (surface,) if begins else (f"{inside}{surface}",)
        return tuple(f"{space}{surface}" for space in SPACES) if begins else (surface,)

    @cached_property
    def _written(self) -> dict[str, Any]:
        read: dict[str, Any] = json.loads((self.folder / FILE).read_text(encoding="utf-8"))
        return read

    @cached_property
    def _of_bytes(self) -> bool:
        return '"ByteLevel"' in json.dumps(self._written.get("decoder"))

    def _from_bytes(self, piece: str) -> str:
        """Letters of a tokenizer over bytes as the text that they stand for."""
        read: str = self.tokenizer.decode([self.ids[piece]]) if piece in self.ids else piece
        return read


def sources_of_tokens(ours: Words, theirs: Words) -> list[tuple[int, ...]]:
    """For each of our ids those of theirs that make it up (Gee et al. 2022, 2402.09977, 3).

    Of a special token it is the one with the same part to play, of a piece the same piece, or those that their
    tokenizer cuts it into; none where they know none of it.
    """
    found: list[tuple[int, ...]] = [()] * ours.size
    by_role = {number: theirs.roles.get(role) for role, number in ours.roles.items()}
    for token, number in ours.ids.items():
        if number in by_role or number in ours.special:
            other = by_role.get(number) if number in by_role else theirs.ids.get(token)
            found[number] = () if other is None else (other,)
        else:
            found[number] = _pieces(*ours.surface(token), theirs)
    return found


def check_begins(words: Words, name: str) -> None:
    """Raises: UserError: texts begin with no token of their own, which students read."""
    if "first" not in words.roles:
        raise UserError(BEGINS.format(name=name))


def _pieces(surface: str, begins: bool, theirs: Words) -> tuple[int, ...]:
    same = next((theirs.ids[form] for form in theirs.form(surface, begins) if form in theirs.ids), None)
    if same is not None:
        return (same,)
    asked = theirs.tokenizer.encode(f" {surface}" if begins and theirs._of_bytes else surface, add_special_tokens=False)
    unknown = theirs.roles.get("unknown")
    return tuple(number for number in asked.ids if number != unknown)
