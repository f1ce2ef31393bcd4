"""DeBERTa, version 1 (He et al. 2020, 2006.03654): attention to relative positions; queries, keys and values in one
matrix."""

from palmtop.families.family import LM_HEAD, PREDICTIONS, Family

_FUSED = "its queries, keys and values are one matrix"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"

FAMILY = Family(
    "deberta",
    "DeBERTa",
    layers="deberta.encoder.layer",
    built_otherwise=_FUSED,
    parts_alike={
        "attention_output": "attention.output.dense",
        "feed_forward_in": "intermediate.dense",
        "feed_forward_out": "output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "feed_forward_norm": "output.LayerNorm",
    },
    takes_additive_mask=False,
    any_length=False,
    traced_by="palmtop.export.graph.deberta.cut_by_sizes",
    word_head="cls",
    token_rows=PREDICTIONS + LM_HEAD,
    score_terms="terms of relative positions",
    no_albert="its attention has relative positions, ALBERT's has none",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_FUSED}, which palmtop can't cut: {_CUT_BY_LAYERS}",
    )
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"), f"{_FUSED}, which a MobileBERT's are not: distil it with 'distill'"
    )
    | {
        "to_executorch": f"{_FUSED}, and where the last layer asks for one query alone, ExecuTorch gives it the sizes "
        "of all and stops: export it with 'to_onnx' or 'to_tflite'"
    },
)
