"""palmtop's own convolution model: token vectors, convolutions over neighbouring tokens, a head; no transformer
layers."""

from palmtop.families.family import Family

FAMILY = Family(
    "palmtop-convolution",
    "convolution",
    layers=None,
    built_otherwise="it has convolutions, and no transformer layers",
    token_types=False,
    takes_additive_mask=False,
    new_head=("dense", "classifier"),
    own_class="palmtop.models.convolution_model.register",
    table="word_embeddings",
    activation="hidden_act",
    has_heads=False,
    narrow_table=True,
    widened_by="projection",
    no_albert="it has convolutions, ALBERT has none",
)
