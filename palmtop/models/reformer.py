"""Reformer as palmtop builds it: trained on batches of any length, with dropout that a seed decides."""

from types import MethodType
from typing import TYPE_CHECKING, Any

from palmtop.models.family import longest_input

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def keep_both_streams(model: "PreTrainedModel") -> None:
    """Change a model in place; in evaluation it answers as before.

    transformers' own encoder computes each layer twice in training, to keep no states, and seeds torch anew from the
    clock for it: no training could be repeated. Its axial positions can only be trained on texts as long as all of
    them. Here autograd keeps the states, of texts that are short, and positions have no dropout.
    """
    body: Any = model.base_model
    body.encoder.forward = MethodType(_encode, body.encoder)
    if model.config.axial_pos_embds:
        places = body.embeddings.position_embeddings
        places.longest = longest_input(model.config.to_dict())
        places.forward = MethodType(_place, places)


def _encode(
    encoder: Any,
    hidden_states: "Tensor",
    attention_mask: "Tensor | None" = None,
    output_hidden_states: bool = False,
    **_: Any,
) -> Any:
    """Both streams after the last layer, side by side and normed, [batch, tokens, 2 * width] (section 3)."""
    import torch
    from torch.nn.functional import dropout
    from transformers.models.reformer.modeling_reformer import ReformerEncoderOutput

    first = second = hidden_states
    states = [second]
    for layer in encoder.layers:
        first = first + layer.attention(hidden_states=second, attention_mask=attention_mask).hidden_states
        second = second + layer.feed_forward(first)
        states.append(second)
    joined = encoder.layer_norm(torch.cat([first, second], dim=-1))
    return ReformerEncoderOutput(
        hidden_states=dropout(joined, encoder.dropout, encoder.training),
        all_hidden_states=states if output_hidden_states else [],
        all_attentions=[],
        past_buckets_states=None,
    )


def _place(places: Any, position_ids: "Tensor") -> "Tensor":
    """Axial positions (section 2): of place p the row p // columns of one table beside the row p % columns of the
    other; [1, tokens, width]."""
    import torch

    rows, columns = places.weights
    counted = torch.arange(places.longest, device=position_ids.device)
    across = columns.shape[1]
    table = torch.cat([rows[counted // across, 0], columns[0, counted % across]], dim=-1)
    return table[None, : position_ids.shape[1]]
