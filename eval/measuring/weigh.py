"""What files cost, whatever they answer: bytes, loading, memory, latencies side by side, and what delegates refuse."""

import uuid
from collections.abc import Mapping
from pathlib import Path

from palmtop import format as file_format
from palmtop import measurement
from palmtop.bundle import Bundle
from palmtop.eval.explaining.explain import explain
from palmtop.eval.measuring.cost import Cost
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.plan import Say, Subject, plans
from palmtop.eval.measuring.size import model_bytes
from palmtop.measure_settings import MeasureText
from palmtop.measurement import Measurement
from palmtop.search.price import Costs

DELEGATES = ("GPU", "NPU", "NNAPI", "QNN", "all")
"""Of the rules about a file's operators those of who runs them elsewhere than on the processor, or nowhere."""

LOADS = 1
"""Fresh processes behind a cost of loading: a price is told in seconds."""


def weigh(bundles: Mapping[str, Bundle], options: MeasureText, folder: Path, say: Say) -> dict[tuple[str, str], Costs]:
    """The costs of each bundle on each target that runs it, by name and target; no answer is looked at.

    Args:
        folder: where the single measurements go.
    """
    found: dict[tuple[str, str], Costs] = {}
    for plan in plans(bundles, options, say):
        cost = Cost(plan, options, Ledger(folder, plan.task_id, uuid.uuid4().hex[:12], say), say, LOADS)
        for subject in plan.subjects:
            cost.take(subject)
        run = [subject for subject in plan.subjects if subject.target.runs]
        for place in dict.fromkeys(subject.target.place for subject in run):
            cost.take_latencies([subject for subject in run if subject.target.place == place])
        taken = measurement.read(folder / measurement.FILE)
        found |= {(one.name, one.target.label): _costs(one, taken) for one in plan.subjects}
    return found


def _costs(subject: Subject, taken: list[Measurement]) -> Costs:
    numbers = {
        one.metric: one
        for one in taken
        if (one.bundle, one.name, one.target) == (subject.bundle.digest, subject.name, subject.target.label)
    }
    time, of_time = numbers.get("latency_ms"), numbers.get("latency_ms") or numbers.get("text_latency_ms")
    return Costs(
        model_bytes=model_bytes(subject.bundle),
        ms=time.value if time else None,
        ms_low=time.low if time else None,
        ms_high=time.high if time else None,
        load_ms=_value(numbers.get("load_ms")),
        memory_mb=_value(numbers.get("memory_mb")),
        why=(of_time.why if of_time else None) or file_format.find(subject.bundle.format).not_run,
        kind=subject.target.kind,
        timed_at=of_time.conditions if of_time else {},
        refused=_refused(subject.bundle),
    )


def _value(number: Measurement | None) -> float | None:
    return number.value if number else None


def _refused(bundle: Bundle) -> tuple[str, ...]:
    made = file_format.find(bundle.model_format)
    if made.reader is None or not made.explained:
        return ()
    return tuple(
        f"{finding.where}: {finding.rule} ({len(finding.places)})"
        for finding in explain(bundle).findings
        if any(word in finding.where.split(", ") for word in DELEGATES)
    )
