"""What a family is: the facts about its models from which everything is read that differs between families."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["encoder", "decoder"]
"""Whether a token sees all others, or only those before it."""


@dataclass(frozen=True)
class Parts:
    """Where the linear layers of a transformer layer lie below it, in dots."""

    query: str
    key: str
    value: str
    attention_output: str
    feed_forward_in: str
    feed_forward_out: str


@dataclass(frozen=True)
class Core:
    """The module that has queries, keys and values."""

    path: str
    """Below its layer, in dots."""
    heads: str = "num_attention_heads"
    """Its own word for how many heads it has."""
    rows: str | None = "all_head_size"
    """Its own word for the rows of all its heads; None where it has none."""
    output: str | None = None
    """The output layer, where this module has it too and so hands on its result."""
    position_projections: tuple[str, ...] = ()
    """Projections of relative positions, with a row for each row of keys and queries; absent where those are shared."""


@dataclass(frozen=True)
class LayerPlan:
    """A layer of six linear layers in two halves, each with a norm behind it."""

    parts: Parts
    norms: tuple[str, str]
    """The norm after the attention, and after the feed-forward part, below the layer."""
    halves: tuple[tuple[str, ...], tuple[str, ...]]
    """The children of a layer that hold the attention with its norm, and the feed-forward part with its norm: whole and
    nothing else."""
    core: Core


@dataclass(frozen=True)
class NewBody:
    """What is to be known of a family to make a student of it after a teacher of any (stage new_student)."""

    own_sizes: tuple[str, ...] = ()
    """The sizes that only models of it have, as the stage calls them."""
    behind_embeddings: str | None = None
    """A square linear layer behind the embeddings' norm, below the transformer."""
    tanh_head: tuple[str, str] | None = None
    """As the family's own, where ALBERT's class is no matter."""


@dataclass(frozen=True)
class Family:
    """What differs between families. `model_type` is the word in config.json."""

    model_type: str
    name: str
    """As people write it."""
    layers: str | None
    """Prefix of layer i's weights in a classifier, before '.<i>.'; None where layers share weights in groups, and where
    there are none."""
    groups: tuple[str, str] | None = None
    """Where layers share weights in groups: the prefix of group g's weights, before '.<g>.', and what its layers are
    called below it."""
    beside_layers: tuple[str, ...] = ()
    """Where the parts of a layer lie in lists of their own: the prefixes of the others, as `layers`."""
    plan: LayerPlan | None = None
    """What a layer is made of; None where it isn't made of six linear layers."""
    built_otherwise: str = "its layers aren't made of six linear layers"
    """Why there is no plan, in words that follow a colon."""
    parts_alike: Mapping[str, str] = field(default_factory=dict)
    """Where there is no plan: where those linear layers and norms of a layer lie that do what BERT's do, by their names
    in palmtop.models.layer_weights, such as feed_forward_in and attention_norm."""
    first_layer: str | None = None
    """What makes the first layer unlike the others, so that it stays the first whichever are kept; None where any may
    be."""
    kind: Kind = "encoder"
    unsaid_tokenizer: tuple[str, str] | None = None
    """transformers' own tokenizer of it, where no tokenizer.json can give its ids: the class, and why, in words that
    follow a name."""

    layer_count: str = "num_hidden_layers"
    """The config's word for the number of layers."""
    width: str = "hidden_size"
    """The config's word for the width of hidden states."""
    inner_width: str = "hidden_size"
    """A config's attribute: the width that is shared out among heads."""
    head_size: str | None = None
    """The config's word for a head's width, where it may say so itself."""
    shares_of_width: tuple[str, ...] = ()
    """The config's words for lists of widths that add up to that of hidden states."""
    feed_forward: str | None = "intermediate_size"
    """The config's word for the width inside feed-forward parts; None where it follows from the width."""
    activation: str = "hidden_act"
    """The config's word for the function between the feed-forward layers."""
    positions: str | None = "max_position_embeddings"
    """The config's word for the number of positions; None where no number bounds them."""
    longest: Callable[[Mapping[str, Any]], int] | None = None
    """Most tokens that it takes, by its config, where that isn't how many positions it has."""
    why_longest: str = ""
    """Why not more, and what there is for longer texts, in words that follow a colon; adopt tells it."""
    listed_by_layer: tuple[str, ...] = ()
    """The config's words for lists with an entry for each layer."""
    layers_said_by: str | None = None
    """Dotted name of what writes such lists into a config as its class reads them, where that is in another form."""
    fixed: Mapping[str, tuple[int | str, str]] = field(default_factory=dict)
    """The config's words for what transformers or palmtop can't have otherwise, by the only value and what a user is
    told, with {where} and {value}."""

    token_types: bool = True
    """Whether it takes token_type_ids (where its config has more than one type)."""
    positions_after_pad: bool = False
    """Whether positions are counted from pad_token_id + 1 on (RoBERTa's way), so that fewer of them are usable."""
    last_speaks: bool = False
    """Whether its heads read a text's last token, and no token of its own stands before a text."""
    takes_mask: bool = True
    """Whether it is told which tokens are padding (attention_mask) at all."""
    padding_counts: str | None = None
    """Why padding beside a text changes the answer, in words that follow a name; such a transformer is run at one
    length everywhere, in training, in torch and in every file, which its signature says."""
    takes_additive_mask: bool = True
    """Whether an additive 4-D mask goes through to the scores; otherwise it gets the plain 2-D mask."""
    window: str | None = None
    """A config's attribute: how far its local layers look to each side. Such a transformer takes additive masks by
    layer type; a classifier of it may need the plain one."""
    shortest: int = 2
    """Fewest tokens that a graph of any length can be traced for."""
    any_length: bool = True
    """Whether a .tflite of it can be made for texts of any length (palmtop.export.tflite_file.any_length)."""

    mended_by: str | None = None
    """Dotted name of what changes a model of it in place, wherever palmtop builds one, where its class doesn't take
    batches as they are: padded on the right, of any length."""
    traced_by: str | None = None
    """Dotted name of what changes a classifier of it in place for an export, into one that answers the same, where its
    own forward pass can't be traced, or is wrong where it was."""
    windows_by: str | None = None
    """Dotted name of what changes a model that writes in place for an export, where it has local layers: it gives the
    object that is told, before each call, how far every key lies behind every token (`see`)."""
    at_one_length: str | None = None
    """Dotted name of what changes that further where one text of one length is traced, at which it may cost less."""

    never_rounded: tuple[str, ...] = ()
    """Modules that no scheme makes coarser in a file."""

    new_head: tuple[str, ...] = ("classifier",)
    """Modules that a task trains anew, on their own learning rate."""
    span_head: tuple[str, ...] = ("qa_outputs",)
    """The same for a task of question answering."""
    token_head: tuple[str, ...] = ("classifier",)
    """The same for a task of tags."""
    word_class: str | None = None
    """Its class with a head over the vocabulary for what comes next, where it isn't called ...ForCausalLM."""
    word_head: str | None = None
    """The first module of its head over the vocabulary: what takes the last hidden states."""
    order_head: tuple[str, ...] = ()
    """What a head for the order of two segments adds to a masked language model; empty where its class has none."""
    own_class: str | None = None
    """Dotted name of what tells transformers of its classes, where they are palmtop's own (palmtop.models)."""
    mean_of_rows: bool = False
    """Whether all that it knows of a text is the mean of its table's rows, so that model2vec can open it."""

    table: str = "embeddings.word_embeddings"
    """The word embedding's table, below the transformer itself."""
    token_rows: tuple[str, ...] = ()
    """Ends of the names of weights with a row for each token: of a language model's head, beside the table."""
    token_columns: tuple[str, ...] = ()
    """The same, with a column for each token."""
    narrow_table: bool = False
    """Whether the table is narrower than the model already, in every model of it."""
    widened_by: str | None = None
    """The linear layer behind embeddings that are narrower, below the transformer itself; a model without such
    embeddings may lack it."""
    narrow_norm: bool = False
    """Whether its own class has the norm on the narrow side of a factorized table, as ALBERT's has."""

    normed_embeddings: bool = True
    """Whether a norm stands behind the sum of its embeddings; else a factorized table has nothing to be fitted to: its
    truncated SVD is the nearest there is."""
    plain_layers: bool = False
    """Whether a layer ends with a LayerNorm, embeddings are a sum under one, and attention knows no other positions."""
    bottlenecks: bool = False
    """Whether a layer has bottlenecks around and stacks of feed-forward parts inside (MobileBERT)."""
    extra_parts: bool = False
    """Whether a layer has parts that prune_structures' latency table doesn't know."""
    score_terms: str | None = None
    """What attention scores hold besides queries times keys."""
    has_heads: bool = True
    """Whether layers have heads of attention at all."""
    heads_counted_outside: bool = False
    """Whether something outside a layer counts its heads, and is handed in for all of them (position biases)."""
    convolution: str | None = None
    """The config's word for a convolution between its layers."""
    tanh_head: tuple[str, str] | None = None
    """The layer under the tanh and the one that gives the logits, of a classifier that ALBERT's class computes too."""
    no_albert: str | None = None
    """Why ALBERT's class doesn't compute what it does."""
    new_body: NewBody | None = None
    """None: no student of it is made after a teacher of another."""
    text_student: str | None = None
    """The family that distill_masked_lm makes of it by default, in place of its own."""

    refuses: Mapping[str, str] = field(default_factory=dict)
    """Stages that don't work on it, with the reason and what there is instead."""

    @property
    def has_layers(self) -> bool:
        """Whether there are transformer layers at all."""
        return self.layers is not None or self.groups is not None


LIKE_BERT = LayerPlan(
    Parts(
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ),
    ("attention.output.LayerNorm", "output.LayerNorm"),
    (("attention",), ("intermediate", "output")),
    Core("attention.self"),
)
"""The layer of BERT, which several families have."""
PREDICTIONS = ("predictions.decoder.weight", "predictions.decoder.bias", "predictions.bias")
"""BERT's head over the vocabulary: its matrix, where it is not the word embedding, and its bias."""
LM_HEAD = ("lm_head.decoder.weight", "lm_head.decoder.bias", "lm_head.bias")
"""RoBERTa's."""
