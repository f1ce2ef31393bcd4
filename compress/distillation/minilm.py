"""MiniLMv2: relations of queries, keys and values in one layer of the teacher, for students of any width (Wang et al.
2020, 2012.15828)."""

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import Field, model_validator

from palmtop.compress.distillation.layer_transfer_stage import LayerTransferStage
from palmtop.compress.distillation.matches import Match, Pair, minilm


class Minilm(LayerTransferStage):
    """Imitate how tokens relate in one layer of the teacher, on the task's texts, then its answers.

    The paper does this on plain text before any task; here it is the first phase of the task's own training. Queries,
    keys and values are taken after their biases and before any scaling; position terms (DeBERTa, MPNet) are in none of
    them.
    """

    method: ClassVar[str] = "minilm"

    teacher_layer: int | None = Field(default=None, ge=1)
    """The teacher's layer that the student's last imitates, the first being 1; the last by default, which suits base
    sizes (large ones: an upper-middle one, 21 of 24 for BERT-large, 19 for RoBERTa-large)."""
    relation_heads: int | None = Field(default=None, ge=1)
    """R; must divide the widths of both models' queries. By default the paper's 48, or 64 for teachers 1024 wide and
    wider."""
    query_weight: float = Field(default=1.0, ge=0)
    """Weight of the queries' relation."""
    key_weight: float = Field(default=1.0, ge=0)
    """Weight of the keys' relation."""
    value_weight: float = Field(default=1.0, ge=0)
    """Weight of the values' relation."""

    @model_validator(mode="after")
    def _something_to_imitate(self) -> Self:
        if self.query_weight == self.key_weight == self.value_weight == 0:
            raise ValueError(
                "query_weight, key_weight and value_weight are all 0: there is nothing to imitate; use the stage "
                "distill"
            )
        if self.layer_map is not None:
            raise ValueError(
                "layer_map is for stages that imitate every layer; minilm imitates one: give teacher_layer"
            )
        return self

    def chosen_matches(self, pair: Pair) -> Sequence[Match]:
        """One for each relation whose weight isn't 0."""
        return minilm(
            pair, self.teacher_layer, self.relation_heads, (self.query_weight, self.key_weight, self.value_weight)
        )

    def maps_layers(self) -> bool:
        """It has one layer to imitate."""
        return False
