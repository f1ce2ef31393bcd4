"""Models that take no attention_mask: whoever calls one may give it one all the same, as all others take it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedModel


def leave_mask_out(model: "PreTrainedModel") -> None:
    """Let a model pass over the mask, which batches hold for losses, in place."""
    model.register_forward_pre_hook(_without_mask, with_kwargs=True)


def _without_mask(_: "Module", given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return given, {name: value for name, value in named.items() if name != "attention_mask"}
