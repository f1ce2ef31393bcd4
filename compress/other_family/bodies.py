"""Bodies that a student of another family can have: their sizes, the config of such a model, and where it has what."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from palmtop.compress.mobilebert.mobilebert_body import Sizes, mobilebert_config
from palmtop.errors import UserError
from palmtop.models.family import family_named

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

StudentFamily = Literal["albert", "bert", "distilbert", "fnet", "mobilebert"]
"""Those with a `new_body`."""


EVERY_OWN_SIZE = ("embedding_size", "groups", "inner_width", "stack")
BEGINS = (
    "the tokenizer of {name} puts no token before a text (XLNet's stands behind it), and a student of another family "
    "answers by the first one: give tokenizer: the folder of a bundle whose tokenizer does, such as a BERT's"
)
ALBERTS_TABLE = 128
"""Width of the word embedding's table of all models of ALBERT's paper."""


@dataclass(frozen=True)
class Body:
    """The sizes of a student."""

    family: StudentFamily
    layers: int
    width: int
    """Of hidden states."""
    heads: int
    """1 where there are none."""
    feed_forward: int
    """Inside the feed-forward parts."""
    embedding_size: int
    """Width of the word embedding's table."""
    groups: int
    """Sets of weights for all layers."""
    inner_width: int
    """Inside a MobileBERT's blocks."""
    stack: int
    """Feed-forward networks in a MobileBERT's block."""

    def check(self) -> None:
        """Raises: UserError: sizes that no such model can have; all of them."""
        inner = self.inner_width if family_named(self.family).bottlenecks else self.width
        faults = []
        if inner % self.heads:
            faults.append(f"{self.heads} heads don't divide the width {inner}: give heads that do")
        if self.layers % self.groups:
            faults.append(
                f"groups is {self.groups}, which doesn't divide {self.layers} layers: each group has equally many"
            )
        if faults:
            raise UserError(faults)


def config_of(body: Body, said: Mapping[str, Any]) -> "PreTrainedConfig":
    """The config of a model of these sizes.

    Args:
        said: further words of a config; those that the family doesn't know are left out.
    """
    family = family_named(body.family)
    if family.bottlenecks:
        return _mobilebert(body, said)
    from transformers import AutoConfig

    config = AutoConfig.for_model(body.family)
    assert family.feed_forward is not None  # all of these have the word
    sizes = {family.layer_count: body.layers, family.width: body.width, family.feed_forward: body.feed_forward}
    if family.has_heads:
        sizes["num_attention_heads"] = body.heads
    if family.groups is not None:
        sizes |= {"embedding_size": body.embedding_size, "num_hidden_groups": body.groups, "inner_group_num": 1}
    known = config.to_dict().keys()
    for word, value in (sizes | {word: value for word, value in said.items() if word in known}).items():
        setattr(config, word, value)
    return config


def _mobilebert(body: Body, said: Mapping[str, Any]) -> "PreTrainedConfig":
    """With LayerNorm and a sized-down block: the scales of NoNorm are found by the stage mobilebert, layer by layer."""
    sizes = Sizes(
        layers=body.layers,
        width=body.width,
        inner_width=body.inner_width,
        heads=body.heads,
        feed_forward=body.feed_forward,
        stack=body.stack,
        embedding_size=body.embedding_size,
        shared_bottleneck=True,
    )
    own = ("vocab_size", "pad_token_id", "max_position_embeddings", "type_vocab_size")
    labels = ("id2label", "label2id", "problem_type")
    config = mobilebert_config(sizes, 0.0, {word: said[word] for word in (*own, *labels)})
    config.normalization_type = "layer_norm"
    return config
