"""The table: which numbers stand in it, which words stand for numbers that don't, and every sentence under it."""

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_runs import MACHINE, TASK, TIMING, numbers_of, one, said_of, section_of, write_run

from palmtop import measurement
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.measuring.run_file import Standing
from palmtop.eval.reports.draw_table import render
from palmtop.eval.reports.table import COLUMNS, Cell, Row, Section
from palmtop.measurement import Measurement


def _row(section: Section, name: str) -> Row:
    return next(row for row in section.rows if row.name == name)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_run(
        tmp_path / "whole",
        *numbers_of("teacher", 0.95, 20),
        *numbers_of("base", 0.94, 10),
        *numbers_of("small", 0.93, 4),
        *numbers_of("floor", 0.85, 1),
    )


def test_numbers_are_set_against_baseline_and_teacher(whole: Path) -> None:
    section = section_of(whole)
    small = _row(section, "small").cells
    assert (small["speedup"].value, small["model_mb"].value, small["download_mb"].value) == (2.5, 2, 3)
    assert small["kept_percent"].value == pytest.approx(100 * 0.93 / 0.95)
    assert small["difference_points"].value == pytest.approx(-1)
    assert (small["metric"].low, small["metric"].n) == (pytest.approx(0.91), 900)
    assert [row.roles for row in section.rows] == [("teacher",), ("baseline",), (), ("floor",)]
    assert (
        _row(section, "base").cells["speedup"].word
        == _row(section, "base").cells["difference_points"].word
        == "baseline"
    )


def test_a_paired_difference_is_taken_where_it_is_from_this_baseline(tmp_path: Path) -> None:
    paired = {"low": -0.02, "high": 0.0, "n": 900}
    right = one("small", "difference_baseline", -0.01, conditions={"with": "digest of base"}, **paired)
    wrong = one("tiny", "difference_baseline", -0.5, conditions={"with": "an older one"}, **paired)
    numbers = [*numbers_of("base", 0.94, 10), *numbers_of("small", 0.93, 4), *numbers_of("tiny", 0.9, 4)]
    section = section_of(write_run(tmp_path / "run", *numbers, right, wrong))
    assert _row(section, "small").cells["difference_points"] == Cell(-1, -2, 0, 900)
    assert _row(section, "tiny").cells["difference_points"] == Cell(pytest.approx(-4))


def test_agreements_are_words_where_there_is_nothing_to_agree_with(whole: Path) -> None:
    measurement.append(
        whole / measurement.FILE,
        [
            one("small", "agreement_teacher", 0.9, conditions={"with": "digest of teacher"}),
            one("small", "agreement_torch", 0.99),
            one("base", "agreement_teacher", 0.9, conditions={"with": "another"}),
        ],
    )
    section = section_of(whole)
    assert _row(section, "small").cells["agreement_teacher"].value == 0.9
    assert _row(section, "base").cells["agreement_teacher"] == Cell(
        word="not measured", why="it was compared with another teacher"
    )
    assert [_row(section, name).cells["agreement_torch"].word for name in ("teacher", "base", "small", "floor")] == [
        "itself",
        "not measured",
        None,
        "no torch model",
    ]
    assert _row(section, "teacher").cells["agreement_teacher"].word == "itself"


def test_the_newest_measurement_counts(whole: Path) -> None:
    measurement.append(whole / measurement.FILE, [one("small", "accuracy", 0.5, date="2026-01-02T00:00:00+00:00")])
    assert _row(section_of(whole), "small").cells["metric"].value == 0.5


def test_a_bundle_made_anew_takes_the_place_of_its_namesake(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *numbers_of("base", 0.94, 10), *numbers_of("base", 0.96, 9, bundle="remade"))
    section = section_of(run)
    assert [(row.name, row.digest) for row in section.rows] == [("base", "remade")]


def test_speed_is_not_compared_across_sessions(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *numbers_of("base", 0.94, 10), *numbers_of("web", 0.94, 50, session="s2"))
    cell = _row(section_of(run), "web").cells["speedup"]
    assert (cell.value, cell.word, cell.why) == (None, "not comparable", "not timed side by side with the baseline")


def _timed(name: str, ms: float, **conditions: Any) -> list[Measurement]:
    return numbers_of(name, 0.94, ms, conditions={"precision": "float32"} | TIMING | conditions)


def test_speed_is_not_compared_across_lengths(tmp_path: Path) -> None:
    """The baseline has one length of 128 tokens; what ran at 32 did a quarter of its work."""
    run = write_run(
        tmp_path / "run",
        *_timed("base", 97, padded_to=128),
        *_timed("onnx", 1),
        *_timed("small", 2),
        *_timed("long", 99, padded_to=128),
        *_timed("floor", 0.5, padded_to=None),
    )
    section = section_of(run)
    why = "timed at 32 tokens, base at 128 tokens: export base with --lengths 32 or any, or measure with --length 128"
    for name in ("onnx", "small"):
        assert _row(section, name).cells["speedup"] == Cell(word="not comparable", why=why)
    assert f"onnx on host_litert, small on host_litert: x faster not comparable: {why}" in section.notes
    assert _row(section, "long").cells["speedup"].value == pytest.approx(97 / 99)
    assert (
        _row(section, "floor").cells["speedup"].value == 194
    )  # nothing is padded: its time is the same at every length
    assert [line for line in said_of(section) if "slower" in line] == [
        "long on host_litert is slower than the baseline: 99.00 ms against 97.00 ms (0.98 x)"
    ]
    assert [row.cells["timed_at"] for row in section.rows] == [
        Cell(128),
        Cell(32),
        Cell(32),
        Cell(128),
        Cell(word="not padded"),
    ]
    drawn = render(compare([run]), "wide")
    assert "ms @" not in drawn and "| tokens |" in drawn.replace("  ", "")
    assert "padded to 32 tokens, or what the column 'tokens' says" in drawn


def test_what_ran_longer_than_the_baseline_is_not_called_slower(tmp_path: Path) -> None:
    section = section_of(write_run(tmp_path / "run", *_timed("base", 10), *_timed("small", 20, padded_to=64)))
    assert not [line for line in said_of(section) if "slower" in line]
    assert _row(section, "small").cells["speedup"].why == (
        "timed at 64 tokens, base at 32 tokens: export small with --lengths 32 or any, or measure with --length 64"
    )


def test_a_quantized_file_of_another_length_is_not_called_slower_than_its_float(tmp_path: Path) -> None:
    quantized = {
        "conditions": {"precision": "int8", "quantized_from": "digest of float"},
        "date": "2026-01-02T00:00:00+00:00",
    }
    numbers = [
        *_timed("base", 10),
        *_timed("float", 4),
        *_timed("int8", 5, padded_to=64),
        one("int8", "model_bytes", 1, **quantized),
    ]
    assert not [line for line in said_of(section_of(write_run(tmp_path / "run", *numbers))) if "quantized" in line]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (
            {"conditions": TIMING | {"padded_to": "own"}},
            "timed at each text's own length, base at 32 tokens: compare their text to answer",
        ),
        ({"conditions": TIMING | {"padded_to": None}}, "timed at an unknown length, base at 32 tokens: measure again"),
        ({"conditions": TIMING | {"threads": 4}}, "timed with 4 thread(s), base with 1: measure with --threads 1"),
        ({"machine": MACHINE | {"processor": "6502"}}, "timed on another machine than base: measure both on one"),
        ({"machine": MACHINE | {"versions": {"onnxruntime": "1"}}}, None),
    ],
)
def test_speed_is_compared_on_equal_terms_only(changed: dict[str, Any], why: str | None, tmp_path: Path) -> None:
    cell = _row(
        section_of(write_run(tmp_path / "run", *_timed("base", 10), *numbers_of("small", 0.94, 4, **changed))), "small"
    ).cells["speedup"]
    assert (cell.value, cell.why) == (2.5 if why is None else None, why)


def test_measurements_that_know_only_the_length_asked_for_are_read_as_timed_at_it(tmp_path: Path) -> None:
    older = {"conditions": {"threads": 1, "length": 32, "runs": 60}}
    section = section_of(write_run(tmp_path / "run", *numbers_of("base", 0.94, 10, **older), *_timed("small", 4)))
    assert _row(section, "small").cells["speedup"].value == 2.5
    assert [row.cells["timed_at"].value for row in section.rows] == [32, 32]


def test_runs_are_merged_and_namesakes_told_apart(whole: Path, tmp_path: Path) -> None:
    other = write_run(
        tmp_path / "other",
        *numbers_of("base", 0.94, 10),
        *numbers_of("small", 0.7, 2, bundle="another small", session="s2"),
    )
    section = section_of(whole, other)
    assert [row.name for row in section.rows] == ["teacher", "base", "small", "floor", "other/small"]
    assert _row(section, "other/small").cells["speedup"].word == "not comparable"


def test_another_machine_is_another_row(whole: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", *numbers_of("base", 0.94, 3, machine=MACHINE | {"processor": "6502"}))
    section = section_of(whole, other)
    assert [row.machine for row in section.rows if row.name == "base"] == [1, 2]
    drawn = render(compare([whole, other]), "wide")
    assert "host_litert [machine 2]" in drawn
    assert "- machine 2: 6502, 1 cores, 0.1 GB, CP/M 2.2" in drawn


def test_a_second_runs_other_baseline_is_told(whole: Path, tmp_path: Path) -> None:
    other = write_run(
        tmp_path / "other",
        *numbers_of("rival", 0.9, 3),
        standing=Standing(bundles={"rival": "digest of rival"}, baseline="rival"),
    )
    assert (
        f"the baseline of {other} is rival; this table has base, of a run named before it"
        in section_of(whole, other).notes
    )


def test_the_first_tflite_is_the_baseline_where_none_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *numbers_of("web", 0.9, 5), *numbers_of("small", 0.9, 5), standing=Standing())
    assert _row(section_of(run), "small").roles == ("baseline",)


def test_what_could_not_be_made_is_named_and_nothing_stands_in_for_it(tmp_path: Path) -> None:
    taken = [*numbers_of("base", 0.9, 4.0), *numbers_of("small", 0.8, 2.0)]
    known = {"metric": "accuracy", "bundles": {"small": "digest of small"}, "baseline": "base"}
    standing = Standing(**known, missing={"base": "failed: no space", "web": "left out, it follows from base"})
    (section,) = compare([write_run(tmp_path / "run", *taken, standing=standing)]).sections
    assert [row.name for row in section.rows] == ["small"]  # base's number is of a bundle that was made otherwise
    told = ("missing: base: failed: no space", "missing: web: left out, it follows from base")
    assert section.notes[-2:] == section.brief[-2:] == told
    assert (section.rows[0].roles, section.rows[0].cells["speedup"].word) == ((), "not comparable")


@pytest.mark.parametrize(
    ("conditions", "at"), [({"longest": 128}, "128 tokens"), ({}, "what is accepted")], ids=["now", "before"]
)
def test_that_a_tenth_of_the_texts_is_cut_is_told_with_what_to_do(
    conditions: dict[str, int], at: str, tmp_path: Path
) -> None:
    def cut(name: str, texts: int) -> Measurement:
        return one(name, "truncated_texts", texts, n=900, date="2026-01-02T00:00:00+00:00", conditions=conditions)

    taken = [number for name in ("base", "small", "short") for number in numbers_of(name, 0.9, 4.0)]
    section = section_of(write_run(tmp_path / "run", *taken, cut("base", 108), cut("small", 108), cut("short", 89)))
    [told] = [verdict for verdict in section.verdicts if "cut" in verdict.says]
    assert told.says == f"12 % of the evaluation texts are longer than {at} and are cut by base, small"
    assert told.do.startswith("if what matters can stand further on, train, distil and export with a larger max_length")


def test_without_a_baseline_the_notes_say_so(tmp_path: Path) -> None:
    section = section_of(write_run(tmp_path / "run", *numbers_of("web", 0.9, 5)))
    assert "baseline: none; measure a .tflite, or name one with --baseline" in section.notes
    assert section.rows[0].cells["difference_points"].why == "there is no baseline"


def test_what_was_not_measured_is_a_word_in_every_cell(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", one("base", "model_bytes", 1), one("small", "model_bytes", 1))
    section = section_of(run)
    assert {cell.word for cell in _row(section, "small").cells.values() if cell.value is None} == {
        "not measured",
        "not comparable",
    }
    assert "latency: not measured" in section.notes
    assert "|  |" not in render(compare([run]), "wide").replace("   ", "")


def test_an_invalid_metric_is_told_with_its_reason(tmp_path: Path) -> None:
    broken = one("small", "accuracy", None, why="3 of 9 answers aren't finite numbers", n=9)
    section = section_of(write_run(tmp_path / "run", *numbers_of("base", 0.94, 10), broken))
    assert _row(section, "small").cells["metric"].word == "not valid"
    assert "small on host_litert: accuracy is not valid: 3 of 9 answers aren't finite numbers" in said_of(section)


def test_what_is_slower_than_the_baseline_is_said_plainly(whole: Path) -> None:
    section = section_of(whole)
    assert said_of(section) == (
        "teacher on host_torch is slower than the baseline: 20.00 ms against 10.00 ms (0.50 x)",
    )


def test_what_is_slower_than_the_float_file_it_was_made_of_is_said(tmp_path: Path) -> None:
    quantized = {"conditions": {"precision": "dynamic_int4_block32", "quantized_from": "digest of float"}}
    numbers = [
        *numbers_of("base", 0.94, 10),
        *numbers_of("float", 0.94, 4),
        *numbers_of("int4", 0.94, 5),
        one("int4", "model_bytes", 1, date="2026-01-02T00:00:00+00:00", **quantized),
    ]
    assert said_of(section_of(write_run(tmp_path / "run", *numbers)))[0] == (
        "int4 on host_litert is slower than float on host_litert, of which it was quantized: 5.00 ms against 4.00 ms"
    )
    apart = [number.model_copy(update={"session": "s2"}) if number.name == "float" else number for number in numbers]
    assert not any("quantized" in line for line in said_of(section_of(write_run(tmp_path / "apart", *apart))))


def test_slower_by_less_than_the_noise_is_said_so(tmp_path: Path) -> None:
    section = section_of(write_run(tmp_path / "run", *numbers_of("base", 0.94, 10), *numbers_of("small", 0.94, 10.1)))
    assert said_of(section)[0] == (
        "small on host_litert is slower than the baseline: 10.10 ms against 10.00 ms (0.99 x), within the noise of "
        "this run"
    )


def test_a_missing_floor_is_told_with_what_makes_it(tmp_path: Path) -> None:
    section = section_of(write_run(tmp_path / "run", *numbers_of("base", 0.94, 10)))
    assert [str(verdict) for verdict in section.verdicts] == [
        "floor: not measured; add a `tfidf` step to the recipe and host_linear to its `measure: on`"
    ]


@pytest.mark.parametrize("named", ["clinc150", "my task.yaml"])
def test_a_missing_floor_is_told_with_a_command_where_the_task_is_known(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my task.yaml").touch()
    monkeypatch.chdir(tmp_path)
    standing = Standing(metric="accuracy", bundles={"base": "digest of base"}, baseline="base", task_at=named)
    section = section_of(write_run(tmp_path / "run", *numbers_of("base", 0.94, 10), standing=standing))
    quoted = "'my task.yaml'" if " " in named else named
    assert str(section.verdicts[0]) == (
        f"floor: not measured; run `palmtop tfidf --task {quoted} --out floor`, then measure it with the others"
    )
    (tmp_path / "my task.yaml").unlink()
    assert ("run `palmtop" in str(section_of(tmp_path / "run").verdicts[0])) == (named == "clinc150")


@pytest.mark.parametrize(("floor", "told"), [(0.92, "as well"), (0.97, "better"), (0.91, "")])
def test_a_floor_within_the_best_ones_interval_is_told(floor: float, told: str, tmp_path: Path) -> None:
    verdicts = said_of(
        section_of(write_run(tmp_path / "run", *numbers_of("base", 0.935, 10), *numbers_of("floor", floor, 1)))
    )
    assert verdicts == (
        (
            f"a 2 MB linear model does {told} here: floor {floor:.3f} [{floor - 0.02:.3f}, {floor + 0.02:.3f}], best "
            "of the others base on host_litert 0.935 [0.915, 0.955]",
        )
        if told
        else ()
    )


def test_a_regression_needs_no_floor(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run", one("base", "pearson", 0.8, n=50), standing=Standing(bundles={"base": "digest of base"})
    )
    section = section_of(run)
    assert (section.metric, said_of(section)) == ("pearson", ())


def test_the_notes_say_where_and_how_the_numbers_were_taken(whole: Path) -> None:
    measurement.append(whole / measurement.FILE, [one("small", "memory_mb", 9, date="2026-02-03T00:00:00+00:00", n=3)])
    assert section_of(whole).notes == (
        f"task: {TASK}; 900 texts, the whole evaluation split, answered in each artefact's own runtime",
        "[low, high]: 95 % interval; Wilson's for shares, the bootstrap's for other metrics and for differences",
        "machine 1: Z80, 1 cores, 0.1 GB, CP/M 2.2",
        "versions: litert 2.3",
        "date: 2026-01-01 to 2026-02-03",
        "latency: 1 thread(s), one text at a time, padded to 32 tokens, 60 timed answers after warm-up; runtimes of "
        "one machine, and pages of the browser, took turns among themselves",
        "text to answer: tokenization and model, each text at the shortest length the artefact accepts",
        "load: from file to first answer, and the memory it added; fresh process, runtime imported, files in the "
        "disk cache, median of 3",
        "points to baseline: hundredths of the metric, from base; with an interval where both answered in one run",
    )


def test_what_is_particular_to_an_artefact_is_noted(whole: Path) -> None:
    newer = {"date": "2026-01-02T00:00:00+00:00"}
    measurement.append(
        whole / measurement.FILE,
        [
            one("small", "truncated_texts", 4, n=900, **newer),
            one("small", "tokenizer_mismatches", 2, n=900, **newer),
            one("base", "latency_ms", 10, conditions=TIMING | {"padded_to": 64}, **newer),
            one("floor", "tokenize_ms", None, why="it has no tokenization", **newer),
        ],
    )
    notes = section_of(whole).notes
    assert "small on host_litert: 4 of 900 texts are longer than it accepts and were cut" in notes
    assert "small on host_litert: its tokenizer gives other ids than Python's for 2 of 900 texts" in notes
    assert "base on host_litert: timed at 64 tokens, the shortest it accepts for 32" in notes
    assert "floor on host_linear: tokenize ms not measured: it has no tokenization" in notes


def test_what_cutting_costs_is_told_beside_how_many_are_cut(whole: Path) -> None:
    newer: dict[str, Any] = {"date": "2026-01-02T00:00:00+00:00", "conditions": {"longest": 64, "metric": "accuracy"}}
    measurement.append(
        whole / measurement.FILE,
        [
            one("small", "truncated_texts", 400, n=900, **newer),
            one("small", "metric_of_cut_texts", 0.71, low=0.66, high=0.75, n=400, **newer),
            one("small", "metric_of_whole_texts", 0.84, n=500, **newer),
        ],
    )
    told = "small on host_litert: 400 of 900 texts are longer than it accepts and were cut"
    assert f"{told}: accuracy 0.710 [0.660, 0.750] of these, 0.840 of the others" in section_of(whole).notes


def test_tasks_have_a_section_each(whole: Path) -> None:
    measurement.append(whole / measurement.FILE, [one("third", "pearson", 0.5, task="other v1 ff")])
    assert [(section.task, section.metric) for section in compare([whole]).sections] == [
        (TASK, "accuracy"),
        ("other v1 ff", "pearson"),
    ]


def test_markdown_has_even_columns_and_marks_what_was_emulated(whole: Path) -> None:
    measurement.append(
        whole / measurement.FILE, [one("small", "load_ms", 44, kind="emulated", date="2026-01-02T00:00:00+00:00")]
    )
    drawn = render(compare([whole]), "wide")
    tables = [[line for line in part.splitlines() if line.startswith("|")] for part in drawn.split("\n\n")]
    assert [len(table) for table in tables if table] == [6, 6]
    for table in filter(None, tables):
        assert len({len(line) for line in table}) == 1 and max(map(len, table)) < 180
    assert "44 (emulated)" in drawn
    assert "| base (baseline)" in drawn and "0.930 [0.910, 0.950]" in drawn and "ms @32" in drawn


def test_csv_has_every_column_unrounded(whole: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(render(compare([whole]), "csv"))))
    assert [row["name"] for row in rows] == ["teacher", "base", "small", "floor"]
    assert float(rows[2]["kept_percent"]) == 100 * 0.93 / 0.95
    assert (rows[2]["metric_n"], rows[1]["speedup"], rows[1]["speedup_word"]) == ("900", "", "baseline")
    assert all(f"{column}_low" in rows[0] for column in COLUMNS)


def test_json_has_the_measurements_as_they_were_written(whole: Path) -> None:
    (section,) = json.loads(render(compare([whole]), "json"))["tasks"]
    assert section["rows"][2]["numbers"]["latency_ms"]["conditions"] == TIMING
    assert section["rows"][2]["cells"]["speedup"]["value"] == 2.5
    assert section["machines"] == [{key: value for key, value in MACHINE.items() if key != "versions"}]


def test_a_killed_writers_last_line_is_left_out(whole: Path) -> None:
    with (whole / measurement.FILE).open("a") as file:
        file.write(one("small", "accuracy", 0.1).model_dump_json()[:50])
    assert _row(section_of(whole), "small").cells["metric"].value == 0.93


def test_a_run_without_measurements_is_refused(tmp_path: Path) -> None:
    told = r"has no measurements\.jsonl with measurements in it: run 'palmtop measure' with its bundles first"
    with pytest.raises(UserError, match=told):
        compare([tmp_path])


def test_an_unknown_form_is_answered_with_the_nearest(whole: Path) -> None:
    with pytest.raises(UserError, match=r"no format 'markdon'; did you mean 'markdown'\?"):
        render(compare([whole]), "markdon")


def test_comparing_needs_the_base_dependencies_only(whole: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from palmtop.eval.compare import compare; from "
        f"palmtop.eval.reports.draw_table import render; render(compare([Path({str(whole)!r})]), 'markdown'); "
        f"print(sorted({{'torch', 'transformers', 'sklearn', 'scipy', 'tokenizers', 'onnxruntime'}} & "
        "set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_numbers_that_were_edited_are_named_and_no_part_of_the_table(tmp_path: Path) -> None:
    numbers = [*numbers_of("base", 0.94, 10), *numbers_of("small", 0.93, 4)]
    edited = [one("small", "latency_ms", 0.0, unit="ms", conditions=TIMING)]
    edited += [one("small", "accuracy", math.nan, n=900)]
    section = section_of(write_run(tmp_path / "run", *(one for one in numbers if one.name == "base"), *edited))
    assert [row.name for row in section.rows] == ["base"]
    told = f"{tmp_path / 'run' / 'measurements.jsonl'}: latency_ms of small on host_litert can't have been measured"
    assert f"{told} (0.0 ms is no time): measure again" in section.notes
    again = write_run(tmp_path / "again", *edited, *numbers)
    assert _row(section_of(again), "small").cells["metric"].value == 0.93
    assert not [note for note in section_of(again).notes if "accuracy of small" in note]
    json.loads(render(compare([tmp_path / "run"]), "json"), parse_constant=pytest.fail)
