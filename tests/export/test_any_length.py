"""One file for texts of any length: it answers as files made for one length do, bit for bit, and Google's clients size
it themselves."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from once import MadeOnce
from task_clients import mediapipe_answers, tflite_support
from tiny import sentences
from tiny_bundles import Taught, adopted

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, pad
from palmtop.errors import UserError
from palmtop.eval.explaining.explain import explain
from palmtop.export.app.clients import MEDIAPIPE, TASK_LIBRARY
from palmtop.export.tflite_file.any_length import open_length
from palmtop.export.tflite_file.packing import pack, parse
from palmtop.making import make
from palmtop.models.family import FAMILIES
from palmtop.signature import Signature

FIXED = (9, 70)
"""The longest is the model's own limit; at the other one, nothing of the file was made for it."""
FIXED_ONLY = sorted(name for name, family in FAMILIES.items() if not family.any_length)
RELATIVE = [name for name in FIXED_ONLY if FAMILIES[name].padding_counts is None]
"""Families that are made for pairs of tokens; the others are changed by padding, which test_families.py looks at."""
"""DeBERTa looks up its biases by pairs of tokens, in one flat list of them."""
TEXTS = [
    "rain",
    "play me a loud song",
    "pay my card and then some more money please",
    "guitar " * 80 + "rain",
    *(text for text, _ in sentences(9, 5)),
]
"""One is longer than the model takes: the clients don't cut it."""
SPREAD = 1e-4
"""Float32 rounding over a few layers is some 1e-6 of the spread of the logits."""
SAME = 1e-3
"""Of a probability, between clients. Measured: below 1e-6."""


@pytest.fixture(scope="module")
def files(adopted_bert: Bundle, once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """A BERT with a task as a file for any length and one for two, with probabilities, each in two precisions."""
    folder = tmp_path_factory.mktemp("any")
    made = {
        "any": once("to_tflite", {"lengths": "any", "probabilities": True}, adopted_bert),
        "fixed": _make("to_tflite", {"lengths": FIXED, "probabilities": True}, adopted_bert, folder / "fixed"),
    }
    for name in tuple(made):
        made[f"{name} int8"] = _make(
            "quantize", {"scheme": "dynamic_int8", "tolerance": 2}, made[name], folder / f"{name}-int8"
        )
    return made


@pytest.mark.parametrize("precision", ["", " int8"])
@pytest.mark.parametrize("length", FIXED)
def test_the_bits_are_those_of_a_file_made_for_the_length(
    length: int, precision: str, files: dict[str, Bundle]
) -> None:
    random = np.random.default_rng(length)
    texts = [
        Encoding(("",), random.integers(5, 50, length).astype(np.int32), np.zeros(length, np.int32)) for _ in range(3)
    ]
    texts.insert(1, Encoding(("",), texts[0].input_ids[:3], texts[0].token_type_ids[:3]))  # another length in between
    found, expected = (_answers(files[name + precision], texts) for name in ("any", "fixed"))
    assert np.array_equal(np.delete(found, 1, axis=0), np.delete(expected, 1, axis=0))


def test_a_client_that_gives_no_size_has_a_file_of_the_longest_length(files: dict[str, Bundle]) -> None:
    text = Encoding(("",), np.arange(5, 14, dtype=np.int32), np.zeros(9, np.int32))
    interpreter = Interpreter(str(files["any"].path / "model.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    padded = pad([text], FIXED[-1], Signature.read(files["any"].path).pad_id)
    for entry in interpreter.get_input_details():
        interpreter.set_tensor(entry["index"], padded[entry["name"].removeprefix("serving_default_")])
    interpreter.invoke()
    [answer] = interpreter.get_output_details()
    assert np.array_equal(interpreter.get_tensor(answer["index"]), _answers(files["any"], [text]))


@pytest.mark.parametrize("tokens", [71, 200])
def test_of_what_is_too_long_the_first_tokens_and_the_last_are_read(tokens: int, files: dict[str, Bundle]) -> None:
    ids, types = np.random.default_rng(tokens).integers(5, 50, tokens).astype(np.int32), np.zeros(FIXED[-1], np.int32)
    whole, cut = (
        Encoding(("",), ids, np.zeros(tokens, np.int32)),
        Encoding(("",), np.append(ids[: FIXED[-1] - 1], ids[-1]), types),
    )
    assert np.array_equal(_answers(files["any"], [whole]), _answers(files["any"], [cut]))


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted({*FAMILIES} - {*FIXED_ONLY, "bert"}))
def test_a_family_answers_as_torch_at_every_length(family: str, tmp_path: Path) -> None:
    made = _make("to_tflite", {"lengths": "any"}, adopted(tmp_path / family, family), tmp_path / "file")
    assert made.card.facts["parity_difference"] < SPREAD


@pytest.mark.slow
def test_a_reader_answers_as_torch_at_every_length(reader: Taught, tmp_path: Path) -> None:
    made = _make("to_tflite", {"lengths": "any"}, reader.teacher, tmp_path / "file")
    assert made.card.facts["parity_difference"] < SPREAD


def test_a_student_without_layers_answers_as_torch_at_every_length(taught_bert: Taught, tmp_path: Path) -> None:
    student = _make("static", {"epochs": 1, "width": 16, "head_size": 12}, taught_bert.teacher, tmp_path / "student")
    made = _make("to_tflite", {"lengths": "any"}, student, tmp_path / "file")
    assert made.card.facts["parity_difference"] < SPREAD


@pytest.mark.slow
@pytest.mark.parametrize("family", RELATIVE)
def test_what_is_made_for_pairs_of_tokens_is_refused_by_name(family: str, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"lengths: any: (EMBEDDING_LOOKUP|BATCH_MATMUL) of .*att.* is made for one .*: give lengths"
    ):
        _make("to_tflite", {"lengths": "any"}, adopted(tmp_path / "model", family), tmp_path / "file")


def test_a_graph_of_other_operators_at_another_length_is_refused(files: dict[str, Bundle], tmp_path: Path) -> None:
    model = parse((files["fixed"].path / "model.tflite").read_bytes())
    model.subgraphs[0].operators.pop()
    (tmp_path / "model.tflite").write_bytes(pack(model))
    with pytest.raises(UserError, match="has other operators at another length"):
        open_length(tmp_path / "model.tflite", "length_9", "length_70")


def test_googles_clients_give_it_each_texts_own_length(files: dict[str, Bundle], tmp_path: Path) -> None:
    app = _make("to_app", {"task_clients": "required"}, files["any"], tmp_path / "app")
    assert app.card.facts["clients"] == f"LiteRT; {MEDIAPIPE}; {TASK_LIBRARY}"
    with target.find("host_litert").open(app.path) as runner:
        expected = runner.predict(runner.tokenize([(text,) for text in TEXTS]))
    labels = (app.path / "labels.txt").read_text().splitlines()
    for found in (
        mediapipe_answers(app.path / "model.tflite", TEXTS),
        tflite_support(app.path / "model.tflite", TEXTS)["answers"],
    ):
        assert np.abs(np.array([[scores[label] for label in labels] for scores in found]) - expected).max() < SAME


def test_static_ranges_are_measured_on_texts_as_they_are(files: dict[str, Bundle], tmp_path: Path) -> None:
    made = _make(
        "quantize",
        {"scheme": "static_int8", "tolerance": 4, "calibration_texts": 24},
        files["any"],
        tmp_path / "static",
    )
    assert made.card.facts["calibration_texts"] == 24
    assert made.card.facts["activations"] > 0


def test_it_tells_what_texts_cost_as_they_come(files: dict[str, Bundle]) -> None:
    facts = files["any"].card.facts
    assert facts["lengths"] == "any up to 70" and Signature.read(files["any"].path).lengths is None
    assert re.fullmatch(
        r"[\d.]+ ms expected, over \d+ of 96 training texts, each at its own length; [\d.]+ ms if all were padded to "
        r"48",
        facts["length_cost"],
    )
    assert facts["expected_ms"] > 0 and facts["tokens"]["texts"] == 96


def test_who_cannot_run_it_is_told(files: dict[str, Bundle]) -> None:
    assert (
        target.find("browser_litert").refuses(files["any"].path)
        == "LiteRT.js takes fixed lengths only, and this file takes any"
    )
    assert target.find("browser_litert").refuses(files["fixed"].path) is None
    found = {finding.rule for finding in explain(files["any int8"]).findings}
    assert "dynamic-shape" in found and "float-gather" not in found


def test_a_count_of_lengths_is_not_for_any() -> None:
    with pytest.raises(ValueError, match="length_count is for lengths: auto"):
        stage.find("to_tflite")(lengths="any", length_count=2)


def _answers(bundle: Bundle, texts: list[Encoding]) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """One after another in this order."""
    with target.find("host_litert").open(bundle.path) as runner:
        return np.concatenate([runner.predict([text]) for text in texts])


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
