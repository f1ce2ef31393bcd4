"""The target host_mediapipe: an app's file measured in MediaPipe's text classifier, beside the bundle it was made
of."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from once import MadeOnce
from tiny import sentences
from tiny_bundles import Taught, reseal

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.measure import measure
from palmtop.eval.measuring.plan import plans
from palmtop.eval.measuring.size import download_bytes, model_bytes
from palmtop.eval.verify import verify
from palmtop.making import make
from palmtop.measure_settings import MeasureText
from palmtop.measurement import FILE, read

TEXTS = [(text,) for text, _ in sentences(12, 7)]
OPTIONS = MeasureText(on=("host_litert", "host_mediapipe"), baseline="file", length=24)
FLOAT32 = 1e-5


@pytest.fixture(scope="module")
def bundles(adopted_bert: Bundle, once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """A random BERT, its .tflite with probabilities, the app of that; an app that MediaPipe can't open, and one of
    ONNX."""
    folder = tmp_path_factory.mktemp("mediapipe")
    made = {
        "teacher": adopted_bert,
        "file": once("to_tflite", {"lengths": 24, "probabilities": True}, adopted_bert),
        "logits": once("to_tflite", {"lengths": 24}, adopted_bert),
        "onnx": once("to_onnx", {}, adopted_bert),
    }
    for name in ("file", "logits", "onnx"):
        made[f"{name}-app"] = _make("to_app", {}, made[name], folder / f"{name}-app")
    return made


def test_answers_are_those_of_the_interpreter(bundles: dict[str, Bundle]) -> None:
    with target.find("host_litert").open(bundles["file"].path) as runner:
        encodings = runner.tokenize(TEXTS)
        expected = runner.predict(encodings)
    with target.find("host_mediapipe").open(bundles["file-app"].path) as runner:
        found = runner.tokenize(TEXTS)
        np.testing.assert_allclose(runner.predict(found), expected, atol=FLOAT32)
    assert all(np.array_equal(ours.input_ids, theirs.input_ids) for ours, theirs in zip(found, encodings, strict=True))


def test_an_apps_task_is_its_nearest_ancestors(taught_bert: Taught, once: MadeOnce, tmp_path: Path) -> None:
    """In a recipe the pretrained model comes first, which has none."""
    base, tuned = taught_bert.base, taught_bert.teacher
    file = once("to_tflite", {"lengths": 24, "probabilities": True}, tuned)
    given = {"base": base, "tuned": tuned, "file": file, "app": _make("to_app", {}, file, tmp_path / "app")}
    (plan,) = plans(given, OPTIONS, lambda _: None)
    assert "app on host_mediapipe" in [str(subject) for subject in plan.subjects]


def test_tokenization_is_a_part_of_the_answer(bundles: dict[str, Bundle]) -> None:
    with target.find("host_mediapipe").open(bundles["file-app"].path) as runner:
        encodings = runner.tokenize(TEXTS[:3])
        assert runner.tokenize_latencies_ms(TEXTS, 5) == []
        assert len(runner.latencies_ms(encodings, None, 7)) == len(runner.latencies_ms(encodings, 24, 7)) == 7
        with pytest.raises(UserError, match="25 tokens are more than the artefact accepts"):
            runner.latencies_ms(encodings, 25, 1)


def test_an_app_is_measured_beside_the_file_that_it_was_made_of(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    measure({name: bundles[name] for name in ("file", "file-app")}, OPTIONS, tmp_path, lambda _: None)
    found = {(one.name, one.metric): one.value for one in read(tmp_path / FILE)}
    assert found["file-app", "accuracy"] == found["file", "accuracy"]
    assert found["file-app", "difference_baseline"] == 0
    assert found["file-app", "tokenizer_mismatches"] == 0
    assert ("file", "tokenizer_mismatches") not in found
    assert found["file-app", "nonzeros"] == found["file", "nonzeros"]
    assert found["file-app", "latency_ms"] and found["file-app", "load_ms"]
    packed = (bundles["file-app"].path / "model.tflite").stat().st_size
    assert model_bytes(bundles["file-app"]) == download_bytes(bundles["file-app"]) == packed
    assert packed > model_bytes(bundles["file"])  # the vocabulary and the labels are in it


def test_what_an_apps_time_was_taken_at_is_written_with_it(
    bundles: dict[str, Bundle], once: MadeOnce, tmp_path: Path
) -> None:
    """MediaPipe pads to the file's length and no further, and asks nobody how many threads it may take."""
    mediapipe = target.find("host_mediapipe")
    assert [mediapipe.padded_to(bundles["file-app"].path, length) for length in (8, 24, 25)] == [24, 24, None]
    any_length = once("to_tflite", {"lengths": "any", "probabilities": True}, bundles["teacher"])
    app = _make("to_app", {}, any_length, tmp_path / "any-app")
    assert (mediapipe.padded_to(app.path, 8), target.find("host_litert").padded_to(any_length.path, 8)) == ("own", 8)
    measure(
        {"file": any_length, "app": app}, OPTIONS.model_copy(update={"threads": 2}), tmp_path / "run", lambda _: None
    )
    found = {one.name: one.conditions for one in read(tmp_path / "run" / FILE) if one.metric == "latency_ms"}
    assert found == {
        "file": {"threads": 2, "length": 24, "padded_to": 24, "runs": 60},
        "app": {"threads": 1, "length": 24, "padded_to": "own", "runs": 60},
    }


def test_what_mediapipe_cannot_open_is_said_and_left_out(bundles: dict[str, Bundle]) -> None:
    said: list[str] = []
    (plan,) = plans(bundles, OPTIONS, said.append)
    assert [str(subject) for subject in plan.subjects] == [
        "file on host_litert",
        "logits on host_litert",
        "file-app on host_mediapipe",
    ]
    assert said[-2:] == [
        "logits-app on host_mediapipe: not measured, its manifest says of MediaPipe: no: they take the outputs for "
        "probabilities, this file answers logits: export it with probabilities: true",
        "onnx-app on host_mediapipe: not measured, MediaPipe opens .tflite files, and there is none in this app",
    ]
    with pytest.raises(
        UserError, match="logits-app isn't for this target: its manifest says of MediaPipe: no: they take"
    ):
        target.find("host_mediapipe").open(bundles["logits-app"].path)


def test_a_vocabulary_swapped_inside_the_file_is_told(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    """Sealed anew or not: the packed vocabulary is compared with the tokenizer's, and a zip whose checksums don't fit
    is told too."""
    app = shutil.copytree(bundles["file-app"].path, tmp_path / "app")
    whole, model = (app / "model.tflite").read_bytes(), app / "model.tflite"
    words = zipfile.ZipFile(model).read("vocab.txt")
    first, second = (word for word in words.split(b"\n") if word in (b"song", b"rain"))
    swapped = (
        words.replace(b"\n" + first, b"\n?").replace(b"\n" + second, b"\n" + first).replace(b"\n?", b"\n" + second)
    )
    assert len(swapped) == len(words) and swapped != words
    model.write_bytes(whole.replace(words, swapped))
    with pytest.raises(UserError, match=r"model.tflite was changed after it was sealed \(sha256 differs\)"):
        verify(app, print)
    reseal(app, restate=True)
    with pytest.raises(
        UserError,
        match=r"model.tflite is damaged: what is packed behind the model can't be read .*: make the app again",
    ):
        verify(app, print)
    model.write_bytes(whole[: whole.index(b"PK\x03\x04")])
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr("vocab.txt", swapped)
        archive.writestr("labels.txt", (app / "labels.txt").read_bytes())
    reseal(app, restate=True)
    with pytest.raises(
        UserError, match=r"model.tflite holds another vocab.txt than the one beside it: make the app again"
    ):
        verify(app, print)
    (app / "vocab.txt").write_bytes(swapped)
    reseal(app, restate=True)
    with pytest.raises(UserError, match=r"vocab.txt isn't the vocabulary of tokenizer.json: make the app again"):
        verify(app, print)


def test_an_app_alone_has_no_texts_to_be_measured_on(bundles: dict[str, Bundle]) -> None:
    said: list[str] = []
    plans({"file": bundles["file"], "onnx-app": bundles["onnx-app"]}, OPTIONS, said.append)
    assert said[0] == (
        "onnx-app: not measured, it is an app's folder, which doesn't know its task's texts: give the bundle it was "
        "made of too"
    )


def _make(use: str, settings: dict[str, object], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda _: None)
