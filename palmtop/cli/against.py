"""What `palmtop compare RUN --against OLD` prints: whether anything got worse."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from palmtop.cli.table import names_in
from palmtop.errors import UserError


def beside(
    runs: Sequence[Path], against: str, form: str, only: str | None, out: Path | None, others: Mapping[str, object]
) -> None:
    """Print or write a run beside an older one.

    Args:
        others: options of the plain table, by name, that say nothing here: those that were given are refused.

    Raises:
        UserError: several runs, such an option, or what `against` refuses.
    """
    from palmtop.eval.reports.against import against as side_by_side
    from palmtop.eval.reports.against_table import render

    given = [option for option, value in others.items() if value]
    if given:
        instead = ": 'palmtop check' ends with an exit code" if "--strict" in given else ""
        raise UserError(f"--against takes no {' and no '.join(given)}{instead}: leave it out")
    if len(runs) > 1:
        raise UserError(f"--against compares one run with an older one, and {len(runs)} are named: name one")
    drawn = render(side_by_side(str(runs[0]), against, names_in(only)), form)
    if out is None:
        print(drawn, end="")
        return
    out.write_text(drawn, encoding="utf-8")
    print(f"wrote {out}")
