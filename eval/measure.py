"""Measuring bundles on targets: answers, agreement, size, loading, and latencies side by side; whatever is known is
kept."""

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from palmtop.bundle import Bundle
from palmtop.errors import UserError, raise_all
from palmtop.eval.measuring.cost import Cost
from palmtop.eval.measuring.expected import Expected
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.plan import Plan, Say, Subject, plans
from palmtop.eval.measuring.quality import Quality
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.measure_settings import MeasureText
from palmtop.target import Unreachable

MeasureOptions = MeasureText
NONE_MISSING: Mapping[str, str] = MappingProxyType({})


def measure(
    bundles: Mapping[str, Bundle],
    options: MeasureOptions,
    out: Path,
    say: Say,
    missing: Mapping[str, str] = NONE_MISSING,
) -> None:
    """Measure each bundle on each target of `options.on` that runs its format; append to measurements.jsonl in `out`.

    What was measured before under equal conditions (bundle, target, machine, versions, data, settings) is kept.
    Latencies are kept only as a whole: if one of a group is missing, all of the group are taken again, in turns.
    Bundles of several tasks are measured task by task.

    Args:
        missing: bundles that couldn't be made, and why: `options` may name them, nothing stands in for them, and the
            table says that they are missing.

    Raises:
        UserError: wrong names, what targets lack, or faults in the data, before any work; or a machine at a target's
            address went away, after all that can be measured without it.
    """
    made = plans(bundles, options, say, missing)
    out.mkdir(parents=True, exist_ok=True)
    _note(made, options, missing, out)
    session, gone = uuid.uuid4().hex[:12], dict[str, str]()
    for plan in made:
        ledger = Ledger(out, plan.task_id, session, say)
        quality, cost = Quality(plan, out, options.threads, ledger, say), Cost(plan, options, ledger, say)
        expected = Expected(plan, options, ledger, say)
        for subject in plan.subjects:
            _unless_gone(subject.target.place, gone, partial(_take, subject, quality, cost))
        run = [subject for subject in plan.subjects if subject.target.runs]
        for place in dict.fromkeys(subject.target.place for subject in run):
            group = [subject for subject in run if subject.target.place == place]
            _unless_gone(place, gone, partial(cost.take_latencies, group))
            _unless_gone(place, gone, partial(expected.take, group))
    if gone:
        raise UserError([*gone.values(), f"what was measured is kept in {out}: the same command goes on from there"])


def by_name(bundles: Sequence[Bundle | Path | str]) -> dict[str, Bundle]:
    """Bundles, or those in the named folders, by the names that a table has for them.

    Raises:
        UserError: a folder that is no bundle, or two of one name.
    """
    opened = [given if isinstance(given, Bundle) else Bundle.open(Path(given).resolve()) for given in bundles]
    raise_all(
        [f"{one.path} has learnt nothing: it was made for a price alone" for one in opened if one.card.origin.untrained]
    )
    named = {bundle.name: bundle for bundle in opened}
    if len(named) < len(opened):
        raise UserError("two of the bundles have the same folder name, so a table can't tell them apart: rename one")
    return named


def common_folder(bundles: Iterable[Bundle]) -> Path:
    """The folder that all bundles lie below, where what was measured goes if nothing else is said."""
    return Path(os.path.commonpath([bundle.path.resolve().parent for bundle in bundles]))


def _take(subject: Subject, quality: Quality, cost: Cost) -> None:
    if subject.target.runs:
        quality.take(subject)
    cost.take(subject)


def _unless_gone(place: str, gone: dict[str, str], work: Callable[[], None]) -> None:
    """A machine that has gone away is asked no more; the others are."""
    try:
        if place not in gone:
            work()
    except Unreachable as error:
        gone[place] = str(error)


def _note(made: list[Plan], options: MeasureOptions, missing: Mapping[str, str], out: Path) -> None:
    """Write down what the table will be about."""
    run_file = RunFile.read(out)
    for plan in made:
        bundles = {subject.name: subject.bundle.digest for subject in plan.subjects}
        baseline = plan.baseline.name if plan.baseline else options.baseline if options.baseline in missing else None
        run_file.note(
            plan.task_id,
            Standing(
                metric=plan.task.main_metric,
                bundles=bundles,
                baseline=baseline,
                teacher=options.teacher if options.teacher in missing else plan.teacher,
                missing=dict(missing),
                task_at=_task_at(plan),
            ),
        )
    run_file.write(out)


def _task_at(plan: Plan) -> str | None:
    """Where a stage was told to find the task; None where a recipe wrote it out."""
    given = (bundle.card.origin.settings.get("task") for bundle in plan.bundles.values())
    return next((task for task in given if isinstance(task, str)), None)
