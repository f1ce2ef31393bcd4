"""XLM-RoBERTa (Conneau et al. 2019, 1911.02116): RoBERTa of a hundred languages."""

from palmtop.families.family import LIKE_BERT, LM_HEAD, Family

FAMILY = Family(
    "xlm-roberta",
    "XLM-RoBERTa",
    layers="roberta.encoder.layer",
    plan=LIKE_BERT,
    positions_after_pad=True,
    word_head="lm_head",
    token_rows=LM_HEAD,
    plain_layers=True,
    tanh_head=("classifier.dense", "classifier.out_proj"),
)
