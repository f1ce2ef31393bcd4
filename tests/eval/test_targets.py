"""The host targets: the same answers as torch itself, on padded and cut texts; latencies by count and shape only."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import sentences
from tiny_bundles import INPUTS, MAX_LENGTH, Flat, copy_beside, sealed

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.data.encoding import Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.measuring.loading import cost_of_loading
from palmtop.eval.targets._host import lacking
from palmtop.signature import Signature
from palmtop.task import Task

TEXTS: list[Text] = [(text,) for text, _ in sentences(40, 3)] + [("rain " * 60,)]
TWO_OF_THREE = "takes attention_mask, input_ids, token_type_ids, signature.json says input_ids, attention_mask"
FLOAT32 = 1e-4
"""Float32 rounding in two layers, other kernels in other order; logits spread over some 1e0."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("targets")


@pytest.fixture(scope="module")
def bundles(folder: Path, random_bert: Bundle, random_onnx: Bundle, floor: Bundle) -> dict[str, Bundle]:
    return {
        "host_torch": random_bert,
        "host_onnx": random_onnx,
        "host_litert": _tflite(folder / "tflite", random_bert),
        "host_linear": floor,
    }


@pytest.fixture(scope="module")
def expected(random_bert: Bundle) -> np.ndarray:
    """Torch on each text alone, unpadded."""
    model = Flat(random_bert.path)
    with torch.inference_mode():
        rows = [
            model(
                *(
                    torch.from_numpy(values[None])
                    for values in (row.input_ids, np.ones_like(row.input_ids), row.token_type_ids)
                )
            )
            for row in HostTokenizer(random_bert.path, MAX_LENGTH).encode(TEXTS)
        ]
    return torch.cat(rows).numpy()


def _tflite(folder: Path, source: Bundle) -> Bundle:
    """Two lengths by name; beside it, in one_length/, a file with litert-torch's own input names."""
    import litert_torch

    (folder / "one_length").mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the converter's own
        flat = Flat(source.path).eval()
        inputs = {length: tuple(torch.ones(1, length, dtype=torch.int32) for _ in INPUTS) for length in (8, MAX_LENGTH)}
        named = {length: dict(zip(INPUTS, values, strict=True)) for length, values in inputs.items()}
        litert_torch.signature("length_8", flat, sample_kwargs=named[8]).signature(
            f"length_{MAX_LENGTH}", flat, sample_kwargs=named[MAX_LENGTH]
        ).convert().export(str(folder / "model.tflite"))
        litert_torch.convert(flat, inputs[MAX_LENGTH]).export(str(folder / "one_length" / "model.tflite"))
    copy_beside(source, folder, lengths=(8, MAX_LENGTH))
    copy_beside(source, folder / "one_length", lengths=(MAX_LENGTH,))
    return sealed(folder, "tflite", "to_tflite", source)


@pytest.mark.parametrize("name", ["host_torch", "host_litert", "host_onnx"])
def test_answers_are_torchs_in_the_order_of_the_texts(
    name: str, bundles: dict[str, Bundle], expected: np.ndarray
) -> None:
    with target.find(name).open(bundles[name].path) as runner:
        encodings = runner.tokenize(TEXTS)
        found = runner.predict(encodings)
    assert encodings[-1].truncated and len(encodings[-1]) == MAX_LENGTH
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=FLOAT32)


def test_a_tflite_of_one_length_is_fed_in_the_order_of_its_signature(
    bundles: dict[str, Bundle], expected: np.ndarray
) -> None:
    with target.find("host_litert").open(bundles["host_litert"].path / "one_length") as runner:
        np.testing.assert_allclose(runner.predict(runner.tokenize(TEXTS)), expected, atol=FLOAT32)


def test_the_linear_model_is_scikit_learns_up_to_the_rounding_of_its_weights(
    bundles: dict[str, Bundle], task: dict[str, Any]
) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    train = Task.find(task).load("train")
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2, max_features=5000)
    features = vectorizer.fit_transform([text for (text,) in train.texts])
    model = LogisticRegression(C=30.0, max_iter=5000, tol=1e-5).fit(features, train.labels)
    with target.find("host_linear").open(bundles["host_linear"].path) as runner:
        found = runner.predict(runner.tokenize(TEXTS))
        assert runner.tokenize_latencies_ms(TEXTS, 5) == []
    scores = model.decision_function(vectorizer.transform([text for (text,) in TEXTS]))
    # half a step (1/254 of a class's largest weight) for each term, whose values have length 1
    assert np.abs(found - scores).max() < np.abs(model.coef_).max() / 254 * np.sqrt(features.shape[1])
    assert (found.argmax(axis=1) == scores.argmax(axis=1)).mean() > 0.9  # int8 may turn a near tie


@pytest.mark.parametrize("name", ["host_torch", "host_litert", "host_onnx", "host_linear"])
def test_latencies_are_as_many_as_asked_for(name: str, bundles: dict[str, Bundle]) -> None:
    with target.find(name).open(bundles[name].path, threads=2) as runner:
        encodings = runner.tokenize(TEXTS[:3])
        for length in (None, 5, MAX_LENGTH):
            times = runner.latencies_ms(encodings, length, 7)
            assert len(times) == 7 and min(times) > 0
        if name != "host_linear":
            assert len(runner.tokenize_latencies_ms(TEXTS[:2], 4)) == 4
            with pytest.raises(UserError, match=rf"25 tokens are more than the artefact accepts \({MAX_LENGTH}\)"):
                runner.latencies_ms(encodings, MAX_LENGTH + 1, 1)


def test_a_fixed_length_is_the_shortest_that_holds_the_text() -> None:
    signature = Signature(inputs=INPUTS, lengths=(8, 24), max_length=24, pad_id=0)
    assert [signature.accepted(length) for length in (2, 8, 9, 24)] == [8, 8, 24, 24]


def test_torch_keeps_to_its_threads_whatever_others_set(bundles: dict[str, Bundle]) -> None:
    with target.find("host_torch").open(bundles["host_torch"].path, threads=1) as runner:
        torch.set_num_threads(2)
        runner.predict(runner.tokenize(TEXTS[:1]))
        assert torch.get_num_threads() == 1


@pytest.mark.parametrize("name", ["host_litert", "host_linear"])
def test_loading_is_measured_in_a_fresh_process(name: str, bundles: dict[str, Bundle]) -> None:
    load_ms, memory_mb = target.find(name).cost_of_loading(bundles[name].path, TEXTS[0])
    assert load_ms > 0
    assert 0 < memory_mb < 500  # not the runtime's own memory


def test_a_failure_while_loading_is_told_with_the_childs_words(folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"nowhere has no model\.safetensors"):
        cost_of_loading("host_linear", folder / "nowhere", ("hi",), 1)


@pytest.mark.parametrize("name", ["host_torch", "host_litert", "host_onnx", "host_linear"])
def test_a_target_names_its_machine_and_versions(name: str) -> None:
    found = target.find(name)
    assert found.name == name and found.missing() is None
    machine = found.machine()
    assert machine.cores >= 1 and machine.memory_gb > 0 and len(machine.versions) > 1


def test_a_lacking_package_is_told_with_the_command_that_installs_it() -> None:
    told = lacking("host_x", {"numpy": "numpy", "no_such_module": "no-such-package"}, "tflite")
    assert told == "the target host_x needs no-such-package: pip install 'palmtop[tflite]'"


def test_a_closed_runner_says_so(bundles: dict[str, Bundle]) -> None:
    with target.find("host_onnx").open(bundles["host_onnx"].path) as runner:
        encodings = runner.tokenize(TEXTS[:1])
    with pytest.raises(ValueError, match="closed"):
        runner.predict(encodings)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("host_litert", {"lengths": None}, "signature.json names no lengths, but this .tflite has fixed ones"),
        ("host_litert", {"lengths": (8, 16)}, "has no signature 'length_16' (it has: length_24, length_8)"),
        ("host_litert", {"inputs": INPUTS[:2]}, TWO_OF_THREE),
        ("host_onnx", {"inputs": INPUTS[:2]}, TWO_OF_THREE),
    ],
)
def test_an_artefact_that_differs_from_its_signature_is_refused(
    name: str, change: dict[str, Any], message: str, bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    shutil.copytree(bundles[name].path, tmp_path / "changed")
    said = json.loads((tmp_path / "changed" / "signature.json").read_text())
    (tmp_path / "changed" / "signature.json").write_text(json.dumps(said | change))
    with pytest.raises(UserError) as raised, target.find(name).open(tmp_path / "changed") as runner:
        runner.predict(runner.tokenize([("rain sun play pay bank my album song piano card",)]))
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("name", "file"), [("host_litert", "model.tflite"), ("host_onnx", "model.onnx"), ("host_linear", "vocabulary.json")]
)
def test_a_missing_file_is_named(name: str, file: str, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    shutil.copytree(bundles[name].path, tmp_path / "changed")
    (tmp_path / "changed" / file).unlink()
    with pytest.raises(UserError, match=f"has no {file}: export or make the bundle again"):
        target.find(name).open(tmp_path / "changed")
