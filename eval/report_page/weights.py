"""What the bytes of each file are for."""

from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.explaining.explain import explain
from palmtop.eval.explaining.weight_kinds import KINDS
from palmtop.eval.report_page.markup import Markup, element, items, joined, not_kept, paragraph, part, table
from palmtop.eval.report_page.svg import BAR, TOP, BarRow, Scale, axis, bars, block
from palmtop.eval.reports.found import Found

TITLE = "What the bytes are for"
SEEN = 0.005
"""A smaller share of the largest file can't be seen in a bar."""


def weights(found: Found) -> Markup:
    """A bar for each file, cut by kinds of weights, and the numbers."""
    sums, untold = _sums(found)
    told = items(untold, class_="missing") if untold else ""
    if not sums:
        return part(TITLE, not_kept("a file that can be taken apart"), told)
    largest = max(sum(kinds.values()) for kinds in sums.values()) / 1e6
    scale = Scale(0, largest)
    rows = [BarRow(name, f"{sum(kinds.values()) / 1e6:.2f} MB", _blocks(kinds, scale)) for name, kinds in sums.items()]
    there = [kind for kind in KINDS if any(kinds[kind] for kinds in sums.values())]
    numbers = [[name, *(f"{kinds[kind] / 1e6:.2f}" for kind in there)] for name, kinds in sums.items()]
    return part(
        TITLE,
        _key(there),
        bars(TITLE, "Each file's bytes, cut by what they are for; the numbers stand below.", rows, axis(scale)),
        table("MB by what they are for", ["model", *there], numbers),
        paragraph("graph: the rest of the file, names and structure; other: constants that are no weights."),
        told,
    )


def _sums(found: Found) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Bytes by kind of each bundle by its name, and why others have none."""
    sums: dict[str, dict[str, int]] = {}
    untold: list[str] = []
    for digest, name in {row.digest: row.name for row in found.rows}.items():
        bundle = found.bundles.get(digest)
        kinds = _kinds(bundle) if bundle is not None else f"not kept in this run: the folder of {name}"
        if isinstance(kinds, str):
            untold.append(kinds)
        else:
            sums[name] = kinds
    return sums, untold


def _kinds(bundle: Bundle) -> dict[str, int] | str:
    try:
        return explain(bundle).kinds
    except UserError as error:
        return f"not told: {error}"


def _blocks(kinds: dict[str, int], scale: Scale) -> list[Markup]:
    drawn, at = [], 0.0
    for place, kind in enumerate(KINDS):
        end = at + kinds[kind] / 1e6
        if end - at >= SEEN * scale.high:
            left, right = scale(at), scale(end)
            said = element("title", f"{kind}: {end - at:.2f} MB")
            drawn.append(element("g", said, block(left, right, f"k{place}"), _hatched(place, left, right)))
        at = end
    return drawn


def _hatched(place: int, left: float, right: float) -> Markup:
    """Every kind has its own hatching over its colour; the patterns stand in the page's template."""
    return element("rect", x=left, y=TOP, width=right - left, height=BAR, fill=f"url(#hatch{place})")


def _key(kinds: list[str]) -> Markup:
    samples = [
        element(
            "svg",
            element("rect", width=24, height=12, class_=f"k{place}"),
            element("rect", width=24, height=12, fill=f"url(#hatch{place})"),
            viewBox="0 0 24 12",
            class_="sample",
            aria_hidden="true",
        )
        for place in map(KINDS.index, kinds)
    ]
    return items((joined([sample, kind]) for sample, kind in zip(samples, kinds, strict=True)), class_="key")
