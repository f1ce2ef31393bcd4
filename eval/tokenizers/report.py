"""Tokenizer parity as a page: counts by category, and every difference, those that change an answer first."""

from collections.abc import Sequence

from palmtop.eval.tokenizers.token_parity import Difference, TokenParity

SHOWN_IDS = 24
"""Ids of a long string that are listed."""


def summary(found: Sequence[TokenParity]) -> str:
    """For each bundle a line and the categories in which ids differ."""
    return "\n\n".join(_summary(parity) for parity in found) + "\n"


def listing(found: Sequence[TokenParity]) -> str:
    """The summary, and every difference with its ids."""
    return "".join(f"{_summary(parity)}\n\n{_listing(parity)}\n" for parity in found)


def _summary(parity: TokenParity) -> str:
    lines = [
        f"## {parity.name}: {parity.client} against Hugging Face's tokenizer",
        "",
        parity.headline,
        f"(strings {parity.strings}; ids as a model of {parity.max_length} tokens takes them)",
    ]
    if parity.differences:
        lines += [
            "",
            "| category | strings | other ids | other answer | of these inside a text of the task |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(_row(parity, category) for category, count in parity.by_category.items() if count),
        ]
    same = [category for category, count in parity.by_category.items() if not count]
    return "\n".join([*lines, *(["", f"no difference: {'; '.join(same)}"] if same else [])])


def _row(parity: TokenParity, category: str) -> str:
    changed = [one for one in parity.changed if one.string.category == category]
    inside = sum(one.string.inside for one in changed)
    return f"| {category} | {parity.counts[category]} | {parity.by_category[category]} | {len(changed)} | {inside} |"


def _listing(parity: TokenParity) -> str:
    ordered = sorted(parity.differences, key=lambda one: (one.answers is None, not one.string.inside))
    return "\n".join(_line(one) for one in ordered)


def _line(one: Difference) -> str:
    answers = f" answers **{one.answers[1]}** instead of **{one.answers[0]}**;" if one.answers else ""
    text = visible(one.string.text)
    return f"- {one.string.category}: `{text}`:{answers} {_ids(one.found)} instead of {_ids(one.expected)}"


def visible(text: str) -> str:
    """The text with escapes for everything that isn't plain ASCII: what looks alike can be told apart."""
    return text.encode("unicode_escape").decode("ascii").replace("`", "\\x60").replace("|", "\\x7c")


def _ids(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids[:SHOWN_IDS])) + (f" ... ({len(ids)} ids)" if len(ids) > SHOWN_IDS else "")
