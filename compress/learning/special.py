"""What does not go for all parameters alike in a training, and what a training was."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from palmtop.compress.learning.precision import Precision


@dataclass(frozen=True)
class Special:
    """What does not go for all parameters alike, or changes from step to step."""

    head: Sequence[str] = ()
    """Names of modules that learn at `learning_rate * head_rate`."""
    head_rate: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    """A word of a parameter's dotted name, or several with their dots, and the rate of its own that such parameters
    learn at, without weight decay; the first that fits counts."""
    each_step: Callable[[int, int], None] | None = None
    """Called with (step, steps) before each step, from 0 on, also where a training is continued in the middle."""
    whole_table: bool = False
    """Train every row of the word embedding, also those that no text reads: where a loss or a batch goes by token ids
    of its own."""
    each_epoch: Callable[[int, Sequence[int]], None] | None = None
    """Called with an epoch's number, from 0 on, and its rows in their order, before its first batch is made."""


COMMON = Special()


@dataclass(frozen=True)
class Fitted:
    """What a training was."""

    steps: int
    processes: int
    device: str
    precision: Precision
    terms: dict[str, float]
    """Mean of each term of the loss over the last tenth of the steps."""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    """What was chosen on the validation split, and by which grades."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return {
            "steps": self.steps,
            "processes": self.processes,
            "device": self.device,
            "precision": self.precision,
            "loss": {name.removeprefix("loss_"): round(value, 6) for name, value in self.terms.items()},
            **self.chosen,
        }
