"""palmtop search: a file within limits of size and time, found by pricing first and training what fits."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palmtop.cli.jobs import Jobs, Ray, Threads, crew_of
from palmtop.cli.say import note, say
from palmtop.cli.table import measure_into

if TYPE_CHECKING:
    from palmtop.search.search import Found
    from palmtop.search.space import Space

TABLE = "search.md"
INFEASIBLE = 1
"""Exit code where nothing in the space is within the limits."""


def search(  # noqa: PLR0913, PLR0917  # an option each
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, or a YAML file; its 'search' says where to look.")],
    max_mb: Annotated[
        float | None, typer.Option(metavar="MB", help="MB (10^6 bytes) of the file, at most.", show_default="any")
    ] = None,
    max_ms: Annotated[
        float | None, typer.Option(metavar="MS", help="Milliseconds of one answer, at most.", show_default="any")
    ] = None,
    min_share: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE", help="Share of the teacher's metric, at least: 0.97 is 97 %.", show_default="any"
        ),
    ] = None,
    on: Annotated[
        str | None, typer.Option(help="The target that files are run on.", show_default="the file's own runtime")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="What all of it may take here.", show_default="as long as it takes")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Another task than the recipe's: a shipped name, or a task's YAML file.", show_default="the recipe's"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the search.", show_default="palmtop-runs/NAME-search")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the recipe and its space.")] = False,
    jobs: Jobs = 1,
    ray: Ray = None,
    threads: Threads = None,
) -> None:
    """Search for a small model within limits: price candidates first, train only those that fit, longer and longer, the
    winner with three seeds."""
    from palmtop.eval.check import Limits as Checked
    from palmtop.eval.measuring.grade import grade
    from palmtop.eval.measuring.size import model_bytes
    from palmtop.eval.measuring.weigh import weigh
    from palmtop.making import lock_on
    from palmtop.recipe.side_by_side import attempting
    from palmtop.search.search import Search, folder_of
    from palmtop.search.space import Space
    from palmtop.search.tried import Limits
    from palmtop.search.workshop import Workshop
    from palmtop.settings import build

    given = {"max_mb": max_mb, "max_ms": max_ms, "min_share": min_share}
    build(Checked, given, "search")
    space = Space.read(recipe, task, on)
    for line in space.base.notes:
        note(line)
    folder = out or folder_of(space.base.name)
    shop = Workshop(space, folder, weigh, model_bytes, grade, say)
    Search(shop, Limits(**given), minutes).check()
    if check:
        print(f"{recipe}: nothing wrong: {space.size:,} candidates after '{space.source}'")
        return
    folder.mkdir(parents=True, exist_ok=True)
    with lock_on(folder):
        with crew_of(jobs, ray, threads) as crew:
            shop = replace(shop, attempting=attempting(crew), at_once=crew.size if crew is not None else 1)
            found = Search(shop, Limits(**given), minutes).go()
        _tell(found, space, folder)


def _tell(found: "Found", space: "Space", folder: Path) -> None:
    """The table of candidates; and what the winner does on the evaluation split, which is asked this once."""
    from palmtop.durably import write_durably
    from palmtop.eval.reports.search_table import markdown

    table = markdown(found.outcome)
    write_durably(folder / TABLE, table)
    if found.files:
        files = {f"seed-{seed}": file for seed, file in found.files.items()}
        options = space.base.measure.model_copy(
            update={"bundles": None, "baseline": None, "teacher": "teacher", "control": None, "chart": None}
            | {"on": ("host_torch", found.outcome.target)}
        )
        measure_into(folder, {"teacher": found.teacher} | files, options)
    print(table)
    print(f"this table: {folder / TABLE} and search.json" + (f"; the file: {found.outcome.app}" if found.files else ""))
    if not found.files:
        raise SystemExit(INFEASIBLE)
