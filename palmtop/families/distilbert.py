"""DistilBERT (Sanh et al. 2019, 1910.01108): BERT without token types and pooler, under names of its own."""

from palmtop.families.family import Core, Family, LayerPlan, NewBody, Parts

FAMILY = Family(
    "distilbert",
    "DistilBERT",
    layers="distilbert.transformer.layer",
    plan=LayerPlan(
        Parts("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "ffn.lin1", "ffn.lin2"),
        ("sa_layer_norm", "output_layer_norm"),
        (("attention", "sa_layer_norm"), ("ffn", "output_layer_norm")),
        Core("attention", heads="n_heads", rows=None, output="out_lin"),
    ),
    layer_count="n_layers",
    width="dim",
    feed_forward="hidden_dim",
    activation="activation",
    token_types=False,
    new_head=("classifier", "pre_classifier"),
    word_head="vocab_transform",
    token_rows=("vocab_projector.weight", "vocab_projector.bias"),
    plain_layers=True,
    new_body=NewBody(),
    no_albert="its head is a ReLU layer, ALBERT's is tanh",
)
