"""The forward pass that is exported, for every format: int32 inputs in, float32 answers out, one finite mask."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from palmtop import task_kinds
from palmtop.bundle import Bundle
from palmtop.converter_log import CONVERSION, captured
from palmtop.errors import UserError
from palmtop.families.family import Family
from palmtop.format import called
from palmtop.models.family import family_named
from palmtop.models.opening import open_with_head
from palmtop.signature import Signature
from palmtop.stage import Outline
from palmtop.task_kinds.kind import TaskKind

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MASKED = -1e4
"""Added to the scores of padding. Finite, because an infinite one ends as NaN in quantized graphs; exp(-1e4) is 0 in
float32."""


class EdgeClassifier(torch.nn.Module):
    """A sequence classifier as an app calls it: inputs by position, [batch, tokens] int32, output [batch, outputs]
    float32."""

    def __init__(
        self, model: "PreTrainedModel", inputs: Sequence[str], probabilities: bool, kind: TaskKind | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self._inputs, self._probabilities = tuple(inputs), probabilities
        self._kind = kind or task_kinds.find("classification")
        self._additive = family(model).takes_additive_mask
        if (traced_by := family(model).traced_by) is not None:
            called(traced_by)(model)
        if self._additive and self._kind.head_reads_mask:
            self._additive = False
            model.base_model.register_forward_pre_hook(_AdditiveMask(), with_kwargs=True)
        if (window := family(model).window) is not None:
            model.base_model.register_forward_pre_hook(
                _MasksByLayerType(getattr(model.config, window)), with_kwargs=True
            )

    def at_one_length(self) -> "EdgeClassifier":
        """The same, to be traced for one text of one length."""
        if (by := family(self.model).at_one_length) is not None:
            called(by)(self.model)
        return self

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
    ) -> "torch.Tensor | dict[str, torch.Tensor]":
        """Answer a padded batch."""
        named = {"input_ids": input_ids}
        if attention_mask is not None:
            named["attention_mask"] = hidden(attention_mask) if self._additive else attention_mask
        if "token_type_ids" in self._inputs and token_type_ids is not None:
            named["token_type_ids"] = token_type_ids
        return self._kind.graph_outputs(self.model(**named), self._probabilities)


class _AdditiveMask:
    """Gives a transformer the additive mask of the plain one; a hook before its forward pass, so that a head that
    counts real tokens still sees the plain one."""

    def __call__(self, _: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """attention_mask [batch, tokens] -> [batch, 1, 1, tokens]."""
        return given, named | {"attention_mask": hidden(named["attention_mask"])}


class _MasksByLayerType:
    """Gives a transformer with local layers finite masks for both kinds, of the plain one; a hook before its forward
    pass, so that its head still sees the plain one."""

    def __init__(self, window: int) -> None:
        self._window = window

    def __call__(self, _: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """attention_mask [batch, tokens] -> [batch, 1, 1, tokens] for global layers, [batch, 1, tokens, tokens] for
        local ones."""
        everywhere = hidden(named["attention_mask"])
        places = torch.arange(everywhere.shape[-1], device=everywhere.device)
        far = (places[:, None] - places[None, :]).abs() > self._window
        masks = {"full_attention": everywhere, "sliding_attention": everywhere + far.to(torch.float32) * MASKED}
        return given, named | {"attention_mask": masks}


def hidden(attention_mask: torch.Tensor) -> torch.Tensor:
    """[batch, tokens] of 1 for real tokens -> [batch, 1, 1, tokens], to be added to scores."""
    return (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * MASKED


def family(model: "PreTrainedModel") -> Family:
    """The family of a model that is open."""
    return family_named(model.config.model_type)


def edge_classifier(source: Bundle, probabilities: bool) -> EdgeClassifier:
    """The forward pass of a torch bundle, in eval mode: a classifier's, or a reader's."""
    signature, task = source.signature, source.task
    kind = task.of_kind if task else task_kinds.by_output(signature.output)
    return EdgeClassifier(open_with_head(source.path), signature.inputs, probabilities, kind).eval()


def signature_of_export(source: Bundle, probabilities: bool) -> tuple[Signature, tuple[str, ...]]:
    """The signature of a torch bundle's export for any length, and the names of its outputs."""
    known, task = source.signature, source.task
    kind = task.of_kind if task else task_kinds.by_output(known.output)
    if not probabilities:
        return known, kind.output_names
    if kind.probabilities is None:
        raise UserError(kind.no_probabilities)
    return known.model_copy(update={"output": kind.probabilities}), ("probabilities",)


def example(inputs: Sequence[str], batch: int, tokens: int) -> dict[str, torch.Tensor]:
    """Inputs to trace with: int32 [batch, tokens], the last token padded."""
    made = {
        "input_ids": torch.full((batch, tokens), 5, dtype=torch.int32),
        "attention_mask": torch.ones(batch, tokens, dtype=torch.int32),
        "token_type_ids": torch.zeros(batch, tokens, dtype=torch.int32),
    }
    made["attention_mask"][:, -1] = 0
    return {name: made[name] for name in inputs}


def any_size_program(
    edge: EdgeClassifier, inputs: Sequence[str], longest: int, only: int | None = None
) -> torch.export.ExportedProgram:
    """The graph for any batch and any length from the family's shortest to `longest`, or for `only` one."""
    return trace_any_size(edge, inputs, family(edge.model).shortest, longest, only)


def trace_any_size(
    module: torch.nn.Module, inputs: Sequence[str], shortest: int, longest: int, only: int | None = None
) -> torch.export.ExportedProgram:
    """The graph of a module that takes `inputs`, for any batch and any length between two, or for `only` one."""
    batch = {0: torch.export.Dim("batch", min=1, max=1024)}
    tokens = {} if only else {1: torch.export.Dim("tokens", min=shortest, max=longest)}
    sizes = {name: batch | tokens for name in inputs}
    arguments = example(inputs, 3, only or min(16, longest))
    with torch.no_grad():
        return torch.export.export(module, (), arguments, dynamic_shapes=sizes, strict=False)


@contextmanager
def converting(out: Path) -> Iterator[None]:
    """What converters say goes into the bundle's log, and torch keeps no stack trace of each call: no file holds them,
    and they took a tenth of a conversion's time."""
    before = fx.config.do_not_emit_stack_traces
    fx.config.do_not_emit_stack_traces = True
    try:
        with captured(out / CONVERSION):
            yield
    finally:
        fx.config.do_not_emit_stack_traces = before


def copy_app_files(source: Bundle, out: Path) -> None:
    """What an artefact carries beside the model: tokenizer, labels, task."""
    for name in ("tokenizer.json", "tokenizer_config.json", "labels.txt", "task.json"):
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, out / name)


def outline_of_export(stage: str, source: Outline | None, produces: Any, probabilities: bool) -> Outline:
    """What an export gives.

    Raises:
        UserError: the source has no head, or gives a number, of which there is no softmax.
    """
    if source is None or source.labels is None:
        raise UserError(f"{stage} needs a model with a task's head: put a 'finetune' step before it")
    if probabilities and source.task is not None and not task_kinds.find(source.task).probabilities:
        raise UserError(task_kinds.find(source.task).no_probabilities)
    if probabilities and len(source.labels) == 1:
        raise UserError("probabilities is for classification; a regression's answer is a number as it is")
    return Outline(
        produces,
        source.family,
        source.layers,
        source.labels,
        task=source.task,
        not_wordpiece=source.not_wordpiece,
    )


def task_lengths(source: Bundle) -> "list[int]":
    """Tokens of every training text of the bundle's task, truncated at the bundle's own longest length."""
    from palmtop.data.tokenization import HostTokenizer

    task = source.task
    if task is None:
        raise UserError(f"{source.name} has no task whose texts could tell the length: give 'lengths', such as 128")
    rows = HostTokenizer.of(source.path, source.signature).encode(task.load("train").texts)
    return [len(row) for row in rows]
