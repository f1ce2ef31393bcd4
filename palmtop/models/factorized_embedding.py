"""A word embedding in two factors inside an ordinary model: V x E and E x H, in front of the norm that the model has
already."""

from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.nn import Embedding, Linear, Module

from palmtop.errors import UserError
from palmtop.models.family import family_named
from palmtop.models.tied import declare_tied

if TYPE_CHECKING:
    from transformers import PreTrainedModel

KEY = "palmtop_embedding_size"
"""In config.json: E, the width of the word embedding's table; positions and token types stay as wide as the model."""


class FactorizedEmbedding(Module):
    """M W'[t] + m: rows of a narrow table, widened; it stands where a table of full width stood.

    The table goes by that one's name too (`weight`), in another size, so that transformers alone refuses the folder.
    """

    def __init__(self, tokens: int, size: int, width: int, padding_idx: int | None) -> None:
        super().__init__()
        self.table = Embedding(tokens, size, padding_idx=padding_idx)
        self.weight = self.table.weight
        self.widen = Linear(size, width)

    def forward(self, input_ids: Tensor) -> Tensor:
        """[batch, tokens] -> [batch, tokens, width]."""
        result: Tensor = self.widen(self.table(input_ids))
        return result


def apply(model: "PreTrainedModel") -> None:
    """Put two factors in the place of the word embedding of a model that was just built, as its config says.

    Raises:
        UserError: the model has a language model's head, which reads the table too.
    """
    if model.get_output_embeddings() is not None:
        raise UserError(
            "a model with a factorized word embedding in front of its own norm has no language model's head: open it "
            "as a classifier, or factorize with form: albert"
        )
    where = family_named(model.config.model_type).table
    whole: Any = model.base_model.get_submodule(where)
    size = model.config.to_dict()[KEY]
    made = FactorizedEmbedding(whole.num_embeddings, size, whole.embedding_dim, whole.padding_idx)
    model.base_model.set_submodule(where, made)
    declare_tied(model)
