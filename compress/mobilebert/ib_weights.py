"""An IB-BERT that answers almost as a BERT does, from its weights: its matrices inside, principal components between
the layers."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import Linear, Module

from palmtop.compress.mobilebert.layer_maps import normalised, norms_of
from palmtop.compress.mobilebert.narrow_embeddings import embedding_sizes, write_embeddings
from palmtop.compress.mobilebert.principal_maps import Survey, aligned_bases, linear_head, scales
from palmtop.models.family import family_named
from palmtop.models.ib_bert import ib_bert_config
from palmtop.models.layer_weights import norm_of
from palmtop.models.linears import Part, layers_of, part_of
from palmtop.models.reshaped import reshaped_class

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOUDNESS = 4.0
"""How many times as large a block's own output is as the residual connection past it. A LayerNorm takes the scale away
again."""

INPUTS: tuple[Part, ...] = ("query", "key", "value")
"""Parts that read what lies between the layers."""
INSIDE: tuple[Part, ...] = ("attention_output", "feed_forward_in", "feed_forward_out")


@dataclass(frozen=True)
class Between:
    """What lies between two layers: the narrow coordinates B n, and how the teacher's wide ones come from n."""

    basis: Float[Tensor, "narrow wide"]
    size: float
    """Root mean square of a coordinate of B n; what flows between the layers is 1."""
    norm: Module
    """The teacher's LayerNorm there: its scale and shift make its map of n."""


def ib_bert_from(
    teacher: "PreTrainedModel",
    found: Survey,
    counts: Int64[Tensor, " vocabulary"],
    width: int,
    embedding_size: int,
    heads: int,
    dropout: float,
) -> "PreTrainedModel":
    """An IB-BERT of the teacher's depth, its inside as wide as the teacher.

    With `width` the teacher's own, with its heads, and with an embedding table that loses nothing, each layer says what
    the teacher's does, but for the residual connection's 1/LOUDNESS.
    """
    from transformers import MobileBertForSequenceClassification

    old = teacher.config
    config = ib_bert_config(
        **embedding_sizes(old),
        hidden_size=width,
        intra_bottleneck_size=old.hidden_size,
        num_hidden_layers=old.num_hidden_layers,
        num_attention_heads=heads,
        intermediate_size=part_of(layers_of(teacher)[0], "feed_forward_in", old.model_type).out_features,
        embedding_size=embedding_size,
        hidden_act=getattr(old, family_named(old.model_type).activation),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        layer_norm_eps=1e-12,
        id2label=old.id2label,
        label2id=old.label2id,
        problem_type=old.problem_type,
    )
    model: PreTrainedModel = reshaped_class(MobileBertForSequenceClassification)._from_config(
        config, attn_implementation="eager"
    )
    bases = aligned_bases(found, width)
    between = [Between(*said) for said in zip(bases, scales(found, bases), norms_of(teacher), strict=True)]
    with torch.no_grad():
        write_embeddings(model, teacher, bases[0], counts)
        for number, (new, layer) in enumerate(zip(layers_of(model), layers_of(teacher), strict=True)):
            _write_layer(new, layer, old.model_type, between[number], between[number + 1])
        weight, bias = linear_head(normalised(found.first @ bases[-1].T), found.logits)
        _write(model.get_submodule("classifier"), weight, bias)
    return model.eval()


def _write_layer(new: Module, old: Module, family: str, below: Between, above: Between) -> None:
    """The block equations of 2004.02984 (Table 1) filled so that its steps are the old layer's.

    A LayerNorm n -> g n + b of the teacher lies where the block reads its input: inside, the block has one too, after
    B^T; queries, keys and values read the narrow input itself, so g and b go into their weights.
    """
    scale, shift = (below.norm.get_parameter(name).detach() for name in ("weight", "bias"))
    for part in INPUTS:
        source = part_of(old, part, family)
        _write(
            part_of(new, part, "mobilebert"),
            (source.weight * scale) @ below.basis.T * below.size,
            source.weight @ shift + source.bias,
        )
    _write(new.get_submodule("bottleneck.input.dense"), below.basis.T, torch.zeros_like(shift))
    _write(new.get_submodule("bottleneck.input.LayerNorm"), scale, shift)
    for part in INSIDE:
        source = part_of(old, part, family)
        _write(part_of(new, part, "mobilebert"), source.weight, source.bias)
    middle = norm_of(old, "attention", family)
    _write(
        new.get_submodule("attention.output.LayerNorm"), middle.get_parameter("weight"), middle.get_parameter("bias")
    )
    narrow = new.get_submodule("output.bottleneck.dense")
    assert isinstance(narrow, Linear)
    _write(
        narrow, LOUDNESS * above.basis, torch.zeros_like(narrow.bias)
    )  # the norm before it stays as made, g = 1 and b = 0


def _write(module: Module, weight: Tensor, bias: Tensor) -> None:
    module.get_parameter("weight").copy_(weight)
    module.get_parameter("bias").copy_(bias)
