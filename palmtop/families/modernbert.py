"""ModernBERT (Warner et al. 2024, 2412.13663): rotary positions, local and global layers, gated feed-forward parts, no
biases."""

from palmtop.families.family import Family

_FUSED = "its queries, keys and values are one matrix, and its feed-forward parts are gated"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"

FAMILY = Family(
    "modernbert",
    "ModernBERT",
    layers="model.layers",
    built_otherwise=_FUSED,
    activation="hidden_activation",
    listed_by_layer=("layer_types",),
    first_layer="has no norm before its attention",
    token_types=False,
    takes_additive_mask=False,  # local layers would take it for theirs, and a head that pools counts by it
    window="sliding_window",
    span_head=("classifier",),
    word_head="head",
    table="embeddings.tok_embeddings",
    token_rows=("decoder.weight", "decoder.bias"),
    no_albert="its layers are gated and turn queries and keys by their positions, ALBERT's don't",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink"), f"{_FUSED}, which palmtop can't cut: {_CUT_BY_LAYERS}"
    )
    | {
        "share": f"{_FUSED}, and its first layer has no norm to share: {_CUT_BY_LAYERS}",
        "inverted_bottleneck": f"{_FUSED}, which an IB-BERT's are not: distil it with 'distill'",
        "mobilebert": f"{_FUSED}, which a MobileBERT's are not: distil it with 'distill'",
    },
)
