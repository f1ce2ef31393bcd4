"""ALBERT (Lan et al. 2019, 1909.11942): layers in groups that share weights, a narrow word embedding."""

from palmtop.families.family import PREDICTIONS, Core, Family, LayerPlan, NewBody, Parts

FAMILY = Family(
    "albert",
    "ALBERT",
    layers=None,
    groups=("albert.encoder.albert_layer_groups", "albert_layers"),
    plan=LayerPlan(
        Parts("attention.query", "attention.key", "attention.value", "attention.dense", "ffn", "ffn_output"),
        ("attention.LayerNorm", "full_layer_layer_norm"),
        (("attention",), ("ffn", "ffn_output", "full_layer_layer_norm")),
        Core("attention", output="dense"),
    ),
    fixed={
        "inner_group_num": (
            1,
            "{where} has {value} layers inside each group of shared layers; palmtop knows ALBERT with one only "
            "(inner_group_num: 1)",
        )
    },
    word_head="predictions",
    order_head=("sop_classifier", "albert.pooler"),
    token_rows=PREDICTIONS,
    narrow_table=True,
    new_body=NewBody(("embedding_size", "groups"), tanh_head=("albert.pooler", "classifier")),
    widened_by="encoder.embedding_hidden_mapping_in",
)
