"""What a run's folder still has of a task: its table, its bundles, its evaluation texts, the answers to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from jaxtyping import Float32
from numpy import ndarray

from palmtop.bundle import CARD, Ancestor, Bundle
from palmtop.errors import UserError
from palmtop.eval.measuring.answers import kept_answers
from palmtop.eval.measuring.plan import task_id
from palmtop.eval.reports.table import Row, Section
from palmtop.signature import FILE as SIGNATURE
from palmtop.signature import Signature
from palmtop.task import Split, Task

DEEPEST = ("*", "*/*")
"""Where a run's bundles lie below its folder."""
MEASURED = ("metric", "latency_ms")
"""The columns whose numbers are not of every target's own clock and answers."""
Outputs = Float32[ndarray, "texts answers"]


@dataclass(frozen=True)
class Data:
    """A task and its evaluation texts, those that the numbers are of."""

    task: Task
    split: Split


@dataclass(frozen=True)
class Found:
    """All that a run has of one task."""

    run: Path
    section: Section
    bundles: Mapping[str, Bundle]
    """Those in the run's folder, by digest."""
    others: tuple[Path, ...] = ()
    """More runs whose numbers stand in the table."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """The table's rows."""
        return self.section.rows

    @property
    def teacher(self) -> Row | None:
        """The teacher's row."""
        return next((row for row in self.rows if "teacher" in row.roles), None)

    @property
    def advised(self) -> Row | None:
        """The row that the sentence before the table says to ship."""
        said = self.section.advice or ""
        return next((row for row in self.rows if said.startswith((f"ship {row.name}:", f"ship {row}:"))), None)

    @cached_property
    def _data(self) -> Data | str:
        tasks = {
            str(task.evaluation): task
            for row in self.rows
            if row.digest in self.bundles and (task := self.bundles[row.digest].task) is not None
        }
        if not tasks:
            return "the bundles, which say what the task is"
        faults = []
        for task in tasks.values():
            try:
                if task_id(task) == self.section.task:
                    return Data(task, task.load("evaluation"))
                faults.append(f"they have changed since they were measured ({task.evaluation.shown})")
            except UserError as error:
                faults += error.faults
        return f"the evaluation texts: {'; '.join(dict.fromkeys(faults))}"

    @property
    def data(self) -> Data | None:
        """The task and its texts, where they are still there and still the same."""
        return self._data if isinstance(self._data, Data) else None

    @property
    def no_data(self) -> str:
        """Why there is no `data`."""
        return self._data if isinstance(self._data, str) else ""

    @cached_property
    def _answers(self) -> dict[tuple[str, str, int], Outputs]:
        if self.data is None:
            return {}
        found = {_key(row): self._kept(row, self.data.split) for row in self.rows}
        return {key: outputs for key, outputs in found.items() if outputs is not None}

    def _kept(self, row: Row, split: Split) -> Outputs | None:
        number = row.numbers.get(self.section.metric)
        if number is None or number.value is None:
            return None
        for run in (self.run, *self.others):
            found = kept_answers(run, row.digest, row.target, number.machine, split.digest)
            if found is not None:
                return found.outputs
        return None

    def answers(self, row: Row) -> Outputs | None:
        """What an artefact answered to the evaluation texts."""
        return self._answers.get(_key(row))

    def answered(self) -> list[Row]:
        """The rows whose answers were kept."""
        return [row for row in self.rows if _key(row) in self._answers]

    def signature(self, row: Row) -> Signature | None:
        """An artefact's signature; None for one that has none, as a linear model, or isn't kept."""
        bundle = self.bundles.get(row.digest)
        return bundle.signature if bundle is not None and (bundle.path / SIGNATURE).is_file() else None

    def lineage(self, row: Row) -> tuple[Ancestor, ...]:
        """The way to an artefact, itself included; nothing where its bundle isn't kept."""
        bundle = self.bundles.get(row.digest)
        return () if bundle is None else bundle.lineage

    def shown(self, row: Row) -> str:
        """A row's name, with what tells it apart: its target, its machine, and that its numbers were not measured."""
        namesakes = [other for other in self.rows if other.name == row.name]
        on = f" on {row.target}" if len(namesakes) > 1 else ""
        machine = f" [machine {row.machine}]" if sum(other.target == row.target for other in namesakes) > 1 else ""
        kinds = {row.cells[column].kind for column in MEASURED if row.cells[column].value is not None} - {"measured"}
        return f"{row.name}{on}{machine}" + (f" ({', '.join(sorted(kinds))})" if kinds else "")


def kept_bundles(run: Path) -> tuple[dict[str, Bundle], list[str]]:
    """The bundles in a run's folder by digest, and a line about each that is damaged."""
    bundles: dict[str, Bundle] = {}
    faults: list[str] = []
    for card in sorted(path for deep in DEEPEST for path in run.glob(f"{deep}/{CARD}")):
        try:
            bundle = Bundle.open(card.parent)
        except UserError as error:
            faults += error.faults
            continue
        bundles.setdefault(bundle.digest, bundle)
    return bundles, faults


def names(rows: Sequence[Row], found: Found) -> str:
    """Several rows in a sentence."""
    return ", ".join(found.shown(row) for row in rows)


def _key(row: Row) -> tuple[str, str, int]:
    return row.digest, row.target, row.machine
