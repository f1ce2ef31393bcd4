"""The main job end to end: the shipped recipe on the real teacher, a small part of its data, every runtime, one
table."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from palmtop.bundle import Bundle
from palmtop.data import rows
from palmtop.data.rows import Source
from palmtop.eval.compare import compare
from palmtop.eval.reports.draw_table import render
from palmtop.recipe.recipe import SHIPPED, Recipe
from palmtop.yaml_file import read_mapping

pytestmark = pytest.mark.slow

TRAIN, EVALUATION = 900, 200


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the quickstart, cut down to minutes: fewer rows, one epoch."""
    folder = tmp_path_factory.mktemp("quickstart")
    recipe: dict[str, Any] = read_mapping(SHIPPED / "quickstart.yaml")
    recipe["task"] = _part_of_the_task(folder)
    for step in recipe["steps"]:
        if step["use"] in ("finetune", "distill"):
            step["settings"] |= {"epochs": 2, "learning_rate": 4e-4}
    (folder / "small.yaml").write_text(yaml.safe_dump(recipe))
    done = _palmtop(folder, "run", "small.yaml", "--out", "run")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "run"


def test_the_shipped_recipe_passes_its_own_check() -> None:
    assert [step.use for step in Recipe.read("quickstart").steps] == [
        "adopt",
        "finetune",
        "distill",
        "to_tflite",
        "to_tflite",
        "quantize",
        "to_tfjs",
        "to_tfjs",
        "to_onnx",
        "tfidf",
    ]


def test_every_artefact_has_its_row_measured_in_its_own_runtime(run: Path) -> None:
    found = {row["name"]: row for row in _rows(run)}
    assert {name: row["target"] for name, row in found.items()} == {
        "teacher": "host_torch",
        "student": "host_torch",
        "teacher-tflite": "host_litert",
        "student-tflite": "host_litert",
        "student-tflite-int8": "host_litert",
        "student-tfjs": "browser",
        "student-tfjs-float16": "browser",
        "student-onnx": "host_onnx",
        "floor": "host_linear",
    }
    for name, row in found.items():
        for metric in (
            "accuracy",
            "model_bytes",
            "download_bytes",
            "load_ms",
            "memory_mb",
            "latency_ms",
            "text_latency_ms",
        ):
            assert row["numbers"][metric]["value"] is not None, (name, metric)
        assert row["numbers"]["accuracy"]["n"] == EVALUATION
        assert row["numbers"]["accuracy"]["low"] < row["numbers"]["accuracy"]["high"]


def test_the_files_answer_as_torch_does(run: Path) -> None:
    found = {row["name"]: row["numbers"] for row in _rows(run)}
    for name in ("teacher-tflite", "student-tflite", "student-tfjs", "student-onnx"):
        assert found[name]["agreement_torch"]["value"] >= 0.999, name
    assert found["student-tfjs-float16"]["agreement_torch"]["value"] >= 0.99
    assert found["student-tflite-int8"]["agreement_torch"]["value"] >= 0.97  # a hardly trained model has many near ties
    assert found["student-tfjs"]["tokenizer_mismatches"]["value"] == 0


def test_int8_is_a_fifth_of_the_teacher_and_faster(run: Path) -> None:
    found = {row["name"]: row["numbers"] for row in _rows(run)}
    small, large = found["student-tflite-int8"], found["teacher-tflite"]
    assert small["model_bytes"]["value"] <= large["model_bytes"]["value"] / 5
    assert (
        small["latency_ms"]["value"] <= large["latency_ms"]["value"] / 1.5
    )  # 2 and more on a quiet machine (BENCHMARKS.md)
    assert small["latency_ms"]["session"] == large["latency_ms"]["session"]


def test_the_table_is_written_in_three_forms_with_a_floor(run: Path) -> None:
    markdown = (run / "table.md").read_text()
    assert "floor" in markdown
    assert "teacher-tflite (baseline)" in markdown
    assert (run / "table.csv").read_text().count("\n") == 10
    assert (
        render(compare([run]), "wide").count("not measured") == 2
    )  # the floor has no tokenization apart from its answer: a cell, and a line that says why


def test_a_second_run_makes_and_measures_nothing(run: Path) -> None:
    before = (run / "measurements.jsonl").read_bytes()
    done = _palmtop(run.parent, "run", "small.yaml", "--out", "run")
    assert done.returncode == 0
    assert (done.stdout + done.stderr).count("kept") >= 10
    assert (run / "measurements.jsonl").read_bytes() == before


def test_the_lineage_leads_back_to_the_teacher(run: Path) -> None:
    lineage = Bundle.open(run / "student-tflite-int8").lineage
    assert [ancestor.stage for ancestor in lineage] == ["adopt", "finetune", "distill", "to_tflite", "quantize"]
    assert lineage[1].digest == Bundle.open(run / "teacher").digest


def _part_of_the_task(folder: Path) -> dict[str, Any]:
    for name, split, count in (("train", "train", TRAIN), ("evaluation", "test", EVALUATION)):
        table = rows.read(Source(file=f"palmtop:clinc150/{split}.tsv.gz"))
        texts, intents = table.column("text"), table.column("intent")
        spread = [
            row * len(texts) // count for row in range(count)
        ]  # rows are sorted by intent: every one is to be in both parts
        pairs = [(texts[row], intents[row]) for row in spread]
        (folder / f"{name}.tsv").write_text("text\tintent\n" + "".join(f"{text}\t{intent}\n" for text, intent in pairs))
    return {
        "name": "clinc150-part",
        "text": "text",
        "label": "intent",
        "train": "train.tsv",
        "evaluation": "evaluation.tsv",
    }


def _rows(run: Path) -> list[dict[str, Any]]:
    (section,) = json.loads((run / "table.json").read_text())["tasks"]
    found: list[dict[str, Any]] = section["rows"]
    return found


def _palmtop(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "palmtop", *words], cwd=folder, capture_output=True, text=True, check=False, timeout=800
    )
