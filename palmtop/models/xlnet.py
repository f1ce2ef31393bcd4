"""XLNet as palmtop builds it: of a text that is padded on the right its own last token speaks, not the padding."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from transformers import PreTrainedModel


def read_the_last_token(model: "PreTrainedModel") -> None:
    """Let a classifier's summary read each text's last token, in place; its class reads the last place of the batch,
    since its own tokenizer pads on the left. Positions are relative, so the answers are the same.

    It keeps no memory of the texts before either, which a classifier has no use for.
    """
    summary = _Summary()
    model.register_forward_pre_hook(summary.begin, with_kwargs=True)
    if (reader := dict(model.named_children()).get("sequence_summary")) is not None:
        reader.register_forward_pre_hook(summary.choose)


class _Summary:
    """Hands the last token's states to the summary; two hooks, of which the first sees the mask."""

    def __init__(self) -> None:
        self._mask: Tensor | None = None

    def begin(self, _: "Module", given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        self._mask = named.get("attention_mask")
        return given, {"use_mems": False} | named

    def choose(self, _: "Module", given: "tuple[Tensor, ...]") -> "tuple[Tensor, ...]":
        """States [batch, tokens, width] -> [batch, 1, width]."""
        states, *rest = given
        if self._mask is None:
            return given
        real = self._mask.to(states.dtype)
        left = real.sum(1, keepdim=True) - real.cumsum(1)  # tokens behind each; 0 of the last one, and of padding
        last = (1.0 - left.clamp(0.0, 1.0)) * real
        return (last[:, None, :] @ states, *rest)
