"""An explanation as tables in the terminal."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from palmtop.eval.explaining.explain import Explanation, Finding

SHOWN_PLACES = 3
"""Places of a finding that are shown; JSON has all."""


def show(found: Explanation, tensors: int, console: Console | None = None) -> None:
    """Print it; `tensors`: how many of the largest to list."""
    out = console or Console()
    out.print(f"[bold]{found.name}[/bold]: {found.format}, {found.size_bytes:,} bytes", highlight=False)
    out.print(
        _table(
            "bytes by kind",
            ("kind", "bytes", "share"),
            [(kind, f"{size:,}", f"{size / found.size_bytes:.1%}") for kind, size in found.kinds.items() if size],
        )
    )
    if tensors and found.weights:
        out.print(
            _table(
                f"largest of {len(found.weights)} tensors",
                ("tensor", "kind", "type", "shape", "bytes"),
                [
                    (
                        weight.name,
                        weight.kind,
                        weight.dtype,
                        " x ".join(map(str, weight.shape or ())),
                        f"{weight.size_bytes:,}",
                    )
                    for weight in found.weights[:tensors]
                ],
            )
        )
    if found.operators:
        total = sum(count for _, _, count in found.operators)
        out.print(
            _table(
                f"{total} operators",
                ("operator", "version", "count"),
                [
                    (name, "" if version is None else str(version), str(count))
                    for name, version, count in found.operators
                ],
            )
        )
    for line in found.advice:
        out.print(f"[bold]advice[/bold]: {line}", highlight=False, soft_wrap=True)
    _show_findings(found, out)


def _show_findings(found: Explanation, out: Console) -> None:
    if not found.operators:
        out.print("no graph in it to judge: export it, and explain that", highlight=False)
    elif not found.findings:
        out.print("no rule is broken", highlight=False)
    for finding in found.findings:
        out.print(
            f"[bold]{finding.rule}[/bold] ({finding.where}): {finding.says} \\[{finding.source}]",
            highlight=False,
            soft_wrap=True,
        )
        out.print(_places(finding), markup=False, highlight=False, soft_wrap=True)


def _places(finding: Finding) -> str:
    """The places, like ones together: a converter names all layers alike."""
    counts = list(Counter(finding.places).items())
    shown = [f"{count} x {place}" if count > 1 else place for place, count in counts[:SHOWN_PLACES]]
    more = sum(count for _, count in counts[SHOWN_PLACES:])
    return f"    {'; '.join(shown)}" + (f"; and {more} more" if more else "")


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left", highlight=False)
    for head in heads:
        table.add_column(
            head, justify="right" if head in ("bytes", "share", "count", "version") else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table
