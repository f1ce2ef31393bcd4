"""GPT-2 (Radford et al. 2019): a decoder, which writes."""

from palmtop.families.family import Family

FAMILY = Family(
    "gpt2",
    "GPT-2",
    layers="transformer.h",
    built_otherwise="its queries, keys and values are one matrix",
    kind="decoder",
    layer_count="n_layer",
    width="n_embd",
    positions="n_positions",
    activation="activation_function",
    feed_forward="n_inner",
    any_length=False,
    token_types=False,
    word_class="GPT2LMHeadModel",
    word_head="lm_head",
    table="wte",
    token_rows=("lm_head.weight",),
)
