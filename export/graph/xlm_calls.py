"""How XLM is called when it is traced: it makes a cache, and asks the inputs' numbers how long texts are, and a graph
can hold neither."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


class NoCache:
    """Stands for a cache that holds nothing."""

    def update(self, keys: "Tensor", values: "Tensor", _: int) -> "tuple[Tensor, Tensor]":
        """What a layer attends to: what it has just made."""
        return keys, values


class WholeTexts:
    """Stands for the lengths of texts, [batch], which are read only to see that none is longer than the batch: the mask
    says where they end."""

    def __init__(self, input_ids: "Tensor") -> None:
        self._texts, self._tokens, self.device = input_ids.shape[0], input_ids.shape[1], input_ids.device

    def size(self, _: int) -> Any:
        """How many texts there are."""
        return self._texts

    def max(self) -> "WholeTexts":
        """The longest of them."""
        return self

    def item(self) -> Any:
        """Its tokens."""
        return self._tokens


def call_without_cache(model: "PreTrainedModel") -> None:
    """Hand a model what makes its forward pass traceable, in place."""
    model.base_model.register_forward_pre_hook(_traceable, with_kwargs=True)


def _traceable(body: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    ids = given[0] if given else named["input_ids"]
    looked_up = {"input_ids": None, "inputs_embeds": body.embeddings(ids)}  # ids would be cut to those not yet cached
    return (), named | looked_up | {"cache": NoCache(), "lengths": WholeTexts(ids)}
