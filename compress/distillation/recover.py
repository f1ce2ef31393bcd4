"""Train what another stage left of a model, taught by another bundle: the one it was made of, or any with the same
tokens and labels."""

from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.answer_losses import DistillationWeights, distillation_loss
from palmtop.compress.distillation.guards import check_inputs, check_named_task
from palmtop.compress.distillation.more_texts import MoreTexts
from palmtop.compress.distillation.teacher_signals import signals
from palmtop.compress.distillation.teachers import StatesKept, check_pair, named_teacher, teacher_input
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.torch_bundles import shortened, task_of, write_classifier
from palmtop.compress.learning.training_settings import ChosenRates
from palmtop.compress.learning.validation import Parts
from palmtop.errors import UserError
from palmtop.models.opening import open_with_head
from palmtop.stage import Outline, Work
from palmtop.task import task_input


class Recover(DistillationWeights, StatesKept, MoreTexts, ChosenRates):
    """Fine-tune the source as it is, in whatever shape, on a teacher's soft targets and hidden states and on the
    labels."""

    produces: ClassVar[Format] = "torch"
    chooses_copies: ClassVar[bool] = True
    rates_tried: ClassVar[tuple[float, ...]] = (2e-5, 5e-5, 1.5e-4)
    steps_wanted: ClassVar[int] = 900
    epoch_bounds: ClassVar[tuple[int, int]] = (2, 12)

    teacher: str
    """Folder of the torch bundle that teaches; in a recipe a step's, as 'with: {teacher: STEP}'."""

    @model_validator(mode="after")
    def _taught(self) -> Self:
        if self.soft_weight == self.cosine_weight == 0:
            raise ValueError(
                "soft_weight and cosine_weight are both 0: the teacher would teach nothing; 'finetune' trains on "
                "labels alone"
            )
        return self

    def inputs(self) -> dict[str, str]:
        """The teacher, and the data where the task is named here, with what makes more of them."""
        return task_input(self.task, self.chooses) | teacher_input(self.teacher) | self.more_inputs()

    def outline(self, source: Outline | None) -> Outline:
        """The source as it is; only its weights move."""
        if source is None or source.labels is None:
            raise UserError(
                "recover needs a model with a task's head: put a 'finetune' step before it, and what makes the model "
                "smaller ('prune_structures', 'shrink', 'share', 'factorize')"
            )
        check_named_task(source.labels, self.task)
        self.check_more(source.task)
        return replace(source, format="torch")

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Ask the teacher once, train, and write a Hugging Face folder of the source's shape."""
        assert source is not None  # the driver checked `accepts`
        teacher = named_teacher(self.teacher, source)
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        student, taught = open_with_head(source.path), open_with_head(teacher.path).config
        check_pair(student.config, taught, task, compared=self.cosine_weight > 0)
        check_inputs(taught, signature.inputs, teacher.name)
        parts = Parts.of(task, self, work.say)
        judge = parts.judge(task, source.path, signature, work.say)
        data = self.training_data(parts.train, source, signature, work, teacher)
        said = signals(teacher, data, self.wanted(self.last(taught.num_hidden_layers)), work.say)
        loss = distillation_loss(self, task, self.cosine_weight)
        fitted = fit(student, data, loss, self, work.scratch, said.batch, validation=judge)
        write_classifier(student, source, task, signature, work.out, held=parts.validation)
        keep_logs(work)
        return fitted.facts() | data.facts() | {"teacher": teacher.digest}
