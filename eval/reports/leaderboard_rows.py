"""The rows of a leaderboard: a run's files, each with its bytes, metric, time beside the teacher's, and how it was
made."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from palmtop import stage as stages
from palmtop import stage_files
from palmtop.bundle import Ancestor, Bundle
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.measuring.timed import apart
from palmtop.eval.reports.found import kept_bundles
from palmtop.eval.reports.table import Row, Section, milliseconds, with_interval
from palmtop.measurement import EXPECTED_MS, Measurement
from palmtop.paths import without_paths

HEAD = (
    "file",
    "task",
    "bytes",
    "metric",
    "value [95 %]",
    "ms",
    "x teacher",
    "what, where",
    "command",
    "seeds",
    "commit",
    "sha256",
)
KEY = ("task", "what, where", "sha256")
"""What is equal in two rows of one file: the newer one takes the place of the older."""
DIGITS = 16
"""Of a bundle's digest, which tell every bundle apart."""


@dataclass(frozen=True)
class Line:
    """A row, by its headings."""

    cells: Mapping[str, str]

    @property
    def key(self) -> tuple[str, ...]:
        """What it is about."""
        return tuple(self.cells[name] for name in KEY)

    @property
    def order(self) -> tuple[str, int, str]:
        """The tasks by name, the smallest file of each first."""
        size = self.cells["bytes"].replace(",", "")
        return self.cells["task"], int(size) if size.isdigit() else 0, self.cells["file"]


def lines(run: Path, only: Sequence[str], commit: str, command: str | None = None) -> list[Line]:
    """A line for each exported file of a run that was measured, on each target.

    Args:
        only: the names of the files, or patterns of them; all where there are none.
        commit: that of palmtop.
        command: what makes the files; by default the stages on their way, with the settings that aren't the default.

    Raises:
        UserError: a run without measurements, names that no row has, nothing to tell, or bundles that aren't there.
    """
    bundles, faults = kept_bundles(run)
    told: list[Line] = []
    for section in compare([run], only).sections:
        every = next(whole for whole in compare([run]).sections if whole.task == section.task).rows
        for row in section.rows:
            if row.format == "torch" or row.cells["metric"].value is None:
                continue
            if row.digest not in bundles:
                faults.append(f"{row.name} isn't in {run} any more, so nobody can tell how it was made: make it again")
                continue
            told.append(_line(row, section, _teachers_file(row, every, bundles), bundles[row.digest], commit, command))
    if faults:
        raise UserError(faults)
    if not told:
        raise UserError(f"{run} has no exported file that was measured: export one, and run 'palmtop measure' with it")
    return told


def way_of(bundle: Bundle) -> str:
    """The commands on a bundle's way, from the first on, each with the settings that aren't the default."""
    return "; ".join(_command(step) for step in bundle.lineage)


def seeds_of(bundle: Bundle) -> str:
    """The seeds on a bundle's way, each once, in their order."""
    found = [step.settings["seed"] for step in bundle.lineage if step.settings.get("seed") is not None]
    return ", ".join(str(seed) for seed in dict.fromkeys(found)) or "none"


def _line(  # all that a line is made of
    row: Row, section: Section, teacher: Row | None, bundle: Bundle, commit: str, command: str | None
) -> Line:
    size = row.numbers["download_bytes"].value or 0
    value, ratio = _times(row, teacher)
    cells = (
        row.name,
        " ".join(section.task.split(" ")[:2]),
        f"{size:,.0f}",
        section.metric.replace("_", " "),
        with_interval(row),
        value,
        ratio,
        f"{row.format} {row.precision}, {row.target}",
        f"`{command or way_of(bundle)}`",
        seeds_of(bundle),
        commit,
        row.digest[:DIGITS],
    )
    return Line(dict(zip(HEAD, (cell.replace("|", "/") for cell in cells), strict=True)))


def _teachers_file(row: Row, rows: Sequence[Row], bundles: Mapping[str, Bundle]) -> Row | None:
    """What a file's time is set beside: what was exported of the teacher for the same runtime; of a cascade, whose time
    is a mean, its larger model. None where it wasn't measured."""
    if EXPECTED_MS in row.numbers and bundles[row.digest].is_cascade:
        digests = [bundles[row.digest].parts[-1].digest]
    else:
        teachers = {other.digest for other in rows if "teacher" in other.roles}
        digests = [
            one.digest for one in bundles.values() if one.card.lineage and one.card.lineage[-1].digest in teachers
        ]
    return next((other for other in rows if other.digest in digests and other.target == row.target), None)


def _times(row: Row, teacher: Row | None) -> tuple[str, str]:
    """A file's time, and how many times that of the teacher's file is it, where both were taken side by side."""
    name = "latency_ms"
    ours = row.numbers.get(name)
    if ours is None or ours.value is None:  # as of a cascade
        name, ours = EXPECTED_MS, row.numbers.get(EXPECTED_MS)
    if ours is None or ours.value is None or ours.is_doubtful:
        return "not measured", "not measured"
    at = "mean" if name == EXPECTED_MS else f"@{ours.conditions.get('padded_to')}"
    theirs = teacher.numbers.get(name) if teacher else None
    return f"{milliseconds(ours.value)} {at}", _ratio(ours, theirs, name)


def _ratio(ours: Measurement, theirs: Measurement | None, name: str) -> str:
    if theirs is None or theirs.value is None or theirs.is_doubtful or ours.value is None:
        return "not measured"
    if ours.session != theirs.session or (name == "latency_ms" and apart(ours, theirs)):
        return "not comparable"
    return f"{theirs.value / ours.value:.2f} ({theirs.name})"


def _command(step: Ancestor) -> str:
    settings, usual = without_paths(step.settings), _defaults(step.stage)
    given = [
        f"--{name.replace('_', '-')} {shlex.quote(_shown(value))}"
        for name, value in settings.items()
        if name not in usual or usual[name] != value
    ]
    return " ".join([step.stage, *given])


def _defaults(stage: str) -> dict[str, Any]:
    """What a stage's settings are where nothing is said; nothing is known of one that is no more."""
    if stage not in stage_files.names():
        return {}
    fields = stages.find(stage).model_fields
    known = stages.find(stage).model_construct().model_dump(mode="json", warnings=False)
    return {name: known[name] for name, field in fields.items() if not field.is_required() and name in known}


def _shown(value: Any) -> str:
    """A setting as an option has it; of a task that was written out its name."""
    if isinstance(value, Mapping) and "name" in value:
        return str(value["name"])
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
