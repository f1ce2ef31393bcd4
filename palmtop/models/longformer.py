"""Longformer as palmtop builds it: a question's tokens see all, wherever its separators stand."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel


def see_the_question(model: "PreTrainedModel") -> None:
    """Tell a reader which tokens see all, in place: those before the first separator, as transformers finds them.

    Its own search asks for exactly three separators in each text, and fails on a context that holds a further one.
    """
    if type(model).__name__.endswith("ForQuestionAnswering"):
        model.register_forward_pre_hook(_Question(model.config.sep_token_id), with_kwargs=True)


class _Question:
    """Adds global_attention_mask to what a reader is given; a hook before its forward pass."""

    def __init__(self, separator: int) -> None:
        self._separator = separator

    def __call__(self, _: "Module", given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """input_ids [batch, tokens] -> global_attention_mask, the same, 1 before the first separator."""
        ids: Tensor = named["input_ids"]
        before = (ids == self._separator).int().cumsum(1) == 0
        return given, {"global_attention_mask": before.to(ids.dtype)} | named
