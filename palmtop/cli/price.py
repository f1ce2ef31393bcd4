"""palmtop price: what the files of a recipe, or of a grid over its settings, cost, before anything is trained."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from palmtop.cli.say import note, say
from palmtop.errors import printable

FOLDER = Path("palmtop-runs/prices")
STEPS_FAILED = 1
"""Exit code where some files couldn't be made; the others are priced."""


def price(  # an option each
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Shipped recipes, or YAML files.", show_default=False)
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STEP.SETTING=VALUE,...",
            help="Price it with each of these values, as student.layers=2,3,4; several: every combination.",
        ),
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="Targets, separated by commas.", show_default="the recipe's measure: on")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Another task than the recipe's: a shipped name, or a task's YAML file.", show_default="the recipe's"
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder where prices are kept.")] = FOLDER,
    check: Annotated[bool, typer.Option("--check", help="Only check what there is to price.")] = False,
    form: Annotated[str, typer.Option("--format", help="markdown or json.")] = "markdown",
) -> None:
    """Say what the files of a recipe will cost before anything is trained: exact bytes, ms, memory, what delegates
    refuse."""
    from palmtop.eval.measuring.weigh import weigh
    from palmtop.eval.reports.price_table import check_form, render
    from palmtop.making import lock_on
    from palmtop.search.grid import files, variants
    from palmtop.search.price import price as price_files

    check_form(form)
    found = variants(recipes, grid or [], task, [word.strip() for word in on.split(",")] if on else [])
    asked = files(found)
    for line in dict.fromkeys(line for variant in found for line in variant.recipe.notes):
        note(line)
    if check:
        print(f"nothing wrong: {len(asked)} file(s) of {len(found)} recipe(s) to price")
        return
    with lock_on(out):
        priced, made = price_files([one for _, one in asked], out, weigh, say if form == "markdown" else note)
    print(render([(name, one, prices) for (name, _), (one, prices) in zip(asked, priced, strict=True)], form))
    for line in made.told():
        print(printable(line), file=sys.stderr)
    if made.failed:
        raise SystemExit(STEPS_FAILED)
