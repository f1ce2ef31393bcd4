"""BERT (Devlin et al. 2018, 1810.04805)."""

from palmtop.families.family import LIKE_BERT, PREDICTIONS, Family, NewBody

FAMILY = Family(
    "bert",
    "BERT",
    layers="bert.encoder.layer",
    plan=LIKE_BERT,
    word_head="cls",
    token_rows=PREDICTIONS,
    plain_layers=True,
    tanh_head=("bert.pooler.dense", "classifier"),
    new_body=NewBody(),
    text_student="distilbert",
)
