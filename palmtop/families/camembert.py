"""CamemBERT (Martin et al. 2019, 1911.03894): RoBERTa of French."""

from palmtop.families.family import LIKE_BERT, LM_HEAD, Family

FAMILY = Family(
    "camembert",
    "CamemBERT",
    layers="roberta.encoder.layer",
    plan=LIKE_BERT,
    positions_after_pad=True,
    word_head="lm_head",
    token_rows=LM_HEAD,
    plain_layers=True,
    tanh_head=("classifier.dense", "classifier.out_proj"),
)
