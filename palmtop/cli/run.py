"""palmtop run: a recipe from its check to its table; steps that fail are listed at the end."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palmtop.cli.jobs import Jobs, Ray, Threads, crew_of
from palmtop.cli.say import note, say
from palmtop.cli.table import Strict, end, measure_into
from palmtop.errors import UserError, printable

if TYPE_CHECKING:
    from palmtop.eval.reports.draw_table import Table
    from palmtop.recipe.attempt import Attempt
    from palmtop.recipe.recipe import Recipe

STEPS_FAILED = 1
"""Exit code where steps of a recipe failed; what doesn't follow from them was made and measured."""


def run(  # noqa: PLR0913, PLR0917  # an option each
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (see 'palmtop recipes') or a YAML file.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="palmtop-runs/NAME")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Another task than the recipe's: a shipped name, or a task's YAML file.", show_default="the recipe's"
        ),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the recipe, and make nothing.")] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1, help="What it may take on this machine: epochs are cut until it fits.", show_default="the recipe's"
        ),
    ] = None,
    jobs: Jobs = 1,
    ray: Ray = None,
    threads: Threads = None,
    strict: Strict = False,
) -> None:
    """Check a recipe as a whole, make what is missing of it, measure, and print the table."""
    from palmtop.making import lock_on
    from palmtop.processes import rank
    from palmtop.recipe.recipe import Recipe
    from palmtop.recipe.side_by_side import attempting

    checked = Recipe.read(recipe, task)
    if rank() == 0:
        for line in checked.notes:
            note(line)
    if check:
        print(
            f"{recipe}: nothing wrong in {len(checked.steps)} steps: {', '.join(step.name for step in checked.steps)}"
        )
        return
    folder = out or Path("palmtop-runs") / checked.name
    if rank() > 0:
        checked.run(folder, _say_nothing)
        return
    with lock_on(folder):
        with crew_of(jobs, ray, threads) as crew:
            made = checked.attempt(folder, say, minutes, attempting(crew))
        # all workers have gone: times are of a quiet machine
        table = _measured(checked, made, folder) if checked.measure.on else None
    _end_if_failed(made)
    if table is not None:
        end(table, strict)


def _measured(recipe: "Recipe", made: "Attempt", folder: Path) -> "Table | None":
    """The table of what there is; None where steps failed and nothing is left to measure."""
    chosen = recipe.measure.bundles or tuple(made.bundles)
    there = [made.bundles[name] for name in chosen if name in made.bundles]
    origins = {bundle.in_torch for bundle in there}  # what they are compared with, measured or not
    given = {name: bundle for name, bundle in made.bundles.items() if name in chosen or bundle.digest in origins}
    try:
        return measure_into(folder, given, recipe.measure, made.missing)
    except UserError as error:
        if not made.failed:
            raise
        for fault in error.faults:
            say(f"not measured: {fault}")
        return None


def _end_if_failed(made: "Attempt") -> None:
    """List on stderr the steps that failed and what was left out because of them, and end with exit code 1."""
    told = made.told()
    for line in told:
        print(printable(line), file=sys.stderr)
    if told:
        raise SystemExit(STEPS_FAILED)


def _say_nothing(_: str) -> None:
    """What the other processes of a distributed run say."""
