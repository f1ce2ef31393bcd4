"""TFLite metadata for the Task clients (schema 1.1.0): a FlatBuffer that names tensors, tokenizer and labels.

The layout is the public one of TensorFlow's metadata_schema.fbs: a table's fields by their place in it, file identifier
M001.
"""

from dataclasses import dataclass
from typing import Any, Union

VOCABULARY_FILE, LABELS_FILE = "vocab.txt", "labels.txt"
"""The files packed with a model, which the metadata names."""

IDENTIFIER = b"M001"
PARSER = "1.1.0"
"""The oldest schema that has a tokenizer among a subgraph's process units."""
LABELS_KIND, VOCABULARY_KIND = 2, 5
"""AssociatedFileType: TENSOR_AXIS_LABELS, VOCABULARY."""
BERT_TOKENIZER = 4
"""Its place in the union ProcessUnitOptions."""
FEATURE = 1
"""FeatureProperties' place in the union ContentProperties."""

TENSORS = {
    "input_ids": ("ids", "Token ids of the text, padded on the right."),
    "attention_mask": ("mask", "1 for a token, 0 for padding."),
    "token_type_ids": ("segment_ids", "0 for every token of a single text or a question, 1 for those of its context."),
}
"""What the clients call an input, by our name of it."""
LOGITS = {
    "start_logits": "For each token, how likely the answer begins with it.",
    "end_logits": "For each token, how likely the answer ends with it.",
}


@dataclass(frozen=True)
class About:
    """What a client or a reader is told of a model."""

    name: str
    description: str
    version: str
    author: str
    licence: str


@dataclass(frozen=True)
class Table:
    """A FlatBuffers table: its fields by their place in the schema. A number is a ubyte, as every enum here is."""

    fields: "dict[int, Field]"


Field = Union[str, int, Table, "tuple[Table, ...]"]


def classifier(about: About, inputs: tuple[str, ...], _: tuple[str, ...]) -> bytes:
    """The metadata of a classifier.

    Args:
        about: the words on it.
        inputs: our names of the three inputs, in the order of the file's graph.
    """
    labels = _file(LABELS_FILE, "The labels in the order of the scores.", LABELS_KIND)
    return _metadata(
        about, inputs, (_tensor("probability", "The labels' probabilities; they add up to 1.", (labels,)),)
    )


def embedder(about: About, inputs: tuple[str, ...], _: tuple[str, ...]) -> bytes:
    """The metadata of a model that gives a vector.

    Args:
        about: the words on it.
        inputs: our names of the three inputs, in the order of the file's graph.
    """
    return _metadata(
        about, inputs, (_tensor("embedding", "The vector of the text; two are compared by their cosine."),)
    )


def reader(about: About, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> bytes:
    """The metadata of a model that answers questions on a context.

    Args:
        about: the words on it.
        inputs: our names of the three inputs, in the order of the file's graph.
        outputs: start_logits and end_logits, in the order of the file's graph: BertQuestionAnswerer looks them up by
        these names.
    """
    return _metadata(about, inputs, tuple(_tensor(name, LOGITS[name]) for name in outputs))


def _metadata(about: About, inputs: tuple[str, ...], outputs: tuple[Table, ...]) -> bytes:
    vocabulary = _file(
        VOCABULARY_FILE, "The tokens, one a line; a token's id is the number of its line, from 0.", VOCABULARY_KIND
    )
    tokenizer = Table({0: BERT_TOKENIZER, 1: Table({0: (vocabulary,)})})
    graph = Table({2: tuple(_tensor(*TENSORS[name]) for name in inputs), 3: outputs, 5: (tokenizer,)})
    model = Table(
        {
            0: about.name,
            1: about.description,
            2: about.version,
            3: (graph,),
            4: about.author,
            5: about.licence,
            7: PARSER,
        }
    )
    return pack(model, IDENTIFIER)


def pack(root: Table, identifier: bytes) -> bytes:
    """A FlatBuffer with this root table."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, root), file_identifier=identifier)
    return bytes(builder.Output())


def _write(builder: Any, value: Field) -> int:
    """Write what a field points to, and return where it is; children come before the table that points to them."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, tuple):
        places = [_write(builder, item) for item in value]
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            builder.PrependUOffsetTRelative(place)
        return int(builder.EndVector())
    assert isinstance(value, Table)
    pointed = {slot: _write(builder, child) for slot, child in value.fields.items() if not isinstance(child, int)}
    builder.StartObject(max(value.fields, default=-1) + 1)
    for slot, child in value.fields.items():
        if isinstance(child, int):
            builder.PrependUint8Slot(slot, child, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, pointed[slot], 0)
    return int(builder.EndObject())


def _file(name: str, description: str, kind: int) -> Table:
    return Table({0: name, 1: description, 2: kind})


def _tensor(name: str, description: str, files: tuple[Table, ...] = ()) -> Table:
    fields: dict[int, Field] = {0: name, 1: description, 3: Table({0: FEATURE, 1: Table({})})}
    return Table(fields | ({6: files} if files else {}))
