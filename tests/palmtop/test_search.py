"""A search: prices decide who is trained, halving who is trained longer, limits who may win; killed and started again,
it ends as one that wasn't."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from search_stages import FILE, NAMES, able

from palmtop import stage, stage_files
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.measure_settings import MeasureText
from palmtop.search import halving
from palmtop.search.price import Costs
from palmtop.search.search import Found, Search
from palmtop.search.space import Space
from palmtop.search.tried import Limits, Outcome, Tried
from palmtop.search.workshop import Workshop
from palmtop.task import Split, Task

pytest.importorskip("optuna")

TASK = {
    "name": "t",
    "text": "text",
    "label": "label",
    "train": "train.csv",
    "validation": "valid.csv",
    "evaluation": "test.csv",
}
ROWS = "text,label\nhello there,greet\nbye now,leave\ngood day there,greet\nsee you now,leave\n"
CHOOSE: dict[str, Any] = {
    "student": [{"use": "squeeze", "each": {"width": [10, 20, 40, 80]}}],
    "file": [{"use": "pack"}, {"use": "pack", "settings": {"bits": 8}}],
}
SECONDS = {"seconds", "pricing_seconds", "training_seconds", "apart_seconds"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    known = {name: module for name, module in stage_files.names().items() if name != "to_app"} | NAMES
    monkeypatch.setattr(stage, "names", lambda: known)
    for name in ("train", "valid", "test"):
        (tmp_path / f"{name}.csv").write_text(ROWS.replace("hello", f"hello {name}"))
    return tmp_path


def space(folder: Path, task: Mapping[str, Any] = TASK, **search: Any) -> Space:
    steps = [{"name": "teacher", "use": "begin"}]
    path = folder / "r.yaml"
    path.write_text(json.dumps({"task": task, "steps": steps, "search": {"choose": CHOOSE} | search}))
    return Space.read(str(path))


def size(bundle: Bundle) -> int:
    return (bundle.path / FILE).stat().st_size


def weigh(
    bundles: Mapping[str, Bundle], options: MeasureText, _: Path, __: Callable[[str], None]
) -> dict[tuple[str, str], Costs]:
    """Bytes as they are, a millisecond for ten of the width."""
    return {
        (name, on): Costs(model_bytes=size(one), ms=able(one)["width"] / 10)
        for name, one in bundles.items()
        for on in options.on
    }


def grade(name: str, bundle: Bundle, on: str, task: Task, split: Split, _: Path) -> float:
    assert "hello valid there" in [text for (text,) in split.texts], "chosen by another part than the validation's"
    return able(bundle)["skill"]


class Killed:
    """A judge that ends the process, as it seems, at its so manieth word."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self, *given: Any) -> float:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return grade(*given)


def weigh_slowly(*asked: Any) -> dict[tuple[str, str], Costs]:
    """Takes a fifth of a second."""
    time.sleep(0.2)
    return weigh(*asked)


def search(
    space: Space,
    run: Path,
    limits: Limits,
    judge: Any = grade,
    minutes: float | None = None,
    price: Any = weigh,
    at_once: int = 1,
) -> Found:
    run.mkdir(exist_ok=True)
    shop = Workshop(space, run, price, size, judge, lambda _: None, at_once=at_once)
    return Search(shop, limits, minutes).go()


def by_label(outcome: Outcome) -> dict[str, Tried]:
    return {f"{one.chosen['student']}, {one.chosen['file']}": one for one in outcome.tried}


def told(call: Callable[[], Any]) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        call()
    return tuple(caught.value.faults)


def test_the_best_within_the_limits_wins_and_every_other_has_a_reason(folder: Path) -> None:
    found = search(space(folder), folder / "run", Limits(max_mb=0.7, max_ms=5))
    tried = by_label(found.outcome)
    assert len(tried) == found.outcome.space == 8
    assert tried["squeeze width=80, pack bits=8"].fate == "over the limit"
    assert tried["squeeze width=80, pack"].why == "265.7% over the limit in MB and 60.0% over the limit in ms"
    assert not any(one.grades for one in tried.values() if one.fate == "over the limit"), "trained, and too large"
    winner = tried["squeeze width=40, pack bits=8"]
    assert winner.fate == "chosen" and winner.mb == 0.32 and found.outcome.chosen == winner.number
    assert tried["squeeze width=20, pack"].why == "0.4000; the best has 0.4600"
    assert all(one.why for one in tried.values())
    assert set(found.files) == {"0", "1", "2"} == set(found.outcome.seeds)
    assert able(found.files["2"])["skill"] == pytest.approx(0.9 * 10 / 15 * 40 / 50 - 0.02 + 0.002)
    assert found.outcome.app == str(found.files["2"].path), "the best seed's file"
    assert Outcome.model_validate_json((folder / "run/search.json").read_text()) == found.outcome


def test_each_round_has_fewer_and_trains_them_longer(folder: Path) -> None:
    tried = by_label(search(space(folder), folder / "run", Limits()).outcome)
    rounds = sorted(len(one.grades) for one in tried.values())
    assert rounds == [1, 1, 1, 1, 1, 2, 3, 3]
    assert {tuple(one.grades) for one in tried.values()} == {("0.1",), ("0.1", "0.3"), ("0.1", "0.3", "1")}


@pytest.mark.parametrize("at", [2, 5, 11])
def test_killed_and_started_again_it_ends_as_one_that_was_not(folder: Path, at: int) -> None:
    limits = Limits(max_mb=1.5)
    whole = search(space(folder, trials=6), folder / "whole", limits).outcome
    with pytest.raises(KeyboardInterrupt):
        search(space(folder, trials=6), folder / "run", limits, Killed(at))
    with (folder / "run/search.log").open("a") as journal:
        journal.write('{"op_code": 4, "wor')
    again = search(space(folder, trials=6), folder / "run", limits).outcome
    assert without_times(again) == without_times(whole)


@pytest.mark.parametrize("at", [None, 6])
def test_several_at_once_are_the_same_candidates(folder: Path, at: int | None) -> None:
    """Of 21 with 14 trials: blind proposals, repeated ones, and those that depend on what became of others."""
    choose = CHOOSE | {"student": [{"use": "squeeze", "each": {"width": [10, 20, 40, 50, 60, 70, 80]}}]}
    choose |= {"file": [{"use": "pack", "each": {"bits": [8, 16, 32]}}]}
    asked = space(folder, choose=choose, trials=14, trained=10)
    whole = search(asked, folder / "whole", Limits(max_mb=1.5)).outcome
    if at is not None:
        with pytest.raises(KeyboardInterrupt):
            search(asked, folder / "run", Limits(max_mb=1.5), Killed(at), at_once=3)
    several = search(asked, folder / "run", Limits(max_mb=1.5), at_once=3).outcome
    assert without_times(several) == without_times(whole)


def without_times(outcome: Outcome) -> Any:
    said = outcome.model_dump(exclude={"seconds", "app"})
    return said | {"tried": [{key: one[key] for key in one.keys() - SECONDS} for one in said["tried"]]}


def test_where_nothing_fits_the_nearest_is_named(folder: Path) -> None:
    found = search(space(folder), folder / "run", Limits(max_mb=0.05))
    assert found.outcome.chosen is None and not found.files
    assert found.outcome.verdict == (
        "infeasible: nearest is student: squeeze width=10, file: pack bits=8 (0.08 MB, 1.00 ms): 60.0% over the limit "
        "in MB"
    )
    assert not list((folder / "run/made").glob("student*")), "something was trained"


def test_a_winner_that_keeps_too_little_is_no_winner(folder: Path) -> None:
    found = search(space(folder), folder / "run", Limits(max_mb=0.7, min_share=0.97))
    assert found.outcome.verdict == (
        "infeasible: nearest is student: squeeze width=80, file: pack bits=8 (0.64 MB, 8.00 ms): it keeps 57.3% of the "
        "teacher on the validation part, under 97.0%"
    )
    assert found.outcome.chosen is None and not found.files


def test_a_candidate_that_fails_stops_none_of_the_others(folder: Path) -> None:
    choose = CHOOSE | {"file": [{"use": "pack", "settings": {"fails_at": 40}}]}
    tried = by_label(search(space(folder, choose=choose), folder / "run", Limits(max_mb=2)).outcome)
    assert tried["squeeze width=40, pack fails_at=40"].fate == "failed"
    assert "a width of 40 can't be packed" in tried["squeeze width=40, pack fails_at=40"].why
    assert tried["squeeze width=20, pack fails_at=40"].fate == "chosen"


def test_what_does_not_go_together_is_not_made(folder: Path) -> None:
    choose = CHOOSE | {"student": [{"use": "squeeze", "each": {"width": [50, 500]}}]}
    tried = by_label(search(space(folder, choose=choose), folder / "run", Limits()).outcome)
    misfit = tried["squeeze width=500, pack"]
    assert misfit.fate == "doesn't fit" and misfit.why.endswith("width is 500, and the teacher has 100: give less")
    alone = space(folder, choose=CHOOSE | {"student": [{"use": "squeeze", "settings": {"width": 500}}]})
    assert told(lambda: search(alone, folder / "other", Limits()))[0] == "no candidate of the space can be made:"


def test_a_folder_holds_one_search(folder: Path) -> None:
    search(space(folder), folder / "run", Limits(max_mb=1))
    [fault] = told(lambda: search(space(folder), folder / "run", Limits(max_mb=2)))
    assert "holds a search of another space, task, target or limits" in fault


def test_a_search_needs_a_part_to_choose_by(folder: Path) -> None:
    without = {key: value for key, value in TASK.items() if key != "validation"}
    [fault] = told(lambda: search(space(folder, task=without), folder / "run", Limits()))
    assert fault.startswith("a search chooses among many by a validation part, and the task 't' has none")


def test_a_space_is_refused_by_name(folder: Path) -> None:
    choose = {
        "teacher": [{"use": "pack"}],
        "student": [
            {"use": "squeze"},
            {"use": "squeeze", "settings": {"widht": 3}},
            {"use": "squeeze", "each": {"width": [0, 5]}},
        ],
        "cut": ["none", {"use": "cut_off"}, {"use": "begin"}],
        "file": [],
    }
    assert told(lambda: space(folder, choose=choose, **{"from": "techer"})) == (
        "search: from is 'techer', which is no step; did you mean 'teacher'?",
        "search: place 'file' has no choices: list some",
        "search: place 'teacher' is called like a step of the recipe: give it another name",
        "search: place 'student', squeze: no stage 'squeze'; did you mean 'squeeze'?",
        "search: place 'student', squeeze widht=3: no setting 'widht'; did you mean 'width'?",
        "search: place 'student', squeeze width=0: width is 0: input should be greater than or equal to 1",
        "search: place 'cut', cut_off: it can't be priced: how much goes is known when it has learnt: take squeeze",
        "search: place 'cut', begin: it starts from nothing, and a candidate starts from the teacher: leave it out",
    )


def test_minutes_cut_the_epochs_of_the_later_rounds() -> None:
    """Nine candidates: three for 0.3 of the epochs, two for all, then two more seeds; 10 s of export each time."""

    def full(share: float) -> float:
        return 10 + 100 * share

    shares = (0.1, 0.3, 1.0)
    assert halving.counts(9, 3) == [3, 2] and halving.counts(2, 3) == [1, 1] and halving.counts(1, 3) == [1, 1]
    assert halving.seconds_left(9, shares, 3, full) == 3 * 40 + 2 * 110 + 2 * 110
    assert halving.scale_for(1000, 9, shares, 3, full) == 1
    half = halving.scale_for(70 + 490 / 2, 9, shares, 3, full)
    assert half == 0.5 and halving.seconds_left(9, shares, 3, full, half) == 70 + 490 / 2
    assert halving.scale_for(5, 9, shares, 3, full) == halving.LEAST


def test_no_more_candidates_are_asked_for_than_there_is_time_for(folder: Path) -> None:
    """A tenth of a second: the price of the first that fits has used it up."""
    outcome = search(space(folder), folder / "run", Limits(), minutes=0.1 / 60, price=weigh_slowly).outcome
    assert len(outcome.tried) == 1 and outcome.share == halving.LEAST
    assert outcome.tried[0].fate == "chosen"
