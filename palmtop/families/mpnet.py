"""MPNet (Song et al. 2020, 2004.09297): BERT with biases of relative positions, which all layers share."""

from palmtop.families.family import LM_HEAD, Core, Family, LayerPlan, Parts

FAMILY = Family(
    "mpnet",
    "MPNet",
    layers="mpnet.encoder.layer",
    plan=LayerPlan(
        Parts(
            "attention.attn.q",
            "attention.attn.k",
            "attention.attn.v",
            "attention.attn.o",
            "intermediate.dense",
            "output.dense",
        ),
        ("attention.LayerNorm", "output.LayerNorm"),
        (("attention",), ("intermediate", "output")),
        Core("attention.attn", output="o"),
    ),
    fixed={
        "relative_attention_num_buckets": (
            32,
            "{where} has relative_attention_num_buckets {value}, which transformers ignores (it computes with 32): "
            "its answers would not be the model's own",
        )
    },
    token_types=False,
    positions_after_pad=True,
    word_head="lm_head",
    token_rows=LM_HEAD,
    score_terms="a bias of relative positions",
    heads_counted_outside=True,
    no_albert="its attention has relative positions, ALBERT's has none",
)
