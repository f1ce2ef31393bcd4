"""How a tokenizer cuts texts into tokens: how often each occurs, and what changes when another tokenizer takes its
place."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from palmtop.compress.vocabulary.tokenizer_vocabulary import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

AT_ONCE = 4096
"""Texts that are tokenized together: as many as keep all cores busy, few enough to be held in memory."""


@dataclass
class Pair:
    """Texts cut by an old and a new tokenizer; a number of each pair is before, the other after. Special tokens aren't
    counted."""

    texts: int = 0
    unchanged: int = 0
    """Texts that are cut in the same places."""
    tokens: list[int] = field(default_factory=lambda: [0, 0])
    unknown: list[int] = field(default_factory=lambda: [0, 0])
    used: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))
    """The ids that occur."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it; unknown tokens as a share of all tokens."""
        rates = [
            round(unknown / tokens, 6) if tokens else 0.0
            for unknown, tokens in zip(self.unknown, self.tokens, strict=True)
        ]
        mean = [round(tokens / self.texts, 3) for tokens in self.tokens]
        return {
            "texts": self.texts,
            "texts_unchanged": self.unchanged,
            "unknown_rate_before": rates[0],
            "unknown_rate_after": rates[1],
            "tokens_per_text_before": mean[0],
            "tokens_per_text_after": mean[1],
        }


def tokenizer_of(vocabulary: Vocabulary) -> "Tokenizer":
    """The tokenizer, without padding and truncation."""
    import json

    from tokenizers import Tokenizer

    made = Tokenizer.from_str(json.dumps(vocabulary.written))
    made.no_padding()
    made.no_truncation()
    return made


def counts(vocabulary: Vocabulary, texts: Sequence[str]) -> Counter[int]:
    """How often a text needs each token."""
    tokenizer, found = tokenizer_of(vocabulary), Counter[int]()
    for text, encoding in zip(texts, _encoded(tokenizer, texts), strict=True):
        found.update(encoding.ids)
        if vocabulary.kind == "WordPiece" and vocabulary.unknown in encoding.ids:
            found.update(vocabulary.dead_ends(_unknown_words(tokenizer, text, encoding, vocabulary.unknown)))
    return found


def compare(before: Vocabulary, after: Vocabulary, new: Mapping[int, int], texts: Sequence[str]) -> Pair:
    """Cut the texts by both. `new`: the new id of each old one that stayed."""
    pair = Pair()
    for old, other in zip(_encoded(tokenizer_of(before), texts), _encoded(tokenizer_of(after), texts), strict=True):
        pair.texts += 1
        pair.unchanged += [new.get(number) for number in old.ids] == other.ids
        for side, (encoding, vocabulary) in enumerate(((old, before), (other, after))):
            pair.tokens[side] += len(encoding.ids)
            pair.used[side].update(encoding.ids)
            pair.unknown[side] += encoding.ids.count(vocabulary.unknown) if vocabulary.unknown is not None else 0
    return pair


def _encoded(tokenizer: "Tokenizer", texts: Sequence[str]) -> "Iterator[Encoding]":
    for start in range(0, len(texts), AT_ONCE):
        yield from tokenizer.encode_batch(list(texts[start : start + AT_ONCE]), add_special_tokens=False)


def _unknown_words(tokenizer: "Tokenizer", text: str, encoding: "Encoding", unknown: int | None) -> list[str]:
    """The words behind the unknown tokens of a text, as the tokenizer's normalizer writes them."""
    found = [
        text[start:end]
        for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
        if number == unknown
    ]
    return [tokenizer.normalizer.normalize_str(word) for word in found] if tokenizer.normalizer else found
