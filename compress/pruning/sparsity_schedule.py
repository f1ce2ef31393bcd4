"""When pruning happens in a training: dense at first, then less and less along a cubic, then at its aim until the
end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Shares of the training's steps. What lies between the two is the ramp."""

    warmup: float
    """Before the ramp: nothing is pruned."""
    cooldown: float
    """After the ramp: the aim is kept."""

    def progress(self, step: int, steps: int) -> float:
        """How far pruning has come before step `step` of `steps`, from 0 to 1: 1 - (1 - (t - t_i) / N)^3.

        Zhu and Gupta 2017 (1710.01878, eq. 1); Sanh et al. 2020 (2005.07683, 4.1). t_i is where the ramp starts, N its
        length.
        """
        ramp = 1 - self.warmup - self.cooldown
        passed = min(max((step / steps - self.warmup) / ramp, 0.0), 1.0)
        return 1 - (1 - passed) ** 3

    def kept(self, keep: float, step: int, steps: int) -> float:
        """The share that is kept before a step: v_t = v_f + (1 - v_f) (1 - (t - t_i) / N)^3, with v_f = `keep`."""
        return 1 - (1 - keep) * self.progress(step, steps)
