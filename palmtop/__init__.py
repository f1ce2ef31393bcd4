"""palmtop: make a large text transformer small, put it on a phone or a web page, measure what it costs and keeps.

This is the Python door; the command line is the other, and both do the same by the same code. Nothing heavy is
imported before it is used.

    model = palmtop.load("student-tflite")
    model("will it rain tomorrow?").label
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.version import VERSION

if TYPE_CHECKING:
    from palmtop.bundle import Bundle
    from palmtop.eval.check import Checked
    from palmtop.eval.reports.against import Against
    from palmtop.eval.reports.draw_table import Table
    from palmtop.loaded import load
    from palmtop.recipe.recipe import Recipe
    from palmtop.task import Task

__version__ = VERSION
__all__ = ["Bundle", "Recipe", "Task", "against", "check", "compare", "load", "make", "measure"]

_HOMES = {
    "Bundle": "palmtop.bundle",
    "Recipe": "palmtop.recipe.recipe",
    "Task": "palmtop.task",
    "load": "palmtop.loaded",
}
"""Where the names are that are imported when they are first asked for."""


def make(
    stage: str,
    source: "Bundle | Path | str | None",
    out: Path | str,
    /,
    *,
    say: Callable[[str], None] = print,
    **settings: object,
) -> "Bundle":
    """Make a bundle, as the stage's command does: palmtop.make("distill", teacher, "student", layers=3).

    An equal bundle that is there already is kept; a stage that was killed goes on where it stopped.

    Args:
        stage: its name, as 'palmtop stages' lists it.
        source: the bundle to start from, or its folder; None for a stage that needs none.
        out: the folder of the new bundle.
        say: is called with each line that the command would print.
        settings: the stage's; see 'palmtop STAGE --help'. A bundle, a path or a task may stand where one is named.

    Raises:
        UserError: every fault of the settings, or what doesn't fit, before any work.
    """
    from palmtop.making import make_by_name

    return make_by_name(stage, settings, source, Path(out), say)


def measure(  # noqa: PLR0913  # what the command has as options
    bundles: "Sequence[Bundle | Path | str]",
    /,
    *,
    on: Sequence[str] | None = None,
    baseline: str | None = None,
    teacher: str | None = None,
    length: int | None = None,
    threads: int = 1,
    runs: int = 60,
    out: Path | str | None = None,
    say: Callable[[str], None] = print,
) -> "Table":
    """Measure bundles side by side in their own runtimes; what was measured before under equal conditions is kept.

    Args:
        bundles: bundles, or their folders.
        on: targets, by name, or by name:address where one has an address; by default the runtimes of this machine and
            the browser.
        baseline: the bundle that the others are compared with; by default the first .tflite.
        teacher: the bundle whose answers the others are compared with; by default the first that was fine-tuned.
        length: tokens at which latencies are compared; by default what 95 % of the training texts don't exceed.
        threads: of the runtimes.
        runs: timed answers behind each latency, at least 50.
        out: where measurements.jsonl goes; by default the bundles' common folder.
        say: is called with each line that the command would print.

    Returns:
        The table of everything measured in `out`. A notebook draws it, print() writes it as Markdown.

    Raises:
        UserError: unknown names, what targets lack, or faults in the data; before any work.
    """
    from palmtop.eval.compare import compare as table_of
    from palmtop.eval.measure import by_name, common_folder
    from palmtop.eval.measure import measure as measure_into
    from palmtop.making import lock_on
    from palmtop.measure_settings import MeasureText
    from palmtop.settings import build

    given = {"baseline": baseline, "teacher": teacher, "length": length, "threads": threads, "runs": runs}
    options = build(MeasureText, given if on is None else given | {"on": on}, "measure")
    opened = by_name(bundles)
    folder = common_folder(opened.values()) if out is None else Path(out)
    with lock_on(folder):
        measure_into(opened, options, folder, say)
    return table_of([folder])


def compare(*runs: Path | str, only: Sequence[str] = (), sort: str | None = None, waterfall: bool = False) -> "Table":
    """The table of what was measured in one or several runs' folders; of equal things the newest number.

    Args:
        only: the names of the rows to show, or patterns of them; all where there are none.
        sort: the column, by its heading or its name in CSV, whose best number comes first.
        waterfall: tell in `ways` of a section what each step cost, as far as the runs keep bundles and answers.

    Raises:
        UserError: a folder without measurements, a damaged file, a name that no row has, a column that there isn't.
    """
    from palmtop.eval.compare import compare as table_of

    folders = [Path(run) for run in runs]
    table = table_of(folders, only, sort)
    if not waterfall:
        return table
    from palmtop.eval.reports.ways import with_ways

    return with_ways(table, folders)


def against(new: Path | str, old: Path | str, /, *, only: Sequence[str] = ()) -> "Against":
    """A run beside an older one, as 'palmtop compare NEW --against OLD' sets them: its `pairs` have a verdict each.

    Args:
        new: a run's folder, or folder@date: how it stood at the end of a day (UTC).
        old: the same.
        only: the names of the rows, or patterns of them; all where there are none.

    Raises:
        UserError: a folder without measurements, a date before them, both the same, a name that no row has.
    """
    from palmtop.eval.reports.against import against as side_by_side

    return side_by_side(str(new), str(old), only)


def check(  # what the command has as options
    run: Path | str,
    /,
    *,
    against: Path | str | None = None,
    max_drop: float | None = None,
    max_mb: float | None = None,
    max_latency_ratio: float | None = None,
    max_ms: float | None = None,
    min_share: float | None = None,
    only: Sequence[str] = (),
) -> "Checked":
    """Hold a run to limits, as 'palmtop check' does: `.of("broken")` is what broke.

    Args:
        run: a folder, or folder@date.
        against: the older run, for max_drop and max_latency_ratio.
        max_drop: points, hundredths of the metric, less than 10.
        max_mb: 10^6 bytes of a model's files.
        max_latency_ratio: the median latency by the older run's, 0.2 to 5.
        max_ms: milliseconds of an answer, the median.
        min_share: of the teacher's metric, 0 to 1.
        only: the names of the rows, or patterns of them; all where there are none.

    Raises:
        UserError: no limit, one that can't be meant, or what `against` refuses.
    """
    from palmtop.eval.check import Limits
    from palmtop.eval.check import check as checked
    from palmtop.settings import build

    limits = {
        "max_drop": max_drop,
        "max_mb": max_mb,
        "max_latency_ratio": max_latency_ratio,
        "max_ms": max_ms,
        "min_share": min_share,
    }
    return checked(str(run), None if against is None else str(against), build(Limits, limits, "check"), only)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'palmtop' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
