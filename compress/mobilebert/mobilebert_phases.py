"""MobileBERT's strategies as phases of training: which layers learn, at which rate, from what, and how long."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.nn import ModuleList

from palmtop.compress.distillation.answer_losses import answer_terms
from palmtop.compress.learning import phases
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.fit import fit
from palmtop.compress.learning.special import Fitted, Special
from palmtop.compress.mobilebert.mobilebert_pair import PROJECTIONS, Pair
from palmtop.compress.mobilebert.mobilebert_settings import MobilebertSettings
from palmtop.models.linears import layers_of
from palmtop.stage import Work
from palmtop.task import Task

if TYPE_CHECKING:
    from palmtop.compress.learning.training_loop import Loss, Signals


@dataclass(frozen=True)
class Plan:
    """One phase."""

    name: str
    transferred: tuple[int, ...]
    """Layers of the student, from 1, whose transfer losses are on."""
    depth: int
    """Layers of the student that run; those above stand still and cost nothing."""
    epochs: float
    answers: bool
    """Whether the teacher's answers and the labels are learnt."""
    lower: bool = False
    """Whether all below the last of these layers learns at `lower_rate`."""


def plans(settings: MobilebertSettings, layers: int) -> list[Plan]:
    """The phases of a strategy (2004.02984, 3.5).

    Progressive gives each layer the same share of transfer_epochs, so that it costs no more data than joint (paper: 24
    x 10,000 steps and 240,000).
    """
    everything, last = tuple(range(1, layers + 1)), Plan("prediction", (), layers, settings.epochs, True)
    if not settings.transfer_epochs:
        return [last]
    if settings.strategy == "auxiliary":
        return [Plan("auxiliary", everything, layers, settings.transfer_epochs + settings.epochs, True)]
    if settings.strategy == "joint":
        return [Plan("transfer", everything, layers, settings.transfer_epochs, False), last]
    share = settings.transfer_epochs / layers
    return [*(Plan(f"layer_{layer:02}", (layer,), layer, share, False, lower=True) for layer in everything), last]


def train(
    pair: Pair,
    settings: MobilebertSettings,
    task: Task,
    data: Encoded,
    heard: Callable[[Sequence[int]], "Signals"],
    work: Work,
) -> dict[str, Any]:
    """Run the phases and return what they were.

    Args:
        heard: hidden states -> the teacher's answers, and those states if there are any.
    """

    def phase(number: int, plan: Plan) -> phases.Phase:
        own = settings.model_copy(update={"epochs": plan.epochs, "seed": settings.seed + number})

        def run(folder: Path) -> Fitted:
            with _only(pair, plan, settings.lower_rate):
                said = heard(pair.transfer.hidden(plan.transferred))
                return fit(
                    pair.student, data, _loss(pair, plan, settings, task), own, folder, said, _special(plan, settings)
                )

        return phases.Phase(plan.name, run)

    made = [phase(number, plan) for number, plan in enumerate(plans(settings, pair.sizes.layers))]
    facts = phases.run(pair.student, made, work.scratch)
    phases.keep_logs(made, work)
    if pair.transfer.projections is not None:
        delattr(pair.student, PROJECTIONS)
    each = {name: {"steps": said["steps"], "loss": said["loss"]} for name, said in facts.items()}
    return facts[made[-1].name] | {
        "steps": sum(said["steps"] for said in facts.values()),
        "strategy": settings.strategy,
        "phases": each,
    }


def _loss(pair: Pair, plan: Plan, settings: MobilebertSettings, task: Task) -> "Loss":
    """The terms of a phase."""
    by_answers, transfer = answer_terms(settings, task), pair.transfer

    def loss(student: Any, batch: Any) -> Any:
        seen = transfer.student(batch, student)
        terms = transfer.terms(seen, batch, plan.transferred) if plan.transferred else {}
        return terms | (by_answers(seen.logits, batch) if plan.answers else {})

    return loss


def _special(plan: Plan, settings: MobilebertSettings) -> Special:
    """Progressive: what lies below the layer that learns has a rate of its own (TF1 code; the TF2 code lets all learn
    alike, summaries of the paper say frozen)."""
    if not plan.lower:
        return Special(whole_table=True)
    below = ("embeddings", *(f"encoder.layer.{number}" for number in range(plan.depth - 1)))
    return Special(rates=dict.fromkeys(below, settings.lower_rate * settings.learning_rate), whole_table=True)


@contextmanager
def _only(pair: Pair, plan: Plan, lower_rate: float) -> Iterator[None]:
    """Within: the student has only what the phase runs, and only what it trains has gradients."""
    encoder = pair.student.base_model.encoder
    whole = encoder.layer
    encoder.layer = ModuleList(list(whole)[: plan.depth])
    _choose_gradients(pair, plan, lower_rate)
    try:
        yield
    finally:
        encoder.layer = whole
        pair.student.requires_grad_(True)


def _choose_gradients(pair: Pair, plan: Plan, lower_rate: float) -> None:
    """Freeze what a phase's loss does not reach (processes of a distributed run would wait for its gradients), or is
    not to move."""
    student, layers = pair.student, layers_of(pair.student)
    for parameter in student.parameters():
        parameter.requires_grad_(not (plan.lower and lower_rate == 0))
    for layer in plan.transferred:
        layers[layer - 1].requires_grad_(True)
    student.get_submodule("classifier").requires_grad_(plan.answers)
    for layer, projection in enumerate(pair.transfer.projections or (), start=1):
        projection.requires_grad_(layer in plan.transferred)
