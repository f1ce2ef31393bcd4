"""The settings of prune_structures: criterion, budget, data."""

from abc import ABC
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Format
from palmtop.effect import Effect
from palmtop.stage import Stage


class StructureSettings(Stage, ABC):
    """What decides which heads, neurons and layers go, and how many."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers")
    threaded: ClassVar[bool] = True

    criterion: Literal["magnitude", "fisher", "second_order"] = "second_order"
    """What decides: the size of the weights; the Fisher information of masks (Kwon et al. 2022); or the error of each
    layer's output, with the update that makes it least (ZipLM, Kurtic et al. 2023)."""
    speedup: float | None = Field(default=None, ge=1, le=100)
    """How many times faster than with all heads and neurons, by a latency table measured in LiteRT on this machine; or
    give keep."""
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
            raise ValueError(
                "give one of speedup (such as 2.0, measured in LiteRT) and keep (such as 0.5, of the multiply-adds)"
            )
        return self
