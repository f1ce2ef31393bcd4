"""Rates and epochs chosen on a validation split: successive halving, the best epoch, rows held out, a kill between."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import write_multi_label, write_task

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.learning import best_epoch, rate_trial
from palmtop.compress.learning.chosen import Chosen, best_of
from palmtop.compress.learning.rate_trial import Trial
from palmtop.compress.learning.torch_bundles import write_classifier
from palmtop.compress.learning.training_settings import Schedule
from palmtop.compress.learning.validation import Parts, Validation
from palmtop.errors import UserError
from palmtop.making import make_by_name, origin_of
from palmtop.measurement import LAST_EPOCH_GAINED
from palmtop.models.opening import open_with_head, with_head
from palmtop.settings import build
from palmtop.signature import Signature
from palmtop.task import Task

RATES = (5e-5, 1.5e-4, 3e-4)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny task with a validation split of its own."""
    folder = tmp_path_factory.mktemp("judged")
    return write_task(folder) | {"validation": write_task(folder / "more", train=40, evaluation=40)["evaluation"]}


def test_halving_tries_all_briefly_and_the_better_half_for_longer(tmp_path: Path) -> None:
    asked: list[tuple[float, int]] = []

    def train(rate: float, steps: int) -> float:
        asked.append((rate, steps))
        return {5e-5: 0.2, 1.5e-4: 0.8, 3e-4: 0.7}[rate] + (0.2 if (rate, steps) == (3e-4, 160) else 0)

    best, tried = rate_trial.choose(RATES, 1000, train, tmp_path)
    assert asked == [(5e-5, 60), (1.5e-4, 60), (3e-4, 60), (1.5e-4, 160), (3e-4, 160)]
    assert best == 3e-4
    assert [(one.rate, one.steps) for one in tried] == asked
    assert sum(steps for _, steps in asked) <= 0.5 * 1000


def test_trials_of_a_long_training_are_short() -> None:
    steps = [min(most, round(share * 20_000)) for share, most in rate_trial.ROUNDS]
    assert 3 * steps[0] + 2 * steps[1] <= 0.1 * 20_000


@pytest.mark.parametrize(
    ("grades", "best"),
    [
        ({5e-5: 0.5, 1.5e-4: 0.5, 3e-4: 0.5}, 5e-5),
        ({5e-5: 0.4, 1.5e-4: float("-inf"), 3e-4: float("-inf")}, 5e-5),
        ({5e-5: float("-inf"), 1.5e-4: float("-inf"), 3e-4: 0.1}, 3e-4),
    ],
    ids=["of equal ones the lower", "two diverged", "only the highest learns"],
)
def test_the_best_of_trials_that_tie_or_diverge(grades: dict[float, float], best: float, tmp_path: Path) -> None:
    assert rate_trial.choose(RATES, 1000, lambda rate, _: grades[rate], tmp_path)[0] == best


def test_trials_made_before_a_kill_are_not_made_again(tmp_path: Path) -> None:
    asked: list[tuple[float, int]] = []

    def train(rate: float, steps: int) -> float:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append((rate, steps))
        return rate

    with pytest.raises(KeyboardInterrupt):
        rate_trial.choose(RATES, 1000, train, tmp_path)
    asked_again: list[tuple[float, int]] = []

    def go_on(rate: float, steps: int) -> float:
        asked_again.append((rate, steps))
        return rate

    assert rate_trial.choose(RATES, 1000, go_on, tmp_path)[0] == 3e-4
    assert len(asked_again) == 5 - 3
    assert not set(asked) & set(asked_again)


@pytest.mark.parametrize(
    ("grades", "best"),
    [([0.1, 0.3, 0.2], 2), ([0.3, 0.3], 1), ([float("-inf"), 0.0], 2), ([float("-inf")] * 3, 3)],
)
def test_the_best_epoch(grades: list[float], best: int) -> None:
    assert best_of(grades) == best


def test_few_rows_are_seen_often_and_wide_models_learn_at_a_third_of_the_rate() -> None:
    settings = stage.find("finetune")()
    assert settings.schedule(500, 384) == Schedule(12, RATES, best=True)
    assert settings.schedule(5000, 384).epochs == 6
    assert settings.schedule(60_000, 384).epochs == 3
    assert settings.schedule(500, 768).rates == (1.7e-5, 5e-5, 1e-4)
    fixed = stage.find("finetune")(epochs=2, learning_rate=1e-4)
    assert fixed.schedule(500, 384) == Schedule(2, (1e-4,))
    assert not fixed.chooses
    assert (fixed.rate_of_head(new=True), settings.rate_of_head(new=True), settings.rate_of_head(new=False)) == (
        1,
        10,
        1,
    )


def test_a_tenth_is_held_out_by_label_and_text_and_always_the_same(tmp_path: Path) -> None:
    rows = [f"text {number} of {label},{label}" for label, count in (("a", 300), ("b", 60)) for number in range(count)]
    (tmp_path / "train.csv").write_text("\n".join(["text,label", *rows, *rows[:20]]) + "\n")
    files = {name: str(tmp_path / "train.csv") for name in ("train", "evaluation")}
    task = Task.find({"name": "t", "text": "text", "label": "label", **files})
    train, held = task.held_out()
    assert len(train) + len(held) == 380
    assert not set(train.texts) & set(held.texts)
    unique = Counter(dict(zip(held.texts, held.labels.tolist(), strict=True)).values())
    assert unique == {0: 30, 1: 6}
    assert task.held_out()[1].digest == held.digest
    said: list[str] = []
    parts = Parts.of(task, build(stage.find("finetune"), {}, "finetune"), said.append)
    assert parts.validation is not None
    assert len(parts.validation) == len(held)
    assert said[0].startswith(f"{len(held)} of 380 training rows are held out")
    whole = Parts.of(task, build(stage.find("finetune"), {"epochs": 1, "learning_rate": 1e-4}, "finetune"), said.append)
    assert (len(whole.train), whole.validation, len(said)) == (380, None, 1)


def test_of_few_rows_none_is_held_out(tmp_path: Path, taught_bert: Any) -> None:
    said: list[str] = []
    settings = {"task": write_task(tmp_path / "data"), "batch_size": 32}
    made = make_by_name("finetune", settings, taught_bert.base, tmp_path / "made", said.append)
    assert (made.card.facts["rows"], made.card.facts["steps"], "by_epoch" in made.card.facts) == (96, 3 * 12, False)
    assert any(line.startswith("96 training rows are too few to hold some out") for line in said)


@pytest.mark.slow
def test_finetune_keeps_the_epoch_that_does_best_and_says_what_it_chose(
    taught_bert: Any, judged: dict[str, Any], tmp_path: Path
) -> None:
    said: list[str] = []
    settings = {"task": judged, "batch_size": 4, "max_length": 24}
    made = make_by_name("finetune", settings, taught_bert.base, tmp_path / "made", said.append)
    facts = made.card.facts
    assert facts["rows"] == 96
    assert facts["chosen_on"] == "accuracy of 40 validation texts"
    assert facts["rate"] in RATES
    assert len(facts["rate_trials"]) == 5
    assert facts["by_epoch"][facts["best_epoch"] - 1] == max(facts["by_epoch"])
    assert any(line.startswith(f"learning_rate {facts['rate']:g}, by accuracy on 40") for line in said)
    assert any(f"epoch {facts['best_epoch']} is kept" in line for line in said)
    assert _grade(made, judged) == pytest.approx(facts["by_epoch"][facts["best_epoch"] - 1], abs=1e-6)
    assert not list(made.path.rglob("best*"))


def test_an_earlier_epoch_that_did_better_is_kept_and_training_stops(
    taught_bert: Any, judged: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grades that fall from the second epoch on: its weights are kept, and patience ends the training."""
    grades = iter([0.5, 0.7, *[0.1] * 20])
    states: list[torch.Tensor] = []

    def grade(self: Validation, model: Any) -> float:
        states.append(model.get_input_embeddings().weight.detach().clone())
        return next(grades)

    monkeypatch.setattr(Validation, "grade", grade)
    settings = {"task": judged, "learning_rate": 1e-3, "batch_size": 16}
    made = make_by_name("finetune", settings, taught_bert.base, tmp_path / "made", lambda _: None)
    assert made.card.facts["best_epoch"] == 2
    assert len(made.card.facts["by_epoch"]) == 2 + best_epoch.PATIENCE * 12
    weights = load_file(made.path / "model.safetensors")
    assert torch.equal(weights["bert.embeddings.word_embeddings.weight"], states[1])


@pytest.mark.slow
def test_a_kill_between_epochs_changes_nothing(
    taught_bert: Any, judged: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"task": judged, "learning_rate": 1e-3, "batch_size": 16, "checkpoint_every": 5}
    whole = make_by_name("finetune", settings, taught_bert.base, tmp_path / "whole", lambda _: None)
    grade, calls = Validation.grade, []

    def killed(self: Validation, model: Any) -> float:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return grade(self, model)

    monkeypatch.setattr(Validation, "grade", killed)
    with pytest.raises(KeyboardInterrupt):
        make_by_name("finetune", settings, taught_bert.base, tmp_path / "cut", lambda _: None)
    made = make_by_name("finetune", settings, taught_bert.base, tmp_path / "cut", lambda _: None)
    assert made.card.facts["by_epoch"] == whole.card.facts["by_epoch"]
    assert made.card.files["model.safetensors"].sha256 == whole.card.files["model.safetensors"].sha256


@pytest.mark.slow
def test_a_student_is_chosen_by_the_same_rows(taught_bert: Any, judged: dict[str, Any], tmp_path: Path) -> None:
    """distill, recover and quantize_aware, each on the validation split of the task."""
    common = {"epochs": "auto", "learning_rate": 1e-3, "batch_size": 32, "task": judged}
    student = make_by_name("distill", common, taught_bert.teacher, tmp_path / "student", lambda _: None)
    assert (student.card.facts["rows"], student.card.facts["rate"]) == (96, 1e-3)
    assert 0 < len(student.card.facts["by_epoch"]) <= 24
    said: list[str] = []
    taught = {"epochs": "auto", "learning_rate": 1e-4, "batch_size": 32, "teacher": str(taught_bert.teacher.path)}
    recovered = make_by_name("recover", taught, student, tmp_path / "recovered", said.append)
    assert recovered.card.facts["rows"] == 96
    assert "validation" in "".join(said)
    aware = make_by_name("quantize_aware", {"batch_size": 1}, student, tmp_path / "aware", lambda _: None)
    assert len(aware.card.facts["rate_trials"]) == 5
    assert aware.card.facts["rate"] in stage.find("quantize_aware")().schedule(96, 32).rates


def test_another_validation_split_is_another_bundle_where_it_chooses(taught_bert: Any, judged: dict[str, Any]) -> None:
    other = judged | {"validation": judged["train"]}
    for settings, equal in (({}, False), ({"epochs": 1, "learning_rate": 1e-3}, True)):
        first, second = (
            origin_of("finetune", stage.find("finetune")(task=task, **settings), taught_bert.base).inputs
            for task in (judged, other)
        )
        assert (first == second) == equal


def test_several_labels_are_graded_with_the_thresholds_that_suit_them(tmp_path: Path, taught_bert: Any) -> None:
    """At the first thresholds a model that has hardly learnt gives no label at all, and every rate would be as good."""
    task = Task.find(write_multi_label(tmp_path / "data", train=64))
    parts = Parts.of(task, stage.find("finetune")(), lambda _: None)
    signature = Signature.read(taught_bert.base.path).model_copy(update={"output": task.of_kind.output})
    judge = parts.judge(task, taught_bert.base.path, signature, lambda _: None)
    assert judge is not None
    assert judge._metric([np.full(3, -4, np.float32) for _ in judge.encodings]) > 0
    assert judge._metric([np.full(3, np.nan, np.float32) for _ in judge.encodings]) == float("-inf")


def test_thresholds_are_chosen_on_held_out_rows_where_there_is_no_validation_split(
    tmp_path: Path, taught_bert: Any
) -> None:
    written = {
        name: value for name, value in write_multi_label(tmp_path / "data", train=400).items() if name != "validation"
    }
    task = Task.find(written)
    parts = Parts.of(task, stage.find("finetune")(), lambda _: None)
    signature = Signature.read(taught_bert.base.path).model_copy(update={"output": task.of_kind.output})
    model, _ = with_head(taught_bert.base.path, task, 0)
    thresholds = []
    for name, held in (("held", parts.validation), ("none", None)):
        (tmp_path / name).mkdir()
        write_classifier(model, taught_bert.base, task, signature, tmp_path / name, held=held)
        thresholds.append(Signature.read(tmp_path / name).thresholds)
    assert thresholds[0] is not None
    assert thresholds[1] is None
    judge = parts.judge(task, taught_bert.base.path, signature, lambda _: None)
    assert judge is not None
    outputs = _outputs(model, judge)
    assert thresholds[0] == task.of_kind.settled(outputs, judge.split.labels, signature).thresholds


@pytest.mark.parametrize(
    ("grades", "told"),
    [
        ([0.5, 0.6, 0.65], "the last of 3 epochs still gained 5.0 points"),
        ([0.5, 0.6, 0.605], None),
        ([0.5, 0.7, 0.6], None),
        ([0.5], None),
        ([], None),
    ],
)
def test_a_training_that_was_still_getting_better_is_told(grades: list[float], told: str | None) -> None:
    chosen = Chosen("accuracy", 100, 1e-4, [], grades)
    said = [line for line in chosen.lines() if "train longer" in line]
    assert len(said) == (LAST_EPOCH_GAINED in chosen.facts()) == (told is not None)
    assert told is None or said[0].startswith(told)


def test_what_is_undefined_is_told_as_such() -> None:
    chosen = Chosen("pearson", 40, 1e-4, [Trial(1e-4, 20, None), Trial(2e-4, 20, 0.5)], [float("-inf"), 0.5])
    json.dumps(chosen.facts(), allow_nan=False)
    assert chosen.lines()[0].endswith("(0.0001: undefined, 0.0002: 0.500)")
    assert chosen.rising is None


def test_a_rate_that_is_no_number_is_refused() -> None:
    with pytest.raises(UserError, match="learning_rate"):
        build(stage.find("finetune"), {"learning_rate": "fast"}, "finetune")
    with pytest.raises(UserError, match="epochs"):
        build(stage.find("tinybert"), {"epochs": "auto"}, "tinybert")


def _grade(bundle: Bundle, task: dict[str, Any]) -> float:
    found = Task.find(task)
    judge = Validation(found, found.load("validation"), bundle.path, Signature.read(bundle.path), lambda _: None)
    return judge.grade(open_with_head(bundle.path))


def _outputs(model: Any, judge: Validation) -> Any:
    """Logits of the rows that a training is judged by, [rows, outputs], a row at a time."""
    model.eval()
    rows = []
    for encoding in judge.encodings:
        inputs = {"input_ids": encoding.input_ids, "token_type_ids": encoding.token_type_ids}
        tensors = {name: torch.from_numpy(value)[None].long() for name, value in inputs.items()}
        rows.append(model(**tensors).logits[0].detach().numpy())
    return np.stack(rows)
