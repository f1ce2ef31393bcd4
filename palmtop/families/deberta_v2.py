"""DeBERTa, versions 2 and 3 (He et al. 2021, 2111.09543): attention to relative positions."""

from dataclasses import replace

from palmtop.families.family import LIKE_BERT, LM_HEAD, PREDICTIONS, Family

FAMILY = Family(
    "deberta-v2",
    "DeBERTa-v2",
    layers="deberta.encoder.layer",
    plan=replace(
        LIKE_BERT,
        parts=replace(
            LIKE_BERT.parts,
            query="attention.self.query_proj",
            key="attention.self.key_proj",
            value="attention.self.value_proj",
        ),
        core=replace(LIKE_BERT.core, position_projections=("pos_key_proj", "pos_query_proj")),
    ),
    head_size="attention_head_size",
    takes_additive_mask=False,
    any_length=False,
    word_head="cls",
    token_rows=PREDICTIONS + LM_HEAD,
    extra_parts=True,
    score_terms="terms of relative positions",
    convolution="conv_kernel_size",
    no_albert="its attention has relative positions, ALBERT's has none",
)
