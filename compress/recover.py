"""Train what pruning left of a model, taught by another bundle: the unpruned one, or any teacher with the same tokens and labels."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distill import check_labels, distillation_loss
from palmtop.compress.finetune import shortened, task_of, write_classifier
from palmtop.compress.matching.guards import check_inputs, check_same_tokens
from palmtop.encoded import Encoded
from palmtop.errors import UserError
from palmtop.family import open_classifier
from palmtop.stage import Outline
from palmtop.task import Task
from palmtop.teacher import Wanted, signals
from palmtop.training import TrainingStage, fit, keep_logs

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


class Recover(TrainingStage):
    """Fine-tune the source as it is, in whatever shape, on a teacher's soft targets and hidden states and on the labels."""

    produces: ClassVar[Format] = "torch"

    teacher: str
    """Folder of the torch bundle that teaches; in a recipe a step's, as 'with: {teacher: STEP}'."""
    temperature: float = Field(default=2.0, gt=0)
    """T of the soft targets; their loss is multiplied by T^2 (Hinton et al. 2015)."""
    soft_weight: float = Field(default=1.0, ge=0)
    """Weight of the soft targets."""
    label_weight: float = Field(default=0.5, ge=0)
    """Weight of the hard labels."""
    cosine_weight: float = Field(default=1.0, ge=0)
    """Weight of the cosine distance between last hidden states."""
    signals_dtype: Literal["float16", "float32"] = "float16"
    """In which the teacher's hidden states are kept on disk."""

    @model_validator(mode="after")
    def _taught(self) -> Self:
        if self.soft_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight and cosine_weight are both 0: the teacher would teach nothing; 'finetune' trains on labels alone")
        return self

    def inputs(self) -> dict[str, str]:
        """The teacher, and the data where the task is named here."""
        named = {"task": Task.find(self.task).digest} if self.task is not None else {}
        return named | {"teacher": Bundle.open(Path(self.teacher)).digest}

    def outline(self, source: Outline | None) -> Outline:
        """The source as it is; only its weights move."""
        if source is None or source.labels is None:
            raise UserError("recover needs a model with a task's head: put 'prune_structures', 'shrink' or 'distill' before it")
        if self.task is not None:
            check_labels(dict(enumerate(source.labels)), Task.find(self.task))
        return replace(source, format="torch")

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Ask the teacher once, train, and write a Hugging Face folder of the source's shape."""
        assert source is not None  # the driver checked `accepts`
        teacher = Bundle.open(Path(self.teacher))
        if teacher.format != "torch":
            raise UserError(f"the teacher {teacher.name} is a {teacher.format} bundle: give a torch one")
        check_same_tokens(teacher.path, source.path)
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        student, taught = open_classifier(source.path), open_classifier(teacher.path).config
        self._check(student.config, taught, task)
        check_inputs(taught, signature.inputs, teacher.name)
        data = Encoded.of(task.load("train"), source.path, signature)
        said = signals(teacher, data, Wanted((taught.num_hidden_layers,) if self.cosine_weight else (), self.signals_dtype), print)
        fitted = fit(student, data, distillation_loss(self, task), self, scratch, said.batch)
        write_classifier(student, source, task, signature, out)
        keep_logs(scratch, out)
        return fitted.facts() | {"rows": len(data), "truncated": data.truncated, "teacher": teacher.digest}

    def _check(self, student: "PreTrainedConfig", teacher: "PreTrainedConfig", task: Task) -> None:
        """Whether the two and the task belong together."""
        for config in (student, teacher):
            check_labels(config.id2label, task)
        if self.cosine_weight and student.hidden_size != teacher.hidden_size:
            raise UserError(f"the teacher is {teacher.hidden_size} wide, the source {student.hidden_size}: their hidden states can't be "
                            "compared; set cosine_weight: 0")
