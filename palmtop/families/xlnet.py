"""XLNet (Yang et al. 2019, 1906.08237): learnt in permuted orders; positions are relative, the last token speaks."""

from palmtop.families.family import Family

_BY_HEAD = "its queries, keys and values are tensors by head, and it has a further one for positions"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"
_NO_MASK = (
    "it learns words in permuted orders, with two streams that transformers' class for it has no targets for, not by "
    "masking: distil it on the task's own texts with 'distill'"
)
_LONGEST = 8192
"""Tokens: no table of positions ends it; as many as a training may ask for (max_length)."""

FAMILY = Family(
    "xlnet",
    "XLNet",
    layers="transformer.layer",
    built_otherwise=_BY_HEAD,
    parts_alike={
        "feed_forward_in": "ff.layer_1",
        "feed_forward_out": "ff.layer_2",
        "attention_norm": "rel_attn.layer_norm",
        "feed_forward_norm": "ff.layer_norm",
    },
    fixed={
        "summary_type": (
            "last",
            "{where} has summary_type {value}: batches are padded on the right here, on the left in transformers, and "
            "of the summaries only 'last' means the same on both sides; take a model whose head reads the last token",
        ),
        "attn_type": (
            "bi",
            "{where} has attn_type {value}: its tokens would see only those before them, and an encoder's see all: "
            "take a model with attn_type: bi",
        ),
        "bi_data": (
            False,
            "{where} has bi_data {value}: it turns the positions of half of a batch around, so that an answer depends "
            "on the texts beside it: write false, as for fine-tuning",
        ),
    },
    layer_count="n_layer",
    width="d_model",
    head_size="d_head",
    feed_forward="d_inner",
    activation="ff_activation",
    positions=None,
    longest=lambda _: _LONGEST,
    last_speaks=True,
    takes_additive_mask=False,
    any_length=False,
    mended_by="palmtop.models.xlnet.read_the_last_token",
    traced_by="palmtop.export.graph.xlnet.batch_first",
    new_head=("sequence_summary", "logits_proj"),
    table="word_embedding",
    token_rows=("lm_loss.weight", "lm_loss.bias"),
    normed_embeddings=False,
    no_albert="its attention has relative positions, ALBERT's has none",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_BY_HEAD}, where palmtop takes linear layers apart: {_CUT_BY_LAYERS}",
    )
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"),
        f"{_BY_HEAD}, from which no MobileBERT's matrices can be made: distil it with 'distill'",
    )
    | {
        "quantize_aware": f"{_BY_HEAD}, which would stay unrounded in training and be rounded in the file: distil it "
        "to fewer layers with 'distill', or quantize it as it is with 'quantize'"
    }
    | {
        "to_executorch": "ExecuTorch's lowering stores matrices of its attention twice: export it with 'to_tflite', "
        "'to_onnx' or 'to_tfjs'"
    }
    | dict.fromkeys(("masked_lm", "distill_masked_lm"), _NO_MASK),
)
