"""palmtop price: the bytes of files before anything is trained are those of the trained files, and are kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import told
from tiny import write_model, write_task

from palmtop.eval.measuring.size import model_bytes
from palmtop.recipe.recipe import Recipe

pytestmark = pytest.mark.slow

GRID = "student.layers=1,2"
FAST = {"epochs": 4, "learning_rate": 3e-3}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    model = str(write_model(tmp_path / "model", "bert"))
    steps: list[dict[str, Any]] = [
        {"name": "base", "use": "adopt", "settings": {"model": model}},
        {"name": "teacher", "use": "finetune", "settings": FAST},
        {"name": "words", "use": "trim_vocabulary"},
        {"name": "student", "use": "distill", "settings": FAST | {"layers": 1}},
        {"name": "student-tflite", "use": "to_tflite"},
        {"name": "student-int8", "use": "quantize", "settings": {"tolerance": 20}},
    ]
    path = tmp_path / "r.yaml"
    measure = {"on": ["host_litert"], "length": 16}
    path.write_text(json.dumps({"task": write_task(tmp_path / "data"), "steps": steps, "measure": measure}))
    return path


def test_bytes_are_those_of_the_trained_files_and_are_kept(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("price", str(recipe), "--grid", GRID)
    assert told(capsys, *words, "--check", code=0) == "nothing wrong: 4 file(s) of 2 recipe(s) to price\n"
    table = told(capsys, *words, code=0)
    assert "nothing was trained: bytes are those of the trained files exactly" in table
    again = told(capsys, *words, code=0)
    assert table.endswith(again), "what is known is told at once, and nothing else"
    assert [path.name for path in (recipe.parent / "palmtop-runs/prices").iterdir()] == ["prices.jsonl"]
    priced = json.loads(told(capsys, *words, "--format", "json", code=0))
    sizes = {row["file"]: row["costs"]["model_bytes"] for row in priced if row["recipe"] == "r (student.layers=1)"}
    assert sizes == {name: model_bytes(bundle) for name, bundle in trained(recipe).items()}
    assert all(row["costs"]["ms"] > 0 and row["costs"]["memory_mb"] > 0 and not row["about"] for row in priced)
    assert any("int8-on-gpu" in line for row in priced for line in row["costs"]["refused"])


def trained(recipe: Path) -> Any:
    """The files that the recipe makes."""
    made = Recipe.read(str(recipe)).run(recipe.parent / "run", lambda _: None)
    return {name: made[name] for name in ("student-tflite", "student-int8")}
