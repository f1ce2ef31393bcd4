"""React Native code with a bundle in it: written whole or not at all, what can't be run there refused by name, nothing
of this machine in it, and right by its types."""

import json
import shutil
from pathlib import Path

import pytest
from react_native import type_check
from tiny_bundles import adopted, copy_beside, sealed

from palmtop.app_manifest import MANIFEST, Manifest
from palmtop.bundle import Bundle, sha256_of
from palmtop.cli import react_native_tools
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.export.app import react_native_project
from palmtop.export.app.react_native_project import CODE, OF_ONE_FORMAT, TEXTS, check
from palmtop.export.app.react_native_readme import CHECKED_WITH, INSTALLED
from palmtop.making import make_by_name


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return adopted(tmp_path_factory.mktemp("source") / "bert", "bert")


@pytest.fixture(scope="module")
def file(source: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_by_name("to_tflite", {"lengths": 16}, source, tmp_path_factory.mktemp("file") / "file", print)


@pytest.fixture(scope="module")
def project(file: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written by the command."""
    out = tmp_path_factory.mktemp("project") / "phone"
    main_ends(["to-app", str(file.path), "--react-native", str(out), "--golden", "plain"])
    return out


def test_the_command_writes_the_code_with_the_model_in_it(file: Bundle, project: Path) -> None:
    assert names(project) == {
        *(name for name in names(CODE) if OF_ONE_FORMAT.get(Path(name).name, "tflite") == "tflite"),
        *("README.md", "package.json", "model/index.ts", "model/texts.ts", "model/model.tflite"),
    }
    texts = texts_of(project)
    assert tuple(texts) == TEXTS
    manifest = Manifest.model_validate_json(texts[MANIFEST])
    assert manifest.lineage[-1].digest == file.digest
    assert sha256_of(project / "model" / "model.tflite") == manifest.files["model.tflite"].sha256
    index = (project / "model" / "index.ts").read_text()
    assert 'inputs: ["input_ids", "attention_mask"' in index and "outputs: [0], length: 16" in index
    assert {path.name for path in project.parent.iterdir()} == {"phone"}


def test_the_readme_says_what_to_install_and_that_it_never_ran_on_a_phone(project: Path) -> None:
    told = (project / "README.md").read_text()
    assert "**This code has never run on a phone.**" in told
    assert "npm install --save-exact react-native-fast-tflite@3.0.1 react-native-nitro-modules@0.37.1" in told
    packages = json.loads((project / "package.json").read_text())
    assert packages["dependencies"] == INSTALLED["tflite"]
    every = [each for of in (INSTALLED, CHECKED_WITH) for each in of.values()]
    assert all(version[0].isdigit() for each in every for version in each.values())  # no ranges


def test_nothing_of_this_machine_is_in_it(file: Bundle, project: Path) -> None:
    for path in project.rglob("*"):
        if path.is_file():
            assert str(file.path.parent).encode() not in path.read_bytes()
            assert str(Path.home()).encode() + b"/" not in path.read_bytes()


def test_a_folder_with_something_in_it_is_left_as_it_is(file: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"--react-native .* isn't an empty folder: name a new one"):
        check(file, tmp_path)
    assert names(tmp_path) == {"mine.txt"}


def test_a_writing_that_fails_leaves_nothing(file: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(react_native_project, "_copy_code", fails)
    with pytest.raises(OSError, match="full"):
        react_native_project.write(file, file, tmp_path / "phone")
    assert list(tmp_path.iterdir()) == []


def test_other_formats_are_refused_before_work(
    file: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "onnx").mkdir()
    copy_beside(file, tmp_path / "onnx")
    (tmp_path / "onnx" / "model.onnx").write_bytes(b"no model")
    other = sealed(tmp_path / "onnx", "onnx", "to_onnx")
    with pytest.raises(SystemExit) as ended:
        main(["to_app", str(other.path), "--react-native", str(tmp_path / "phone")])
    assert ended.value.code == 2
    assert "the React Native code runs .tflite and TensorFlow.js" in capsys.readouterr().err
    assert not (tmp_path / "phone").exists()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lengths": (8, 16)}, "runs one graph of a file, this one has 2, one for each length"),
        ({"max_length": 24}, "the file stands at 16 tokens and reads 24; export it with lengths: 24"),
    ],
)
def test_a_file_that_the_runtime_cannot_feed_is_refused(
    changed: dict[str, object], says: str, file: Bundle, tmp_path: Path
) -> None:
    copied(file, tmp_path / "file", **changed)
    with pytest.raises(UserError, match=says):
        check(sealed(tmp_path / "file", "tflite", "to_tflite"), tmp_path / "phone")


@pytest.mark.parametrize(
    ("part", "type_"),
    [("model", {"type": "WordLevel"}), ("normalizer", {"type": "Sequence", "normalizers": [{"type": "Precompiled"}]})],
)
def test_a_tokenizer_that_the_code_has_not_is_refused(
    part: str, type_: dict[str, object], file: Bundle, tmp_path: Path
) -> None:
    copied(file, tmp_path / "file")
    tokenizer = json.loads((file.path / "tokenizer.json").read_text()) | {part: type_}
    (tmp_path / "file" / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(UserError, match=r"the React Native code can't read the tokenizer of .*(WordLevel|Precompiled)"):
        check(sealed(tmp_path / "file", "tflite", "to_tflite"), tmp_path / "phone")


@pytest.mark.slow
def test_the_types_of_a_written_project_are_right(project: Path, tmp_path: Path) -> None:
    needs_typescript()
    shutil.copytree(project, tmp_path / "phone")
    assert type_check(tmp_path / "phone") == ""
    with (tmp_path / "phone" / "model" / "index.ts").open("a") as index:
        index.write("export const wrong: number = bundled.folder.digest;\n")
    assert "model/index.ts" in type_check(tmp_path / "phone")  # what is wrong would be found


@pytest.mark.slow
def test_a_model_for_tensorflow_js_comes_with_its_shards_and_its_runtime(source: Bundle, tmp_path: Path) -> None:
    needs_typescript()
    model = make_by_name("to_tfjs", {}, source, tmp_path / "model", print)
    out = tmp_path / "phone"
    main_ends(["to-app", str(model.path), "--react-native", str(out), "--golden", "plain"])
    shards = {path.name for path in model.path.glob("*.bin")}
    assert names(out / "model") == {"index.ts", "texts.ts", *shards}
    assert names(out / "palmtop" / "engine") == {"runtime.ts", "tfjs.ts", "int8_rows.ts"}
    assert texts_of(out)["model.json"] == (model.path / "model.json").read_text()
    assert "@tensorflow/tfjs-react-native@1.0.0" in (out / "README.md").read_text()
    assert type_check(out) == ""


def needs_typescript() -> None:
    if lack := react_native_tools.missing():
        pytest.skip(f"the code is type-checked with {lack}")


def copied(file: Bundle, folder: Path, **changed: object) -> None:
    """The files of a bundle, of which something is changed before it is sealed."""
    folder.mkdir()
    copy_beside(file, folder, **changed)
    shutil.copy(file.path / "model.tflite", folder)


def texts_of(project: Path) -> dict[str, str]:
    lines = (project / "model" / "texts.ts").read_text().splitlines()
    return dict(json.loads(f"[{line.strip().rstrip(',').replace(': ', ', ', 1)}]") for line in lines[2:-1])


def main_ends(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
