"""MobileBERT (Sun et al. 2020, 2004.02984): bottlenecks, stacked feed-forward parts, trigram embeddings; and its
teacher, IB-BERT."""

from palmtop.families.family import LIKE_BERT, PREDICTIONS, Family, NewBody

FAMILY = Family(
    "mobilebert",
    "MobileBERT",
    layers="mobilebert.encoder.layer",
    plan=LIKE_BERT,
    inner_width="true_hidden_size",
    shortest=4,
    word_head="cls",
    token_rows=PREDICTIONS,
    token_columns=("cls.predictions.dense.weight",),
    narrow_table=True,
    bottlenecks=True,
    new_body=NewBody(("embedding_size", "inner_width", "stack")),
    extra_parts=True,
    no_albert="its layers have bottlenecks, ALBERT's have none",
    refuses={
        "share": "its layers have bottlenecks, ALBERT's have none, and it has further feed-forward blocks, which are "
        "of neither half"
    },
)
