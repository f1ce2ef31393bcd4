"""Verifying: what is whole passes on any machine; each damaged file is refused by its name, even where the seal was
made anew."""

import json
import math
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from tiny_bundles import file_entry, reseal

from palmtop import parity, stage
from palmtop.app_manifest import ANSWERS, Manifest, read_golden
from palmtop.bundle import Bundle
from palmtop.cli.main import main
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.measure import measure
from palmtop.eval.verify import _packed_faults, _promise_faults, verify
from palmtop.export import to_app
from palmtop.making import make
from palmtop.measure_settings import MeasureText


@pytest.fixture(scope="module")
def bundles(
    random_bert: Bundle, random_onnx: Bundle, floor: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Bundle]:
    app = make(
        "to_app", stage.find("to_app")(golden="plain"), random_onnx, tmp_path_factory.mktemp("verify") / "app", print
    )
    return {"torch": random_bert, "onnx": random_onnx, "linear": floor, "app": app}


@pytest.fixture
def app(bundles: dict[str, Bundle], tmp_path: Path) -> Path:
    return shutil.copytree(bundles["app"].path, tmp_path / "app")


def test_a_whole_app_passes_and_says_what_was_checked(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify(app, print)
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"sealed files: 7 files, .* as sealed\nmanifest.json: 6 files, 2 steps from finetune on: as stated\n"
        r"labels.txt: as the golden answers have them\n"
        r"(golden.jsonl has no answer with .* \(output \d\): a client that mixes these up isn't found out by it\n)?"
        r"tokenizer.json: the same token ids for all 16 golden texts\n"
        r"golden.jsonl: 16 answers of host_onnx: they differ by 0 of their spread, at most by 0 .*, 100.0% agree .*\n",
        said,
    ), said


def test_an_onnx_app_holds_the_model_and_what_a_client_needs(bundles: dict[str, Bundle]) -> None:
    assert sorted(bundles["app"].card.files) == [
        "README.md",
        "golden.jsonl",
        "labels.txt",
        "manifest.json",
        "model.onnx",
        "signature.json",
        "tokenizer.json",
    ]
    assert bundles["app"].card.facts["clients"] == "ONNX Runtime"


@pytest.mark.parametrize(
    "name", ["model.onnx", "tokenizer.json", "labels.txt", "signature.json", "golden.jsonl", "manifest.json"]
)
def test_a_flipped_byte_and_a_lost_one_are_told_by_the_files_name(name: str, app: Path) -> None:
    whole = (app / name).read_bytes()
    (app / name).write_bytes(_flipped(whole))
    assert told(app) == [
        f"{app / name} was changed after it was sealed (sha256 differs): remove the folder and make the bundle again"
    ]
    (app / name).write_bytes(whole[:-1])
    assert told(app) == [
        f"{app / name} has {len(whole) - 1} bytes, sealed with {len(whole)}: remove the folder and make the bundle "
        "again"
    ]
    (app / name).unlink()
    assert told(app) == [f"{app / name} is missing: remove the folder and make the bundle again"]


def test_a_file_that_was_slipped_in_is_told(app: Path) -> None:
    (app / "extra.bin").write_bytes(b"x")
    assert told(app) == [f"{app / 'extra.bin'} wasn't there when the bundle was sealed: remove it"]


def test_a_card_that_is_not_of_its_files_is_told(app: Path) -> None:
    (app / "labels.txt").write_text("music\nmoney\nweather\n")
    card = json.loads((app / "palmtop.json").read_text())
    card["files"]["labels.txt"] = file_entry(app / "labels.txt")
    (app / "palmtop.json").write_text(json.dumps(card))
    assert told(app) == [
        f"{app / 'palmtop.json'} is damaged (its digest isn't its files'): remove the folder and make the bundle again"
    ]


def test_a_manifest_that_states_other_files_or_another_way_is_told(app: Path) -> None:
    (app / "labels.txt").write_text("music\nmoney\nweather\n")
    reseal(app)
    assert f"{app / 'labels.txt'} isn't the file that manifest.json states: make the app again" in told(app)
    manifest = json.loads((app / "manifest.json").read_text())
    manifest["lineage"] = manifest["lineage"][1:]
    (app / "manifest.json").write_text(json.dumps(manifest))
    reseal(app, restate=True)
    assert f"{app / 'manifest.json'} states another lineage than the card: make the app again" in told(app)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "labels.txt",
            lambda text: "music\nmoney\nweather\n",
            r"labels.txt isn't the model's: \d+ of 16 golden answers have another label \(the first: '\w+' in "
            r"golden.jsonl, '\w+' by labels",
        ),
        ("labels.txt", lambda text: "money\nmusic\n", "labels.txt has 2 labels, the model gives 3 outputs"),
        (
            "tokenizer.json",
            lambda text: _swap(text, "the", "song"),
            r"tokenizer.json gives other token ids than golden.jsonl for \d+ of 16",
        ),
        (
            "golden.jsonl",
            lambda text: text.replace('"input_ids": [2, ', '"input_ids": [3, ', 1),
            "other token ids than golden.jsonl for 1",
        ),
        ("golden.jsonl", lambda text: text[:-20], r"golden.jsonl is damaged: make the app again"),
        (
            "manifest.json",
            lambda text: text.replace('"format": "onnx"', '"format": "none"'),
            "manifest.json is damaged: make the app again",
        ),
    ],
)
def test_a_swap_that_was_sealed_anew_is_found_by_what_it_does(name: str, change: Any, message: str, app: Path) -> None:
    (app / name).write_text(change((app / name).read_text()))
    reseal(app, restate=name != "manifest.json")
    assert re.search(message, told(app)[0]), told(app)


def test_golden_answers_that_were_taken_out_are_missed(app: Path) -> None:
    lines = (app / "golden.jsonl").read_text().splitlines(keepends=True)
    (app / "golden.jsonl").write_text(lines[0])
    reseal(app, restate=True)
    assert f"{app / 'golden.jsonl'} has 1 answers, and should have 16: make the app again" in told(app)
    _restate(app, golden_texts=None, unseen_labels=None)  # as apps of before
    assert told(app) == [f"{app / 'golden.jsonl'} has 1 answers, and should have 7: make the app again"]
    (app / "golden.jsonl").write_text("")
    reseal(app, restate=True)
    assert f"{app / 'golden.jsonl'} has 0 answers, and should have 7: make the app again" in told(app)


@pytest.mark.parametrize(
    "changed", [{"difference": 1e9}, {"typical": 5.0}, {"agreement": 0.0}, {"difference": math.nan}]
)
def test_a_tolerance_that_lets_everything_through_is_none(changed: dict[str, float], app: Path) -> None:
    _restate(app, tolerance={"difference": 0.01, "typical": 0.001, "agreement": 0.98} | changed)
    [fault] = told(app)
    assert fault.startswith(f"{app / 'manifest.json'} lets through what is no longer the same model (differences of")
    assert fault.endswith("the limits are 2, 0.1 and 0.9): make the app again")


def test_another_kind_of_task_does_not_turn_the_labels_off(app: Path) -> None:
    rows = [json.loads(line) for line in (app / "golden.jsonl").read_text().splitlines()]
    (app / "golden.jsonl").write_text("".join(json.dumps(row | {"answer": None}) + "\n" for row in rows))
    reseal(app, restate=True)
    _restate(app, kind="regression")
    assert told(app) == [
        f"{app / 'manifest.json'} says regression, which gives one number, of 3 labels: make the app again"
    ]


def test_labels_that_no_golden_answer_has_are_stated_and_cannot_be_swapped(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [json.loads(line) for line in (app / "golden.jsonl").read_text().splitlines()]
    kept = [row for row in rows if row["answer"] == rows[0]["answer"]]
    (app / "golden.jsonl").write_text("".join(json.dumps(row) + "\n" for row in kept))
    reseal(app, restate=True)
    labels = (app / "labels.txt").read_text().split()
    first, second = unseen = [place for place, label in enumerate(labels) if label != rows[0]["answer"]]
    _restate(app, golden_texts=len(kept), unseen_labels={place: labels[place] for place in unseen})
    verify(app, print)
    assert (
        f"golden.jsonl has no answer with '{labels[first]}' (output {first}), '{labels[second]}' (output {second}): a "
        "client that mixes these up isn't found out by it\n"
    ) in capsys.readouterr().out
    labels[first], labels[second] = labels[second], labels[first]
    (app / "labels.txt").write_text("\n".join(labels) + "\n")
    reseal(app, restate=True)
    [fault] = told(app)
    assert fault.startswith(f"{app / 'labels.txt'} and golden.jsonl aren't those that manifest.json was written with (")


def test_what_a_manifest_promises_is_there(app: Path) -> None:
    """A .tflite for Google's Task clients, without its vocabulary."""
    labels = (app / "labels.txt").read_bytes()
    with zipfile.ZipFile(app / "model.tflite", "w") as archive:
        archive.writestr("vocab.txt", "[PAD]\n")
        archive.writestr("labels.txt", labels)
    manifest, rows = Manifest.read(app), read_golden(app)
    for clients in ({"LiteRT": ANSWERS, "a Task client": ANSWERS}, {"LiteRT": ANSWERS}):
        told = manifest.model_copy(update={"format": "tflite", "clients": clients})
        assert _packed_faults(app, told) == [
            f"{app / 'model.tflite'} holds another vocab.txt than the one beside it: make the app again"
        ]
    promised = manifest.model_copy(update={"format": "tflite", "clients": {"a Task client": ANSWERS}})
    assert _promise_faults(app, promised, rows) == [
        f"{app / 'vocab.txt'} isn't among the files of manifest.json: make the app again"
    ]
    lost = manifest.model_copy(update={"files": {}})
    assert len(_promise_faults(app, lost, rows)) == 4
    (app / "model.tflite").write_bytes(b"no archive")
    assert "what is packed behind the model can't be read" in _packed_faults(app, promised)[0]


def test_every_label_that_can_be_is_the_answer_to_a_golden_text(
    random_onnx: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "TEXTS", 1)
    monkeypatch.setattr(parity, "PLAIN", (("hi",),))
    monkeypatch.setattr(to_app, "HARD", ())
    app = make("to_app", stage.find("to_app")(), random_onnx, tmp_path / "app", print)
    rows, manifest = read_golden(app.path), Manifest.read(app.path)
    assert random_onnx.task is not None
    texts = random_onnx.task.load("evaluation").texts
    answers = parity.answers(("onnx", app.path), HostTokenizer.of(app.path, app.signature).encode([*texts, ("hi",)]))
    possible = {random_onnx.task.label_names[place] for place in answers.argmax(axis=1)}
    assert len(possible) > 1 and {row.answer for row in rows} == possible
    assert manifest.golden_texts == len(rows) <= 1 + 1 + len(possible)
    assert manifest.unseen_labels is not None
    assert set(manifest.unseen_labels.values()) == set(random_onnx.task.label_names) - possible


def test_weights_that_were_changed_and_sealed_anew_are_found_by_their_answers(app: Path) -> None:
    model = onnx.load(app / "model.onnx")
    head = next(weight for weight in model.graph.initializer if 3 in weight.dims)  # three labels
    head.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(head), head.name))
    onnx.save(model, app / "model.onnx")
    reseal(app, restate=True)
    assert re.search(
        r"app answers the golden texts otherwise than stated: they differ by .* worst text: \('.*"
        r"Machine and versions are the same: make the app again",
        told(app)[0],
    )


def test_bundles_without_golden_answers_are_asked_plain_texts(
    bundles: dict[str, Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    for name, runtime in (("torch", "host_torch"), ("onnx", "host_onnx"), ("linear", "host_linear")):
        verify(bundles[name].path, print)
        assert f"7 plain texts in {runtime}: 3 finite outputs each, as many as labels\n" in capsys.readouterr().out


def test_no_stage_and_no_measurement_reads_a_damaged_bundle(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    damaged = shutil.copytree(bundles["onnx"].path, tmp_path / "onnx")
    (damaged / "model.onnx").write_bytes(_flipped((damaged / "model.onnx").read_bytes()))
    opened = Bundle.open(damaged)  # presence and sizes are right
    with pytest.raises(UserError, match=r"model.onnx was changed after it was sealed"):
        make("to_app", stage.find("to_app")(), opened, tmp_path / "made", print)
    assert not (tmp_path / "made").exists()
    with pytest.raises(UserError, match=r"model.onnx was changed after it was sealed"):
        measure({"onnx": opened}, MeasureText(on=("host_onnx",)), tmp_path / "run", print)


def test_the_command_says_what_is_right_and_ends_with_2_where_something_is_wrong(
    app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(app)])
    assert not ended.value.code and capsys.readouterr().out.endswith(f"{app}: nothing wrong\n")
    (app / "labels.txt").write_text("money\nmusic\nweatheR\n")
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(app)])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {app / 'labels.txt'} was changed after it was sealed")


def test_an_app_is_not_measured_but_verified(
    bundles: dict[str, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="there is nothing to measure"):
        measure({"app": bundles["app"]}, MeasureText(on=("host_onnx",)), tmp_path / "run", print)
    assert "app: not measured, it is an app's folder, which doesn't know its task's texts" in capsys.readouterr().out


def _restate(app: Path, **changed: Any) -> None:
    manifest = json.loads((app / "manifest.json").read_text())
    (app / "manifest.json").write_text(json.dumps(manifest | changed))
    reseal(app)


def told(app: Path) -> list[str]:
    with pytest.raises(UserError) as caught:
        verify(app, lambda _: None)
    return list(caught.value.faults)


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def _swap(text: str, first: str, second: str) -> str:
    known = json.loads(text)
    ids = known["model"]["vocab"]
    ids[first], ids[second] = ids[second], ids[first]
    return json.dumps(known)
