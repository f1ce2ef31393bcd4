"""Means over seeds: bundles made alike but for their seed, their mean metric, and how much it gains on a control,
paired by text."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.eval.measuring.answers import answers
from palmtop.eval.measuring.plan import Plan, Subject, plans
from palmtop.measure_settings import MeasureText
from palmtop.measurement import Kind
from palmtop.metrics import Score, bootstrapped

FILE = "seeds.md"
Outputs = Float[ndarray, "texts outputs"]


@dataclass(frozen=True)
class SeedMean:
    """Bundles that differ in nothing but their seed, on one target."""

    name: str
    target: str
    kind: Kind
    """Whether the metric was measured, emulated, ..."""
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    """The metric of each."""
    mean: Score
    """Their mean, with its 95 % interval over texts."""
    kept: float | None
    """Per cent of the teacher's metric on the same texts."""
    gain: Score | None
    """The mean minus the control's, paired by text; None for the control itself, and where there is none."""


def seed_tables(bundles: Mapping[str, Bundle], options: MeasureText, run: Path, missing: Collection[str] = ()) -> str:
    """The means over seeds of what was measured in `run`, as Markdown, a table for each task; empty where no two
    bundles are made alike.

    Args:
        missing: bundles that couldn't be made, and that `options` may name.
    """
    drawn: list[str] = []
    known = [_made_as(bundle) for bundle in bundles.values() if "seed" in bundle.card.origin.settings]
    if len(set(known)) == len(known):
        return ""
    for plan in plans(bundles, options, lambda _: None, missing):
        outputs = {
            subject: _graded(plan, subject, run, options.threads) for subject in plan.subjects if subject.target.runs
        }
        means = seed_means(plan, outputs, options.control)
        if means:
            drawn.append(_markdown(plan, means, options.control))
    return "\n".join(drawn)


def _graded(plan: Plan, subject: Subject, run: Path, threads: int) -> Outputs:
    kind = plan.task.of_kind
    given = answers(subject, plan.split, kind, run, threads).outputs
    return kind.graded(given, plan.split.labels, plan.split.texts, plan.task.label_names)


def seed_means(plan: Plan, outputs: Mapping[Subject, Outputs], control: str | None) -> list[SeedMean]:
    """The mean of each group of two bundles or more, in the order of their first.

    Args:
        control: the name of the group that the others are compared with; or of a step of which there are several, each
            for those of the same settings (magnitude: soft-0.1 with magnitude-0.1).
    """
    alike: dict[str, list[Subject]] = defaultdict(list)
    for subject in outputs:
        if "seed" in subject.bundle.card.origin.settings:
            alike[subject.target.label + _made_as(subject.bundle)].append(subject)
    groups = [group for group in alike.values() if len(group) > 1]
    taught = [subject for subject in outputs if subject.name == plan.teacher]
    return [
        _mean(
            plan,
            group,
            [outputs[subject] for subject in group],
            next((outputs[one] for one in taught if one.target.kind == group[0].target.kind), None),
            [outputs[subject] for subject in _control_of(group, groups, control)],
        )
        for group in groups
    ]


def name_of(group: Sequence[Subject]) -> str:
    """What their names have in common: without the seed that each ends with."""
    return group[0].name.removesuffix(f"-{group[0].bundle.card.origin.settings['seed']}")


def _control_of(
    group: Sequence[Subject], groups: Sequence[Sequence[Subject]], control: str | None
) -> Sequence[Subject]:
    """What a group is compared with: the control or, where that has other settings in its name too, the one whose name
    ends alike."""
    named = {name_of(other): other for other in groups if other[0].target.label == group[0].target.label}
    own = name_of(group)
    if control is None or control in named:
        return () if control in (None, own) else named[control]
    controls = [name for name in named if name.startswith(f"{control}-")]
    return next(
        (named[name] for name in controls if own not in controls and own.endswith(name.removeprefix(control))), ()
    )


def _made_as(bundle: Bundle) -> str:
    origin = bundle.card.origin
    same = {name: value for name, value in origin.settings.items() if name != "seed"}
    source = bundle.card.lineage[-1].digest if bundle.card.lineage else None
    return json.dumps([origin.stage, same, source], sort_keys=True, default=str)


def _mean(
    plan: Plan,
    group: Sequence[Subject],
    outputs: Sequence[Outputs],
    teacher: Outputs | None,
    control: Sequence[Outputs],
) -> SeedMean:
    kind = plan.task.of_kind
    metric, labels, classes = plan.task.main_metric, plan.split.labels, len(plan.task.label_names)

    def of(answered: Sequence[Num[ndarray, " texts"]], chosen: Int[ndarray, " rows"]) -> float:
        return float(np.mean([kind.value(metric, one[chosen], labels[chosen], classes) for one in answered]))

    every = np.arange(len(labels))
    ours, theirs = ([kind.looked_at(metric, one) for one in side] for side in (outputs, control))
    mean = _over_texts(lambda chosen: of(ours, chosen), outputs, metric)
    gain = (
        _over_texts(lambda chosen: of(ours, chosen) - of(theirs, chosen), [*outputs, *control], metric)
        if control
        else None
    )
    whole = of([kind.looked_at(metric, teacher)], every) if teacher is not None else None
    kept = 100 * mean.value / whole if whole and mean.value is not None else None
    return SeedMean(
        name_of(group),
        group[0].target.label,
        group[0].target.kind,
        tuple(subject.bundle.card.origin.settings["seed"] for subject in group),
        tuple(of([one], every) for one in ours),
        mean,
        kept,
        gain,
    )


def _over_texts(of: Callable[[Int[ndarray, " rows"]], float], outputs: Sequence[Outputs], metric: str) -> Score:
    texts = len(outputs[0])
    if not all(np.isfinite(one).all() for one in outputs):
        return Score(None, n=texts, why="some of the outputs aren't finite numbers")
    return bootstrapped(of, texts, f"{metric} isn't defined for one of them")


def _markdown(plan: Plan, means: Sequence[SeedMean], control: str | None) -> str:
    head = ["model", "target", "seeds", plan.task.main_metric, "lowest to highest", "% of teacher"]
    head += [f"points to {control}"] if control else []
    rows = [
        [
            mean.name,
            mean.target,
            str(len(mean.seeds)),
            _score(mean.mean, 1, ".3f") + ("" if mean.kind == "measured" else f" ({mean.kind})"),
            f"{min(mean.values):.3f} to {max(mean.values):.3f}",
            "" if mean.kept is None else f"{mean.kept:.1f}",
            *([_gain(mean, control)] if control else []),
        ]
        for mean in means
    ]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]]
    return "\n".join(
        [
            f"## {plan.task.name}: means over seeds",
            "",
            *lines,
            "",
            f"- In brackets 95 % intervals over the {len(plan.split.labels):,} texts, paired for differences; what "
            "seeds add is in 'lowest to highest'.",
            "",
        ]
    )


def _gain(mean: SeedMean, control: str) -> str:
    if mean.gain is None:
        return "control" if f"{mean.name}-".startswith(f"{control}-") else "no control"
    return _score(mean.gain, 100, "+.1f")


def _score(score: Score, scale: float, form: str) -> str:
    if score.value is None:
        return "not valid"
    ends: list[Any] = [bound * scale for bound in (score.low, score.high) if bound is not None]
    return f"{score.value * scale:{form}} [{', '.join(f'{end:{form}}' for end in ends)}]"
