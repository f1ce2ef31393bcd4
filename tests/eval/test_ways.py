"""The waterfall and LaTeX of compare, and the paired test in its wide form."""

import json
from pathlib import Path

import pytest
from made_runs import TASK, numbers_of, one, write_run
from reported_runs import whole_run

from palmtop.cli.main import main
from palmtop.eval.compare import compare
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.eval.report import report
from palmtop.eval.reports.draw_table import render
from palmtop.eval.reports.latex import escaped
from palmtop.eval.reports.ways import with_ways

WAY = (
    "made-teacher 100.0 -> made-student: trim_vocabulary (1,200 tokens) + distill (3 layers) -50.0 [-100.0, 0.0] -> "
    "made-int8 on host_onnx: quantize (dynamic_int8), run on host_onnx 0.0 [0.0, 0.0] -> made-int8 on browser: the "
    "same file, run on browser -25.0 = 25.0, all together -75.0"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole_run(tmp_path_factory.mktemp("ways") / "run")


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words])
    out, err = capsys.readouterr()
    return err if ended.value.code else out


def test_each_step_is_told_from_the_teacher_to_the_browser(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"- {WAY}\n" in printed(capsys, str(run), "--waterfall")
    assert f"- {WAY}\n" in printed(capsys, str(run), "--waterfall", "--wide")
    assert "What each step cost" not in printed(capsys, str(run))


def test_json_has_the_same_numbers_and_so_has_the_report(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (task,) = json.loads(printed(capsys, str(run), "--waterfall", "--format", "json"))["tasks"]
    (way,) = [way for way in task["waterfall"] if way["to"] == "made-int8 on browser"]
    assert [step["value"] for step in way["steps"]] == [100, 50, 50, 25]
    assert [step["change"] and step["change"]["value"] for step in way["steps"]] == [None, -50, 0, -25]
    assert way["change"]["value"] == -75
    page = report(run)
    assert all(step["says"].split(":")[0] in page for step in way["steps"])
    assert "▼ -50.0 [-100.0, 0.0]" in page


def test_a_table_has_no_waterfall_unless_it_is_asked_for(run: Path) -> None:
    table = compare([run])
    assert "waterfall" not in json.loads(render(table, "json"))["tasks"][0]
    assert with_ways(table, [run]).sections[0].ways[0].to == "made-int8 on host_onnx"  # the one to ship


def test_without_bundles_there_is_no_way_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bare = write_run(tmp_path / "run", *numbers_of("base", 0.9, 1.0))
    assert printed(capsys, str(bare), "--waterfall").startswith("error: there is no way to tell: --waterfall needs two")
    assert "is told in markdown, wide and json, not in csv" in printed(
        capsys, str(bare), "--waterfall", "--format", "csv"
    )


def test_a_papers_table_has_its_columns_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = numbers_of("base", 0.9, 1.0) + numbers_of("int8_50%&x", 0.8, 0.5)
    run = write_run(tmp_path / "run", *small)
    drawn = printed(capsys, str(run), "--latex")
    assert drawn == render(compare([run]), "latex")
    lines = drawn.splitlines()
    assert r"\begin{tabular}{llrrrrr}" in lines and {r"\toprule", r"\midrule", r"\bottomrule"} <= set(lines)
    (row,) = [line for line in lines if line.startswith(r"int8\_50\%\&x & ")]
    assert row.count(" & ") == 6 and r"0.800 {[}0.780, 0.820{]}" in row and row.endswith(r" & 2.00 \\")
    assert "--latex is a form of its own, beside --wide" in printed(capsys, str(run), "--latex", "--wide")


def test_nothing_of_a_users_is_taken_for_a_command() -> None:
    assert escaped("\\input{x}\n~^ #1 $") == (r"\textbackslash{}input\{x\} \textasciitilde{}\textasciicircum{} \#1 \$")


def test_a_paired_test_stands_in_the_wide_table(tmp_path: Path) -> None:
    told = {"conditions": {"with": "digest of base"}, "unit": "probability", "n": 900}
    tested = [one("int8", "mcnemar_p", 0.0002, **told), one("int4", "mcnemar_p", 0.25, **told)]
    of_another = one("other", "mcnemar_p", 0.01, **told | {"conditions": {"with": "digest of another"}})
    files = [number for name in ("base", "int8", "int4", "other") for number in numbers_of(name, 0.9, 1.0)]
    table = compare([write_run(tmp_path / "run", *files, *tested, of_another)])
    cells = {row.name: row.cells["paired_p"] for row in table.sections[0].rows}
    assert {name: cell.value or cell.word for name, cell in cells.items()} == {
        "base": "baseline",
        "int8": 0.0002,
        "int4": 0.25,
        "other": "not measured",
    }
    wide = render(table, "wide")
    assert "p to baseline" in wide and "< 0.001" in wide
    untested = compare([write_run(tmp_path / "untested", *numbers_of("base", 0.9, 1.0))])
    assert "p to baseline" not in render(untested, "wide")


def test_tasks_are_grouped_and_never_set_against_each_other(tmp_path: Path) -> None:
    """A run of another task has its own baseline and teacher, in every form."""
    here = write_run(tmp_path / "here", *numbers_of("base", 0.9, 1.0), *numbers_of("int8", 0.8, 0.5))
    other = "other v1 fedcba9876543210"
    there = write_run(tmp_path / "there", *numbers_of("small", 0.6, 0.25, task=other))
    RunFile(tasks={other: Standing(metric="accuracy", bundles={"small": "digest of small"})}).write(there)
    table = compare([here, there])
    assert [section.task for section in table.sections] == [TASK, other]
    (small,) = table.sections[1].rows
    assert small.cells["speedup"].word == "baseline" and small.cells["kept_percent"].value is None
    assert render(table, "latex").count(r"\begin{table}") == 2
    assert [row.name for row in table.sections[0].rows] == ["base", "int8"]
