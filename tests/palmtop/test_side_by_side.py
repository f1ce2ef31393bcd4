"""Steps made side by side: what comes of them is what comes of them one after the other, whoever dies."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from slow_stages import Clock, Dies, Fails, Follows
from tiny_stages import Made

from palmtop.bundle import Bundle
from palmtop.cli.jobs import crew_of
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.recipe.attempt import attempt
from palmtop.recipe.crew import TRIES, LocalCrew
from palmtop.recipe.side_by_side import attempt_with
from palmtop.recipe.steps import Step


@pytest.fixture(scope="module")
def crew() -> Iterator[LocalCrew]:
    """Two workers for all tests of this file: each takes a second to start."""
    with LocalCrew(2) as crew:
        yield crew


def graph(log: Path, meets: Path | None = None) -> list[Step]:
    """Two students that don't wait for each other (but meet), what follows from each, one that takes times, one that
    dies once, and one that fails."""
    return [
        Step("base", "made", None, Made()),
        Step("clock", "clock", "base", Clock(seconds=0.3, log=log)),
        Step("one", "follows", "base", Follows(log=log, meets=meets)),
        Step("two", "follows", "base", Follows(log=log, meets=meets)),
        Step("dies", "dies", "one", Dies(log=log)),
        Step("fails", "fails", "one", Fails()),
        Step("after", "follows", "fails", Follows()),
        Step("taught", "follows", "dies", Follows(log=log), {"teacher": "two"}),
    ]


def spans(log: Path) -> dict[str, tuple[float, float]]:
    """When each step was at work, by the folder it worked in."""
    found = (line.split() for line in log.read_text().splitlines())
    return {
        name.removeprefix(".").removesuffix(".partial"): (float(began), float(ended)) for name, began, ended in found
    }


def beside(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def test_all_is_as_one_after_the_other_though_a_worker_dies(
    crew: LocalCrew, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log, meets = tmp_path / "log", tmp_path / "meets"
    meets.mkdir()
    made = attempt_with(crew, graph(log, meets), tmp_path / "run", print)
    out = capfd.readouterr().out
    heard = spans(log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", lambda *_: None)  # of this process nobody is to die
        before = attempt(graph(tmp_path / "other"), tmp_path / "other-run", print)
    assert list(made.bundles) == list(before.bundles) == ["base", "clock", "one", "two", "dies", "taught"]
    assert {name: bundle.digest for name, bundle in made.bundles.items()} == {
        name: bundle.digest for name, bundle in before.bundles.items()
    }
    assert (made.failed, made.left_out) == (before.failed, before.left_out)
    assert not any(beside(heard["clock"], heard[name]) for name in heard if name != "clock")
    assert "dies: its worker died; tried again (2 of 3)" in out
    assert "one: .one.partial is at it\n" in out, "whatever is printed carries the step's name"
    assert "fails: failed: it can't be done" in out
    assert "half" not in made.bundles["dies"].card.files


def test_what_is_there_needs_no_worker(tmp_path: Path) -> None:
    class NoCrew(LocalCrew):
        def _hired(self) -> None:  # type: ignore[override]  # it gives nothing back: it must not be asked
            raise AssertionError("a worker was started")

    steps = [Step("base", "made", None, Made()), Step("one", "follows", "base", Follows())]
    attempt(steps, tmp_path, print)
    heard: list[str] = []
    with NoCrew(2) as crew:
        made = attempt_with(crew, steps, tmp_path, heard.append)
    assert list(made.bundles) == ["base", "one"]
    assert heard[0] == "base: made before with the same settings and inputs, kept"


def test_a_step_whose_worker_dies_each_time_fails_and_what_does_not_follow_is_made(
    crew: LocalCrew, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = [
        Step("base", "made", None, Made()),
        Step("bad", "dies", "base", Dies(deaths=99)),
        Step("good", "follows", "base", Follows()),
        Step("after", "follows", "bad", Follows()),
    ]
    made = attempt_with(crew, steps, tmp_path, print)
    assert list(made.bundles) == ["base", "good"]
    assert made.failed["bad"].startswith(f"its worker died {TRIES} times")
    assert made.left_out == {"after": ("bad",)}
    assert not (tmp_path / "bad").exists(), "what it left half-done is taken for nothing"
    assert "bad: failed: its worker died 3 times" in capfd.readouterr().out


SCRIPT = """
import sys
from pathlib import Path
from slow_stages import Follows
from tiny_stages import Made
from palmtop.cli.main import _hear_signals, telling
from palmtop.recipe.crew import LocalCrew
from palmtop.recipe.side_by_side import attempt_with
from palmtop.recipe.steps import Step
if __name__ == "__main__":
    steps = [Step("base", "made", None, Made())]
    steps += [Step(f"s{number}", "follows", "base", Follows(seconds=60.0)) for number in range(2)]
    _hear_signals()
    with telling(), LocalCrew(2) as crew:
        attempt_with(crew, steps, Path(sys.argv[1]), print)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_driver(number: signal.Signals, tmp_path: Path) -> None:
    """However it ends: nothing is left that goes on working, or holds a lock."""
    (tmp_path / "drive.py").write_text(SCRIPT)
    paths = os.pathsep.join([str(Path(__file__).parents[1] / "helpers"), *filter(None, sys.path)])
    driver = subprocess.Popen(
        [sys.executable, tmp_path / "drive.py", tmp_path / "run"],
        env=os.environ | {"PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    shops = [tmp_path / "run" / f".s{each}.partial" for each in range(2)]
    wait_for(lambda: all(shop.exists() for shop in shops))
    time.sleep(0.3)
    driver.send_signal(number)
    out, _ = driver.communicate(timeout=30)  # its workers have its stdout too: it ends when they have ended
    assert "Traceback" not in out
    if number == signal.SIGTERM:
        assert driver.returncode == 128 + signal.SIGTERM
        assert "stopped by SIGTERM" in out


def wait_for(there: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < until
        time.sleep(0.05)


RECIPE = """\
task: {name: t, text: text, label: label, train: train.csv, evaluation: test.csv}
steps:
  - {name: letters, use: tfidf, settings: {analyzer: char_wb}}
  - {name: words, use: tfidf}
measure: {on: [host_linear], baseline: letters}
"""


@pytest.mark.slow
def test_the_commands_table_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real stages, in workers that start with nothing."""
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name, lines in (("train", "hello there,greet\nbye now,leave\n"), ("test", "hello you,greet\nbye you,leave\n")):
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{lines}")
    (tmp_path / "r.yaml").write_text(RECIPE)
    for jobs in ("1", "2"):
        with pytest.raises(SystemExit) as ended:
            main(["run", "r.yaml", "--out", f"run-{jobs}", "--jobs", jobs])
        assert not ended.value.code
    one, two = (list(csv.DictReader((tmp_path / f"run-{jobs}/table.csv").open())) for jobs in ("1", "2"))
    told = (
        "name",
        "digest",
        "target",
        "roles",
        "model_mb",
        "metric",
        "metric_low",
        "difference_points",
        "kept_percent",
    )
    assert [[row[name] for name in told] for row in one] == [[row[name] for name in told] for row in two]
    assert [row["name"] for row in two] == ["letters", "words"]


@pytest.mark.long
def test_trainings_side_by_side_are_the_same_to_the_last_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher, two students who ask it at the same time, and a file of each."""
    from tiny import write_model, write_task

    model, task = write_model(tmp_path / "model", "bert"), write_task(tmp_path / "data", train=24)
    student: dict[str, Any] = {
        "use": "distill",
        "from": "teacher",
        # which of the two is quicker is measured by default, and may be either on a machine that does other work
        "settings": {"layers": 1, "epochs": 1, "learning_rate": 1e-3, "teacher_signals": "recompute"},
    }
    steps = [
        {"name": "model", "use": "adopt", "settings": {"model": str(model)}},
        {"name": "teacher", "use": "finetune", "settings": {"epochs": 1, "learning_rate": 1e-3}},
        student | {"name": "one"},
        student | {"name": "two", "settings": student["settings"] | {"temperature": 3}},
        {"name": "one-onnx", "use": "to_onnx", "from": "one"},
        {"name": "two-onnx", "use": "to_onnx", "from": "two"},
    ]
    (tmp_path / "r.yaml").write_text(json.dumps({"task": task, "steps": steps, "measure": {"on": []}}))
    found = {}
    for jobs in ("1", "2"):
        monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / f"cache-{jobs}"))
        with pytest.raises(SystemExit) as ended:
            main(["run", str(tmp_path / "r.yaml"), "--out", str(tmp_path / jobs), "--jobs", jobs])
        assert not ended.value.code
        found[jobs] = {step["name"]: Bundle.open(tmp_path / jobs / str(step["name"])).digest for step in steps}
    assert found["1"] == found["2"]


def test_ray_and_jobs_are_asked_for_one_at_a_time() -> None:
    with pytest.raises(UserError, match="leave --jobs or --ray out"), crew_of(2, "auto", None):
        pass


def test_a_distributed_run_trains_each_step_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="leave --jobs and --ray out"), crew_of(2, None, None):
        pass
