"""Reformer (Kitaev et al. 2020, 2001.04451): two residual streams, axial positions; what it hashes are long texts."""

from collections.abc import Mapping
from typing import Any

from palmtop.families.family import LM_HEAD, Family

_SHARED = (
    "its queries and keys may be one matrix, each layer feeds one of two streams, and norms stand before both parts"
)
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"


def _longest(config: Mapping[str, Any]) -> int:
    """Tokens in the shortest chunk of its layers: so many see each other plainly."""
    kinds = set(config.get("attn_layers", ("local", "lsh")))
    chunks = [int(config.get(f"{kind}_attn_chunk_length") or 64) for kind in sorted(kinds)]
    return min([int(config.get("max_position_embeddings", 4096)), *chunks])


FAMILY = Family(
    "reformer",
    "Reformer",
    layers="reformer.encoder.layers",
    built_otherwise=_SHARED,
    head_size="attention_head_size",
    shares_of_width=("axial_pos_embds_dim",),
    feed_forward="feed_forward_size",
    listed_by_layer=("attn_layers",),
    longest=_longest,
    why_longest="so many are one chunk, in which all tokens see each other; of longer texts it hashes tokens with "
    "rotations drawn anew each time, so that one text has many answers, and a file could agree with none; for longer "
    "texts take a Longformer, or a BigBird with full attention",
    token_types=False,
    takes_additive_mask=False,
    mended_by="palmtop.models.reformer.keep_both_streams",
    traced_by="palmtop.export.graph.reformer.within_a_chunk",
    token_head=(),
    word_head="lm_head",
    token_rows=LM_HEAD,
    normed_embeddings=False,
    no_albert="its layers feed two streams, ALBERT's one",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_SHARED}, which palmtop doesn't take apart: {_CUT_BY_LAYERS}",
    )
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"),
        f"{_SHARED}, which a MobileBERT's are not: distil it with 'distill'",
    ),
)
