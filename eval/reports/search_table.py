"""The table of a search: every candidate, what it cost and why it lost; the front, and the verdict."""

from palmtop.eval.reports.markdown import grid
from palmtop.search.tried import Outcome, Tried, front

HEAD = ("candidate", "fate", "why", "MB", "ms", "metric", "epochs", "s")
WORDS = 3
ORDER = ("chosen", "on the front", "dominated", "behind", "over the limit", "failed", "doesn't fit")


def markdown(found: Outcome) -> str:
    """All of it."""
    limits = ", ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in found.limits.items()) or "no limits"
    part = f"{found.texts:,} texts of the validation part"
    lines = [
        f"# {found.recipe}: {limits}",
        "",
        f"**{found.verdict}**",
        "",
        f"{len(found.tried)} of {found.space:,} candidates tried on {found.target}, {found.seconds / 60:.1f} minutes; "
        f"{found.metric} on {part}, of which the teacher has {_number(found.teacher)}.",
    ]
    if found.share < 1:
        lines += ["", f"The last rounds had {found.share:.0%} of their epochs, to fit into the minutes."]
    if found.seeds:
        said = ", ".join(f"{seed}: {value:.4f}" for seed, value in found.seeds.items())
        lines += ["", f"The winner by seed: {said}."]
    best = sorted(front([one for one in found.tried if one.fate in ORDER[:3]]), key=lambda one: one.mb or 0)
    lines += ["", "## The front: no other is better in metric, MB and ms at once", "", *_rows(best)]
    rest = sorted(found.tried, key=lambda one: (ORDER.index(one.fate), -one.share, -(one.grade or 0), one.number))
    return "\n".join([*lines, "", "## All that was tried", "", *_rows(rest)]) + "\n"


def _rows(tried: list[Tried]) -> list[str]:
    return grid([HEAD, *map(_row, tried)], WORDS) if tried else ["none"]


def _row(one: Tried) -> tuple[str, ...]:
    return (
        str(one),
        one.fate,
        one.why,
        "" if one.mb is None else f"{'about ' if one.about and not one.grades else ''}{one.mb:.3f}",
        "" if one.ms is None else f"{one.ms:.3f}",
        _number(one.grade) if one.grades else "",
        f"{one.share:.2g}" if one.grades else "",
        f"{one.pricing_seconds + one.seconds:.0f}",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
