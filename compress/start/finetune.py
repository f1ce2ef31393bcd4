"""Fine-tune a pretrained transformer on the task: a head of its own on top, plain labels."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from palmtop import task_kinds
from palmtop.bundle import Bundle, Format
from palmtop.compress.learning.batches import model_inputs
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.layer_choice import Choice, start_layers
from palmtop.compress.learning.special import Special
from palmtop.compress.learning.torch_bundles import shortened, task_of, write_classifier
from palmtop.compress.learning.training_settings import ChosenRates, TrainingStage
from palmtop.compress.learning.validation import Parts
from palmtop.errors import UserError
from palmtop.models.family import check_kept, check_padding, family_named
from palmtop.models.opening import keep_layers, outputs_of, with_head
from palmtop.stage import Outline, Work
from palmtop.task import Task, task_input
from palmtop.task_kinds.kind import TaskKind

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch


class Finetune(TrainingStage, ChosenRates):
    """Train a sequence classifier, a regression (squared error), a head that finds the answer to a question in its
    context, or vectors by whose cosine texts are compared."""

    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "torch"
    rates_tried: ClassVar[tuple[float, ...]] = (5e-5, 1.5e-4, 3e-4)
    steps_wanted: ClassVar[int] = 900
    epoch_bounds: ClassVar[tuple[int, int]] = (3, 12)

    layers: int | tuple[int, ...] | None = None
    """How many of the source's layers are trained, or which (0-based), the others dropped; all by default. With fewer
    it makes the student without a teacher that a distilled one has to beat."""
    choose: Choice = "spread"
    """Which layers a number means: spread from first to last; the lowest; or those of Shleifer and Rush's table."""

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here."""
        return task_input(self.task, self.chooses)

    def outline(self, source: Outline | None) -> Outline:
        """The source with the task's head."""
        if source is None or (self.task is None and source.labels is None):
            raise UserError("finetune needs a task: the name of a shipped one, or of a task's YAML file")
        task = Task.find(self.task) if self.task is not None else None
        tuned = replace(
            source,
            format="torch",
            labels=task.label_names if task else source.labels,
            task=task.kind if task else source.task,
        )
        check_kind(tuned, self.max_length)
        if self.layers is None or source.layers is None:
            return tuned
        chosen = start_layers(self.layers, self.choose, source.layers)
        if source.family is not None:
            check_kept(source.family, chosen)
        return replace(tuned, layers=len(chosen), layer_sets=None)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Train and write a Hugging Face folder that AutoModelForSequenceClassification, or ...ForQuestionAnswering,
        opens."""
        assert source is not None  # the driver checked `accepts`
        task = task_of(source, self.task)
        kind = task.of_kind
        signature = kind.signed(shortened(source, self.max_length))
        model, new = with_head(source.path, task, self.seed)
        if self.layers is not None:
            model = keep_layers(model, start_layers(self.layers, self.choose, model.config.num_hidden_layers))
        parts = Parts.of(task, self, work.say)
        data = Encoded.of(parts.train, source.path, signature)

        def loss(student: "PreTrainedModel", batch: "Batch") -> "dict[str, Tensor]":
            return {"labels": kind.label_loss(outputs_of(student(**model_inputs(batch))).float(), batch["labels"])}

        family = family_named(model.config.model_type)
        heads = {"new_head": family.new_head, "span_head": family.span_head, "token_head": family.token_head}
        head = heads[kind.head] if new else ()
        special = Special(head, self.rate_of_head(bool(new)))
        judge = parts.judge(task, source.path, signature, work.say)
        fitted = fit(model, data, loss, self, work.scratch, special=special, validation=judge)
        write_classifier(model, source, task, signature, work.out, held=parts.validation)
        keep_logs(work)
        return fitted.facts() | data.facts() | learnt_by(kind, data) | {"new_weights": new}


def learnt_by(kind: TaskKind, data: Encoded) -> dict[str, str]:
    """Fact: the loss that labels were learnt by, where the kind has several."""
    loss = kind.learnt_by(data.labels)
    return {} if loss is None else {"learnt_by": loss}


def check_kind(tuned: Outline, max_length: int) -> None:
    """Raises: UserError: the model or the length isn't for the kind of task."""
    if tuned.task is None:
        return
    kind = task_kinds.find(tuned.task)
    kind.check_length(max_length)
    check_padding(kind, tuned.family)
    if kind.per_token and not family_named(tuned.family).has_layers:
        raise UserError(
            f"a model of the family '{tuned.family}' knows no token from another, so it can't {kind.token_work}: "
            "fine-tune a transformer"
        )
    if kind.per_token and not getattr(family := family_named(tuned.family), kind.head):
        raise UserError(
            f"transformers has no {family.name} with a head that can {kind.token_work}: take another family, such as "
            "bert"
        )
