"""ConvBERT (Jiang et al. 2020, 2008.02496): half of BERT's heads, and convolutions with kernels made of the text."""

from palmtop.families.family import Family

_MIXED = "its heads are half attention, half convolutions with kernels made of the text"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"

FAMILY = Family(
    "convbert",
    "ConvBERT",
    layers="convbert.encoder.layer",
    built_otherwise=_MIXED,
    padding_counts="lets its convolutions read the padding behind a text's last tokens",
    any_length=False,
    traced_by="palmtop.export.graph.convbert.convolve_by_shifts",
    word_head="generator_predictions",
    token_rows=("generator_lm_head.weight", "generator_lm_head.bias"),
    widened_by="embeddings_project",
    no_albert="half of its attention is convolutions, ALBERT's has none",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_MIXED}, and palmtop cuts and shares plain attention only: {_CUT_BY_LAYERS}",
    )
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"),
        f"{_MIXED}, from which no MobileBERT's matrices can be made: distil it with 'distill'",
    )
    | {
        "quantize_aware": "its convolutions of one token would stay unrounded in training and be rounded in the file: "
        "distil it to fewer layers with 'distill', or quantize it as it is with 'quantize'"
    },
)
