"""The head of a sentence embedding: the tokens' last hidden states pooled to one vector, and brought to length 1. It
has no weights.

transformers has no such class. The weights are the transformer's own, under their usual names, so that whatever opens
the folder without palmtop (AutoModel, sentence-transformers) finds the whole model, and pools itself.
"""

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from palmtop.errors import UserError
from palmtop.models.embedding_head import KEY, MEAN, Head

NOT_REAL = -1e4
"""Added to what isn't a token's before the largest is taken. Finite, as the masks of exported graphs are."""
LEAST_NORM = 1e-12
"""Squared lengths are no less, so that a vector of zeros stays one."""


class Embedder(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped
    """What the classes made here have in common: forward."""

    def forward(
        self,
        input_ids: Int[Tensor, "texts tokens"],
        attention_mask: Int[Tensor, "texts tokens"] | None = None,
        token_type_ids: Int[Tensor, "texts tokens"] | None = None,
        output_hidden_states: bool = False,
    ) -> SequenceClassifierOutput:
        """`logits`: a vector for each text, [texts, width].

        Args:
            attention_mask: 1 for a real token, 0 for padding; all real by default.
        """
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        body = self.base_model(
            input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=output_hidden_states, **types
        )
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        head = Head.of(getattr(self.config, KEY))
        vectors = pooled(body.last_hidden_state, real, head.pooling)
        if head.width is not None:
            vectors = vectors[:, : head.width]
        if head.normalize:
            vectors = of_length_one(vectors)
        return SequenceClassifierOutput(logits=vectors, hidden_states=body.hidden_states)


def pooled(
    states: Float[Tensor, "texts tokens width"], real: Int[Tensor, "texts tokens"], pooling: str
) -> Float[Tensor, "texts width"]:
    """The mean of the real tokens' states, the largest number of each place among them, or the first token's state."""
    if pooling == "cls":
        return states[:, 0]
    mask = real.to(states.dtype)[..., None]
    if pooling == MEAN:
        mean: Tensor = (states * mask).sum(1) / mask.sum(1)
        return mean
    return (states + (1.0 - mask) * NOT_REAL).amax(1)


def of_length_one(vectors: Float[Tensor, "texts width"]) -> Float[Tensor, "texts width"]:
    """Each vector divided by its length, in operators that every format has."""
    made: Tensor = vectors * torch.rsqrt((vectors * vectors).sum(-1, keepdim=True) + LEAST_NORM)
    return made


@cache
def embedder_class(body: type[PreTrainedModel]) -> type[PreTrainedModel]:
    """The class with this head around a family's transformer: BertModel -> BertForSentenceEmbedding.

    The transformer stands where it stands in the family's other classes with heads. Its pooler, which is a
    classifier's, is left out where the class can do without.
    """
    base: Any = next(each for each in body.__mro__[1:] if issubclass(each, PreTrainedModel))
    name = f"{body.__name__.removesuffix('Model')}ForSentenceEmbedding"
    pooler = {"add_pooling_layer": False} if "add_pooling_layer" in inspect.signature(body).parameters else {}

    def build(self: Any, config: Any) -> None:
        base.__init__(self, config)
        setattr(self, self.base_model_prefix, body(config, **pooler))
        self.post_init()

    made: type[PreTrainedModel] = type(name, (Embedder, base), {"__init__": build, "__doc__": Embedder.__doc__})
    return made


class _Mapping:
    """The class for a config's, as transformers' Auto classes have it."""

    def __getitem__(self, config: Any) -> type[PreTrainedModel]:
        if config not in AutoModel._model_mapping:
            raise UserError(
                f"a model of the family '{config.model_type}' has no transformer whose states can be pooled"
            )
        return embedder_class(AutoModel._model_mapping[config])


class AutoModelForSentenceEmbedding:
    """Opens a folder as transformers' Auto classes do."""

    _model_mapping = _Mapping()

    @classmethod
    def from_pretrained(cls, folder: Path, **settings: Any) -> Any:
        """The model, with what `settings` ask for."""
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        return cls._model_mapping[type(config)].from_pretrained(folder, **settings)
