"""A run as it stands, or as it stood on a day: RUN, or RUN@2026-11-23. What was measured is never overwritten, so a run
that was made anew in place still has last week's numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from palmtop import measurement
from palmtop.errors import UserError
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.eval.reports.read_runs import current
from palmtop.measurement import Measurement

AT = "@"
SHOWN = 8
"""How many of a run's days a message names."""
FORMS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S")
DAY, MINUTE = 10, 16
"""Letters of a date, and of one with its time, as measurements have them (UTC)."""


@dataclass
class Placed:
    """A bundle on a target of one machine. `numbers` has the newest measurement of each metric."""

    task: str
    name: str
    digest: str
    format: str
    target: str
    machine: str
    """Without versions; as JSON, to be compared."""
    numbers: dict[str, Measurement] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.name} on {self.target}"

    def number(self, metric: str) -> Measurement | None:
        """The newest measurement of a metric that has a value."""
        found = self.numbers.get(metric)
        return found if found is not None and found.value is not None else None


@dataclass(frozen=True)
class RunAt:
    """A run's rows, as they are, or as they were at the end of a day."""

    folder: Path
    label: str
    """What it is called in tables and messages: my, or my@2026-11-23."""
    rows: tuple[Placed, ...]
    standings: dict[str, Standing]
    """Metric, teacher and baseline of each task, as they are now."""
    missing: dict[str, str]
    """What the last call couldn't make, and why; nothing of an older day."""
    faults: tuple[str, ...]
    """Numbers that can't have been measured, and are left out."""
    when: tuple[str, ...]
    """Every time at which something was measured, oldest first."""

    def standing(self, task: str) -> Standing:
        """What is known of a task's table."""
        return self.standings.get(task, Standing())


def find(word: str) -> RunAt:
    """The run that a word means: a folder, or folder@date.

    A date is a day (all that was measured by its end counts), or a day and a time; both in UTC, as measurements have
    them.

    Raises:
        UserError: no measurements there, no such date, or nothing measured by then; the dates that there are are named.
    """
    folder, moment = _parted(word)
    every, faults = measurement.sound(measurement.read(folder / measurement.FILE))
    if not every:
        raise UserError(
            f"{folder} has no {measurement.FILE} with measurements in it: name the folder of a run, and run 'palmtop "
            "measure' with its bundles first"
        )
    when = _when(every)
    if moment is not None:
        _check_date(moment, folder, when)
    taken = [one for one in every if one.task and (moment is None or one.date[: len(moment)] <= moment)]
    if not taken:
        raise UserError(f"nothing was measured in {folder} by {moment}; {dates(folder, when)}")
    is_now = moment is None or when[-1][: len(moment)] <= moment
    standings = RunFile.read(folder).tasks
    meant = {
        task: current(
            [one for one in taken if one.task == task], standings.get(task, Standing()) if is_now else Standing()
        )
        for task in dict.fromkeys(one.task for one in taken if one.task)
    }
    return RunAt(
        folder,
        folder.resolve().name + (f"{AT}{moment}" if moment is not None else ""),
        _rows(taken, meant),
        standings,
        {name: why for one in standings.values() for name, why in one.missing.items()} if is_now else {},
        tuple(faults),
        when,
    )


def dates(folder: Path, when: Sequence[str]) -> str:
    """The end of a message about a date: those at which a run was measured, as they are written behind it."""
    days = [moment[:DAY] for moment in when]
    known = list(dict.fromkeys(moment if days.count(day) > 1 else day for moment, day in zip(when, days, strict=True)))
    if len(known) == 1:
        return f"{folder} was measured on {known[0]} only"
    more = f"{len(known) - SHOWN} earlier, " if len(known) > SHOWN else ""
    return f"{folder} was measured on {more}{', '.join(known[-SHOWN:])} (UTC): write {folder}{AT}{known[-2]}"


def _parted(word: str) -> tuple[Path, str | None]:
    """The folder and the date; a folder whose own name has an @ in it is taken as it is."""
    if Path(word).exists() or AT not in word:
        return Path(word), None
    folder, _, moment = word.rpartition(AT)
    return Path(folder or "."), moment


def _check_date(moment: str, folder: Path, when: Sequence[str]) -> None:
    for form in FORMS:
        try:
            if datetime.strptime(moment, form).strftime(form) == moment:  # all are in UTC
                return
        except ValueError:
            continue
    raise UserError(f"'{moment}' is no date like 2026-11-23 or 2026-11-23T10:15; {dates(folder, when)}")


def _when(taken: Sequence[Measurement]) -> tuple[str, ...]:
    """When each session ended, to the minute."""
    ends: dict[str, str] = {}
    for one in taken:
        ends[one.session] = max(one.date[:MINUTE], ends.get(one.session, ""))
    return tuple(sorted(set(ends.values())))


def _rows(taken: Sequence[Measurement], meant: dict[str, dict[str, str]]) -> tuple[Placed, ...]:
    order = {
        (task, name): place for place, (task, name) in enumerate((t, n) for t, names in meant.items() for n in names)
    }
    rows: dict[tuple[str, str, str, str], Placed] = {}
    for one in taken:
        task = one.task or ""
        if meant[task].get(one.name) != one.bundle:
            continue
        machine = json.dumps({key: value for key, value in one.machine.items() if key != "versions"}, sort_keys=True)
        key = (task, one.name, one.target, machine)
        row = rows.setdefault(key, Placed(task, one.name, one.bundle, one.format, one.target, machine))
        older = row.numbers.get(one.metric)
        if older is None or older.date <= one.date:
            row.numbers[one.metric] = one
    return tuple(sorted(rows.values(), key=lambda row: (order[row.task, row.name], row.target)))
