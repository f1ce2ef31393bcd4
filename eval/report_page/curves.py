"""How trainings went: the metric after each epoch, and the losses, as far as the bundles keep them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palmtop.bundle import LOGS, Bundle
from palmtop.eval.report_page.markup import Markup, element, folded, joined, not_kept, paragraph, part, table
from palmtop.eval.report_page.svg import Points, lines
from palmtop.eval.reports.found import Found

TITLE = "How training went"
LOSS = "train/loss"
"""How the trainer's names of losses begin."""
MOST_LINES = 5


def curves(found: Found) -> Markup:
    """The trainings behind the table's rows."""
    trained = [bundle for bundle in _bundles(found) if epochs(bundle) or _events(bundle)]
    if not trained:
        return part(TITLE, not_kept("the metric by epoch, and training logs"))
    return part(TITLE, *(_training(bundle) for bundle in trained))


def epochs(bundle: Bundle) -> dict[str, Mapping[str, Any]]:
    """The facts with a metric by epoch: the card's own, or those of its phases, by name."""
    facts = bundle.card.facts
    inner = {name: value for name, value in facts.items() if isinstance(value, dict)}
    return {name: value for name, value in ({"": facts} | inner).items() if value.get("by_epoch")}


def read_losses(bundle: Bundle) -> dict[str, Points] | str:
    """Losses by training step, by the trainer's names, or why there are none."""
    folders = _events(bundle)
    if not folders:
        return "the training log"
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    except ImportError:
        return "the training log is there; reading it needs tensorboard: pip install 'palmtop[train]'"
    losses: dict[str, Points] = {}
    for folder in folders:
        log = EventAccumulator(str(folder)).Reload()
        for tag in (tag for tag in log.Tags()["scalars"] if tag.startswith(LOSS)):
            points = [(float(event.step), float(event.value)) for event in log.Scalars(tag)]
            phase = f"{folder.name}: " if folder.name != LOGS else ""
            losses[phase + _short(tag)] = points
    return {name: points for name, points in losses.items() if len(points) > 1} or "losses in the training log"


def _bundles(found: Found) -> list[Bundle]:
    """The bundles of the rows and those on their way, as far as they are kept; the first of all first."""
    digests = dict.fromkeys(step.digest for row in found.rows for step in found.lineage(row))
    return [found.bundles[digest] for digest in digests if digest in found.bundles]


def _training(bundle: Bundle) -> Markup:
    by_phase, losses = epochs(bundle), read_losses(bundle)
    drawn = [_by_epoch(phase, facts) for phase, facts in by_phase.items()]
    if not by_phase:
        drawn.append(not_kept("the metric by epoch"))
    drawn += [_losses(losses)] if isinstance(losses, dict) else [not_kept(losses)]
    return joined([element("h4", f"{bundle.name} ({bundle.card.origin.stage})"), element("div", *drawn, class_="pair")])


def _by_epoch(phase: str, facts: Mapping[str, Any]) -> Markup:
    grades = facts["by_epoch"]
    points = [(float(number), float(grade)) for number, grade in enumerate(grades, 1) if grade is not None]
    metric = str(facts.get("chosen_on", "the metric on the validation split"))
    title = f"{phase}: by epoch" if phase else "By epoch"
    best = facts.get("best_epoch")
    numbers = ", ".join(f"{grade:.3f}" for _, grade in points)
    return element(
        "div",
        lines(title, f"{metric}: {numbers}", {metric: points}, "epoch", ""),
        paragraph(f"{metric}, by epoch: {numbers}." + (f" Epoch {best} was kept." if best else "")),
    )


def _events(bundle: Bundle) -> list[Path]:
    """The folders of a bundle's training logs, one for each phase."""
    return sorted({path.parent for path in (bundle.path / LOGS).rglob("events.out.tfevents.*")})


def _short(tag: str) -> str:
    return tag.removeprefix(LOSS).strip("_") or "loss"


def _losses(losses: dict[str, Points]) -> Markup:
    shown = dict(list(losses.items())[:MOST_LINES])
    rows = [[name, *(f"{value:.4g}" for value in _ends(points))] for name, points in losses.items()]
    says = "; ".join(f"{name} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in shown.items())
    return element(
        "div",
        lines("Losses by step", says, shown, "training step", ""),
        folded("Losses in numbers", table("Losses", ["loss", "first", "least", "last"], rows)),
    )


def _ends(points: Points) -> Iterator[float]:
    values = [value for _, value in points]
    yield from (values[0], min(values), values[-1])
