"""MobileBERT's embeddings from a wide teacher's: a narrow table by weighted SVD, the way up again in the trigram
layer's middle third."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from palmtop.compress.albert.table_factors import Decomposition
from palmtop.compress.learning.encoded import Encoded
from palmtop.models.family import family_named, longest_input

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedConfig, PreTrainedModel

SMOOTHING = 1.0
"""Added to each token's count: what the sample does not hold keeps some weight."""


def token_counts(data: Encoded, vocabulary: int) -> Int64[Tensor, " vocabulary"]:
    """How often each token stands in the data."""
    return torch.bincount(torch.from_numpy(data.ids).long(), minlength=vocabulary)


def embedding_sizes(teacher: "PreTrainedConfig") -> dict[str, int]:
    """What a MobileBERT's config takes over from an ordinary teacher's: tokens, padding, positions, token types."""
    said = teacher.to_dict()
    types = said.get("type_vocab_size", 1) if family_named(teacher.model_type).token_types else 1
    return {
        "vocab_size": teacher.vocab_size,
        "pad_token_id": teacher.pad_token_id,
        "max_position_embeddings": longest_input(said),
        "type_vocab_size": types,
    }


def write_embeddings(
    model: "PreTrainedModel",
    teacher: "PreTrainedModel",
    basis: Float[Tensor, "narrow wide"],
    counts: Int64[Tensor, " vocabulary"],
) -> None:
    """Give a MobileBERT embeddings that sum up, before its norm, to B of what the teacher's sum up to before theirs.

    Only the table loses something. The next and the previous token have no share yet (3.3 in the block equations: their
    thirds of the trigram layer are 0), and the padding's row is 0, so that it never will have: a text's answer doesn't
    depend on its batch.
    """
    new, old = model.base_model.embeddings, teacher.base_model.embeddings
    config = model.config
    table = old.word_embeddings.weight.detach().numpy()
    factors = Decomposition(table, (counts + SMOOTHING).numpy().astype(np.float64)).factors(config.embedding_size)
    with torch.no_grad():
        new.word_embeddings.weight.copy_(torch.from_numpy(factors.narrow))
        new.word_embeddings.weight[config.pad_token_id] = 0
        dense = new.embedding_transformation
        dense.weight.zero_()
        dense.weight[:, config.embedding_size : 2 * config.embedding_size] = basis @ torch.from_numpy(factors.wide).T
        dense.bias.copy_(basis @ torch.from_numpy(factors.mean))
        skipped = config.pad_token_id + 1 if family_named(teacher.config.model_type).positions_after_pad else 0
        positions = old.position_embeddings.weight[skipped : skipped + config.max_position_embeddings]
        new.position_embeddings.weight.copy_(positions @ basis.T)
        types = (
            getattr(old, "token_type_embeddings", None) if family_named(teacher.config.model_type).token_types else None
        )
        new.token_type_embeddings.weight.zero_()
        if types is not None:
            new.token_type_embeddings.weight.copy_(types.weight @ basis.T)


def settle_norm(embeddings: "Module", data: Encoded, rows: list[int], scale: Tensor, shift: Tensor) -> None:
    """Set the embeddings' NoNorm so that on average over the real tokens it does what a LayerNorm with this scale and
    shift would."""
    norm = embeddings.get_submodule("LayerNorm")
    batch = data.batch(rows)
    types = {name: batch[name] for name in ("token_type_ids",) if name in batch}
    with torch.no_grad():
        norm.weight.fill_(1)  # type: ignore[operator]  # torch types a module's attributes as tensors and modules
        norm.bias.zero_()  # type: ignore[operator]  # the same
        sums = embeddings(batch["input_ids"], **types)[batch["attention_mask"].bool()]
        deviation = sums.var(-1, correction=0).mean().sqrt()
        norm.weight.copy_(scale / deviation)  # type: ignore[operator]  # the same
        norm.bias.copy_(shift - scale * sums.mean() / deviation)  # type: ignore[operator]  # the same
