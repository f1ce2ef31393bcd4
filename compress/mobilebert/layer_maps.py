"""What a model's layers say in one forward pass: their outputs (feature maps), and the queries, keys and values of
their attention."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import layer_norm

from palmtop.compress.learning.batches import model_inputs
from palmtop.models.layer_weights import norm_of
from palmtop.models.linears import Part, layers_of, part_of

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedModel

    from palmtop.compress.learning.training_loop import Batch

EPSILON = 1e-12

_ATTENTION: tuple[Part, ...] = ("query", "key", "value")


@dataclass(frozen=True)
class Seen:
    """What a forward pass gave."""

    logits: Float[Tensor, "batch outputs"]
    maps: list[Float[Tensor, "batch tokens width"]]
    """0 is the embeddings' output, l that of layer l."""
    projections: list[dict[Part, Float[Tensor, "batch tokens inner"]]]
    """Queries, keys and values of each layer, biases in, heads side by side; l - 1 is layer l's. Empty where not asked
    for."""


class Watched:
    """A classifier whose layers are watched, by hooks that stay as long as the model."""

    def __init__(self, model: "PreTrainedModel", normalised: bool, attention: bool) -> None:
        """
        Args:
            model: a MobileBERT, or for normalised maps one whose layers end with a LayerNorm.
            normalised: take as maps what the layers' LayerNorms make before their scale and shift: mean 0 and variance
                1 for each token. Otherwise the layers' outputs as they are.
            attention: watch queries, keys and values too.
        """
        self.model, self._attention = model, attention
        self._found: dict[tuple[str, int], Any] = {}
        keep = self._keep_normalised if normalised else self._keep_output
        for number, module in enumerate(
            norms_of(model) if normalised else [model.base_model.embeddings, *layers_of(model)]
        ):
            module.register_forward_hook(partial(keep, ("map", number)))
        if attention:
            for number, layer in enumerate(layers_of(model)):
                for part in _ATTENTION:
                    part_of(layer, part, model.config.model_type).register_forward_hook(
                        partial(self._keep_output, (part, number))
                    )

    def __call__(self, batch: "Batch", wrapped: Any = None) -> Seen:
        """One forward pass of the model, through `wrapped` where a distributed run has wrapped it."""
        self._found.clear()
        output = (wrapped or self.model)(**model_inputs(batch))
        count = len(layers_of(self.model))
        maps = [self._found["map", number].float() for number in range(count + 1)]
        projections = [
            {part: self._found[part, number] for part in _ATTENTION}
            for number in range(count if self._attention else 0)
        ]
        self._found = {}  # no graph outlives its step
        return Seen(output.logits.float(), maps, projections)

    def _keep_normalised(self, key: tuple[str, int], _: "Module", given: tuple[Tensor, ...], __: Tensor) -> None:
        self._found[key] = normalised(given[0].float())

    def _keep_output(self, key: tuple[str, int], _: "Module", __: tuple[Tensor, ...], output: Tensor) -> None:
        self._found[key] = output


def normalised(values: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """LayerNorm without scale and shift: mean 0 and variance 1 over the last axis."""
    return layer_norm(values, values.shape[-1:], eps=EPSILON)


def norms_of(model: "PreTrainedModel") -> "list[Module]":
    """The LayerNorms that end the embeddings and each layer of a model of BERT's kind."""
    kind = model.config.model_type
    return [
        model.base_model.embeddings.LayerNorm,
        *(norm_of(layer, "feed_forward", kind) for layer in layers_of(model)),
    ]
