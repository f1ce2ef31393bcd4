"""palmtop search from the command line, with real stages on a tiny model: killed in the middle, and gone on with."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import told
from tiny import write_model, write_task

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow

CHOOSE: dict[str, Any] = {
    "student": [
        {"use": "distill", "settings": {"layers": 1, "epochs": 6, "learning_rate": 3e-3}},
        {"use": "static", "settings": {"epochs": 10}, "each": {"width": [8]}},
    ],
    "file": [{"use": "to_onnx"}],
}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    task = write_task(tmp_path / "data", train=192)
    validation = write_task(tmp_path / "more", train=60)["train"]
    steps = [
        {"name": "base", "use": "adopt", "settings": {"model": str(write_model(tmp_path / "model", "bert"))}},
        {"name": "teacher", "use": "finetune", "settings": {"epochs": 20, "learning_rate": 5e-3, "batch_size": 16}},
    ]
    search = {"choose": CHOOSE, "shares": [0.5, 1.0], "seeds": [0, 1]}
    text = {"task": task | {"validation": validation}, "steps": steps, "search": search, "measure": {"length": 16}}
    path = tmp_path / "my.yaml"
    path.write_text(json.dumps(text))
    return path


def test_a_search_that_was_killed_goes_on_and_ends_with_a_file(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["search", str(recipe), "--max-mb", "0.09", "--out", "run"]
    assert "nothing wrong: 2 candidates after 'teacher'" in told(capsys, *words, "--check", code=0)
    killed(words, recipe.parent / "run/made")
    said = told(capsys, *words, code=0)
    found = json.loads((recipe.parent / "run/search.json").read_text())
    fates = {one["chosen"]["student"].split(" ")[0]: one["fate"] for one in found["tried"]}
    assert fates == {"distill": "over the limit", "static": "chosen"}
    assert found["verdict"] in said and "seed-1" in said
    app = recipe.parent / found["app"]
    assert (app / "model.onnx").stat().st_size == 1e6 * found["tried"][found["chosen"]]["mb"] <= 0.09e6
    assert not (recipe.parent / "run/prices/.untrained").exists()


def killed(words: list[str], made: Path) -> None:
    """Start the search, and kill it when its first student is being made."""
    process = subprocess.Popen([sys.executable, "-m", "palmtop", *words], stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(made.glob(".student-*.partial")):
        time.sleep(0.1)
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()


def test_limits_that_can_not_be_meant_are_refused(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = told(capsys, "search", str(recipe), "--max-mb", "5000000", "--min-share", "97")
    assert "5000000 MB can't be meant" in said and "97 can't be meant: it is a share of the teacher's metric" in said
