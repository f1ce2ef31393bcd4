"""What a model hands to its first layer, as a small model of its own that shares the other's weights."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Identity, Linear, Module
from transformers import PreTrainedModel

from palmtop.models.family import family_named
from palmtop.models.tied import declare_tied

if TYPE_CHECKING:
    from palmtop.compress.learning.encoded import Encoded

TEXTS = 256
"""In a batch."""


class EmbeddingOutput(PreTrainedModel):  # type: ignore[misc]  # transformers is untyped
    """The embeddings of a model, their norm, and the linear layer that widens the sum where the family has one."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model.config)
        self.all_tied_weights_keys: dict[str, str] = {}
        top, _, below = family_named(model.config.model_type).table.partition(".")
        module = model.base_model.get_submodule(top)
        self.embeddings = module if below else _TableAlone(module)
        mapping = mapping_of(model)
        self.mapping: Linear | Identity = mapping or Identity()
        self.is_mapped = mapping is not None
        declare_tied(self)

    def normed(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """What the norm over the sum gives, [batch, tokens, E or width]."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        result: Tensor = self.embeddings(input_ids=input_ids, **types)
        return result

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """[batch, tokens] -> [batch, tokens, width]."""
        result: Tensor = self.mapping(self.normed(input_ids, token_type_ids))
        return result


class _TableAlone(Module):
    """Embeddings that are a table and nothing else: XLNet's, whose positions are relative and stand in its layers."""

    def __init__(self, table: Module) -> None:
        super().__init__()
        self.table = table

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        """[batch, tokens] -> [batch, tokens, width]."""
        found: Tensor = self.table(input_ids)
        return found


def mapping_of(model: PreTrainedModel) -> Linear | None:
    """The linear layer behind narrow embeddings and their norm, of the families that have one."""
    where = family_named(model.config.model_type).widened_by
    found = dict(model.base_model.named_modules()).get(where) if where is not None else None
    assert found is None or isinstance(found, Linear)
    return found


def inputs_of(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The part of a batch that embeddings take."""
    return {name: batch[name] for name in ("input_ids", "token_type_ids") if name in batch}


def solve_mapping(student: EmbeddingOutput, teacher: EmbeddingOutput, data: "Encoded") -> None:
    """Set the mapping to the one that brings the student's normed embeddings nearest to the teacher's output, in place.

    Least squares over every token of `data`: M, b = argmin sum |M e + b - x|^2, in float64 with a ridge of 1e-6 of the
    mean square, which keeps it solvable where a direction never occurs.
    """
    squares: Any = 0.0
    products: Any = 0.0
    for narrow, wide in _pairs(student.normed, teacher, data):
        given = torch.cat([narrow, torch.ones(len(narrow), 1)], dim=1).double()
        squares, products = squares + given.T @ given, products + given.T @ wide.double()
    ridge = 1e-6 * squares.diagonal().mean() * torch.eye(len(squares), dtype=torch.float64)
    solved = torch.linalg.solve(squares + ridge, products).float()
    with torch.no_grad():
        student.mapping.get_parameter("weight").copy_(solved[:-1].T)
        student.mapping.get_parameter("bias").copy_(solved[-1])


def output_error(student: EmbeddingOutput, teacher: EmbeddingOutput, data: "Encoded") -> float:
    """sum |x' - x|^2 / sum |x - mean|^2 over every token of `data`: 0 is exact, 1 no better than the mean."""
    error = [((found - wanted) ** 2).sum(-1) for found, wanted in _pairs(student, teacher, data)]
    return float(torch.cat(error).double().mean()) / output_variance(teacher, data)


def output_variance(teacher: EmbeddingOutput, data: "Encoded") -> float:
    """Mean of |x - mean|^2 over every token of `data`."""
    given = torch.cat([wanted for wanted, _ in _pairs(teacher, teacher, data)]).double()
    return float(((given - given.mean(0)) ** 2).sum(-1).mean())


def _pairs(
    student: Callable[..., Tensor], teacher: EmbeddingOutput, data: "Encoded"
) -> Iterator[tuple[Tensor, Tensor]]:
    """(what the student gives, what the teacher gives) for the real tokens of some texts at a time, both [tokens,
    width]."""
    for start in range(0, len(data), TEXTS):
        batch = data.batch(range(start, min(start + TEXTS, len(data))))
        real = batch["attention_mask"].bool()
        with torch.no_grad():
            yield student(**inputs_of(batch))[real], teacher(**inputs_of(batch))[real]
