"""The forward passes of a model that writes, as they are exported: keys and values go in and come out of every call."""

from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache
from transformers.pytorch_utils import Conv1D

from palmtop.export.graph.edge import MASKED, family
from palmtop.format import called
from palmtop.models.family import longest_input
from palmtop.signature import PAST, PRESENT, Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HALVES = ("key", "value")


class _StaticCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Keys and values of a fixed number of slots, [1, heads, slots, head size]; new ones are written by a product with
    zeros and ones, as a scatter has no kernel on some delegates."""

    def __init__(self, pasts: list[list[torch.Tensor]], places: torch.Tensor) -> None:
        """
        Args:
            places: [slots, tokens], 1 where a token's slot is.
        """
        super().__init__(layers=[])
        self.pasts, self._places = pasts, places

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All slots, with the new ones in theirs."""
        kept = (1.0 - self._places.sum(-1))[None, None, :, None]
        self.pasts[layer_idx] = [
            before * kept + torch.matmul(self._places[None, None], new)
            for before, new in zip(self.pasts[layer_idx], (key_states, value_states), strict=True)
        ]
        keys, values = self.pasts[layer_idx]
        return keys, values

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Nothing asks it, as positions and the mask are given."""
        return 0


class _GrowingCache(_StaticCache):
    """Keys and values that new ones are put behind."""

    def __init__(self, pasts: list[list[torch.Tensor]]) -> None:
        super().__init__(pasts, torch.empty(0))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Old and new."""
        self.pasts[layer_idx] = [
            torch.cat([before, new], dim=2)
            for before, new in zip(self.pasts[layer_idx], (key_states, value_states), strict=True)
        ]
        keys, values = self.pasts[layer_idx]
        return keys, values


class _Steps(torch.nn.Module):
    """What both forms share: a language model with linear layers as `Linear`, and its last hidden states."""

    def __init__(self, model: "PreTrainedModel") -> None:
        super().__init__()
        self.model = model
        if (traced_by := family(model).traced_by) is not None:
            called(traced_by)(model)
        as_linear(model)
        windows_by = family(model).windows_by
        self._windows: Any = called(windows_by)(model) if windows_by is not None else None
        self.layers = int(model.config.num_hidden_layers)

    def hidden(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        distance: torch.Tensor,
        padding: torch.Tensor | float,
        cache: Cache,
    ) -> torch.Tensor:
        """[batch, tokens, width].

        Args:
            distance: int [tokens, keys], of a key behind a token; less than 0 for one that comes later.
            padding: 1 where a key is none, to be added to [batch, heads, tokens, keys].
        """
        if self._windows is not None:
            self._windows.see(distance)
        mask = ((distance < 0).to(torch.float32)[None, None] + padding) * MASKED
        body: Any = self.model.base_model
        states: torch.Tensor = body(
            input_ids=input_ids, position_ids=positions, attention_mask=mask, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return states

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Of the next token."""
        made: torch.Tensor = self.model.get_output_embeddings()(hidden)
        return made


class StaticSteps(_Steps):
    """Reads tokens behind `start` others: logits of the token after the `last` of them, [1, vocabulary], and the cache.

    Tokens after the last are padding: their slots come later than its own, so that nothing reads them before they are
    written over.
    """

    def forward(
        self, input_ids: torch.Tensor, start: torch.Tensor, last: torch.Tensor | None = None, **cache: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """
        Args:
            input_ids: int32 [1, tokens].
            start: int32 [1], tokens in the cache.
            last: int32 [1]; None where there is one token.
            cache: float32 [1, heads, slots, head size] each.
        """
        pasts = [[cache[_static(PAST, layer, half)] for half in HALVES] for layer in range(self.layers)]
        places = start + torch.arange(input_ids.shape[1], dtype=torch.int32)
        slots = torch.arange(pasts[0][0].shape[2], dtype=torch.int32)
        written = (slots[:, None] == places[None, :]).to(torch.float32)
        known = _StaticCache(pasts, written)
        positions = places.clamp(max=longest_input(self.model.config.to_dict()) - 1)[None]
        hidden = self.hidden(input_ids, positions, places[:, None] - slots[None, :], 0.0, known)[0]
        if last is not None:
            chosen = torch.arange(input_ids.shape[1], dtype=torch.int32)[None, :] == last[:, None]
            hidden = torch.matmul(chosen.to(torch.float32), hidden)
        return {"logits": self.logits(hidden)} | {
            _static(PRESENT, layer, half): known.pasts[layer][place]
            for layer in range(self.layers)
            for place, half in enumerate(HALVES)
        }


class GrowingSteps(_Steps):
    """Reads any number of tokens behind any number of others: logits of all next tokens, [batch, tokens, vocabulary],
    and the cache, in the order of `growing_names`."""

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.Tensor,
        pasts: list[list[torch.Tensor]],
    ) -> tuple[torch.Tensor, ...]:
        """
        Args:
            input_ids: int64 [batch, tokens].
            attention_mask: int64 [batch, past + tokens], 1 where a token is real; padding is on the left.
            position_ids: int64 [batch, tokens].
            pasts: float32 [batch, heads, past, head size] each, keys and values of each layer.
        """
        before, tokens = pasts[0][0].shape[2], input_ids.shape[1]
        keys, queries = torch.arange(before + tokens), before + torch.arange(tokens)
        padding = 1.0 - attention_mask[:, None, None, :].to(torch.float32)
        known = _GrowingCache([list(past) for past in pasts])
        hidden = self.hidden(input_ids, position_ids, queries[:, None] - keys[None, :], padding, known)
        return self.logits(hidden), *(half for past in known.pasts for half in past)


def as_linear(model: torch.nn.Module) -> None:
    """GPT-2's Conv1D as the Linear that computes the same, in place: weights of linear layers lie with a row for each
    output, which is what quantizers round by."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv1D):
                outputs = int(child.weight.shape[1])
                linear = torch.nn.Linear(int(child.weight.shape[0]), outputs, bias=True)
                linear.weight = torch.nn.Parameter(child.weight.detach().T.contiguous())
                linear.bias = child.bias
                setattr(parent, name, linear.train(child.training))


def static_tensors(model: "PreTrainedModel", slots: int, way: str) -> tuple[Tensor, ...]:
    """Keys and values as `StaticSteps` takes (`PAST`) or gives (`PRESENT`) them."""
    heads, size = _heads(model)
    return tuple(
        Tensor(name=_static(way, layer, half), dtype="float32", axes=(1, heads, slots, size))
        for layer in range(model.config.num_hidden_layers)
        for half in HALVES
    )


def growing_tensors(model: "PreTrainedModel", way: str, length: str) -> tuple[Tensor, ...]:
    """Keys and values as `GrowingSteps` takes or gives them, in its order and by the names of transformers.js."""
    heads, size = _heads(model)
    return tuple(
        Tensor(name=f"{way}.{layer}.{half}", dtype="float32", axes=("batch", heads, length, size))
        for layer in range(model.config.num_hidden_layers)
        for half in HALVES
    )


def _static(way: str, layer: int, half: str) -> str:
    """A name of one word, as a function's argument."""
    return f"{way}_{layer}_{half}"


def _heads(model: "PreTrainedModel") -> tuple[int, int]:
    heads = int(model.config.num_attention_heads)
    return heads, int(model.config.hidden_size) // heads
