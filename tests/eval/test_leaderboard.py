"""The leaderboard: rows come from measurements and cards, newer ones take the place of older, nothing is by hand."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from command_line import told
from made_runs import TIMING, numbers_of, write_run

from palmtop.bundle import Bundle, Origin, seal
from palmtop.errors import UserError
from palmtop.eval import leaderboard as board
from palmtop.eval.reports.leaderboard_rows import HEAD, lines, seeds_of, way_of
from palmtop.version import VERSION

ROOT = Path(__file__).parents[2]


def _bundle(folder: Path, form: str, stage: str, source: Bundle | None = None, **settings: Any) -> Bundle:
    folder.mkdir(parents=True)
    (folder / "model").write_text(folder.name)
    seal(folder, form, Origin(stage=stage, settings=settings, inputs={}, versions={}), source, {})
    return Bundle.open(folder)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A teacher, its file, and a student's file of a quarter of its milliseconds."""
    folder = tmp_path / "run"
    base = _bundle(folder / "base", "torch", "adopt", model="/somewhere/MiniLM")
    teacher = _bundle(folder / "teacher", "torch", "finetune", base, seed=0, task={"name": "tiny"}, epochs=2)
    student = _bundle(folder / "student", "torch", "distill", teacher, seed=3, layers=3)
    made = {
        "teacher": teacher,
        "base": _bundle(folder / "teacher-file", "tflite", "to_tflite", teacher),
        "small": _bundle(folder / "small", "tflite", "to_tflite", student, lengths=[16, 32]),
    }
    taken = [
        one.model_copy(update={"bundle": made[name].digest})
        for name, accuracy, ms in (("teacher", 0.9, 9.0), ("base", 0.9, 4.0), ("small", 0.88, 1.0))
        for one in numbers_of(name, accuracy, ms)
    ]
    return write_run(folder, *taken)


def test_a_row_has_bytes_metric_time_beside_the_teachers_and_the_way(run: Path) -> None:
    rows = {line.cells["file"]: line.cells for line in lines(run, (), "abc123")}
    assert set(rows) == {"base", "small"}  # torch is no file for a phone
    small = rows["small"]
    assert (small["task"], small["bytes"], small["metric"]) == ("tiny v1", "3,000,000", "accuracy")
    assert small["value [95 %]"] == "0.880 [0.860, 0.900]"
    assert (small["ms"], small["x teacher"]) == (f"1.00 @{TIMING['padded_to']}", "4.00 (base)")
    assert small["command"] == (
        "`adopt --model MiniLM; finetune --task tiny --epochs 2; distill --seed 3 --layers 3; "
        "to_tflite --lengths 16,32`"
    )
    assert (small["seeds"], rows["base"]["seeds"], small["commit"]) == ("0, 3", "0", "abc123")
    assert lines(run, ("small",), "x", "palmtop run mine")[0].cells["command"] == "`palmtop run mine`"


def test_rows_are_added_once_and_newer_ones_take_the_place_of_older(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "board.md"
    file.write_text(board.TITLE + "\n" + board.drawn([]))
    board.add(file, lines(run, ("small",), "older"))
    board.add(file, lines(run, (), "newer"))
    rows = board.read(file)
    assert [line.cells["file"] for line in rows] == ["base", "small"]
    assert {line.cells["commit"] for line in rows} == {"newer"}
    assert file.read_text().startswith(board.TITLE)
    board.add(file, [])
    assert rows == board.read(file)


def test_a_file_that_is_no_leaderboard_is_left_alone(run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Notes\n\n| a | b |\n| --- | --- |\n")
    with pytest.raises(UserError, match=r"notes\.md is no leaderboard \(its table hasn't the columns file, task"):
        board.add(tmp_path / "notes.md", lines(run, (), "x"))
    assert (tmp_path / "notes.md").read_text().startswith("# Notes")


def test_outside_a_checkout_the_version_stands_for_the_commit(tmp_path: Path) -> None:
    assert board.commit(tmp_path) == f"version {VERSION}"


def test_a_commit_is_told_of_what_is_committed_alone(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True)

    git("init", "-q")
    for name in ("code.py", board.FILE):
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    found = board.commit(tmp_path)
    assert len(found) == 10 and int(found, 16)  # digits
    (tmp_path / board.FILE).write_text("2")
    assert board.commit(tmp_path, unchanged_but=tmp_path / board.FILE) == found
    (tmp_path / "code.py").write_text("2")
    with pytest.raises(
        UserError, match=rf"1 files differ from palmtop's commit {found} \(the first: code.py\): commit"
    ):
        board.commit(tmp_path, unchanged_but=tmp_path / board.FILE)


def test_what_nobody_can_tell_is_refused(run: Path, tmp_path: Path) -> None:
    (run / "small" / "palmtop.json").unlink()
    with pytest.raises(UserError, match=r"small isn't in .*run any more, so nobody can tell how it was made"):
        lines(run, (), "x")
    alone = write_run(tmp_path / "torch", *numbers_of("teacher", 0.9, 9.0))
    with pytest.raises(UserError, match="has no exported file that was measured: export one"):
        lines(alone, (), "x")


def test_the_command_prints_rows(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = told(capsys, "leaderboard", str(run), "--only", "small", code=0)
    assert drawn.startswith("| file ") and "| small " in drawn and "| base " not in drawn


def test_the_repositorys_own_is_one_and_says_how_rows_come_there() -> None:
    assert (ROOT / board.FILE).read_text(encoding="utf-8").startswith(board.TITLE)
    assert all(tuple(line.cells) == HEAD for line in board.read(ROOT / board.FILE))


def test_a_way_without_seeds_has_none(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path / "x", "linear", "gone_by", strength=2)
    assert (way_of(bundle), seeds_of(bundle)) == ("gone_by --strength 2", "none")
