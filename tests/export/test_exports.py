"""Exports beyond the matrix of families: several lengths, softmax inside, int8, what a file may hold, and what is
refused."""

import re
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from once import MadeOnce
from safetensors.numpy import load_file, save_file
from tiny import sentences, write_model, write_task

from palmtop import parity, stage, target
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.signature import Signature
from palmtop.stage import Outline
from palmtop.task import Task


@pytest.fixture(scope="module")
def several(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A .tflite of three lengths."""
    return _make("to_tflite", {"lengths": [32, 16, 24]}, teacher, tmp_path_factory.mktemp("several") / "file")


def test_several_lengths_share_one_set_of_weights_and_agree(teacher: Bundle, several: Bundle, tmp_path: Path) -> None:
    one = _make("to_tflite", {"lengths": 32}, teacher, tmp_path / "one")
    stored, alone = _weights(several.path / "model.tflite"), _weights(one.path / "model.tflite")
    assert len(stored) == len(set(stored))
    assert len(stored) == len(alone) + 2  # the slices of the position table, one for each length
    assert Signature.read(several.path).lengths == (16, 24, 32)
    texts = [(text,) for text, _ in sentences(12, 4)]
    encodings = HostTokenizer(teacher.path, 32).encode(texts)
    with target.find("host_litert").open(one.path) as first, target.find("host_litert").open(several.path) as second:
        assert np.abs(first.predict(encodings) - second.predict(encodings)).max() < 1e-4


def test_the_file_holds_built_in_operators_only_and_looks_embeddings_up(several: Bundle) -> None:
    from ai_edge_litert.interpreter import Interpreter

    names = [operator["op_name"] for operator in Interpreter(str(several.path / "model.tflite"))._get_ops_details()]
    assert "EMBEDDING_LOOKUP" in names  # GATHER's weights are not quantized
    assert not [name for name in names if "FLEX" in name.upper() or "CUSTOM" in name.upper() or name == "GATHER_ND"]


def test_int8_is_a_quarter_of_the_weights_and_agrees(teacher: Bundle, several: Bundle, tmp_path: Path) -> None:
    made = _make("quantize", {}, several, tmp_path / "int8")
    assert made.card.facts["precision"] == "dynamic_int8"
    assert made.card.facts["parity_agreement"] >= 0.9
    table = 150 * 32  # the embedding table's numbers: one byte each, not four
    assert (several.path / "model.tflite").stat().st_size - (made.path / "model.tflite").stat().st_size > 3 * table
    with pytest.raises(UserError, match="int8 is dynamic_int8 already: quantize the float32 file"):
        _make("quantize", {"scheme": "weight_only_int8"}, made, tmp_path / "again")
    weight_only = _make("quantize", {"scheme": "weight_only_int8"}, several, tmp_path / "weights")
    assert weight_only.card.facts["parity_difference"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "settings"), [("to_tflite", {"lengths": 24}), ("to_onnx", {}), ("to_tfjs", {"precision": "float16"})]
)
def test_probabilities_are_the_softmax_of_the_logits(
    teacher: Bundle, use: str, settings: dict[str, Any], once: MadeOnce
) -> None:
    made = once(use, settings | {"probabilities": True}, teacher)
    assert Signature.read(made.path).output == "probabilities"
    encodings = HostTokenizer(teacher.path, 24).encode([(text,) for text, _ in sentences(8, 6)])
    with target.for_format("torch").open(teacher.path) as runner:
        logits = runner.predict(encodings)
    with target.for_format(made.format).open(made.path) as runner:
        found = runner.predict(encodings)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(found - expected).max() < (1e-2 if use == "to_tfjs" else 1e-5)  # float16 weights


def test_auto_takes_the_shortest_length_that_fits_nearly_all_texts(teacher: Bundle, tmp_path: Path) -> None:
    made = _make("to_tflite", {}, teacher, tmp_path / "auto")
    task = Task.of(teacher.path)
    assert task is not None
    longest = max(map(len, HostTokenizer(teacher.path, 64).encode(task.load("train").texts)))
    (length,) = Signature.read(made.path).lengths or ()
    assert longest <= length <= longest * 1.6


def test_a_file_of_another_model_fails_parity_and_names_the_worst_text(
    teacher: Bundle, several: Bundle, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(teacher.path, wrong)
    weights = load_file(wrong / "model.safetensors")
    save_file(
        weights | {"classifier.weight": -weights["classifier.weight"]},
        wrong / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(
        UserError,
        match=r"the tflite file answers otherwise than the torch model: they differ by .* of the outputs' spread "
        r"\(tolerance 0.001; .*worst text: \('.*",
    ):
        parity.check(("torch", wrong), ("tflite", several.path), 1e-3)


@pytest.mark.slow
def test_a_pair_reaches_every_format_with_its_token_types(tmp_path: Path) -> None:
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", "bert"))}, None, tmp_path / "base")
    short = {
        "task": write_task(tmp_path / "data", kind="regression", pair=True),
        "epochs": 20,
        "learning_rate": 5e-3,
        "batch_size": 16,
    }
    made = _make("finetune", short, base, tmp_path / "teacher")
    for use in ("to_tflite", "to_onnx", "to_tfjs"):
        assert _make(use, {}, made, tmp_path / use).card.facts["parity_difference"] < 1e-4


def test_what_cannot_be_exported_is_told_before_work(teacher: Bundle, tmp_path: Path) -> None:
    headless = Outline("torch", "bert", 2, None)
    for use in ("to_tflite", "to_onnx", "to_tfjs"):
        with pytest.raises(UserError, match=f"{use} needs a model with a task's head: put a 'finetune' step before it"):
            stage.find(use)().outline(headless)
        with pytest.raises(UserError, match="probabilities is for classification"):
            stage.find(use)(probabilities=True).outline(Outline("torch", "bert", 2, ("score",)))
    with pytest.raises(ValueError, match="give different token counts of at least 4"):
        stage.find("to_tflite")(lengths=[3])
    with pytest.raises(UserError, match=r"length 4096 is more than the model takes \(70 tokens\)"):
        _make("to_tflite", {"lengths": 4096}, teacher, tmp_path / "long")


def test_a_file_that_finds_no_room_is_told_by_name(random_bert: Bundle, tmp_path: Path) -> None:
    """litert-torch's own writer would end the process there, without a word."""
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, allowed[1]))
    try:
        with pytest.raises(
            UserError, match=rf"^{re.escape(str(tmp_path / 'file'))} would be a larger file than may be"
        ):
            _make("to_tflite", {"lengths": 8}, random_bert, tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert not (tmp_path / "file").exists()


def test_a_missing_browser_is_told_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_CHROMIUM", "/nowhere/chromium")
    with pytest.raises(UserError, match=r"to_tfjs checks what it writes in a browser, but .*(Chromium|chromium)"):
        stage.find("to_tfjs")().outline(Outline("torch", "bert", 2, ("a", "b")))


def _weights(file: Path) -> list[bytes]:
    """The buffers of a .tflite that are large enough to be weights."""
    from ai_edge_quantizer.utils.tfl_flatbuffer_utils import read_model

    return [
        bytes(buffer.data)
        for buffer in read_model(str(file)).buffers
        if buffer.data is not None and len(buffer.data) >= 1000
    ]


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
