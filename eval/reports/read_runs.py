"""Reading the measurements of several runs into rows: one artefact on one target on one machine, newest number
first."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palmtop import measurement
from palmtop.errors import UserError
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.eval.reports import phone_file
from palmtop.measurement import Kind, Measurement


@dataclass
class Artefact:
    """A row's numbers. `numbers` has the newest measurement of each metric."""

    name: str
    digest: str
    format: str
    target: str
    machine: int
    """Number of the machine, from 1."""
    numbers: dict[str, Measurement] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} on {self.target}"

    def kind_of(self, metric: str) -> Kind | None:
        """Whether a number was measured, emulated, ...; None where there is none."""
        found = self.numbers.get(metric)
        return found.kind if found else None


@dataclass
class Gathered:
    """All there is about one task."""

    task: str
    standing: Standing
    artefacts: list[Artefact] = field(default_factory=list)
    machines: list[dict[str, Any]] = field(default_factory=list)
    """Without versions, which may differ from number to number."""
    conflicts: list[str] = field(default_factory=list)
    """What two runs say differently, and numbers that can't have been measured, which are left out."""

    def named(self, name: str | None) -> list[Artefact]:
        """The artefacts with this name, on whatever target."""
        return [artefact for artefact in self.artefacts if artefact.name == name]


def gather(runs: Sequence[Path]) -> list[Gathered]:
    """The measurements of runs by task, in the order of the runs and of their bundles.

    Args:
        runs: folders, and files that the Android app has shared.

    Raises:
        UserError: a run without measurements, or a damaged file.
    """
    tasks: dict[str, Gathered] = {}
    owners: dict[tuple[str, str], tuple[str, Path]] = {}
    for run, taken in _taken(runs):
        standings = RunFile.read(run).tasks if run.is_dir() else {}
        for task, every in _by_task(taken).items():
            of_task, faults = measurement.sound(every)
            standing = standings.get(task, Standing())
            known, digests = tasks.setdefault(task, Gathered(task, Standing())), current(of_task, standing)
            names = {name: _name(name, digest, run, task, owners) for name, digest in digests.items()}
            known.conflicts += [f"{_file(run)}: {fault}: measure again" for fault in faults]
            _merge_standing(known, standing, names, run)
            _add(known, of_task, digests, names)
    return list(tasks.values())


def _by_task(taken: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    found: dict[str, list[Measurement]] = {}
    for one in taken:
        found.setdefault(one.task or "", []).append(one)
    return found


def _taken(runs: Sequence[Path]) -> list[tuple[Path, list[Measurement]]]:
    """What was measured in each run. A phone knows its task's name and version only: its numbers stand in the table of
    the one run's task of this name and version."""
    read = [(run, _read(run)) for run in runs]
    known = {one.task or "" for run, taken in read if run.is_dir() for one in taken}
    return [(run, taken if run.is_dir() else [_with_task(one, known) for one in taken]) for run, taken in read]


def _read(run: Path) -> list[Measurement]:
    if not run.is_dir() and (run.is_file() or run.suffix == ".json"):
        return phone_file.read(run)
    taken = measurement.read(run / measurement.FILE)
    if not taken:
        raise UserError(
            f"{run} has no {measurement.FILE} with measurements in it: run 'palmtop measure' with its bundles first"
        )
    return taken


def _with_task(one: Measurement, known: Collection[str]) -> Measurement:
    same = [task for task in known if task.startswith(f"{one.task} ")]
    return one.model_copy(update={"task": same[0]}) if len(same) == 1 else one


def _file(run: Path) -> Path:
    return run / measurement.FILE if run.is_dir() else run


def current(taken: Sequence[Measurement], standing: Standing) -> dict[str, str]:
    """The digest that a name means now: what the last call measured, else the newest measured. What the last call
    lacked means none: what was measured under that name was made otherwise."""
    newest = {one.name: one.bundle for one in taken if one.name not in standing.missing}
    measured = {(one.name, one.bundle) for one in taken}
    known = {name: digest for name, digest in standing.bundles.items() if (name, digest) in measured}
    return known | {name: digest for name, digest in newest.items() if name not in known}


def _name(name: str, digest: str, run: Path, task: str, owners: dict[tuple[str, str], tuple[str, Path]]) -> str:
    """The bundle's name; with its run's before it where another run has another bundle of that name."""
    owner, _ = owners.setdefault((task, name), (digest, run))
    return name if owner == digest else f"{run.resolve().name}/{name}"


def _merge_standing(known: Gathered, standing: Standing, names: dict[str, str], run: Path) -> None:
    for role in ("baseline", "teacher"):
        named = getattr(standing, role) or ""
        ours, theirs = getattr(known.standing, role), named if named in standing.missing else names.get(named)
        if ours is None:
            setattr(known.standing, role, theirs)
        elif theirs is not None and theirs != ours:
            known.conflicts.append(f"the {role} of {run} is {theirs}; this table has {ours}, of a run named before it")
    known.standing.metric = known.standing.metric or standing.metric
    known.standing.missing |= standing.missing
    known.standing.task_at = known.standing.task_at or standing.task_at


def _add(known: Gathered, taken: Sequence[Measurement], current: dict[str, str], names: dict[str, str]) -> None:
    order = {name: place for place, name in enumerate(current)}
    standing = [one for one in taken if current.get(one.name) == one.bundle]
    rows = {(row.name, row.digest, row.target, row.machine): row for row in known.artefacts}
    for one in sorted(standing, key=lambda one: (order[one.name], one.target)):  # stable: a row's newest stays last
        number = _number(known.machines, {key: value for key, value in one.machine.items() if key != "versions"})
        place = (names[one.name], one.bundle, one.target, number)
        if place not in rows:
            rows[place] = Artefact(names[one.name], one.bundle, one.format, one.target, number)
            known.artefacts.append(rows[place])
        older = rows[place].numbers.get(one.metric)
        if older is None or older.date <= one.date:
            rows[place].numbers[one.metric] = one


def _number(machines: list[dict[str, Any]], machine: dict[str, Any]) -> int:
    """Of a machine among those of a table, from 1; a new one is added."""
    if machine not in machines:
        machines.append(machine)
    return machines.index(machine) + 1
