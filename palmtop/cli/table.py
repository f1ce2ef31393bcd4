"""What commands that measure end with: the table, printed and kept, and the exit code of --strict."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from palmtop.cli.say import say
from palmtop.errors import UserError

if TYPE_CHECKING:
    from palmtop.bundle import Bundle
    from palmtop.eval.reports.draw_table import Table
    from palmtop.measure_settings import MeasureText

ENDINGS = {"markdown": "md", "csv": "csv", "json": "json"}
"""How a table's files end, by form."""

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
"""A data set that isn't on this machine is told as missing: a report fetches nothing. Set unless the user has set
them."""

WRONG = 3
"""Exit code under --strict, where a verdict says that a table's numbers can't be taken as they stand."""

NONE_MISSING: Mapping[str, str] = MappingProxyType({})

Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="End with exit code 3 where the table says WRONG: a teacher below the floor or its student, an artefact "
        "that learnt nothing, a metric that is not valid.",
    ),
]


def measure_into(
    folder: Path, bundles: "dict[str, Bundle]", options: "MeasureText", missing: Mapping[str, str] = NONE_MISSING
) -> "Table":
    """Measure, print the table, and leave it in the run's folder.

    Args:
        missing: bundles that couldn't be made, and why; the table says so.
    """
    from palmtop.durably import write_durably
    from palmtop.eval.compare import compare as table_of
    from palmtop.eval.measure import measure as measure_bundles
    from palmtop.eval.reports.draw_table import render
    from palmtop.eval.reports.seed_means import FILE, seed_tables
    from palmtop.eval.reports.ways import with_ways as ways

    measure_bundles(bundles, options, folder, say, missing)
    table = table_of([folder])
    whole = {"json": ways(table, [folder])}  # one that a program reads has all that there is
    for form, ending in ENDINGS.items():
        write_durably(folder / f"table.{ending}", render(whole.get(form, table), form))
    print(render(table, "markdown"))
    print(f"this table: {folder / 'table.md'}, .csv and .json; every column: palmtop compare {folder} --wide")
    if means := seed_tables(bundles, options, folder, missing):
        write_durably(folder / FILE, means)
        print(f"{means}\nthese means: {folder / FILE}")
    if options.chart is not None:
        from palmtop.eval.reports import chart

        drawn = next(iter(chart.charts(table, bundles, options.chart)), None)  # a recipe has one task
        if drawn is None:
            print(f"no chart: no bundle on its lines has a valid metric and the fact '{options.chart.x}'")
        else:
            chart.write(drawn, folder)
            print(f"{chart.markdown(drawn)}\nthis chart: {folder / 'chart.png'}, .svg and .md")
    return table


def form_asked(form: str, wide: bool, latex: bool) -> str:
    """The form that --format, --wide and --latex mean together.

    Raises:
        UserError: two different ones.
    """
    if wide and form not in ("markdown", "wide"):
        raise UserError(f"--wide is Markdown, --format {form} has every column anyway: leave one of them out")
    if latex and (wide or form not in ("markdown", "latex")):
        raise UserError(
            f"--latex is a form of its own, beside {'--wide' if wide else f'--format {form}'}: leave one out"
        )
    return "wide" if wide else "latex" if latex else form


def with_ways(table: "Table", runs: Sequence[Path], form: str) -> "Table":
    """The table with what each step cost; nothing is fetched for it.

    Raises:
        UserError: a form that has no place for it, or no run keeps the bundles that would tell.
    """
    if form not in ("markdown", "wide", "json"):
        raise UserError(f"--waterfall is told in markdown, wide and json, not in {form}: leave one of them out")
    for name in OFFLINE:
        os.environ.setdefault(name, "1")
    from palmtop.eval.reports.ways import with_ways as ways

    told = ways(table, runs)
    if not any(section.ways for section in told.sections):
        raise UserError(
            "there is no way to tell: --waterfall needs two measured bundles of which one was made from the other, in "
            "a run's folder"
        )
    return told


def names_in(only: str | None) -> list[str]:
    """The names, or patterns of them, of an --only; none where all are meant."""
    return [word.strip() for word in only.split(",")] if only else []


def end(table: "Table", strict: bool) -> None:
    """Under --strict, end with exit code 3 where a verdict of the table says that something is wrong."""
    wrong = [verdict for section in table.sections for verdict in section.wrong]
    if strict and wrong:
        print(f"strict: {len(wrong)} verdict(s) of the table say WRONG", file=sys.stderr)
        raise SystemExit(WRONG)
