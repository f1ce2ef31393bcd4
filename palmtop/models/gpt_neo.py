"""GPT-Neo's config, which says which layers are local in two ways."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def say_layers(config: "PreTrainedConfig") -> None:
    """Write `attention_types`, runs of types and how often each comes, after `attention_layers`, a type for each layer:
    transformers reads the former, so that a kept layer stays local or global as it was."""
    config.attention_types = [[list(config.attention_layers), 1]]
