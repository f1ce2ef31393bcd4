"""BigBird's reader in a form that can be traced: which tokens are the question's is counted, not searched for."""

from types import MethodType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.modeling_outputs import QuestionAnsweringModelOutput

from palmtop.models.big_bird import attend_in_full

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HIDDEN = 1e6
"""transformers' own: what is taken from the logits of the question's tokens."""


def without_search(model: "PreTrainedModel") -> None:
    """Change a reader in place; it answers as before. Any other head can be traced as it is, with full attention."""
    attend_in_full(model)
    if type(model).__name__.endswith("ForQuestionAnswering"):
        forward: Any = MethodType(_forward, model)
        model.forward = forward


def _forward(model: Any, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Any:
    """Start and end logits, [batch, tokens] each; of the question and its separator far below all others."""
    states = model.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
    logits: Tensor = model.qa_classifier(states)
    separator = (input_ids == model.sep_token_id).to(torch.float32)
    before = (separator.cumsum(1) - separator).clamp(0.0, 1.0)  # 0 up to the first separator, itself among them
    context = (before + _first(before)).clamp(0.0, 1.0)
    logits = logits - (1.0 - context)[:, :, None] * HIDDEN
    return QuestionAnsweringModelOutput(start_logits=logits[..., 0], end_logits=logits[..., 1])


def _first(like: Tensor) -> Tensor:
    """1 for the first token, [batch, tokens]."""
    return 1.0 - ((like * 0.0 + 1.0).cumsum(1) - 1.0).clamp(0.0, 1.0)
