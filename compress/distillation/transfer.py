"""Layer transfer in general: a list of matches (teacher's layer, student's layer, feature, loss, weight, projection),
or a preset."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

from pydantic import field_validator, model_validator

from palmtop.compress.distillation.layer_transfer_stage import LayerTransferStage
from palmtop.compress.distillation.matches import PRESETS, Match, Pair, Preset


class Transfer(LayerTransferStage):
    """Imitate layers of the teacher as a list of matches says, then (or at once) its answers.

    The stages tinybert and minilm are two such lists with their papers' defaults.
    """

    method: ClassVar[str] = "transfer"

    matches: Preset | tuple[Match, ...] = "hidden"
    """The list, or one by name: hidden (the output of every layer of layer_map), tinybert (embeddings, outputs and
    attention scores), minilm (relations of queries, keys and values of the last layers), minilm_v1 (attention and value
    relation of the last layers)."""

    @field_validator("matches")
    @classmethod
    def _not_empty(cls, value: Any) -> Any:
        if not value:
            raise ValueError("the list is empty: there is nothing to imitate; leave it out, or use the stage distill")
        return value

    @model_validator(mode="after")
    def _mapped(self) -> Self:
        if self.layer_map is not None and not self.maps_layers():
            raise ValueError(
                "layer_map is for the presets hidden and tinybert; other matches say their layers themselves: leave "
                "it out"
            )
        return self

    def chosen_matches(self, pair: Pair) -> Sequence[Match]:
        """The list as given, or the preset's."""
        return PRESETS[self.matches](pair) if isinstance(self.matches, str) else self.matches

    def maps_layers(self) -> bool:
        """Only these presets do."""
        return self.matches in ("hidden", "tinybert")
