"""BigBird (Zaheer et al. 2020, 2007.14062): BERT for long texts, whose sparse attention begins where texts are long."""

from collections.abc import Mapping
from typing import Any

from palmtop.families.family import LIKE_BERT, PREDICTIONS, Family

_GLOBAL_AND_NEAR = 5
"""Blocks that sparse attention needs besides the random ones: two that see all, three around a token."""


def _longest(config: Mapping[str, Any]) -> int:
    """Tokens up to which transformers computes full attention, whatever attention_type says; its own condition."""
    positions = int(config.get("max_position_embeddings", 4096))
    if config.get("attention_type", "block_sparse") != "block_sparse":
        return positions
    blocks = _GLOBAL_AND_NEAR + 2 * int(config.get("num_random_blocks", 3))
    return min(positions, blocks * int(config.get("block_size", 64)))


FAMILY = Family(
    "big_bird",
    "BigBird",
    layers="bert.encoder.layer",
    plan=LIKE_BERT,
    longest=_longest,
    why_longest="so far its attention is full; beyond, it would be sparse with blocks drawn at random in training, and "
    "in transformers' evaluation with the first block in their place, so a model would answer otherwise than it was "
    'taught; for longer texts write "attention_type": "original_full" into its config.json, which computes full '
    "attention with the same weights at every length, or take a Longformer",
    mended_by="palmtop.models.big_bird.attend_in_full",
    traced_by="palmtop.export.graph.big_bird.without_search",
    fixed={
        "use_bias": (
            True,
            "{where} has use_bias {value}: its queries, keys and values have no biases, and what cuts heads counts on "
            "them: take a BigBird that has them, as all of Google's do",
        )
    },
    span_head=("qa_classifier",),
    word_head="cls",
    token_rows=PREDICTIONS,
    no_albert="its head is a layer of the model's own activation, ALBERT's is tanh",
)
