"""Calibration texts: some of the task's training texts, tokenized, in batches of similar lengths."""

from typing import TYPE_CHECKING

import numpy as np

from palmtop.compress.learning.encoded import Encoded

if TYPE_CHECKING:
    from palmtop.compress.learning.training_loop import Batch

BATCH = 32


def calibration_batches(data: Encoded, rows: int, seed: int) -> "list[Batch]":
    """At most `rows` texts, drawn without repetition, with their `labels`."""
    drawn = np.random.default_rng(seed).permutation(len(data))[:rows]
    drawn = drawn[np.argsort(data.lengths[drawn], kind="stable")]
    chosen = [drawn[start : start + BATCH].tolist() for start in range(0, len(drawn), BATCH)]
    return [data.batch(numbers) | {"labels": data.label_batch(numbers)} for numbers in chosen]
