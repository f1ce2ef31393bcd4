"""A target elsewhere: an address in its name, runners behind a wire, numbers of another kind from another machine."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import wired_target
from made_runs import MACHINE, measure_into, numbers_of, said_of, section_of, write_run

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.measure import MeasureOptions
from palmtop.eval.measuring.plan import plans
from palmtop.eval.reports.draw_table import render
from palmtop.eval.reports.table import Cell, Row, Section
from palmtop.measurement import Measurement

ATTIC = "wired:attic"
HERE_AND_THERE = ("host_onnx", "host_linear", ATTIC)
TEXTS = [("play a song",), ("rain",)]
APART = f"emulated on {ATTIC}, onnx is measured on host_onnx: measure both on one target"


@pytest.fixture(scope="module", autouse=True)
def wired() -> Iterator[None]:
    """The test's target is one of those that there are."""
    there = [*target.names(), "wired"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(target, "names", lambda: there)
        patched.setitem(sys.modules, f"{target.ROOM}.wired", wired_target)
        yield


@pytest.fixture(scope="module")
def bundles(random_onnx: Bundle, floor: Bundle) -> dict[str, Bundle]:
    return {"onnx": random_onnx, "floor": floor}


@pytest.fixture(scope="module")
def run(
    wired: None, bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], list[Measurement]]:
    """Two bundles here, and one of them in the attic too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(wired_target.Target, "formats", frozenset({"linear"}))
        return measure_into(bundles, tmp_path_factory.mktemp("wired") / "run", on=HERE_AND_THERE, length=16)


def _row(section: Section, name: str, on: str) -> Row:
    return next(row for row in section.rows if (row.name, row.target) == (name, on))


def test_an_address_is_what_stands_after_the_first_colon() -> None:
    found = target.find("wired:192.168.0.7:5555")
    assert (found.name, found.address, found.label) == ("wired", "192.168.0.7:5555", "wired:192.168.0.7:5555")
    assert found.place == found.label != target.find(ATTIC).place
    host = target.find("host_litert")
    assert (host.address, host.label, host.place) == (None, "host_litert", target.find("host_onnx").place)
    assert target.find("browser").place == target.find("browser_litert").place != host.place


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("wierd:attic", "no target 'wierd'; did you mean 'wired'?"),
        ("host_litert:attic", "the target 'host_litert' has no address: write host_litert, not host_litert:attic"),
        ("browser:", "the target 'browser' has no address: write browser, not browser:"),
        ("wired", "the target 'wired' needs an address: write wired:ROOM"),
        ("wired:", "the target 'wired' needs an address: write wired:ROOM"),
        *(
            (
                f"wired:{address}",
                f"'{address}' is no address for the target 'wired': write wired:ROOM, without spaces, commas or '|', "
                "and with no '-' in front",
            )
            for address in ("-oProxyCommand=touch", "the attic", "attic,cellar", "attic|")
        ),
    ],
)
def test_a_target_that_cannot_be_asked_for_so_says_how_it_can(label: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        target.find(label)
    assert str(raised.value) == message


def test_faults_of_addresses_are_told_with_the_others_before_any_work(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as raised:
        measure_into(bundles, tmp_path / "run", on=("wired", "host_onnx:attic"), baseline="onyx")
    assert raised.value.faults == (
        "measure: no bundle 'onyx'; did you mean 'onnx'?",
        "measure: the target 'wired' needs an address: write wired:ROOM",
        "measure: the target 'host_onnx' has no address: write host_onnx, not host_onnx:attic",
    )


def test_a_runner_behind_a_wire_answers_as_one_that_is_here(random_onnx: Bundle) -> None:
    with target.find("host_onnx").open(random_onnx.path) as here, target.find(ATTIC).open(random_onnx.path) as there:
        ours, theirs = here.tokenize(TEXTS), there.tokenize(TEXTS)
        np.testing.assert_array_equal(here.predict(ours), there.predict(theirs))
        assert len(there.latencies_ms(theirs, 8, 5)) == len(there.tokenize_latencies_ms(TEXTS, 5)) == 5
        with pytest.raises(UserError, match=r"^32 tokens are more than the artefact accepts \(24\)"):
            there.latencies_ms(theirs, 32, 1)


def test_a_wire_that_is_cut_is_told(random_onnx: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(random_onnx.path, tmp_path / "onnx")
    size = (folder / "model.onnx").stat().st_size
    (folder / "model.onnx").write_bytes(b"x" * size)  # no model: its runtime says so by a traceback over there
    with pytest.raises(UserError, match="the other side ended at the question 'open'"):
        target.find(ATTIC).open(folder)


def test_rows_from_elsewhere_make_no_ratio_with_those_of_this_machine(
    run: tuple[Path, list[str], list[Measurement]],
) -> None:
    out, said, taken = run
    assert f"timing side by side: floor on {ATTIC}" in said
    there = {number.metric: number for number in taken if number.target == ATTIC}
    counted = {"model_bytes", "download_bytes", "gzip_bytes", "nonzeros"}  # here, whatever runs the file
    assert {name for name, number in there.items() if number.kind == "measured"} == counted
    assert {number.kind for name, number in there.items() if name not in counted} == {"emulated"}
    assert {number.kind for number in taken if number.target != ATTIC} == {"measured"}
    assert {number.machine["processor"] for number in there.values()} == {"the one in the attic"}
    assert "difference_baseline" not in there and there["load_ms"].value
    section = section_of(out)
    row = _row(section, "floor", ATTIC)
    assert (row.machine, _row(section, "floor", "host_linear").machine) == (2, 1)
    for column in ("speedup", "difference_points"):
        assert row.cells[column] == Cell(word="not comparable", why=APART)
    assert f"floor on {ATTIC}: x faster not comparable: {APART}" in section.notes
    assert (
        f"emulated, not measured: numbers of {ATTIC}; none of them is set against one that was measured"
        in section.notes
    )
    drawn = render(compare([out]), "wide")
    assert f"linear int8, {ATTIC} [machine 2]" in drawn
    assert f"{row.cells['load_ms'].value:.0f} (emulated)" in drawn
    assert _row(section, "floor", "host_linear").cells["speedup"].value


@pytest.mark.slow
def test_what_came_from_elsewhere_is_kept_by_its_address(
    run: tuple[Path, list[str], list[Measurement]], bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    """Answers too, in a file of the address, whose signs no file system minds."""
    out, taken = shutil.copytree(run[0], tmp_path / "run"), run[2]
    assert {path.name[17:] for path in (out / "predictions").glob("*.npy")} == {
        "host_onnx.npy",
        "host_linear.npy",
        "wired%3Aattic.npy",
    }
    floor = {"floor": bundles["floor"]}
    _, said, again = measure_into(floor, out, on=(ATTIC, "wired:cellar"), baseline=None, length=16)
    assert f"floor on {ATTIC}: answers measured before, kept" in said
    assert f"floor on {ATTIC}: latencies measured before, kept" in said
    new = {number.target for number in again[len(taken) :] if not number.metric.startswith("agreement")}
    assert new == {"wired:cellar"}


@pytest.mark.slow
def test_within_one_machine_there_are_ratios_and_they_are_marked(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    out, _, taken = measure_into(bundles, tmp_path / "run", on=HERE_AND_THERE, length=16)
    sessions = {(one.name, one.target): one.session for one in taken if one.metric == "latency_ms"}
    assert sessions["onnx", ATTIC] == sessions["floor", ATTIC] != sessions["onnx", "host_onnx"]
    by_target = {number.target: number for number in taken if number.metric == "difference_baseline"}
    assert {on: number.conditions["on"] for on, number in by_target.items()} == {
        "host_linear": "host_onnx",
        ATTIC: ATTIC,
    }
    section = section_of(out)
    ours, theirs = (_row(section, name, ATTIC).numbers["latency_ms"].value for name in ("floor", "onnx"))
    cells = _row(section, "floor", ATTIC).cells
    assert ours and theirs and cells["speedup"] == Cell(theirs / ours, kind="emulated")
    assert cells["difference_points"].kind == "emulated" and cells["difference_points"].value is not None


def test_the_baseline_is_answered_for_by_a_target_of_the_same_kind(bundles: dict[str, Bundle]) -> None:
    (plan,) = plans(bundles, MeasureOptions(on=(ATTIC, "host_onnx", "host_linear"), baseline="onnx"), print)
    assert plan.baseline is not None and str(plan.baseline) == f"onnx on {ATTIC}"
    beside = {str(subject): str(plan.baseline_for(subject)) for subject in plan.subjects}
    assert beside[f"floor on {ATTIC}"] == f"onnx on {ATTIC}"
    assert beside["floor on host_linear"] == "onnx on host_onnx"


def test_torch_answers_for_a_teacher_are_measured_ones(random_bert: Bundle, floor: Bundle, tmp_path: Path) -> None:
    class There(wired_target.Target):
        formats: ClassVar[frozenset[str]] = frozenset({"torch", "linear"})

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(wired_target, "Target", There)
        (plan,) = plans({"teacher": random_bert, "floor": floor}, MeasureOptions(on=(ATTIC,)), print)
    assert str(plan.on_torch("teacher")) == "teacher on host_torch"


def _emulated(name: str, accuracy: float, ms: float, **changed: Any) -> list[Measurement]:
    there = {"target": ATTIC, "kind": "emulated", "machine": MACHINE | {"processor": "another"}}
    return numbers_of(name, accuracy, ms, **there | changed)


def test_a_share_of_the_teacher_is_of_one_kind(tmp_path: Path) -> None:
    numbers = [*numbers_of("teacher", 0.95, 20), *numbers_of("base", 0.94, 10), *_emulated("small", 0.9, 40)]
    cells = _row(section_of(write_run(tmp_path / "run", *numbers)), "small", ATTIC).cells
    why = f"emulated on {ATTIC}, teacher is measured on host_torch: measure both on one target"
    assert cells["kept_percent"] == Cell(word="not comparable", why=why)
    both = [*numbers, *_emulated("teacher", 0.9, 80)]
    kept = _row(section_of(write_run(tmp_path / "both", *both)), "small", ATTIC).cells["kept_percent"]
    assert kept == Cell(100, kind="emulated")


def test_what_is_emulated_is_told_so_in_sentences_and_in_csv(tmp_path: Path) -> None:
    together = {"session": "s2"}
    numbers = [*_emulated("base", 0.94, 10, **together), *_emulated("small", 0.94, 20, **together)]
    run = write_run(tmp_path / "run", *numbers)
    assert said_of(section_of(run))[0] == (
        f"small on {ATTIC} is slower than the baseline: 20.00 ms against 10.00 ms (0.50 x, emulated)"
    )
    head, *rows = (line.split(",") for line in render(compare([run]), "csv").splitlines())
    kinds = [dict(zip(head, row, strict=True))["latency_ms_kind"] for row in rows]
    assert kinds == ["emulated", "emulated"]


def test_a_floor_is_set_against_what_is_of_its_kind(tmp_path: Path) -> None:
    numbers = [*numbers_of("base", 0.7, 10), *numbers_of("floor", 0.9, 1), *_emulated("small", 0.99, 5)]
    (told,) = (line for line in said_of(section_of(write_run(tmp_path / "run", *numbers))) if "linear model" in line)
    assert "best of the others base on host_litert" in told


def test_another_machine_of_the_same_kind_makes_no_ratio_either(tmp_path: Path) -> None:
    board = {"target": "wired:board", "machine": MACHINE | {"processor": "6502"}, "session": "s2"}
    numbers = [*numbers_of("base", 0.94, 10), *numbers_of("small", 0.93, 40, **board)]
    cells = _row(section_of(write_run(tmp_path / "run", *numbers)), "small", "wired:board").cells
    assert cells["speedup"] == Cell(
        word="not comparable", why="timed on another machine than base: measure both on one"
    )
    assert cells["difference_points"].value == pytest.approx(-1)  # answers are the same wherever they are given
