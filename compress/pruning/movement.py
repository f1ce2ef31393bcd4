"""Prune by movement while training: what the task moves away from zero is kept; hard, soft, or by L0 gates."""

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Format
from palmtop.compress.pruning.pruned_training import PruningStage

if TYPE_CHECKING:
    from palmtop.compress.pruning.masks import Rule

PENALTIES = {"soft": 400.0, "l0": 125.0}
THRESHOLD = 0.1


class Movement(PruningStage):
    """Learn a score beside each weight (block, head, row) and keep those that score highest (Sanh et al. 2020,
    2005.07683).

    hard: the best are kept, exactly the share asked for. soft: those with sigmoid(score) over a threshold that rises
    along the schedule, pressed down by a penalty. l0: gates that open by chance (Louizos et al. 2018, 1712.01312),
    pressed likewise. With `keep`, soft and l0 never keep more than the schedule's share, and the penalty rests while
    they keep less; without, threshold and penalty alone decide, as in the paper. Threshold and penalty are the
    reference code's (sigmoid(S) > threshold, a mean), not the paper's (S > threshold, a sum): weights of the penalty
    don't carry over from one to the other.
    """

    produces: ClassVar[Format] = "torch"
    fewest_steps: ClassVar[int] = 500
    """Between 125 steps, after which every text had the same answer (TREC), and 940, with which movement won (CLINC150,
    5,000 rows)."""

    method: Literal["hard", "soft", "l0"] = "hard"
    """How scores become masks."""
    score_rate: float = Field(default=1e-2, gt=0)
    """AdamW's highest rate of the scores; falls linearly to 0; no weight decay."""
    score_start: Literal["zero", "magnitude"] = "zero"
    """What scores start from: zero, as in the paper; or a weight's rank by magnitude in its matrix, from 0 to 1, which
    learning then corrects (ours, no paper's)."""
    threshold: float | None = Field(default=None, gt=0, lt=1)
    """Of sigmoid(score) at the end, for soft; by default 0.1."""
    penalty: float | None = Field(default=None, ge=0)
    """Weight of the mean sigmoid(score) (soft) or of the mean chance that a gate is open (l0) at the end; by default
    400 and 125."""

    @model_validator(mode="after")
    def _fits_the_method(self) -> Self:
        if self.method == "hard" and self.keep is None:
            raise ValueError(
                "keep is missing: say which share of the weights is to be kept, such as 0.1 (soft and l0 can do "
                "without)"
            )
        if self.method == "hard" and self.penalty is not None:
            raise ValueError(f"penalty is {self.penalty}, but method hard has none: leave it out, or take soft or l0")
        if self.method != "soft" and self.threshold is not None:
            raise ValueError(
                f"threshold is {self.threshold}, but method {self.method} has none: leave it out, or take soft"
            )
        if self.method == "l0" and self.score_start != "zero":
            raise ValueError("score_start is magnitude, but gates of l0 start open: leave it out, or take hard or soft")
        if self.method == "l0" and self.granularity not in ("weight", "block32"):
            raise ValueError(
                f"granularity is {self.granularity}, but l0 gates stand on weights and block32 only: take hard or soft"
            )
        return self

    def rule(self) -> "Rule":
        """The rule of the method."""
        from palmtop.compress.pruning.masks import Rule
        from palmtop.compress.pruning.sparsity_schedule import Schedule

        penalty = PENALTIES.get(self.method, 0.0) if self.penalty is None else self.penalty
        return Rule(
            self.method,
            Schedule(self.mask_warmup, self.mask_cooldown),
            self.keep,
            self.scope or ("local" if self.method == "hard" else "global"),
            self.threshold or THRESHOLD,
            penalty,
            self.score_start,
        )

    def rates(self) -> dict[str, float]:
        """The scores'."""
        from palmtop.compress.pruning.masks import SCORES

        return {SCORES: self.score_rate}
