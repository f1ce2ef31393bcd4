"""Prune by magnitude while training: the largest weights, blocks, heads or rows are kept."""

from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import model_validator

from palmtop.bundle import Format
from palmtop.compress.pruning.pruned_training import PruningStage

if TYPE_CHECKING:
    from palmtop.compress.pruning.masks import Rule


class Magnitude(PruningStage):
    """Keep the largest, fewer and fewer along a cubic schedule, while the rest learns (Zhu and Gupta 2017, 1710.01878).

    What is pruned gets no gradient, as in the reference code of Sanh et al. 2020; their paper lets it come back.
    """

    produces: ClassVar[Format] = "torch"

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if self.keep is None:
            raise ValueError("keep is missing: say which share of the weights is to be kept, such as 0.1")
        return self

    def rule(self) -> "Rule":
        """The largest, of each matrix unless the scope is global."""
        from palmtop.compress.pruning.masks import Rule
        from palmtop.compress.pruning.sparsity_schedule import Schedule

        return Rule(
            "magnitude", Schedule(self.mask_warmup, self.mask_cooldown), self.keep, self.scope or "local", 0.0, 0.0
        )

    def rates(self) -> dict[str, float]:
        """Magnitudes aren't learnt."""
        return {}
