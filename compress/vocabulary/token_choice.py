"""Which tokens of a vocabulary stay, and the vocabulary of those alone."""

from collections import Counter
from collections.abc import Collection

from palmtop.compress.vocabulary.tokenizer_files import Renumbered
from palmtop.compress.vocabulary.tokenizer_vocabulary import UNUSED, Vocabulary
from palmtop.errors import UserError


def check_room(word: str, keep: int, floor: Collection[int]) -> None:
    """Raises: UserError: so many tokens, by the setting `word`, are fewer than can't go."""
    if keep < len(floor):
        raise UserError(
            f"{word} is {keep}, but {len(floor)} tokens can't go (special tokens, single characters, bytes): "
            "give at least as many"
        )


def chosen(
    vocabulary: Vocabulary, floor: Collection[int], needed: Counter[int], keep: int | None, min_count: int = 1
) -> set[int]:
    """The tokens that stay: those that can't go, those that texts need, the most frequent first, and up to `keep`
    others, those of the lowest ids first.

    Args:
        needed: how often the texts need each.
        keep: how many stay; None: as many as the texts need.
        min_count: times that a token must be needed to stay for it.
    """
    ranked = [
        token for token, count in sorted(needed.items(), key=lambda item: (-item[1], item[0])) if count >= min_count
    ]
    kept = set(floor)
    if keep is None:
        return kept.union(*(vocabulary.with_its_parts(token) for token in ranked))
    others = (token for token, word in vocabulary.tokens.items() if token not in needed and not UNUSED.fullmatch(word))
    for token in (*ranked, *others):
        more = vocabulary.with_its_parts(token) - kept
        if len(kept) + len(more) <= keep:
            kept |= more
    return kept


def trimmed(vocabulary: Vocabulary, kept: set[int], pad: int, longest: int) -> Renumbered:
    """The vocabulary of the tokens that stay.

    Args:
        pad: the old id of the padding.
        longest: tokens of the longest text, specials included.
    """
    order = vocabulary.order(kept, pad)
    return Renumbered(Vocabulary(vocabulary.rewritten(order, longest)), order, order.index(pad), longest)
