"""The vocabulary of a tokenizer.json: which tokens a text needs, which can't go, and the file rewritten for those that
stay.

Segmentation of a text whose tokens all stay is the same before and after:
- WordPiece takes the longest match from the left. A match that stays is still the longest one. A word that ends as
  unknown does so because of the pieces matched before the gap; those count as needed (`dead_ends`), so that it ends
  there again.
- BPE merges the adjacent pair of the lowest rank. A token stays together with all that it can be merged from
  (`with_its_parts`), and a merge stays when its two sides and its result do: the merges that made a text's tokens are
  all there, in their old order, and no others come between them.
- Unigram takes the path of the highest sum of scores. The best path is still there, with the scores it had; what an
  unknown character costs is counted from the lowest score of the vocabulary, so the piece that has it stays.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from palmtop.data.tokenization import FILE
from palmtop.errors import UserError

KINDS = ("WordPiece", "BPE", "Unigram")
BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
"""What stands for a byte of a character that has no token (SentencePiece's byte fallback)."""
UNUSED = re.compile(r"[\[<]unused_?\d+[\]>]")
"""Rows that BERT's and other vocabularies keep free."""


@dataclass(frozen=True)
class Vocabulary:
    """A tokenizer.json, read."""

    written: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read tokenizer.json of a bundle.

        Raises:
            UserError: there is none, or its model is of a kind that can't be trimmed.
        """
        path = folder / FILE
        if not path.is_file():
            raise UserError(f"{folder} has no {FILE}: a bundle carries its tokenizer; adopt the model again")
        read = cls(json.loads(path.read_text(encoding="utf-8")))
        if read.kind not in KINDS:
            raise UserError(
                f"{path} is a {read.kind} tokenizer, whose vocabulary palmtop can't trim; known: {', '.join(KINDS)}"
            )
        return read

    @property
    def kind(self) -> str:
        return str(self._model.get("type", "nameless"))

    @cached_property
    def tokens(self) -> dict[int, str]:
        """The model's tokens by id, ascending."""
        known = self._model["vocab"]
        pairs = (
            enumerate(piece for piece, _ in known)
            if self.kind == "Unigram"
            else ((number, token) for token, number in known.items())
        )
        return dict(sorted(pairs))

    @cached_property
    def outside(self) -> dict[int, str]:
        """Added tokens that are not among the model's, by id, ascending."""
        added = ((token["id"], token["content"]) for token in self.written.get("added_tokens") or ())
        return dict(sorted((number, token) for number, token in added if number not in self.tokens))

    @cached_property
    def unknown(self) -> int | None:
        """The id that stands for what has no token."""
        if self.kind == "Unigram":
            return self._model.get("unk_id")
        return next((number for number, token in self.tokens.items() if token == self._model.get("unk_token")), None)

    def __len__(self) -> int:
        return len(self.tokens) + len(self.outside)

    @cached_property
    def of_bytes(self) -> bool:
        """Whether its single characters stand for bytes (GPT-2's way), so that every text can be written with them."""
        return any(
            part.get("type") == "ByteLevel"
            for where in (self.written.get("pre_tokenizer"), self.written.get("decoder"))
            if where is not None
            for part in (where, *where.get("pretokenizers", ()), *where.get("decoders", ()))
        )

    def floor(self, characters: bool = True) -> set[int]:
        """Ids that can't go: added and special tokens, the unknown one, every single character and byte; see above for
        Unigram's last.

        A special token or a byte is what it is by being added, and so is matched as a whole: none of them goes.

        Args:
            characters: False: single characters may go, unless they stand for bytes.
        """
        added = {token["id"] for token in self.written.get("added_tokens") or ()}
        named = {
            number for number, token in self.tokens.items() if token in _specials(self.written.get("post_processor"))
        }
        stay = characters or self.of_bytes
        short = {
            number
            for number, token in self.tokens.items()
            if (stay and len(self._bare(token)) <= 1) or BYTE.fullmatch(token)
        }
        fixed = {number for number in (self.unknown,) if number is not None}
        if self.kind == "Unigram":
            fixed.add(min(self.tokens, key=lambda number: self._model["vocab"][number][1]))
        return added | named | short | fixed

    def with_its_parts(self, token: int) -> set[int]:
        """A token and, for BPE, all that it can be merged from, down to single characters."""
        found, waiting = {token}, [token]
        while waiting:
            new = self._made_of.get(waiting.pop(), set()) - found
            found |= new
            waiting += new
        return found

    def dead_ends(self, words: Sequence[str]) -> Iterator[int]:
        """The tokens that WordPiece matches in a word before it finds no further one and calls the whole word
        unknown."""
        prefix, limit = (
            self._model.get("continuing_subword_prefix", "##"),
            self._model.get("max_input_chars_per_word", 100),
        )
        for word in words:
            start = 0
            while start < len(word) <= limit:
                pieces = (((prefix if start else "") + word[start:end], end) for end in range(len(word), start, -1))
                piece, start = next(((piece, end) for piece, end in pieces if piece in self._ids), ("", len(word)))
                if piece:
                    yield self._ids[piece]

    def order(self, kept: set[int], pad: int) -> list[int]:
        """The old ids in the order of the new ones: as before, the model's before those outside; the padding at its old
        place if it can."""
        inner = sorted(kept & self.tokens.keys() - {pad})
        if pad in self.tokens:
            inner.insert(pad, pad)  # a place behind the end is the end
        return inner + sorted(kept & self.outside.keys())

    def rewritten(self, order: Sequence[int], max_length: int) -> dict[str, Any]:
        """The tokenizer.json of the tokens `order`; nothing in it cuts or pads a text to more than `max_length`
        tokens."""
        new = {old: place for place, old in enumerate(order)}
        made = dict(self.written)
        made["model"] = self._model | self._model_of(new)
        made["added_tokens"] = sorted(
            ({**token, "id": new[token["id"]]} for token in self.written.get("added_tokens") or ()),
            key=lambda token: token["id"],
        )
        made["post_processor"] = _renumbered(self.written.get("post_processor"), new)
        if padding := made.get("padding"):
            fixed = padding["strategy"].get("Fixed") if isinstance(padding["strategy"], dict) else None
            strategy = {"Fixed": min(fixed, max_length)} if fixed else padding["strategy"]
            made["padding"] = padding | {"pad_id": new.get(padding["pad_id"], 0), "strategy": strategy}
        if truncation := made.get("truncation"):
            made["truncation"] = truncation | {"max_length": min(truncation["max_length"], max_length)}
        return made

    @property
    def _model(self) -> dict[str, Any]:
        model: dict[str, Any] = self.written["model"]
        return model

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: number for number, token in self.tokens.items()}

    @cached_property
    def _merges(self) -> list[tuple[str, str]]:
        """BPE's merges by rank; old files write a pair as one string."""
        return [
            (left, right)
            for left, right in (
                merge.split(" ", 1) if isinstance(merge, str) else merge for merge in self._model.get("merges", ())
            )
        ]

    @cached_property
    def _made_of(self) -> dict[int, set[int]]:
        """The sides of every merge that makes a token."""
        made: dict[int, set[int]] = {}
        for left, right in self._merges:
            made.setdefault(self._ids[self._joined(left, right)], set()).update((self._ids[left], self._ids[right]))
        return made

    def _joined(self, left: str, right: str) -> str:
        return left + right[len(self._model.get("continuing_subword_prefix") or "") :]

    def _bare(self, token: str) -> str:
        """A token without the marks that say where in a word it stands."""
        prefix, suffix = (self._model.get(mark) or "" for mark in ("continuing_subword_prefix", "end_of_word_suffix"))
        if prefix and token != prefix:
            token = token.removeprefix(prefix)
        return token.removesuffix(suffix) if suffix and token != suffix else token

    def _model_of(self, new: Mapping[int, int]) -> dict[str, Any]:
        """The parts of the model that its tokens change."""
        if self.kind == "Unigram":
            inner = sorted((place, old) for old, place in new.items() if old in self.tokens)
            unknown = {"unk_id": new[self.unknown]} if self.unknown is not None else {}
            return {"vocab": [self._model["vocab"][old] for _, old in inner]} | unknown
        words = {
            token: place
            for place, token in sorted((new[old], token) for old, token in self.tokens.items() if old in new)
        }
        if self.kind == "WordPiece":
            return {"vocab": words}
        merges = [
            [left, right] for left, right in self._merges if {left, right, self._joined(left, right)} <= words.keys()
        ]
        return {"vocab": words, "merges": merges}


def _specials(processor: Any) -> set[str]:
    """The tokens that a post-processor adds."""
    if processor is None:
        return set()
    inner = [_specials(one) for one in processor.get("processors", ())]
    named = {token for special in processor.get("special_tokens", {}).values() for token in special["tokens"]}
    return named.union({processor[end][0] for end in ("sep", "cls") if end in processor}, *inner)


def _renumbered(processor: Any, new: Mapping[int, int]) -> Any:
    """A post-processor whose special tokens have their new ids."""
    if processor is None:
        return None
    made = dict(processor)
    if "processors" in made:
        made["processors"] = [_renumbered(one, new) for one in made["processors"]]
    if "special_tokens" in made:
        made["special_tokens"] = {
            name: {**special, "ids": [new[number] for number in special["ids"]]}
            for name, special in made["special_tokens"].items()
        }
    return made | {end: [made[end][0], new[made[end][1]]] for end in ("sep", "cls") if end in made}
