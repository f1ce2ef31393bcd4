"""ELECTRA (Clark et al. 2020, 2003.10555): BERT's layers, and embeddings that may be narrower."""

from palmtop.families.family import LIKE_BERT, Family

FAMILY = Family(
    "electra",
    "ELECTRA",
    layers="electra.encoder.layer",
    plan=LIKE_BERT,
    word_head="generator_predictions",
    token_rows=("generator_lm_head.weight", "generator_lm_head.bias"),
    widened_by="embeddings_project",
    narrow_norm=True,
    no_albert="its head is a GELU layer, ALBERT's is tanh",
)
