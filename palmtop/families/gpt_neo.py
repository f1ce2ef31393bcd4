"""GPT-Neo (Black et al. 2021): a decoder, which writes; every other layer sees the last tokens only."""

from palmtop.families.family import Family

FAMILY = Family(
    "gpt_neo",
    "GPT-Neo",
    layers="transformer.h",
    built_otherwise="its queries, keys and values have no bias, and its layers begin with their norms",
    kind="decoder",
    layer_count="num_layers",
    activation="activation_function",
    listed_by_layer=("attention_layers",),
    layers_said_by="palmtop.models.gpt_neo.say_layers",
    windows_by="palmtop.export.graph.gpt_neo.windows_by_distance",
    any_length=False,
    token_types=False,
    word_head="lm_head",
    table="wte",
    token_rows=("lm_head.weight",),
)
