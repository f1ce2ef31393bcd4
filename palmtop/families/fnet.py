"""FNet (Lee-Thorp et al. 2021, 2105.03824): BERT whose attention is a Fourier transform over tokens and width."""

from palmtop.families.family import PREDICTIONS, Family, NewBody

_MIXED = "its tokens are mixed by a Fourier transform, without queries, keys and values"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"

FAMILY = Family(
    "fnet",
    "FNet",
    layers="fnet.encoder.layer",
    built_otherwise=_MIXED,
    parts_alike={
        "feed_forward_in": "intermediate.dense",
        "feed_forward_out": "output.dense",
        "attention_norm": "fourier.output.LayerNorm",
        "feed_forward_norm": "output.LayerNorm",
    },
    takes_mask=False,
    has_heads=False,
    padding_counts="takes no mask and mixes padding into every token",
    takes_additive_mask=False,
    any_length=False,
    mended_by="palmtop.models.no_mask.leave_mask_out",
    traced_by="palmtop.export.graph.fourier.mix_by_products",
    never_rounded=("fourier",),  # a text's sum is so far above the rest that a common scale leaves nothing of it
    word_head="cls",
    token_rows=PREDICTIONS,
    new_body=NewBody(behind_embeddings="embeddings.projection", tanh_head=("fnet.pooler.dense", "classifier")),
    no_albert="it mixes tokens by a Fourier transform, ALBERT by attention",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_MIXED}, and palmtop cuts and shares layers with attention only: {_CUT_BY_LAYERS}",
    )
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"),
        f"{_MIXED}, from which no MobileBERT's matrices can be made: distil it with 'distill'",
    )
    | {
        "quantize_aware": "its Fourier transform is a product with constants in the file, which would stay unrounded "
        "in training and be rounded there: distil it to fewer layers with 'distill', or quantize it as it is with "
        "'quantize'",
        "to_executorch": "ExecuTorch's lowering keeps the Fourier transform's matrices in float64 and computes them "
        "anew for each text: export it with 'to_tflite', 'to_onnx' or 'to_tfjs'",
    },
)
