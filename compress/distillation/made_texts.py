"""Texts made of texts for a teacher to label: words masked, swapped or replaced by likely ones, and pieces of them
(Tang et al. 2019, 1903.12136, 4)."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palmtop.compress.distillation.augment import STOP_WORDS, Place
from palmtop.data.encoding import Text, plain

Way = Literal["mask", "swap", "ngrams", "likely"]

WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:['\u2019]\w+)*"
)
"""A run of letters and digits; of Chinese and Japanese, which put no spaces between words, each character."""
LONGEST = 5
"""Words of a piece of a text: one to so many (the paper's n)."""


class Piece(NamedTuple):
    """A word of a text with what stands before it."""

    gap: str
    word: str
    likely: tuple[str, ...] = ()
    """What a masked language model would write in its place."""


@dataclass(frozen=True)
class Rates:
    """How often a text is changed in which way; 0: never. The first three are of a word, one of them at most; the last
    is of a whole text, after that."""

    mask: float = 0.0
    swap: float = 0.0
    likely: float = 0.0
    ngrams: float = 0.0


@dataclass(frozen=True)
class Swaps:
    """The words that stand in some texts, from which one is drawn by how often it does.

    The paper draws a word of the same part of speech; here a function word is swapped for a function word (of English:
    STOP_WORDS), any other for any other.
    """

    words: Mapping[bool, tuple[str, ...]]
    """Function words, and the others."""
    shares: Mapping[bool, Float[ndarray, " words"]]
    """For each: the sum of the shares of all words up to it."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        """The words of these texts."""
        counted = Counter(word for text in texts for word in WORD.findall(text) if word.isalpha())
        words = {kind: tuple(sorted(word for word in counted if is_function(word) == kind)) for kind in (True, False)}
        shares = {kind: np.cumsum([counted[word] for word in found]) for kind, found in words.items()}
        return cls(words, {kind: sums / sums[-1] for kind, sums in shares.items() if len(sums)})

    def draw(self, word: str, random: np.random.Generator) -> str:
        """A word in the place of another; itself where there is none of its sort."""
        kind = is_function(word)
        if kind not in self.shares:
            return word
        return self.words[kind][int(np.searchsorted(self.shares[kind], random.random(), side="right"))]


@dataclass(frozen=True)
class Maker:
    """Makes texts of a text: the same ones whenever it is asked, whatever else it is asked for."""

    rates: Rates
    copies: int
    """Tries for each text."""
    seed: int
    mask: str = ""
    """The mask token as it is written in a text."""
    swaps: Swaps | None = None

    def tries(self, text: Text, likely: Sequence[Sequence[Place]] | None = None) -> list[Text]:
        """So many texts made of one, in the order they were made; some may be alike, or be the text itself. Of a pair
        each text is changed by itself.

        Args:
            likely: for each part of the text the words that may be replaced by likely ones.
        """
        content = hashlib.sha256("\0".join(text).encode()).digest()[:16]
        random = np.random.default_rng([self.seed, *np.frombuffer(content, np.uint32).tolist()])
        parts = [pieces_of(part, likely[place] if likely else ()) for place, part in enumerate(text)]
        return [
            tuple(self._changed(part, *own, random) for part, own in zip(text, parts, strict=True))
            for _ in range(self.copies)
        ]

    def _changed(self, text: str, pieces: Sequence[Piece], end: str, random: np.random.Generator) -> str:
        if not pieces:
            return text
        drawn = random.random(len(pieces))
        made = [Piece(piece.gap, self._word(piece, fate, random)) for piece, fate in zip(pieces, drawn, strict=True)]
        if random.random() < self.rates.ngrams:
            return _piece_of(made, random) or text
        return "".join(piece.gap + piece.word for piece in made) + end

    def _word(self, piece: Piece, fate: float, random: np.random.Generator) -> str:
        """What becomes of a word, by a number drawn from 0 to 1."""
        if fate < self.rates.mask:
            return self.mask
        fate -= self.rates.mask
        if fate < self.rates.swap:
            return self.swaps.draw(piece.word, random) if self.swaps and piece.word.isalpha() else piece.word
        fate -= self.rates.swap
        if fate < self.rates.likely and piece.likely:
            return piece.likely[int(random.integers(len(piece.likely)))]
        return piece.word


def pieces_of(text: str, likely: Sequence[Place] = ()) -> tuple[list[Piece], str]:
    """The words of a text, each with what stands before it, and what stands after the last; together they are the
    text."""
    known = {(place.start, place.end): place.words for place in likely}
    found, end = [], 0
    for match in WORD.finditer(text):
        found.append(Piece(text[end : match.start()], match.group(), known.get(match.span(), ())))
        end = match.end()
    return found, text[end:]


def is_function(word: str) -> bool:
    """Whether it is an English function word."""
    return word.lower() in STOP_WORDS


@dataclass(frozen=True)
class Made:
    """The texts that were made, each with the place of the text that it was made of and the number of its try."""

    texts: list[Text]
    origins: list[int]
    tries: list[int]
    dropped: Mapping[str, int]
    """How many were left out because they are a text of `evaluation`, `validation` or `train`, or were made before
    (`repeated`)."""


def made_of(
    texts: Sequence[Text],
    maker: Maker,
    known: Mapping[Text, str],
    likely: Sequence[Sequence[Sequence[Place]]] | None = None,
) -> Made:
    """The texts that are made of some, without those that are `known`, by their split, and each once."""
    dropped: dict[str, int] = {}
    found = Made([], [], [], dropped)
    seen: set[Text] = set()
    for row, text in enumerate(texts):
        for number, made in enumerate(maker.tries(text, likely[row] if likely else None)):
            own = plain(made)
            reason = known.get(own) or ("repeated" if own in seen else None)
            if reason is not None:
                dropped[reason] = dropped.get(reason, 0) + 1
                continue
            seen.add(own)
            found.texts.append(made)
            found.origins.append(row)
            found.tries.append(number)
    return found


def _piece_of(pieces: Sequence[Piece], random: np.random.Generator) -> str:
    """One to five words in a row; all where there are fewer."""
    count = min(len(pieces), int(random.integers(1, LONGEST + 1)))
    first = int(random.integers(len(pieces) - count + 1))
    head, *rest = pieces[first : first + count]
    return head.word + "".join(piece.gap + piece.word for piece in rest)
