"""palmtop's own static model, without layers: token vectors, their mean, a head."""

from palmtop.families.family import Family

FAMILY = Family(
    "palmtop-static",
    "static",
    layers=None,
    built_otherwise="it has no layers",
    token_types=False,
    takes_additive_mask=False,
    new_head=("dense", "classifier"),
    own_class="palmtop.models.static_model.register",
    mean_of_rows=True,
    table="word_embeddings",
    activation="hidden_act",
    no_albert="it has no layers",
)
