"""ONNX classifiers that add up a score for each word and label, made without torch: what they answer is known."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny import WORDS, write_tokenizer
from tokenizers import Tokenizer

from palmtop.bundle import Bundle, Origin, seal
from palmtop.signature import Signature
from palmtop.task import Task

MAX_LENGTH = 24


def word_model(folder: Path, task: dict[str, Any], noise: float, output: str = "logits", seed: int = 0) -> Bundle:
    """A sealed ONNX bundle: each of a label's words adds 1 to its logit, and noise is added to every score."""
    folder.mkdir(parents=True)
    size = write_tokenizer(folder, "bert")
    found, tokenizer = Task.find(task), Tokenizer.from_file(str(folder / "tokenizer.json"))
    scores = np.random.default_rng(seed).normal(0, noise, (size, len(found.label_names))).astype(np.float32)
    for place, label in enumerate(sorted(WORDS)):
        known = [tokenizer.token_to_id(word) for word in WORDS[label]]
        scores[[one for one in known if one is not None], place] += 1
    onnx.save(_graph(scores, output), str(folder / "model.onnx"))
    found.write(folder)
    Signature(inputs=("input_ids", "attention_mask"), output=output, max_length=MAX_LENGTH, pad_id=0).write(folder)
    origin = Origin(stage="to_onnx", settings={}, inputs={}, versions={})
    seal(folder, "onnx", origin, None, {"precision": "float32"}, "none")
    return Bundle.open(folder)


def with_validation(task: dict[str, Any]) -> dict[str, Any]:
    """A tiny task whose training rows decide too: nothing is trained on them here."""
    copied = Path(task["train"]).with_name("validation.csv")
    shutil.copyfile(task["train"], copied)
    return task | {"validation": str(copied)}


def _graph(scores: np.ndarray, output: str) -> onnx.ModelProto:
    ids = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "tokens"])
        for name in ("input_ids", "attention_mask")
    ]
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", scores.shape[1]])
    nodes = [
        helper.make_node("Gather", ["scores", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["real"]),
        helper.make_node("Mul", ["each", "real"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["sums"], keepdims=0),
        helper.make_node("Softmax" if output == "probabilities" else "Identity", ["sums"], [output]),
    ]
    held = [
        numpy_helper.from_array(scores, "scores"),
        numpy_helper.from_array(np.array([-1]), "last"),
        numpy_helper.from_array(np.array([1]), "middle"),
    ]
    graph = helper.make_graph(nodes, "words", ids, [answer], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
