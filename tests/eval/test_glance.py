"""The table at a glance: its width, its sentence, its few notes, and which rows are shown in which order."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import MACHINE, TIMING, numbers_of, one, section_of, write_run

import palmtop
from palmtop import measurement
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.measuring.run_file import Standing
from palmtop.eval.reports.draw_table import render
from palmtop.eval.reports.glance import WIDTH
from palmtop.measurement import NOT_RUN, Measurement

QUICKSTART = (
    ("teacher", "torch", "host_torch", 91.1, 0.958, 12.25),
    ("student", "torch", "host_torch", 69.8, 0.949, 6.63),
    ("teacher-tflite", "tflite", "host_litert", 90.54, 0.958, 4.15),
    ("student-tflite-int8", "tflite", "host_litert", 17.88, 0.949, 0.524),
    ("student-tfjs-float16", "tfjs", "browser", 438.0, 0.949, 138.9),
    ("floor", "linear", "host_linear", 0.81, 0.918, 0.38),
)
"""Name, format, target, MB, accuracy and ms."""


def _row(name: str, form: str, target: str, megabytes: float, accuracy: float, ms: float) -> list[Measurement]:
    how = {"format": form, "target": target, "session": target if target == "browser" else "s1"}
    return [
        one(name, "model_bytes", megabytes * 1e6, conditions={"precision": "float32"}, **how),
        one(name, "accuracy", accuracy, low=accuracy - 0.006, high=accuracy + 0.006, n=4500, **how),
        one(name, "macro_f1", accuracy - 0.01, low=accuracy - 0.02, high=accuracy, n=4500, **how),
        one(name, "truncated_texts", 0, n=4500, **how),
        one(name, "latency_ms", ms, low=ms, high=ms, n=60, conditions=TIMING, **how),
    ]


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    numbers = [number for row in QUICKSTART for number in _row(*row)]
    bundles = {row[0]: f"digest of {row[0]}" for row in QUICKSTART}
    standing = Standing(metric="accuracy", bundles=bundles, baseline="teacher-tflite", teacher="teacher")
    return write_run(tmp_path / "quickstart", *numbers, standing=standing)


def _table(drawn: str) -> list[str]:
    return [line for line in drawn.splitlines() if line.startswith("|")]


def _names(*arguments: Any, **words: Any) -> list[str]:
    return [row.name for row in compare(*arguments, **words).sections[0].rows]


def test_a_sentence_comes_first_then_a_table_that_fits_the_page(quickstart: Path) -> None:
    drawn = render(compare([quickstart]), "markdown")
    told = (
        "ship student-tflite-int8: 17.9 MB, 99.1 % of the teacher, 7.9 times as fast as teacher-tflite; a 0.8 MB "
        "linear model keeps 95.8 %"
    )
    assert drawn.split("\n")[3] == told
    table = _table(drawn)
    assert [cell.strip() for cell in table[0].strip("|").split("|")] == [
        "model",
        "MB",
        "accuracy [95 %]",
        "% of teacher",
        "ms",
        "x faster",
    ]
    assert {len(line) for line in table} == {98} and max(map(len, table)) <= WIDTH
    assert table[4].split("|")[1:-1] == [
        " teacher-tflite (baseline) ",
        " 90.5 ",
        " 0.958 [0.952, 0.964] ",
        "        100.0 ",
        " 4.15 ",
        "       baseline ",
    ]
    assert "|  438 |" in table[6] and "|  139 | not comparable |" in table[6]


def test_its_notes_are_few_and_say_what_each_row_is(quickstart: Path) -> None:
    assert [line for line in render(compare([quickstart]), "markdown").splitlines() if line.startswith("- ")][:4] == [
        "- accuracy: 4500 texts, the whole evaluation split, in each file's own runtime, with its 95 % interval",
        "- ms: one text of 32 tokens, 1 thread(s), median of 60; x faster: than teacher-tflite, of what took turns "
        "with it",
        "- Z80, 1 cores, 0.1 GB, CP/M 2.2; 2026-01-01",
        "- torch float32, host_torch: teacher, student; tflite float32, host_litert: teacher-tflite, "
        "student-tflite-int8; tfjs float32, browser: student-tfjs-float16; linear float32, host_linear: floor",
    ]


def test_what_is_said_of_several_rows_stands_there_once(quickstart: Path) -> None:
    cut = [
        one(name, "truncated_texts", 4, n=900, date="2026-01-02T00:00:00+00:00", format=form, target=target)
        for name, form, target, *_ in QUICKSTART[:2]
    ]
    measurement.append(quickstart / measurement.FILE, cut)
    told = "teacher on host_torch, student on host_torch: 4 of 900 texts are longer than it accepts and were cut"
    section = section_of(quickstart)
    assert told in section.brief and told not in section.notes
    assert not [line for line in section.brief if "tokenize" in line]


def test_agreement_with_torch_is_drawn_where_there_is_room(tmp_path: Path) -> None:
    near = one("base", "agreement_torch", 0.998)
    room = _table(render(compare([write_run(tmp_path / "room", *numbers_of("base", 0.9, 10), near)]), "markdown"))
    assert "% as torch" in room[0] and "99.8 |" in room[2] and len(room[0]) <= WIDTH


def test_a_long_name_is_not_shortened(tmp_path: Path) -> None:
    name = "a-student-of-six-layers-pruned-to-half-its-time-and-quantized-to-four-bits"
    drawn = _table(render(compare([write_run(tmp_path / "run", *numbers_of(name, 0.9, 10))]), "markdown"))
    assert name in drawn[2] and len(drawn[2]) > WIDTH


@pytest.mark.parametrize("form", ["markdown", "wide"])
def test_signs_of_markdown_in_a_name_break_nothing(form: str, tmp_path: Path) -> None:
    drawn = render(compare([write_run(tmp_path / "run", *numbers_of("a|b\nc", 0.9, 10))]), form)
    for line in _table(drawn):
        assert line.startswith("|") and line.endswith("|")
    assert "| a\\|b c" in drawn and not [line for line in drawn.splitlines() if line.startswith("c")]


def test_one_bundle_on_two_targets_is_told_apart(tmp_path: Path) -> None:
    there = {"target": "browser_litert", "machine": MACHINE | {"processor": "6502"}, "kind": "emulated"}
    numbers = [*numbers_of("small", 0.9, 10), *numbers_of("small", 0.9, 20, **there)]
    drawn = render(compare([write_run(tmp_path / "run", *numbers)]), "markdown")
    assert "| small (baseline) (emulated) on browser_litert [machine 1] |" in drawn
    assert "| small (baseline) on host_litert [machine 2] " in drawn
    assert drawn.split("\n")[3] == "ship small on host_litert: 2.0 MB, accuracy 0.900"
    assert "emulated, not measured: numbers of browser_litert" in drawn


def test_what_is_converted_only_has_a_short_word(tmp_path: Path) -> None:
    package = one("package", "model_bytes", 2e6, format="coreml", target="converted", kind=NOT_RUN)
    drawn = render(compare([write_run(tmp_path / "run", *numbers_of("base", 0.9, 10), package)]), "markdown")
    assert "| package" in drawn and drawn.count("not run") >= 4
    assert max(map(len, _table(drawn))) <= WIDTH


def test_wide_has_every_column_and_metric(quickstart: Path) -> None:
    wide = render(compare([quickstart]), "wide")
    assert "points to baseline" in wide and "p99" in wide and "versions: litert 2.3" in wide
    assert "|             macro f1 |" in wide and "0.939 [0.929, 0.949]" in wide
    assert "ship student-tflite-int8" in wide
    (row, *_) = csv.DictReader(io.StringIO(render(compare([quickstart]), "csv")))
    assert (row["macro_f1"], row["macro_f1_low"]) == ("0.948", "0.938")
    (task,) = json.loads(render(compare([quickstart]), "json"))["tasks"]
    assert task["rows"][0]["metrics"]["macro_f1"]["value"] == 0.948 and task["advice"].startswith("ship ")


def test_a_weak_teacher_lets_nothing_be_shipped(tmp_path: Path) -> None:
    section = section_of(write_run(tmp_path / "run", *numbers_of("teacher", 0.8, 9), *numbers_of("base", 0.79, 9)))
    assert section.advice == "ship base: 2.0 MB, 98.8 % of the teacher"
    measurement.append(tmp_path / "run" / measurement.FILE, numbers_of("floor", 0.9, 1))
    assert section_of(tmp_path / "run").advice == "ship nothing yet: the teacher has to be mended first"


def _advised(folder: Path, *numbers: Measurement) -> str | None:
    return section_of(write_run(folder, *numbers)).advice


def test_the_smallest_that_keeps_enough_is_named(tmp_path: Path) -> None:
    tiny = one("tiny", "model_bytes", 1e6, date="2026-01-02T00:00:00+00:00")
    numbers = [*numbers_of("teacher", 0.95, 20), *numbers_of("base", 0.94, 10)]
    assert _advised(tmp_path / "near", *numbers, *numbers_of("tiny", 0.93, 4), tiny) == (
        "ship tiny: 1.0 MB, 97.9 % of the teacher, 2.5 times as fast as base"
    )
    assert _advised(tmp_path / "far", *numbers, *numbers_of("tiny", 0.9, 4), tiny) == (
        "ship base: 2.0 MB, 98.9 % of the teacher"
    )


def test_without_a_teacher_the_best_ones_interval_says_what_is_enough(tmp_path: Path) -> None:
    tiny = one("tiny", "model_bytes", 1e6, date="2026-01-02T00:00:00+00:00")
    numbers = [*numbers_of("base", 0.94, 10), *numbers_of("tiny", 0.925, 4), tiny]
    assert _advised(tmp_path / "run", *numbers) == "ship tiny: 1.0 MB, accuracy 0.925, 2.5 times as fast as base"


def test_a_floor_that_is_as_good_is_what_to_ship(tmp_path: Path) -> None:
    assert _advised(tmp_path / "run", *numbers_of("base", 0.94, 10), *numbers_of("floor", 0.93, 1)) == (
        "ship floor: 2.0 MB, accuracy 0.930, 10.0 times as fast as base; no file that keeps enough is better than "
        "this linear model"
    )


def test_torch_alone_and_what_is_unfit_are_not_to_be_shipped(tmp_path: Path) -> None:
    assert _advised(tmp_path / "torch", *numbers_of("teacher", 0.94, 10)) is None
    alone = one("base", "most_frequent_label", 0.94, conditions={"metric": "accuracy"})
    assert _advised(tmp_path / "alone", *numbers_of("base", 0.94, 10), alone) is None


def test_only_shows_some_rows_set_against_all(quickstart: Path) -> None:
    section = compare([quickstart], only=["student", "*-int8"]).sections[0]
    assert [row.name for row in section.rows] == ["student", "student-tflite-int8"]
    assert section.rows[1].cells["speedup"].value == pytest.approx(4.15 / 0.524)
    assert [verdict.about for verdict in section.verdicts] == ["student"]
    assert section.advice == section_of(quickstart).advice
    with pytest.raises(UserError, match=r"no row is called like 'studnet'; did you mean 'student'\?"):
        compare([quickstart], only=["studnet"])


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        ("MB", "floor", "student-tfjs-float16"),
        ("model_mb", "floor", "student-tfjs-float16"),
        ("x faster", "floor", "student-tfjs-float16"),
        ("accuracy", "teacher", "floor"),
        ("macro_f1", "teacher", "floor"),
        ("ms", "floor", "student-tfjs-float16"),
        ("name", "floor", "teacher-tflite"),
    ],
)
def test_sorted_the_best_comes_first_and_what_has_no_number_last(
    column: str, first: str, last: str, quickstart: Path
) -> None:
    names = _names([quickstart], sort=column)
    assert names[0] == first
    assert names[-1] == last or column == "x faster"  # the baseline has no number either


def test_a_column_that_there_is_not_is_answered_with_the_nearest(quickstart: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'x fastr' to sort by; did you mean 'x faster'\?"):
        compare([quickstart], sort="x fastr")


def test_the_command_and_python_take_the_same(quickstart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def printed(*words: str) -> str:
        with pytest.raises(SystemExit):
            main(["compare", str(quickstart), *words])
        told = capsys.readouterr()
        return told.out + told.err

    chosen = palmtop.compare(quickstart, only=["student*", "floor"], sort="ms")
    assert printed("--only", "student*, floor", "--sort", "ms") == str(chosen) != str(palmtop.compare(quickstart))
    assert printed("--wide") == printed("--format", "wide") == compare([quickstart]).draw("wide")
    assert printed("--wide", "--format", "csv") == (
        "error: --wide is Markdown, --format csv has every column anyway: leave one of them out\n"
    )
