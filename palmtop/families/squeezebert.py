"""SqueezeBERT (Iandola et al. 2020, 2006.11316): BERT whose linear layers are grouped convolutions of one token."""

from palmtop.families.family import PREDICTIONS, Family

_GROUPED = "its layers are grouped convolutions"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"

FAMILY = Family(
    "squeezebert",
    "SqueezeBERT",
    layers="transformer.encoder.layers",
    built_otherwise=_GROUPED,
    word_head="cls",
    token_rows=PREDICTIONS,
    no_albert="its layers are grouped convolutions, ALBERT's are whole matrices",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_GROUPED}, and palmtop takes only whole matrices apart: {_CUT_BY_LAYERS}",
    )
    | {
        "quantize_aware": f"{_GROUPED}, which would stay unrounded in training and be rounded in the file: distil it "
        "to fewer layers with 'distill', or quantize it as it is with 'quantize'"
    }
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"),
        f"{_GROUPED}, from which no MobileBERT's matrices can be made: distil it with 'distill'",
    ),
)
