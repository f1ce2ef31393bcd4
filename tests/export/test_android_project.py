"""The Android project with a bundle in it: written whole or not at all, what the app can't run refused by name, nothing
of this machine in it."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tiny_bundles import adopted, sealed

from palmtop.app_manifest import Manifest
from palmtop.bundle import Bundle, sha256_of
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.export.app import android_project
from palmtop.export.app.android_project import LEFT_OUT, MODELS, PROJECT, check
from palmtop.export.app.page import is_of_a_page
from palmtop.export.app.phone_tokenizer import KNOWN, why_not
from palmtop.making import make_by_name


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("project")
    return make_by_name("to_tflite", {"lengths": 16}, adopted(folder / "bert", "bert"), folder / "_tiny file", print)


def test_the_command_writes_a_project_with_the_bundle_as_its_only_model(file: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "phone"
    main_ends(["to-app", str(file.path), "--android", str(out), "--golden", "plain"])
    [model] = (out / MODELS).iterdir()
    assert model.name == "tiny-file"  # Android packs no folder that begins with '_'
    manifest = Manifest.read(model)
    assert {path.name for path in model.iterdir()} == {*manifest.files, "manifest.json"}
    assert "model.tflite" in manifest.files and not {"index.html", "runtime", "README.md"} & {
        path.name for path in model.iterdir()
    }
    assert all(sha256_of(model / name) == entry.sha256 for name, entry in manifest.files.items())
    assert manifest.lineage[-1].digest == file.digest
    assert _names(out) - {f"{MODELS / model.name}/{path.name}" for path in model.iterdir()} == {
        name for name in _names(PROJECT) if not name.startswith(f"{MODELS}/")
    }
    assert {path.name for path in tmp_path.iterdir()} == {"phone"}


def test_with_out_the_app_folder_is_kept_too_and_made_once(
    file: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["to-app", str(file.path), "--golden", "plain", "--out", str(tmp_path / "app")]
    main_ends(words)
    main_ends([*words, "--android", str(tmp_path / "phone")])
    assert "kept" in capsys.readouterr().out
    kept = Bundle.open(tmp_path / "app")
    whole, phones = Manifest.read(kept.path), Manifest.read(tmp_path / "phone" / MODELS / "tiny-file")
    assert phones.files == {
        name: entry for name, entry in whole.files.items() if not is_of_a_page(name) and name != "README.md"
    }
    assert phones.model_copy(update={"files": whole.files}) == whole
    assert "android" not in kept.card.origin.settings  # an app of before is equal to one of now


def test_a_folder_with_something_in_it_is_left_as_it_is(file: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="isn't an empty folder: name a new one"):
        check(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_writing_that_fails_leaves_nothing(file: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(android_project, "_copy_model", fails)
    with pytest.raises(OSError, match="full"):
        android_project.write(file, file, tmp_path / "phone")
    assert list(tmp_path.iterdir()) == []


def test_other_formats_are_refused_before_work(
    file: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(file.path, tmp_path / "onnx", ignore=shutil.ignore_patterns("palmtop.json", "*.tflite"))
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"no model")
    other = sealed(tmp_path / "onnx", "onnx", "to_onnx")
    with pytest.raises(SystemExit) as ended:
        main(["to_app", str(other.path), "--android", str(tmp_path / "phone")])
    assert ended.value.code == 2
    assert "the Android app runs .tflite" in capsys.readouterr().err
    assert not (tmp_path / "phone").exists()


def test_a_command_that_is_told_no_folder_says_which_it_takes(file: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["to_app", str(file.path)])
    assert ended.value.code == 2
    assert "give a folder with --out, or with --android" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}}, None),
        ({"model": {"type": "WordLevel"}}, "it doesn't know the model 'WordLevel' (it knows BPE, Unigram, WordPiece)"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Nmt"}]}},
            "it doesn't know the normalizer 'Nmt'",
        ),
    ],
)
def test_which_tokenizers_the_app_reads(changed: dict[str, object], says: str | None, tmp_path: Path) -> None:
    known = {"model": {"type": "BPE"}, "normalizer": None, "pre_tokenizer": {"type": "ByteLevel"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(known | changed))
    told = why_not(tmp_path)
    assert told is None if says is None else told is not None and told.startswith(says)


@pytest.mark.parametrize("part", KNOWN)
def test_what_is_said_to_be_known_is_what_the_core_tells_apart(part: str) -> None:
    """Two lists, one in Python and one in Kotlin, kept the same."""
    name = {"model": "Models", "normalizer": "Normalizers", "pre_tokenizer": "PreTokenizers"}.get(
        part, "PostProcessors"
    )
    text = (PROJECT / f"core/src/main/kotlin/app/palmtop/core/{name}.kt").read_text()
    said = text[text.index("when (") : text.index("else -> throw")]
    assert set(re.findall(r'^ *"([A-Z]\w+)" ->', said, re.MULTILINE)) - {"Sequence"} == KNOWN[part]


def main_ends(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


def _names(project: Path) -> set[str]:
    """Its files, but for what Android Studio leaves in it."""
    found = (path.relative_to(project) for path in project.rglob("*") if path.is_file())
    return {
        path.as_posix()
        for path in found
        if not any(part.match(name) for part in map(Path, path.parts) for name in LEFT_OUT)
    }
