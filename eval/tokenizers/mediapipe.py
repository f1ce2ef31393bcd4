"""MediaPipe's own token ids: its BERT tokenizer shows none, so it is asked through a model that answers with its
inputs.

The model is 3 inputs (ids, mask, segment_ids), their concatenation and a cast; MediaPipe's TextEmbedder tokenizes,
feeds it, and returns as the "embedding" what the tokenizer gave. The same C++ code tokenizes for TextClassifier, on
Android too.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.errors import UserError

INPUTS = ("ids", "mask", "segment_ids")
"""The names by which MediaPipe knows a BERT model's inputs."""
VOCABULARY = "vocab.txt"


def missing() -> str | None:
    """What this machine lacks, or None."""
    gone = [
        package
        for module, package in (("mediapipe", "mediapipe"), ("ai_edge_litert", "ai-edge-litert"))
        if find_spec(module) is None
    ]
    return f"asking MediaPipe's tokenizer needs {', '.join(gone)}: pip install 'palmtop[judges]'" if gone else None


def name() -> str:
    """MediaPipe with its version."""
    return f"mediapipe {version('mediapipe')}"


def vocabulary(folder: Path) -> list[str]:
    """The words of a bundle's WordPiece tokenizer, by id.

    Raises:
        UserError: the tokenizer is of another kind, which MediaPipe's text tasks don't have.
    """
    model = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))["model"]
    if model.get("type") != "WordPiece":
        raise UserError(
            f"{folder} has a {model.get('type')} tokenizer; MediaPipe's text tasks have WordPiece only: there is "
            "nothing to compare"
        )
    words: list[str] = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return words


def tokenize(folder: Path, max_length: int, texts: Sequence[Text]) -> list[Encoding]:
    """Encode texts (the first of a pair: MediaPipe takes one) with MediaPipe's tokenizer and the bundle's
    vocabulary."""
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.text import text_embedder

    base = BaseOptions(model_asset_buffer=probe(max_length, vocabulary(folder)))
    with text_embedder.TextEmbedder.create_from_options(
        text_embedder.TextEmbedderOptions(base_options=base)
    ) as embedder:
        return [_encoding(text, embedder.embed(text[0]).embeddings[0].embedding, max_length) for text in texts]


def _encoding(text: Text, answer: Any, max_length: int) -> Encoding:
    ids, mask, types = np.asarray(answer).round().astype(np.int32).reshape(len(INPUTS), max_length)
    tokens = int(mask.sum())
    return Encoding(text, ids[:tokens], types[:tokens], tokens == max_length)


def probe(length: int, words: Sequence[str]) -> bytes:
    """A .tflite with metadata whose output [1, 3 * length] is ids, mask and segment_ids as float32 (exact up to
    2^24)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = _graph(schema, length)
    content, entry = schema.BufferT(), schema.MetadataT()
    content.data = np.frombuffer(_metadata(), np.uint8)
    entry.name, entry.buffer = "TFLITE_METADATA", len(model.buffers)
    model.buffers.append(content)
    model.metadata = [entry]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    file = io.BytesIO(bytes(builder.Output()))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(VOCABULARY, "\n".join(words) + "\n")
    return file.getvalue()


def _graph(schema: Any, length: int) -> Any:
    subgraph, model = schema.SubGraphT(), schema.ModelT()
    kind = schema.TensorType
    wide = len(INPUTS) * length
    shapes = [
        *((tensor, length, kind.INT32) for tensor in INPUTS),
        ("joined", wide, kind.INT32),
        ("output", wide, kind.FLOAT32),
    ]
    subgraph.tensors = [_tensor(schema.TensorT(), *shape) for shape in shapes]
    subgraph.inputs, subgraph.outputs = [0, 1, 2], [4]
    join, cast, options = schema.OperatorT(), schema.OperatorT(), schema.ConcatenationOptionsT()
    options.axis = 1
    join.opcodeIndex, join.inputs, join.outputs = 0, [0, 1, 2], [3]
    join.builtinOptionsType, join.builtinOptions = schema.BuiltinOptions.ConcatenationOptions, options
    cast.opcodeIndex, cast.inputs, cast.outputs = 1, [3], [4]
    subgraph.operators = [join, cast]
    model.version, model.subgraphs, model.buffers = 3, [subgraph], [schema.BufferT()]
    codes = (schema.BuiltinOperator.CONCATENATION, schema.BuiltinOperator.CAST)
    model.operatorCodes = [_code(schema.OperatorCodeT(), code) for code in codes]
    return model


def _tensor(tensor: Any, label: str, length: int, kind: int) -> Any:
    tensor.name, tensor.shape, tensor.type, tensor.buffer = label, [1, length], kind, 0
    return tensor


def _code(code: Any, builtin: int) -> Any:
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, builtin, 1
    return code


def _metadata() -> bytes:
    """Which input is which, and that the text goes through a BERT tokenizer with the packed vocabulary."""
    import flatbuffers
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema

    file, options, unit = schema.AssociatedFileT(), schema.BertTokenizerOptionsT(), schema.ProcessUnitT()
    file.name, file.type = VOCABULARY, schema.AssociatedFileType.VOCABULARY
    options.vocabFile = [file]
    unit.optionsType, unit.options = schema.ProcessUnitOptions.BertTokenizerOptions, options
    subgraph, model = schema.SubGraphMetadataT(), schema.ModelMetadataT()
    subgraph.inputProcessUnits = [unit]
    subgraph.inputTensorMetadata, subgraph.outputTensorMetadata = [], []
    for label, tensors in (
        *((label, subgraph.inputTensorMetadata) for label in INPUTS),
        ("output", subgraph.outputTensorMetadata),
    ):
        tensor = schema.TensorMetadataT()
        tensor.name = label
        tensors.append(tensor)
    model.name, model.subgraphMetadata = "tokenizer probe", [subgraph]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"M001")
    return bytes(builder.Output())
