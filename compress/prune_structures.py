"""Remove attention heads, feed-forward neurons and whole layers until a model is as fast as asked: smaller matrices, no retraining."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.finetune import task_of, write_classifier
from palmtop.encoded import Encoded
from palmtop.errors import UserError
from palmtop.family import keep_layers, open_classifier
from palmtop.layer_latency import check_measurable
from palmtop.reshaped import check_family, check_own_weights, with_shape
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage

CHECKED = 64
"""Texts on which the smaller model is compared with the masked one, and by which whole layers are chosen."""


class PruneStructures(Stage):
    """Cut heads, feed-forward neurons and layers to a budget; the weights that are left are fitted to do what was done before."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")

    criterion: Literal["magnitude", "fisher", "second_order"] = "second_order"
    """What decides: the size of the weights; the Fisher information of masks (Kwon et al. 2022); or the error of each layer's output,
    with the update that makes it least (ZipLM, Kurtic et al. 2023)."""
    speedup: float | None = Field(default=None, ge=1, le=100)
    """How many times faster than with all heads and neurons, by a latency table measured in LiteRT on this machine; or give keep."""
    keep: float | None = Field(default=None, gt=0, le=1)
    """Share of the multiply-adds of all heads and feed-forward neurons that is kept."""
    drop_layers: int = Field(default=0, ge=0, le=100)
    """Whole layers that are left out first: those without which the answers change least."""
    length: int = Field(default=32, ge=4, le=4096)
    """Tokens of the text whose time or multiply-adds are counted."""
    threads: int = Field(default=1, ge=1, le=64)
    """Threads of the latency table."""
    rows: int = Field(default=512, ge=16, le=100_000)
    """Training texts that are looked at (Kwon et al.: 2048; ZipLM: 512 to 2048)."""
    labels: Literal["task", "model"] = "model"
    """Whose labels the losses have: the task's, or drawn from the model's own answers; magnitude needs none."""
    rearrange: bool = True
    """Fisher: exchange heads and neurons within a layer by the full Fisher matrix of the layer's masks."""
    rescale: bool = True
    """Fisher: fit a factor for each head and neuron that is left, layer by layer."""
    damping: float = Field(default=0.01, gt=0, le=1)
    """Second order: lambda as a share of the inputs' mean square."""
    width_multiple: int = Field(default=8, ge=1, le=256)
    """Feed-forward widths are multiples of this, as kernels like them."""
    seed: int = 0

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.speedup is None) == (self.keep is None):
            raise ValueError("give one of speedup (such as 2.0, measured in LiteRT) and keep (such as 0.5, of the multiply-adds)")
        return self

    def outline(self, source: Outline | None) -> Outline:
        """The source with fewer layers, where some are dropped."""
        if source is None or source.labels is None or source.layers is None:
            raise UserError("prune_structures needs a fine-tuned or distilled model: put a 'finetune' or 'distill' step before it")
        family = source.family or "bert"
        check_family(family)
        if self.speedup is not None:
            check_measurable(family)
        if self.drop_layers >= source.layers:
            raise UserError(f"drop_layers is {self.drop_layers}, but the source has {source.layers} layers: at least one must stay")
        check_own_weights(source.changes)
        left = source.layers - self.drop_layers
        return replace(source, format="torch", layers=left, layer_sets=left, changes=with_shape(source.changes))

    def run(self, source: Bundle | None, out: Path, scratch: Path) -> dict[str, Any]:
        """Choose, remove, fit, cut, compare, write a Hugging Face folder (which palmtop opens: its layers differ in width)."""
        from palmtop.blocks import layers_of
        from palmtop.compress.pruning.calibration import calibration_batches
        from palmtop.compress.pruning.slicing import check_equal, shape_facts, sliced
        from palmtop.compress.pruning.structure_choice import chosen_structures
        from palmtop.compress.pruning.sublayers import kept_of
        from palmtop.compress.pruning.whole_layers import layers_to_keep

        assert source is not None  # the driver checked `accepts`
        task, signature, model = task_of(source, None), Signature.read(source.path), open_classifier(source.path)
        data, before = Encoded.of(task.load("train"), source.path, signature), model
        batches, few = (calibration_batches(data, rows, self.seed) for rows in (self.rows, CHECKED))
        layers = len(layers_of(model))
        left = layers_to_keep(model, layers, self.drop_layers, few, task) if self.drop_layers else list(range(layers))
        model = keep_layers(model, left).eval() if self.drop_layers else model
        chosen = chosen_structures(model, self, layers, batches, task)
        smaller = sliced(chosen.masked, kept_of(chosen.sublayers, chosen.kept))
        facts = shape_facts(smaller, before) | check_equal(chosen.masked, smaller, few)
        write_classifier(smaller, source, task, signature, out)
        return facts | chosen.facts | {"layers_kept": left, "rows": min(self.rows, len(data))}
