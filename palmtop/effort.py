"""Effort: what a stage costs, said before it works, in things that a short trial can time on any machine."""

from dataclasses import dataclass

FORWARD = 1 / 3
"""Of a training step, what only answering takes: going back is twice the work of going forth."""


@dataclass(frozen=True)
class Effort:
    """What a stage does with the task's training texts, and what it takes besides."""

    training: float = 0.0
    """Layers that each training text goes through forth and back, of all epochs together; a narrow layer counts as
    much as a wide one."""
    answering: float = 0.0
    """Layers that each training text goes through forth only: a teacher's."""
    seconds: float = 0.0
    """What doesn't depend on the texts."""

    def texts_seconds(self, rows: int, pace: float) -> tuple[float, float]:
        """What training takes, and what the rest does.

        Args:
            rows: training texts.
            pace: seconds of a text through one layer, forth and back.
        """
        return rows * pace * self.training, rows * pace * self.answering * FORWARD + self.seconds
