"""BigBird as palmtop builds it: with full attention from the start."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def attend_in_full(model: "PreTrainedModel") -> None:
    """Give every layer full attention, in place, as transformers does on the first text that is too short for sparse
    attention, and for good: so no answer depends on the texts before it."""
    body: Any = model.base_model
    body.set_attention_type("original_full")
