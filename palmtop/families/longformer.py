"""Longformer (Beltagy et al. 2020, 2004.05150): RoBERTa for long texts; a token sees a window, and a few see all."""

from palmtop.families.family import LM_HEAD, Family

_TWICE = "its layers have queries, keys and values twice, for the window and for the tokens that see all"
_CUT_BY_LAYERS = "distil it to fewer layers with 'distill', or quantize it"

FAMILY = Family(
    "longformer",
    "Longformer",
    layers="longformer.encoder.layer",
    built_otherwise=_TWICE,
    parts_alike={
        "query": "attention.self.query",
        "key": "attention.self.key",
        "value": "attention.self.value",
        "attention_output": "attention.output.dense",
        "feed_forward_in": "intermediate.dense",
        "feed_forward_out": "output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "feed_forward_norm": "output.LayerNorm",
    },
    listed_by_layer=("attention_window",),
    positions_after_pad=True,
    mended_by="palmtop.models.longformer.see_the_question",
    traced_by="palmtop.export.graph.longformer.over_all_tokens",
    at_one_length="palmtop.export.graph.longformer.in_blocks",
    takes_additive_mask=False,
    word_head="lm_head",
    token_rows=LM_HEAD,
    no_albert="its tokens see a window, and a few of them all, ALBERT's see all",
    refuses=dict.fromkeys(
        ("magnitude", "movement", "prune_structures", "shrink", "share"),
        f"{_TWICE}, which palmtop doesn't take apart: {_CUT_BY_LAYERS}",
    )
    | dict.fromkeys(
        ("inverted_bottleneck", "mobilebert"),
        f"{_TWICE}, of which a MobileBERT has one set: distil it with 'distill'",
    ),
)
