"""How long a run will take is told before it trains, and epochs are cut where it has to fit."""

import shutil
from pathlib import Path
from typing import ClassVar, Self

import pytest
from tiny import write_least_data
from tiny_stages import Made

from palmtop.bundle import Bundle, Format
from palmtop.effort import Effort
from palmtop.errors import UserError
from palmtop.measure_settings import MeasureText
from palmtop.recipe.estimate import Estimate, estimate
from palmtop.recipe.recipe import Recipe
from palmtop.recipe.steps import Step
from palmtop.stage import Outline, find
from palmtop.task import Task

ROWS = 4
"""Of the training data."""
BERT = Outline("torch", "bert", 6)


class Learns(Made):
    """Says that it trains."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})

    seconds: ClassVar[float] = 1.0
    """Of all texts through a layer; 0: it can't be tried."""

    epochs: float = 10
    """Its passes."""

    def effort(self, source: Outline | None, rows: int) -> Effort | None:
        """All layers of the source."""
        return Effort(training=self.epochs * ((source.layers if source else None) or 0), seconds=10)

    def pace(self, source: Bundle) -> float:
        """As the machine is."""
        if not self.seconds:
            raise UserError("can't be tried")
        return self.seconds / ROWS

    def shortened(self, share: float, rows: int) -> Self:
        """Fewer epochs."""
        return self.model_copy(update={"epochs": self.epochs * share})


class Unknown(Learns):
    """Doesn't know what it costs."""

    def effort(self, source: Outline | None, rows: int) -> None:
        """Not known."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return write_least_data(tmp_path)


def recipe(folder: Path, minutes: float | None = None) -> Recipe:
    given = {"name": "t", "text": "text", "label": "label", "train": "train.csv", "evaluation": "test.csv"}
    task = Task.find(given, folder)
    assert len(task.load("train")) == ROWS
    steps = (
        Step("base", "start", None, Made()),
        Step("teacher", "learns", "base", Learns()),
        Step("student", "learns", "teacher", Learns(epochs=20)),
        Step("aside", "start", None, Made()),
    )
    outlines = {name: BERT for name in ("base", "teacher", "student", "aside")}
    return Recipe("r", steps, MeasureText(on=()), task, (), outlines, minutes)


def test_the_estimate_is_what_the_stages_say_times_the_pace() -> None:
    steps = [
        Step("teacher", "learns", "base", Learns(epochs=2)),
        Step("text", "unknown", "base", Unknown()),
        Step("file", "start", "teacher", Made()),
    ]
    found = estimate(steps, {"base": BERT, "teacher": BERT}, 100, 0.1, 3)
    assert found == Estimate({"teacher": pytest.approx(2 * 6 * 100 * 0.1)}, 10 + 5 + 3 * 30, ("text",))
    assert str(found) == (
        "about 4 minutes on this machine (teacher 2, the rest 2); without text, of which it isn't known"
    )
    assert found.share_for(3) == pytest.approx((180 - 105) / 120)
    assert (found.share_for(99), found.share_for(1)) == (1, 0)
    assert str(Estimate({"teacher": 1.0}, 2.0)) == "about 0.1 minutes on this machine (teacher 0.1, the rest 0.1)"
    many = Estimate({f"student-{seed}": 60.0 for seed in range(6)}, 60.0)
    assert str(many) == "about 7 minutes on this machine (training 6, the rest 1)"


def test_a_teachers_answers_are_a_third_of_its_training() -> None:
    assert Effort(training=6, answering=6, seconds=1).texts_seconds(10, 0.5) == (30, pytest.approx(11))


def test_stages_say_what_they_cost_and_give_up_epochs() -> None:
    teacher, tuned = (
        find("finetune")(epochs=4, learning_rate=1e-4),
        Outline("torch", "bert", 6, ("a", "b"), task="classification"),
    )
    assert teacher.effort(tuned, 500) == Effort(training=24, seconds=5)
    assert find("distill")(epochs=8, layers=3, learning_rate=1e-4).effort(tuned, 500) == Effort(
        training=24, answering=6, seconds=5
    )
    both = find("tinybert")(epochs=10, prediction_epochs=4, layers=3).shortened(0.333, 500)
    assert both.model_dump(include={"epochs", "prediction_epochs"}) == {"epochs": 3.3, "prediction_epochs": 1.3}
    assert find("to_onnx")().effort(tuned, 500) == Effort(seconds=20)
    assert find("masked_lm")(text="texts").effort(BERT, 500) is None
    chosen = find("finetune")()
    assert chosen.effort(tuned, 500) == Effort(training=1.5 * 12 * 6, seconds=5)
    assert chosen.shortened(0.5, 500).epochs == 6


def test_it_is_told_before_the_first_training_and_of_what_is_left(folder: Path) -> None:
    said: list[str] = []
    recipe(folder).attempt(folder / "run", said.append)
    assert said == [
        "base: start",
        "about 4 minutes on this machine (teacher 1, student 2, the rest 0.5)",
        "teacher: learns",
        "student: learns",
        "aside: start",
    ]
    shutil.rmtree(folder / "run" / "student")
    said.clear()
    recipe(folder).attempt(folder / "run", said.append)
    assert said[1] == "about 3 minutes on this machine (student 2, the rest 0.2)"
    said.clear()
    recipe(folder).attempt(folder / "run", said.append)
    assert all("made before" in line for line in said)


def test_epochs_are_cut_until_it_fits_and_the_same_command_goes_on_with_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    made = recipe(folder).attempt(folder / "run", said.append, 2)
    cut = "teacher epochs 10 -> 5, student epochs 20 -> 10; with fewer epochs less is learnt"
    assert said[2] == f"to fit into 2 minutes: {cut}"
    assert [made.bundles[name].card.origin.settings["epochs"] for name in ("teacher", "student")] == [5, 10]
    shutil.rmtree(folder / "run" / "student")
    said.clear()
    monkeypatch.setattr(Learns, "seconds", 5.0)  # the machine is busier now
    again = recipe(folder, minutes=2).attempt(folder / "run", said.append)
    kept = "made before with the same settings and inputs, kept"
    assert said[2:4] == [f"teacher: {kept}", "student: learns"]
    assert again.bundles["student"].card.origin == made.bundles["student"].card.origin
    assert recipe(folder).attempt(folder / "run", said.append).bundles["teacher"].card.origin.settings["epochs"] == 10


def test_what_cannot_fit_is_told(folder: Path) -> None:
    said: list[str] = []
    recipe(folder, minutes=0.2).attempt(folder / "run", said.append)
    assert "it won't fit into 0.2 minutes: what isn't training takes about 0.5 alone" in said


def test_a_model_that_cannot_be_tried_is_left_to_its_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Learns, "seconds", 0.0)
    said: list[str] = []
    made = recipe(folder).attempt(folder / "run", said.append)
    assert not made.failed and "teacher, tried for the estimate: failed: can't be tried" in said


def test_where_the_model_cannot_be_made_nothing_is_tried(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "base").write_text("no bundle")
    said: list[str] = []
    made = recipe(folder, minutes=2).attempt(folder / "run", said.append)
    assert (list(made.failed), list(made.left_out), list(made.bundles)) == (["base"], ["teacher", "student"], ["aside"])
    assert not [line for line in said if "minute" in line]


def test_a_distributed_run_has_no_minutes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"^minutes are for a run of one process: leave them out, and set epochs$"):
        recipe(folder, minutes=2).attempt(folder / "run", print)
