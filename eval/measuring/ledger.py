"""The ledger of a run and a task: what has been measured already, and adding to it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from palmtop import measurement
from palmtop.eval.measuring.plan import Subject
from palmtop.eval.measuring.size import SIZES
from palmtop.measurement import Kind, Measurement
from palmtop.metrics import Score

Conditions = Mapping[str, Any]
NOTHING: Conditions = MappingProxyType({})


class Ledger:
    """measurements.jsonl, open for adding the numbers of one task in one session. What can't have been measured is
    said, and is unknown: it is measured anew."""

    def __init__(self, run: Path, task_id: str, session: str, say: Callable[[str], None]) -> None:
        self._path, self._task_id, self._session = run / measurement.FILE, task_id, session
        taken, faults = measurement.sound(one for one in measurement.read(self._path) if one.task == task_id)
        for fault in faults:
            say(f"{self._path}: {fault}: left out, and measured anew where nothing else is known")
        self._known = {known.identity(): known for known in taken}

    def knows(self, subject: Subject, metrics: Sequence[str], conditions: Conditions) -> bool:
        """Whether all of this was measured before, and holds: same bundle, name, target, machine, versions, data and
        conditions."""
        return all(self.session_of(subject, metric, conditions) is not None for metric in metrics)

    def session_of(self, subject: Subject, metric: str, conditions: Conditions) -> str | None:
        """The session in which a number that holds was last taken, or None."""
        known = self._known.get(self._measurement(subject, metric, Score(None), conditions).identity())
        return known.session if known and not known.is_doubtful else None

    def write(
        self,
        subject: Subject,
        scores: Mapping[str, Score],
        conditions: Conditions,
        session: str | None = None,
        noted: Conditions = NOTHING,
    ) -> None:
        """Append numbers by metric, durably.

        Args:
            session: another than the ledger's own, for numbers taken side by side.
            noted: how the machine was doing.
        """
        taken = [
            self._measurement(subject, metric, score, conditions, session).model_copy(update={"noted": dict(noted)})
            for metric, score in scores.items()
        ]
        measurement.append(self._path, taken)
        self._known |= {one.identity(): one for one in taken}

    def _measurement(
        self, subject: Subject, metric: str, score: Score, conditions: Conditions, session: str | None = None
    ) -> Measurement:
        return Measurement(
            bundle=subject.bundle.digest,
            name=subject.name,
            format=subject.bundle.format,
            target=subject.target.label,
            metric=metric,
            value=score.value,
            unit=score.unit,
            low=score.low,
            high=score.high,
            n=score.n,
            conditions=dict(conditions),
            machine=subject.machine,
            task=self._task_id,
            session=session or self._session,
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            kind=_kind(subject, metric),
            valid=score.why is None,
            why=score.why,
        )


def _kind(subject: Subject, metric: str) -> Kind:
    """What the target's numbers are; the bytes of a file that it runs were counted here all the same."""
    return "measured" if subject.target.runs and metric in SIZES else subject.target.kind
