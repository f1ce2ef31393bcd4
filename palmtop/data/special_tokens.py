"""The special tokens of a bundle's tokenizer: which they are, and how they are put around texts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from palmtop.data.tokenization import FILE

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Vocabulary:
    """What the tokens of a bundle's tokenizer are."""

    size: int
    special: tuple[int, ...]
    mask: int | None
    """The id of the mask token, where there is one."""
    unknown: int | None

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read from tokenizer.json, and the mask's name from tokenizer_config.json where it is said."""
        tokenizer, written = plain_tokenizer(folder), json.loads((folder / FILE).read_text(encoding="utf-8"))
        special = {
            token.content: number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special
        }
        model = written["model"]
        unknown = tokenizer.token_to_id(model["unk_token"]) if model.get("unk_token") else model.get("unk_id")
        mask = next((special[name] for name in (_said_mask(folder), "[MASK]", "<mask>") if name in special), None)
        return cls(tokenizer.get_vocab_size(with_added_tokens=True), tuple(sorted(special.values())), mask, unknown)


@dataclass(frozen=True)
class Wrapping:
    """The special tokens around one sequence, and around two."""

    first: tuple[int, ...]
    last: tuple[int, ...]
    between: tuple[int, ...]
    pair_last: tuple[int, ...]
    second_type: int
    """token_type_id of the second sequence of a pair."""

    @classmethod
    def of(cls, tokenizer: "Tokenizer") -> Self:
        """Read off two words that the tokenizer wraps."""
        one, two = tokenizer.encode("a"), tokenizer.encode("a", "a")
        places = [place for place, sequence in enumerate(one.sequence_ids) if sequence is not None]
        second = [place for place, sequence in enumerate(two.sequence_ids) if sequence == 1]
        gap = [
            place
            for place, sequence in enumerate(two.sequence_ids)
            if sequence is None and places[-1] < place < second[0]
        ]
        return cls(
            tuple(one.ids[: places[0]]),
            tuple(one.ids[places[-1] + 1 :]),
            tuple(two.ids[place] for place in gap),
            tuple(two.ids[second[-1] + 1 :]),
            two.type_ids[second[0]],
        )


def plain_tokenizer(folder: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _said_mask(folder: Path) -> str | None:
    path = folder / "tokenizer_config.json"
    said: Any = json.loads(path.read_text(encoding="utf-8")).get("mask_token") if path.is_file() else None
    name: str | None = said["content"] if isinstance(said, dict) else said
    return name
