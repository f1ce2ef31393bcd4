"""Verdicts that can't be passed over: each where it is due and only there, what it says to do, and exit code 3."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import numbers_of, one, section_of, write_run

from palmtop import task_kinds
from palmtop.cli.main import main
from palmtop.eval.compare import compare
from palmtop.eval.reports.draw_table import render
from palmtop.eval.reports.table import Cell
from palmtop.measurement import Measurement

MEND = "mend the teacher first: raise its epochs or its learning rate, and look at its training data"


def _of(name: str, accuracy: float, **changed: Any) -> list[Measurement]:
    return numbers_of(name, accuracy, 10, **changed)


def _wrong(folder: Path, *numbers: Measurement) -> list[str]:
    return [str(verdict) for verdict in section_of(write_run(folder, *numbers)).wrong]


def _paired(name: str, low: float, high: float, other: str = "base") -> Measurement:
    middle = (low + high) / 2
    return one(name, "difference_baseline", middle, low=low, high=high, conditions={"with": f"digest of {other}"})


def test_a_teacher_below_the_floor_is_told_first_and_no_share_of_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *_of("teacher", 0.8), *_of("base", 0.79), *_of("floor", 0.85))
    section = section_of(run)
    says = (
        "teacher on host_torch, the teacher, is worse than a linear model, beyond the interval: 0.800 [0.780, 0.820], "
        "floor 0.850 [0.830, 0.870]"
    )
    assert [(verdict.says, verdict.do) for verdict in section.wrong] == [(says, MEND)]
    assert {row.cells["kept_percent"] for row in section.rows} == {Cell(word="weak teacher", why=says)}
    for form in ("markdown", "wide"):
        drawn = render(compare([run]), form)
        assert drawn.index(f"- **WRONG: {says}**; {MEND}") < drawn.index("| model")
        assert "weak teacher" in drawn


@pytest.mark.parametrize("floor", [0.7, 0.79, 0.82])
def test_a_floor_within_the_teachers_interval_is_no_reproach(floor: float, tmp_path: Path) -> None:
    assert _wrong(tmp_path / "run", *_of("teacher", 0.8), *_of("floor", floor)) == []


def test_a_teacher_below_its_student_is_told_with_the_best_of_them(tmp_path: Path) -> None:
    numbers = [*_of("teacher", 0.8), *_of("base", 0.83), *_of("small", 0.856)]
    assert _wrong(tmp_path / "run", *numbers) == [
        "small on host_litert has 107 % of the teacher, beyond the interval, which can't be: 0.856 [0.836, 0.876], "
        "teacher on host_torch 0.800 [0.780, 0.820]; the teacher is under-trained; raise its epochs or its learning "
        "rate, or name the better one with --teacher"
    ]
    assert section_of(tmp_path / "run").rows[1].cells["kept_percent"].word == "weak teacher"


@pytest.mark.parametrize(("low", "told"), [(0.001, True), (-0.001, False)])
def test_where_the_two_were_paired_their_difference_decides(low: float, told: bool, tmp_path: Path) -> None:
    """The baseline is above the teacher by little, and by much."""
    near = [*_of("teacher", 0.8), _paired("teacher", -0.02, -low), *_of("base", 0.81)]
    assert bool(_wrong(tmp_path / "near", *near)) == told
    far = [*_of("teacher", 0.8), _paired("teacher", -0.08, -low), *_of("base", 0.84)]
    assert bool(_wrong(tmp_path / "far", *far)) == told
    another = [*_of("teacher", 0.8), _paired("teacher", -0.02, -0.001, "another"), *_of("base", 0.81)]
    assert _wrong(tmp_path / "another", *another) == []


def test_a_better_model_that_another_teacher_taught_is_no_reproach(tmp_path: Path) -> None:
    taught = one("small", "agreement_teacher", 0.9, conditions={"with": "another teacher"})
    assert _wrong(tmp_path / "run", *_of("teacher", 0.8), *_of("small", 0.9), taught) == []


def test_numbers_of_another_kind_are_no_reproach(tmp_path: Path) -> None:
    assert _wrong(tmp_path / "run", *_of("teacher", 0.8), *_of("small", 0.9, kind="emulated")) == []


def test_a_teacher_without_an_interval_is_left_alone(tmp_path: Path) -> None:
    numbers = [one("teacher", "accuracy", 0.5), *_of("base", 0.9)]
    assert _wrong(tmp_path / "run", *numbers) == []


def _alone(name: str, share: float, metric: str = "accuracy") -> Measurement:
    return one(name, "most_frequent_label", share, conditions={"metric": metric})


def test_a_training_that_was_still_getting_better_is_told(tmp_path: Path) -> None:
    gained = one("teacher", "last_epoch_gained", 0.034, conditions={"epochs": 6})
    assert _wrong(tmp_path / "run", *_of("teacher", 0.8), gained) == [
        "the training of teacher ended too early: the last of its 6 epochs still gained 3.4 points on the validation "
        "split; train it longer (epochs: 12)"
    ]


def test_what_learnt_nothing_is_told_once_for_all(tmp_path: Path) -> None:
    numbers = [*_of("base", 0.61), *_of("small", 0.62), *_of("good", 0.7), *_of("floor", 0.6)]
    numbers += [_alone(name, 0.6) for name in ("base", "small", "good", "floor")]
    (told,) = _wrong(tmp_path / "run", *numbers)
    assert told == (
        "no better than the most frequent label alone, which has accuracy 0.600: base on host_litert 0.610 "
        "[0.590, 0.630], small on host_litert 0.620 [0.600, 0.640]; train longer or at another learning rate, or look "
        "at the balance of the labels; a file whose torch model does better was broken on its way: export or quantize "
        "it anew"
    )
    assert _wrong(tmp_path / "other", *_of("base", 0.6), _alone("base", 0.6, "macro_f1")) == []
    assert _wrong(tmp_path / "old", *_of("base", 0.6)) == []


def test_the_most_frequent_label_is_counted() -> None:
    kind, labels = task_kinds.find("classification"), np.array([0, 1, 1, 1, 2])
    share, f1, undefined = (kind.constant(metric, labels, 3) for metric in ("accuracy", "macro_f1", "matthews"))
    assert share is not None and (share.value, share.n) == (0.6, 5)
    assert f1 is not None and f1.value == pytest.approx((2 * 3 / (5 + 3)) / 3)
    assert undefined is not None and undefined.value is None and undefined.why is not None
    assert task_kinds.find("regression").constant("pearson", labels, 1) is None


def test_an_invalid_metric_says_what_to_do(tmp_path: Path) -> None:
    broken = one("small", "accuracy", None, why="3 of 9 answers aren't finite numbers", n=9)
    assert _wrong(tmp_path / "run", *_of("base", 0.94), broken) == [
        "small on host_litert: accuracy is not valid: 3 of 9 answers aren't finite numbers; don't ship it: train or "
        "export it anew, and measure again"
    ]


@pytest.mark.parametrize(("floor", "words", "code"), [(0.9, ["--strict"], 3), (0.9, [], 0), (0.7, ["--strict"], 0)])
def test_strict_ends_with_exit_code_3_where_something_is_wrong(
    floor: float, words: list[str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", *_of("teacher", 0.8), *_of("floor", floor))
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(run), *words])
    told = capsys.readouterr()
    assert (ended.value.code or 0) == code
    assert told.out == render(compare([run]), "markdown")
    assert told.err == ("strict: 1 verdict(s) of the table say WRONG\n" if code else "")


@pytest.mark.parametrize("command", ["run", "measure", "compare"])
def test_help_tells_of_strict(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "--strict" in capsys.readouterr().out
