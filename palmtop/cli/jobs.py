"""Options of the commands that make steps: how many side by side, on which machines, with how many threads each."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from palmtop.errors import UserError

if TYPE_CHECKING:
    from palmtop.recipe.crew import Crew

Jobs = Annotated[
    int, typer.Option(min=1, metavar="N", help="Steps made side by side, in processes of their own, on this machine.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Make steps on a Ray cluster (HOST:PORT of its head, or auto); all its machines see the run's folder, the "
        "data and the models under the same names.",
        show_default="this machine",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Threads of each step; other numbers of threads round otherwise.",
        show_default="OMP_NUM_THREADS, or all cores",
    ),
]


@contextmanager
def crew_of(jobs: int, ray: str | None, threads: int | None) -> "Iterator[Crew | None]":
    """Who makes steps side by side until the end of the block, when all workers have gone; None where steps are made
    one after the other.

    Raises:
        UserError: both are asked for, or either in a distributed run; no Ray, or no cluster.
    """
    from palmtop.processes import processes

    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # torch isn't loaded yet
    if jobs == 1 and ray is None:
        yield None
        return
    if jobs > 1 and ray is not None:
        raise UserError("--jobs is for this machine, and on a cluster Ray counts: leave --jobs or --ray out")
    if processes() > 1:
        raise UserError(
            "torchrun's processes train one step together: leave --jobs and --ray out, or start palmtop alone"
        )
    if ray is not None:
        from palmtop.recipe.ray_crew import RayCrew

        with RayCrew(ray) as crew:
            yield crew
        return
    from palmtop.recipe.crew import LocalCrew

    with LocalCrew(jobs) as local:
        yield local
