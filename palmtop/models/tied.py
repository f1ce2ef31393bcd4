"""Telling transformers which names of a model stand for one parameter, so that a file holds it once and opens without a
gap."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


def declare_tied(model: "PreTrainedModel") -> None:
    """Declare every parameter that has several names, in place; it is stored under the first."""
    first: dict[Tensor, str] = {}
    tied = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if parameter in first:
            tied[name] = first[parameter]
        else:
            first[parameter] = name
    declared: Any = model
    declared._tied_weights_keys = (model._tied_weights_keys or {}) | tied
    declared.all_tied_weights_keys = model.all_tied_weights_keys | tied
