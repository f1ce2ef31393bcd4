"""The table of prices: what each file of each recipe costs on each target, before it is trained."""

import json
from collections.abc import Sequence

from palmtop.errors import UserError, did_you_mean
from palmtop.eval.reports.markdown import bullets, grid
from palmtop.eval.reports.table import milliseconds
from palmtop.search.price import Asked, Price

FORMS = ("markdown", "json")
HEAD = ("recipe", "file", "format, target", "MB", "bytes", "ms", "memory MB", "load ms")
WORDS = 3

Row = tuple[str, Asked, Sequence[Price]]
"""A recipe's name, one of its files, and its prices, target by target; none where it couldn't be made."""


def check_form(form: str) -> None:
    """Raises: UserError: there is no such form."""
    if form not in FORMS:
        raise UserError(f"no format '{form}'; {did_you_mean(form, FORMS)}")


def render(rows: Sequence[Row], form: str) -> str:
    """The table in a form."""
    return _json(rows) if form == "json" else _markdown(rows)


def _markdown(rows: Sequence[Row]) -> str:
    lines = [line for name, one, prices in rows for line in _lines(name, one, prices)]
    return "\n".join([*grid([HEAD, *lines], WORDS), "", *bullets(_notes(rows))])


def _lines(name: str, one: Asked, prices: Sequence[Price]) -> list[tuple[str, ...]]:
    form = one.recipe.outlines[one.step].format
    if not prices:
        return [(name, one.step, form, "not priced", *[""] * 4)]
    return [(name, one.step, f"{form}, {price.target}", *_cells(price)) for price in prices]


def _cells(price: Price) -> tuple[str, ...]:
    costs, mark = price.costs, "about " if price.about else ""
    kind = "" if costs.kind == "measured" else f" ({costs.kind})"
    return (
        f"{mark}{costs.model_bytes / 1e6:.3f}",
        f"{mark}{costs.model_bytes:,}",
        (costs.why or "not measured") if costs.ms is None else milliseconds(costs.ms) + kind,
        "not measured" if costs.memory_mb is None else f"{costs.memory_mb:.0f}",
        "not measured" if costs.load_ms is None else f"{costs.load_ms:.0f}",
    )


def _notes(rows: Sequence[Row]) -> list[str]:
    """What the numbers are, once, and what is particular to some rows."""
    priced = [(f"{name}: {one.step}", price) for name, one, prices in rows for price in prices]
    notes = ["nothing was trained: bytes are those of the trained files exactly, times what this machine took"]
    notes += _by_text({where: f"about so many bytes: {why}" for where, price in priced for why in price.about})
    notes += _by_text(
        {where: f"refused by {'; '.join(said)}" for where, price in priced if (said := price.costs.refused)}
    )
    notes += _by_text({where: f"the time isn't valid: {price.costs.why}" for where, price in priced if _doubted(price)})
    lengths = sorted({str(price.costs.timed_at.get("length")) for _, price in priced if price.costs.ms is not None})
    return notes + ([f"timed at {' or '.join(lengths)} tokens"] if lengths else [])


def _doubted(price: Price) -> bool:
    return price.costs.ms is not None and price.costs.why is not None


def _by_text(said: dict[str, str]) -> list[str]:
    """Sentences with where they hold; one that holds everywhere names no place."""
    where: dict[str, list[str]] = {}
    for place, text in said.items():
        where.setdefault(text, []).append(place)
    return [f"{text} ({', '.join(places)})" for text, places in where.items()]


def _json(rows: Sequence[Row]) -> str:
    said = [
        {"recipe": name, "file": one.step} | price.model_dump(mode="json")
        for name, one, prices in rows
        for price in prices
    ]
    return json.dumps(said, indent=1, ensure_ascii=False)
