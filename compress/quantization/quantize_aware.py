"""Train a float model on the grid of the integers that its .tflite will hold, taught by the float model it was."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.distillation.answer_losses import DistillationWeights, distillation_loss
from palmtop.compress.distillation.guards import check_named_task
from palmtop.compress.distillation.more_texts import MoreTexts
from palmtop.compress.distillation.teacher_signals import signals
from palmtop.compress.distillation.teachers import StatesKept, check_pair, named_teacher, teacher_input
from palmtop.compress.learning.fit import fit, keep_logs
from palmtop.compress.learning.torch_bundles import shortened, task_of, write_classifier
from palmtop.compress.learning.training_settings import ChosenRates
from palmtop.compress.learning.validation import Parts
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.opening import open_with_head
from palmtop.stage import Outline, Work
from palmtop.task import task_input

if TYPE_CHECKING:
    from palmtop.compress.quantization.fake_quantized import Rounding

WIDTHS = (4, 8)
"""Bits that kernels have integers of."""


class QuantizeAware(DistillationWeights, StatesKept, MoreTexts, ChosenRates):
    """Fine-tune with weights rounded to int8 or int4 as the file will hold them, distilled from the float model."""

    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "rounds"
    chooses_copies: ClassVar[bool] = True
    rates_tried: ClassVar[tuple[float, ...]] = (5e-6, 5e-5, 1.5e-4)  # for 8 bits a tenth of the float training's
    steps_wanted: ClassVar[int] = 300
    epoch_bounds: ClassVar[tuple[int, int]] = (1, 4)

    linear_bits: int = 4
    """Bits of the weights of linear layers: 8 or 4."""
    embedding_bits: int = 8
    """Bits of the tables that are looked up: 8 or 4."""
    int8_modules: tuple[str, ...] = ()
    """Modules that keep 8 bits among those of 4, by name or dotted part of it (classifier, layer.0, query); the file
    must keep the same."""
    block_size: Literal["none", "32", "64", "128", "256"] = "none"
    """Values of a row of a linear layer's 4-bit weight that share a scale; by default one scale for each output
    channel."""
    activations: bool = True
    """Round the inputs of linear layers too, as the file's kernels do when it runs."""
    teacher: str | None = None
    """Folder of another torch bundle with the same tokenizer and labels that teaches; by default the source itself, in
    float."""
    precision: Literal["float32"] = "float32"
    """bfloat16 has 8 bits of mantissa, and would round what lies on the grid once more."""
    dropout: bool = False
    """Keep the model's dropout while it is trained; the teacher answered without, and rounding is noise enough."""
    label_weight: float = Field(default=0.0, ge=0)
    """Weight of the hard labels; without them the model learns to answer as the float one, mistakes too."""

    @field_validator("linear_bits", "embedding_bits")
    @classmethod
    def _a_width_of_kernels(cls, value: int) -> int:
        if value not in WIDTHS:
            raise ValueError(f"{value} bits: give 8 or 4, the widths that LiteRT's kernels have")
        return value

    @field_validator("block_size", mode="before")
    @classmethod
    def _a_number_is_a_word(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.soft_weight == self.label_weight == self.cosine_weight == 0:
            raise ValueError("soft_weight, label_weight and cosine_weight are all 0: nothing would be learnt")
        if self.linear_bits == max(WIDTHS) and self.block_size != "none":
            raise ValueError(
                f"block_size is {self.block_size}, but linear_bits is 8, and the file has blocks of 4-bit weights only"
            )
        if self.int8_modules and self.linear_bits == self.embedding_bits == max(WIDTHS):
            raise ValueError(
                "int8_modules names modules that keep 8 bits, but all of them have 8: set linear_bits or "
                "embedding_bits to 4"
            )
        return self

    def inputs(self) -> dict[str, str]:
        """The data and the teacher, where they are named here, and what makes more of the data."""
        return task_input(self.task, self.chooses) | teacher_input(self.teacher) | self.more_inputs()

    def outline(self, source: Outline | None) -> Outline:
        """The source as it is; only its weights move."""
        if source is None or source.labels is None:
            raise UserError(
                "quantize_aware needs a fine-tuned or distilled model: put a 'finetune' or 'distill' step before it"
            )
        check_named_task(source.labels, self.task)
        self.check_more(source.task)
        return source

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Plan, ask the teacher once, train, and write a Hugging Face folder whose weights lie on the grid."""
        from palmtop.compress.learning.dropout import without_dropout
        from palmtop.compress.quantization.fake_quantized import join_only_type, plan, round_in_training, write_back

        assert source is not None  # the driver checked `accepts`
        task, signature = task_of(source, self.task), shortened(source, self.max_length)
        teacher = named_teacher(self.teacher, source) if self.teacher is not None else source
        model, taught = open_with_head(source.path), open_with_head(teacher.path).config
        check_pair(model.config, taught, task, compared=self.cosine_weight > 0)
        chosen = plan(model, *self._roundings(), self.int8_modules)
        parts = Parts.of(task, self, work.say)
        judge = parts.judge(task, source.path, signature, work.say)
        data = self.training_data(parts.train, source, signature, work, teacher)
        said = signals(teacher, data, self.wanted(self.last(taught.num_hidden_layers)), work.say)
        join_only_type(model)
        if not self.dropout:
            without_dropout(model)
        round_in_training(model, chosen, self.activations)
        loss = distillation_loss(self, task, self.cosine_weight)
        fitted = fit(model, data, loss, self, work.scratch, said.batch, validation=judge)
        write_back(model, chosen)
        write_classifier(model, source, task, signature, work.out, held=parts.validation)
        keep_logs(work)
        return fitted.facts() | _counts(chosen) | data.facts() | {"scheme": self._scheme, "teacher": teacher.digest}

    @property
    def _scheme(self) -> str:
        """What 'quantize' calls the grid."""
        block = "" if self.block_size == "none" else f"_block{self.block_size}"
        return f"dynamic_int{self.linear_bits}{block}" + (
            "_embedding_int4" if self.embedding_bits == min(WIDTHS) else ""
        )

    def _roundings(self) -> "tuple[Rounding, Rounding]":
        from palmtop.compress.quantization.fake_quantized import Rounding

        block = None if self.block_size == "none" else int(self.block_size)
        return Rounding(self.linear_bits, block), Rounding(self.embedding_bits)


def _counts(chosen: "dict[str, Rounding]") -> dict[str, int]:
    """How many modules were trained on which grid."""
    return {f"int{bits}_modules": sum(rounding.bits == bits for rounding in chosen.values()) for bits in WIDTHS}
