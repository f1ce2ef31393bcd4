"""Kinds of tasks x formats x targets, on tiny models: in every cell a file answers as torch, or is refused by name."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tiny import write_model, write_multi_label, write_pairs, write_questions, write_tags, write_task

from palmtop import stage, target, task_kinds
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.making import make_by_name
from palmtop.stage import Outline, check_task
from palmtop.target import Target
from palmtop.task import Task

if TYPE_CHECKING:
    from once import MadeOnce

pytestmark = pytest.mark.slow

EXPORTS: list[tuple[str, dict[str, Any]]] = [
    ("to_tflite", {"lengths": "any"}),
    ("to_tflite", {"lengths": [64]}),
    ("to_onnx", {}),
    ("to_tfjs", {}),
    ("to_executorch", {}),
]
"""Every export with a runtime here, and settings that all kinds take. Core ML's is converted, not run."""
ROWS: dict[str, Any] = {
    "classification": write_task,
    "regression": partial(write_task, kind="regression"),
    "multi_label": write_multi_label,
    "token_classification": write_tags,
    "question_answering": write_questions,
    "sentence_embedding": write_pairs,
}
"""What writes a tiny task of a kind."""
REFUSED = {
    ("browser_litert", "LiteRT.js takes fixed lengths only, and this file takes any"),
}
"""What a target says of a file that it can't run though it runs the format."""
HERE = [name for name in target.names() if target.class_of(name).address_is is None]
FLOAT32 = 1e-3
"""Of the spread of the outputs: rounding of two layers in other orders."""


@pytest.fixture(scope="module", params=[name for name in task_kinds.names() if not task_kinds.find(name).writes])
def tuned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A BERT of two layers with the head of a kind, after a few steps: its answers differ from text to text. What
    writes has tests of its own (tests/whole/test_causal_lm.py)."""
    folder = tmp_path_factory.mktemp(request.param)
    task = ROWS[request.param](folder / "data", train=64)
    settings = {"task": task, "epochs": 1, "learning_rate": 5e-3, "batch_size": 16, "max_length": 64}
    base = _made("adopt", {"model": str(write_model(folder / "model", "bert"))}, None, folder / "base")
    return _made("finetune", settings, base, folder / "teacher")


@pytest.mark.parametrize(("export", "settings"), EXPORTS, ids=["any", "tflite", "onnx", "tfjs", "executorch"])
def test_a_file_answers_as_torch_on_every_target_of_its_format(
    tuned: Bundle, export: str, settings: dict[str, Any], once: "MadeOnce"
) -> None:
    task = tuned.task
    assert task is not None
    if not task.of_kind.works(export):
        source = Outline("torch", "bert", 2, (), task=task.kind)
        with pytest.raises(UserError, match=f"^{export} isn't for {task.kind.replace('_', ' ')}"):
            check_task(export, stage.find(export).model_construct(), source)
        return
    made = once(export, settings, tuned)
    expected = _outputs(tuned, target.find("host_torch"), task)
    places = [place for place in map(target.find, HERE) if made.format in place.formats and place.runs]
    assert places
    for place in places:
        assert place.missing() is None, place.label
        if why := place.unable(made.path):
            assert (place.label, why) in REFUSED
            continue
        found = _outputs(made, place, task)
        apart = task.of_kind.differences(expected, found, made.signature.output)
        assert (apart.agreement, bool(apart.by_text.max() < FLOAT32)) == (1, True), (place.label, apart.by_text.max())


def _outputs(bundle: Bundle, place: Target, task: Task) -> np.ndarray:
    """What a bundle gives for its task's evaluation texts."""
    encodings = HostTokenizer.of(bundle.path, bundle.signature).encode(task.load("evaluation").texts)
    with place.open(bundle.path) as runner:
        return runner.predict(encodings)


def _made(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make_by_name(use, settings, source, out, lambda _: None)
