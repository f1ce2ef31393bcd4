"""Batches as a model takes them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from palmtop.compress.learning.training_loop import Batch


def model_inputs(batch: "Batch") -> "Batch":
    """The part of a batch that a model takes."""
    return {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in batch}
