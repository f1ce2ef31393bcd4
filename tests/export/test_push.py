"""Uploading a bundle to a hub on this machine, and taking it from there: what arrives is whole and checks itself, names
no folder of the maker's, and its card tells what was measured; what is missing is told."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_server import TOKEN, Hub, hub
from huggingface_hub import constants

from palmtop.app_manifest import Manifest
from palmtop.bundle import Bundle, Origin, seal
from palmtop.errors import UserError
from palmtop.export.model_card import measured, model_card
from palmtop.export.push import To, hand_over, push
from palmtop.making import make_by_name
from palmtop.measurement import read
from palmtop.paths import without_folders

RUN = Path(__file__).parents[1] / "data" / "run_before_the_move"
NAME = "someone/small"


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub, and a token for it."""
    with hub() as made:
        for name, value in (
            ("ENDPOINT", made.address),
            ("HUGGINGFACE_CO_URL_TEMPLATE", f"{made.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"),
            ("HF_HUB_OFFLINE", False),
            ("HF_HUB_DISABLE_XET", True),
            ("HF_HUB_CACHE", str(tmp_path / "hub")),
        ):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield made


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with its measurements, whose cards and task name its folder."""
    return run_in(tmp_path)


def run_in(place: Path) -> Path:
    folder = shutil.copytree(RUN, place / "run")
    student = folder / "student"
    task = json.loads((student / "task.json").read_text()) | {"train": f"{folder}/train.csv"}
    (student / "task.json").write_text(json.dumps(task))
    card = Bundle.open(RUN / "student").card
    said = {"parity_on": f"plain texts, not the task's (there is no file {folder}/train.csv)"}
    origin = Origin(stage="distill", settings={"teacher": f"{folder}/teacher"}, inputs={}, versions={})
    (student / "palmtop.json").unlink()
    seal(student, "torch", origin, Bundle.open(RUN / "teacher"), card.facts | said)
    measurements = (folder / "measurements.jsonl").read_text().replace(card.digest, Bundle.open(student).digest)
    (folder / "measurements.jsonl").write_text(measurements)
    return folder


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Hub, str]]:
    """What the command uploaded, with the hub's own variables: the run, the hub, and what was printed."""
    run = run_in(tmp_path_factory.mktemp("sent"))
    (run / "student" / "notes.txt").write_text("mine")
    with hub() as made:
        own = {
            "HF_ENDPOINT": made.address,
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(run.parent / "hf"),
        }
        command = [sys.executable, "-m", "palmtop", "push", str(run / "student"), NAME, "--licence", "apache-2.0"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | own)
        assert done.returncode == 0, done.stderr
        yield run, made, done.stdout


def test_what_the_command_uploads_is_whole_and_names_no_folder_of_this_machine(
    sent: tuple[Path, Hub, str], tmp_path: Path
) -> None:
    run, there, said = sent
    assert said.splitlines()[-1] == f"{there.address}/{NAME}/commit/{there.branches[NAME, 'main']}"
    files = there.files(NAME)
    sealed = Bundle.open(run / "student")
    assert files.keys() == {*sealed.card.files, "palmtop.json", "README.md", ".gitattributes"}
    assert {path for path in files if files[path] in there.stored.values()} == {"model.safetensors"}  # by LFS
    for path, content in files.items():
        for place in (run, RUN, Path.home()):
            assert f"{place}/".encode() not in content, path
    assert json.loads(files["task.json"])["train"] == "train.csv"
    fetched = written(files, tmp_path / "fetched")
    Bundle.open(fetched).verify()
    assert Bundle.open(fetched).card.facts["copy_of"] == sealed.digest
    assert Bundle.open(fetched).card.facts["parity_on"].endswith("(there is no file train.csv)")
    assert there.private == {NAME: False} and there.messages[0].startswith("Bundle ")


def test_its_card_tells_what_was_measured_and_nothing_else(sent: tuple[Path, Hub, str]) -> None:
    run, there, _ = sent
    front, text = there.files(NAME)["README.md"].decode().removeprefix("---\n").split("---\n", 1)
    known = yaml.safe_load(front)
    assert known["library_name"] == "transformers" and known["license"] == "apache-2.0"
    assert known["pipeline_tag"] == "text-classification" and known["tags"] == ["palmtop", "torch"]
    [result] = known["model-index"][0]["results"]
    rows = {one.metric: one for one in read(run / "measurements.jsonl") if one.name == "student"}
    assert {each["type"]: each["value"] for each in result["metrics"]} == {
        name: rows[name].value for name in ("accuracy", "macro_f1")
    }
    assert result["dataset"]["name"] == "clinc150 v1" and "matthews" not in text  # it wasn't defined
    assert f"| accuracy | {rows['accuracy'].value:.4g} |" in text and "AMD EPYC" in text
    assert "`distill` (torch)" in text and f"palmtop adopt --model {NAME}" in text


def test_a_branch_and_a_private_repository_are_made(run: Path, there: Hub) -> None:
    to = To(NAME, private=True, revision="int8")
    push(Bundle.open(run / "student"), to, None, [], print)
    assert there.private == {NAME: True} and "README.md" in there.files(NAME, "int8")
    assert there.files(NAME).keys() == {".gitattributes"}
    push(Bundle.open(run / "student"), to, None, [], print)  # once more, onto what is there
    assert "Nothing was measured of it." in there.files(NAME, "int8")["README.md"].decode()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"HF_TOKEN": "wrong"}, rf"the hub doesn't let this token write to {NAME} \(status 401\)"),
        ({"HF_TOKEN": ""}, "there is no token for the hub: make one that may write"),
        ({"HF_HUB_OFFLINE": True}, "HF_HUB_OFFLINE is set, so nothing is uploaded: unset it"),
        ({"ENDPOINT": "http://127.0.0.1:9"}, "the hub can't be reached"),
    ],
)
def test_what_is_missing_is_told(
    change: dict[str, Any], says: str, there: Hub, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    for name, value in change.items():
        if name == "HF_TOKEN":
            monkeypatch.setenv(name, value)
        else:
            monkeypatch.setattr(constants, name, value)
    with pytest.raises(UserError, match=says):
        push(Bundle.open(run / "student"), To(NAME), None, [], print)
    assert not there.stored


def test_a_name_that_is_none_a_damaged_bundle_and_a_file_from_elsewhere_are_refused(run: Path, tmp_path: Path) -> None:
    student = Bundle.open(run / "student")
    with pytest.raises(UserError, match="'small' is no name on the hub: write OWNER/NAME"):
        push(student, To("small"), None, [], print)
    labels = (student.path / "labels.txt").read_text()
    (student.path / "labels.txt").write_text(labels.swapcase())
    with pytest.raises(UserError, match=r"labels\.txt was changed after it was sealed"):
        push(student, To(NAME), None, [], print)
    (student.path / "labels.txt").unlink()
    (tmp_path / "labels.txt").write_text(labels)
    (student.path / "labels.txt").symlink_to(tmp_path / "labels.txt")
    with pytest.raises(UserError, match=r"labels\.txt lies outside of the bundle"):
        push(student, To(NAME), None, [], print)


def test_a_file_that_names_a_folder_of_this_machine_is_refused(run: Path, tmp_path: Path) -> None:
    student = run / "student"
    config = json.loads((student / "config.json").read_text()) | {"_name_or_path": f"{run}/teacher"}
    (student / "config.json").write_text(json.dumps(config))
    (student / "palmtop.json").unlink()
    seal(student, "torch", Origin(stage="adopt", settings={}, inputs={}, versions={}), None, {})
    with pytest.raises(UserError, match=r"config\.json names a folder of this machine"):
        hand_over(Bundle.open(student), "card", tmp_path / "copy")


def test_an_apps_manifest_states_the_new_readme(tmp_path: Path) -> None:
    source = Bundle.open(RUN / "student-tflite")
    app = make_by_name("to_app", {"golden": "plain"}, source, tmp_path / "app", lambda _: None)
    of, rows = measured(app, read(RUN / "measurements.jsonl"))
    assert of == "the file in it, before it was packed" and rows[0].metric == "accuracy"
    card = model_card(app, NAME, None, rows)
    hand_over(app, card, tmp_path / "copy")
    copy = Bundle.open(tmp_path / "copy")
    copy.verify()
    assert Manifest.read(copy.path).files == {n: e for n, e in copy.card.files.items() if n != "manifest.json"}
    readme = (copy.path / "README.md").read_text(encoding="utf-8")
    assert readme.startswith("---\n") and readme.endswith((app.path / "README.md").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_adopt_takes_from_the_hub_what_was_pushed(
    run: Path, there: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(Bundle.open(run / "student"), To(NAME, revision="v1"), None, [], print)
    settings = {"model": NAME, "revision": "v1"}
    taken = make_by_name("adopt", settings, None, tmp_path / "taken", lambda _: None)
    student = Bundle.open(run / "student")
    assert taken.card.files["model.safetensors"] == student.card.files["model.safetensors"]
    assert taken.signature == student.signature and taken.task is not None and student.task is not None
    assert taken.task.label_names == student.task.label_names
    assert taken.card.origin.inputs["model"] == there.branches[NAME, "v1"]
    # the folder that the hub's cache has by now is taken too, and gives the same
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    again = make_by_name("adopt", settings, None, tmp_path / "again", lambda _: None)
    [snapshot] = (tmp_path / "hub").glob("models--*/snapshots/*")
    local = make_by_name("adopt", {"model": snapshot}, None, tmp_path / "local", lambda _: None)
    assert taken.digest == again.digest == local.digest
    absent = {"model": "someone/else"}
    with pytest.raises(UserError, match="the model 'someone/else' can't be had from the hub"):
        make_by_name("adopt", absent, None, tmp_path / "absent", lambda _: None)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("no file /tmp/a b/train.csv", "no file a b/train.csv"),  # where a folder ends, no sentence says
        ("no file /home/me/data/train.csv: put", "no file train.csv: put"),
        ("~/data/train.csv", "train.csv"),
        ("https://example.com/a/b", "https://example.com/a/b"),
        ("either/or, 1/2", "either/or, 1/2"),
    ],
)
def test_facts_lose_folders_within_a_sentence(said: str, left: str) -> None:
    assert without_folders({"a": said, "b": [said], "c": 1}) == {"a": left, "b": [left], "c": 1}


def written(files: dict[str, bytes], to: Path) -> Path:
    for name, content in files.items():
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_bytes(content)
    return to
