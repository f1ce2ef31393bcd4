"""palmtop leaderboard: a run's files as rows of LEADERBOARD.md."""

from pathlib import Path
from typing import Annotated

import typer

from palmtop.cli.table import names_in


def leaderboard(
    run: Annotated[Path, typer.Argument(help="Folder with a measurements.jsonl and the bundles that were measured.")],
    add: Annotated[
        Path | None,
        typer.Option(help="Add the rows to this file, made where it isn't there.", show_default="print them"),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Names of the files, or patterns, with commas between them.", show_default="all"),
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(help="The command that makes them.", show_default="the stages on each file's way"),
    ] = None,
) -> None:
    """Tell a run's files as rows of a leaderboard: bytes, metric, time beside the teacher's, command, seeds, commit."""
    from palmtop.eval import leaderboard as board
    from palmtop.eval.reports.leaderboard_rows import lines

    rows = lines(run, names_in(only), board.commit(unchanged_but=add), command)
    if add is None:
        print(board.drawn(rows), end="")
        return
    board.add(add, rows)
    print(f"{add}: {len(rows)} rows of {run}")
