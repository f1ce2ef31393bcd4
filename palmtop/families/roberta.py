"""RoBERTa (Liu et al. 2019, 1907.11692): BERT with other tokens, and positions counted from the padding's id on."""

from palmtop.families.family import LIKE_BERT, LM_HEAD, Family

FAMILY = Family(
    "roberta",
    "RoBERTa",
    layers="roberta.encoder.layer",
    plan=LIKE_BERT,
    positions_after_pad=True,
    word_head="lm_head",
    token_rows=LM_HEAD,
    plain_layers=True,
    tanh_head=("classifier.dense", "classifier.out_proj"),
)
