"""The folder that transformers.js opens: `palmtop to_app BUNDLE --layout transformers.js`."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from palmtop.app_manifest import LABELS
from palmtop.bundle import Bundle
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.export.app.int64_inputs import int64_inputs
from palmtop.formats.onnx import FORMAT
from palmtop.paths import without_places
from palmtop.signature import FILE as SIGNATURE
from palmtop.task import Task

CLIENT = "transformers.js 4.3.2"
"""Which version this was tried with."""
SAID = "opens it in Node and in a page; what it does otherwise than palmtop stands in README.md"
FLOAT, INT8 = FORMAT.also_at
"""The file of each precision, by transformers.js' own rule."""
CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"
MODEL_TYPE, CLASS = "bert", "Bert"
"""What every model is dressed as: transformers.js wants a word that it knows, and makes no difference by it between
encoders: what it feeds are the inputs that the file names, and what it computes is the file."""
TYPED = "BertTokenizer"
"""What the tokenizer of a file that takes token_type_ids is called: others' give none, and a pipeline then feeds zeros
in their place, so that a context isn't told from its question. It changes nothing else."""
OUTPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "text-classification": ("logits",),
    "token-classification": ("logits",),
    "question-answering": ("start_logits", "end_logits"),
    "feature-extraction": ("sentence_embedding",),
}
"""What each of its pipelines reads, by name; of vectors what our own files have."""
VECTORS, READ_AS = "sentence_embedding", "token_embeddings"
"""A text's vector, and by what name feature-extraction reads it, as it is where no pooling is asked for."""
BODY = "Model"
"""How the name of the class ends that feature-extraction opens."""


def is_float(source: Bundle) -> bool:
    """Whether a file's weights are as they were exported."""
    return str(source.card.facts.get("precision", "float32")) == "float32"


def faults(source: Bundle, task: Task, quantized: Bundle | None) -> list[str]:
    """Why no such folder can be made, each with what to do."""
    found = [*_task_faults(source, task)]
    if not found:
        found += _file_faults(source, task)
    return found if quantized is None else [*found, *_pair_faults(source, quantized)]


def lay_out(source: Bundle, task: Task, quantized: Bundle | None, out: Path) -> None:
    """Write the model's files, its config, its tokenizer, its labels and its signature."""
    (out / FLOAT).parent.mkdir()
    for each in (source, *([quantized] if quantized else [])):
        _write_model(each, out / (FLOAT if is_float(each) else INT8))
    for name in (TOKENIZER, LABELS, SIGNATURE):
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, out / name)
    _write(out / CONFIG, config(source, task, quantized))
    _write(out / TOKENIZER_CONFIG, _tokenizer_config(source))


def config(source: Bundle, task: Task, quantized: Bundle | None) -> dict[str, Any]:
    """What config.json says: the class, the labels, and the precision where there is only one, for transformers.js asks
    for int8 in a page and for float32 elsewhere, and takes nothing in its place."""
    kind, labels = task.of_kind, task.label_names
    known: dict[str, Any] = {
        "model_type": MODEL_TYPE,
        "architectures": [CLASS + (BODY if OUTPUTS.get(kind.pipeline or "") == (VECTORS,) else kind.architecture)],
        "max_position_embeddings": source.signature.max_length,
        "pad_token_id": source.signature.pad_id,
        "id2label": {str(place): label for place, label in enumerate(labels)},
        "label2id": {label: place for place, label in enumerate(labels)},
    }
    if kind.problem_type is not None:
        known["problem_type"] = kind.problem_type
    if quantized is None:
        known["transformers.js_config"] = {"dtype": "fp32" if is_float(source) else "q8"}
    return known


def _task_faults(source: Bundle, task: Task) -> list[str]:
    kind = task.of_kind
    if kind.pipeline is None:
        return [
            f"{source.path} is for {kind.name.replace('_', ' ')}, and none of transformers.js' pipelines that this "
            "layout writes for asks such a model: use layout: palmtop, and ONNX Runtime in the page"
        ]
    if source.signature.output == kind.probabilities:
        return [
            f"{source.path} answers probabilities, of which transformers.js would make probabilities once more: export "
            "it without them (to_onnx --no-probabilities)"
        ]
    return []


def _file_faults(source: Bundle, task: Task) -> list[str]:
    import onnx

    from palmtop.formats.read_onnx import file_in

    assert task.of_kind.pipeline is not None  # told before
    wanted = OUTPUTS[task.of_kind.pipeline]
    model = onnx.load(str(file_in(source.path)), load_external_data=False)
    given = {output.name for output in model.graph.output}
    if set(wanted) <= given:
        return []
    return [
        f"{source.path} answers with {', '.join(sorted(given))}, and transformers.js' {task.of_kind.pipeline} reads "
        f"{', '.join(wanted)}: export it anew with to_onnx"
    ]


def _pair_faults(source: Bundle, quantized: Bundle) -> list[str]:
    found = []
    if quantized.format != source.format:
        found.append(f"quantized: {quantized.path} is {quantized.format}: name an ONNX bundle")
    if not is_float(source) or is_float(quantized):
        found.append(
            f"quantized is for the int8 file beside a float one, but {source.path} is {_precision(source)} and "
            f"{quantized.path} is {_precision(quantized)}: start from the float bundle, and name the int8 one"
        )
    if source.in_torch != quantized.in_torch:
        found.append(f"{quantized.path} was made of another model than {source.path}: name one of the same")
    return found


def _precision(bundle: Bundle) -> str:
    return str(bundle.card.facts.get("precision", "float32"))


def _write_model(source: Bundle, to: Path) -> None:
    import onnx

    from palmtop.formats.read_onnx import file_in

    model = onnx.load(str(file_in(source.path)))
    int64_inputs(model)
    _name_vectors(model)
    onnx.save(model, str(to))


def _name_vectors(model: Any) -> None:
    """Give a file's vectors a second name, by which the pipeline reads them."""
    import onnx

    known = next((output for output in model.graph.output if output.name == VECTORS), None)
    if known is None:
        return
    model.graph.node.append(onnx.helper.make_node("Identity", [VECTORS], [READ_AS]))
    again = onnx.ValueInfoProto()
    again.CopyFrom(known)
    again.name = READ_AS
    model.graph.output.append(again)


def _tokenizer_config(source: Bundle) -> dict[str, Any]:
    """The bundle's own, with the length at which to cut, and what to pad with and where."""
    path = source.path / TOKENIZER_CONFIG
    known = json.loads(without_places(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    ends: dict[str, Any] = {"model_max_length": source.signature.max_length, "padding_side": "right"}
    if "token_type_ids" in source.signature.inputs:
        ends["tokenizer_class"] = TYPED
    return {**known, **ends, "pad_token": _pad_token(source)}


def _pad_token(source: Bundle) -> str | None:
    from tokenizers import Tokenizer

    found: str | None = Tokenizer.from_file(str(source.path / TOKENIZER)).id_to_token(source.signature.pad_id)
    return found


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
