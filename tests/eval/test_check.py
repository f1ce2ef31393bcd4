"""The gate: what breaks it, what it can't tell, what it refuses, and what it writes for CI."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from kept_answers import kept_run
from made_runs import MACHINE, TIMING, numbers_of, one, write_run

import palmtop
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.check import Checked, Limits, Outcome, check
from palmtop.settings import build

LATER = {"date": "2026-01-08T10:15:00+00:00", "session": "s2"}


def _ended(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["check", *words])
    return int(ended.value.code or 0)


def _of(checked: Checked, row: str, option: str) -> Outcome:
    return next(one for one in checked.outcomes if one.row.startswith(row) and one.option == option)


def _kept(tmp_path: Path, old: int, **new: int) -> tuple[str, str]:
    """Two runs that keep their answers: so many of the first texts are wrong."""
    before = kept_run(tmp_path / "old", {name: set(range(old)) for name in new})
    after = kept_run(tmp_path / "new", {name: set(range(wrong)) for name, wrong in new.items()}, **LATER)
    return str(after), str(before)


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    numbers = [*numbers_of("teacher", 0.95, 20), *numbers_of("base", 0.94, 10), *numbers_of("floor", 0.8, 1)]
    old = write_run(tmp_path / "old", *numbers, *numbers_of("small", 0.93, 4))
    new = write_run(tmp_path / "new", *numbers, *numbers_of("small", 0.83, 6, **LATER, bundle="remade"))
    return str(new), str(old)


def test_a_drop_is_judged_by_its_whole_interval_and_not_by_the_point(tmp_path: Path) -> None:
    """Of 200 texts the old one has 40 wrong. Twenty more are ten points, surely more than half a point; two more are
    one point, which resampled texts leave anywhere between 0 and 2.5; one less is no drop."""
    new, old = _kept(tmp_path, 40, lost=60, doubtful=42, gained=39)
    checked = check(new, old, Limits(max_drop=0.5))
    lost, doubtful, gained = (_of(checked, name, "--max-drop") for name in ("lost", "doubtful", "gained"))
    assert (lost.state, doubtful.state, gained.state) == ("broken", "can't be told", "held")
    assert lost.found.startswith("-10.00 points [-14") and lost.why == "paired by text, 200 texts"
    assert lost.limit == "0.5 points"
    assert "texts like these would tell, if the drop stayed 1 points" in doubtful.why
    assert _of(check(new, old, Limits(max_drop=3)), "doubtful", "--max-drop").state == "held"


def test_how_many_texts_would_tell_goes_with_the_square_of_the_width(tmp_path: Path) -> None:
    """Two of 200 lost are a point, and the interval ends 1 point above it: half a point needs four times the texts."""
    new, old = _kept(tmp_path, 40, doubtful=42)
    outcome = _of(check(new, old, Limits(max_drop=0.5)), "doubtful", "--max-drop")
    assert outcome.found == "-1.00 points [-2.50, +0.00]"
    assert outcome.why == (
        "paired by text, 200 texts; about 800 texts like these would tell, if the drop stayed 1 points"
    )


def test_few_texts_that_differ_do_not_break_the_gate(tmp_path: Path) -> None:
    new, old = _kept(tmp_path, 40, four=44, six=46)
    checked = check(new, old, Limits(max_drop=0))
    four, six = (_of(checked, name, "--max-drop") for name in ("four", "six"))
    assert (four.state, six.state) == ("can't be told", "broken")
    assert four.why == "paired by text, 200 texts; so few differ that it may be chance, McNemar's p is 0.12"


def test_a_drop_of_just_the_limit_is_told_by_no_number_of_texts(tmp_path: Path) -> None:
    new, old = _kept(tmp_path, 40, doubtful=42)
    outcome = _of(check(new, old, Limits(max_drop=1)), "doubtful", "--max-drop")
    assert outcome.state == "can't be told" and "no number of texts would tell" in outcome.why


def test_without_answers_the_two_intervals_are_taken_and_it_is_told(two: tuple[str, str]) -> None:
    checked = check(*two, Limits(max_drop=0.5))
    small, base = (_of(checked, name, "--max-drop") for name in ("small", "base"))
    assert (small.state, base.state) == ("broken", "can't be told")
    assert small.why.startswith("by the two intervals: the evaluation data isn't known")


def test_sizes_and_times_are_of_files_for_a_device_unless_others_are_named(two: tuple[str, str]) -> None:
    limits = Limits(max_mb=1.9, max_ms=3)
    assert {(one.row, one.option) for one in check(two[0], None, limits).outcomes} == {
        ("small on host_litert", "--max-mb"),
        ("small on host_litert", "--max-ms"),
    }
    named = check(two[0], None, limits, ["base"])
    assert [(one.option, one.limit, one.found, one.state) for one in named.outcomes] == [
        ("--max-mb", "1.9 MB", "2 MB", "broken"),
        ("--max-ms", "3 ms", "10 ms [9.9, 10.1]", "broken"),
    ]


def test_a_ratio_of_latencies_is_judged_by_what_both_intervals_leave_room_for(tmp_path: Path) -> None:
    def timed(name: str, ms: float, **changed: Any) -> list[Any]:
        return numbers_of(name, 0.9, ms, **{"conditions": {"precision": "float32"} | TIMING} | changed)

    names = ("slower", "doubtful", "equal", "elsewhere")
    old = write_run(tmp_path / "old", *(number for name in names for number in timed(name, 4)))
    new = write_run(
        tmp_path / "new",
        *timed("slower", 6),
        *timed("doubtful", 4.5),
        *timed("equal", 4),
        *timed("elsewhere", 6, machine=MACHINE | {"processor": "6502"}),
    )
    checked = check(str(new), str(old), Limits(max_latency_ratio=1.1))
    assert [one.state for one in checked.outcomes] == ["broken", "can't be told", "held", "not comparable"]
    assert checked.outcomes[0].found == "1.50 [1.44, 1.56]"
    assert "another machine" in checked.outcomes[3].why


def test_a_share_of_the_teacher_is_paired_where_both_kept_their_answers(tmp_path: Path) -> None:
    run = kept_run(tmp_path / "my", {"teacher": set(range(20)), "good": set(range(21)), "bad": set(range(80))})
    checked = check(str(run), None, Limits(min_share=0.97))
    assert [one.why for one in checked.outcomes] == ["paired by text"] * 2  # the teacher isn't held to itself
    good, bad = (_of(checked, name, "--min-share") for name in ("good", "bad"))
    assert (good.state, bad.state) == ("held", "broken") and bad.found.startswith("0.667 [")


def test_a_row_that_is_gone_or_has_no_metric_any_more_breaks_the_gate(tmp_path: Path) -> None:
    numbers = [*numbers_of("small", 0.93, 4), *numbers_of("nan", 0.93, 4)]
    old = write_run(tmp_path / "old", *numbers, *numbers_of("gone", 0.93, 4))
    new = write_run(
        tmp_path / "new",
        *numbers,
        one("nan", "accuracy", None, why="all answers are NaN"),
        *numbers_of("added", 0.9, 4),
    )
    checked = check(str(new), str(old), Limits(max_drop=9))
    assert {one.row: one.state for one in checked.outcomes} == {
        "gone on host_litert": "broken",
        "small on host_litert": "held",
        "nan on host_litert": "broken",
        "added on host_litert": "not checked",
    }
    assert "name the rows that it should have with --only" in _of(checked, "gone", "--against").why
    assert [one.row for one in check(str(new), str(old), Limits(max_drop=9), ["small"]).outcomes] == [
        "small on host_litert"
    ]


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"max_drop": 10}, "a drop of 10 points can't be meant: points are hundredths of a metric that goes to 1"),
        ({"max_drop": -1}, "check: max_drop is -1: input should be greater than or equal to 0"),
        ({"max_mb": 5_000_000}, "5000000 MB can't be meant: an MB is 10^6 bytes; 5000000 bytes are 5"),
        ({"max_mb": 0}, "check: max_mb is 0: input should be greater than 0"),
        ({"max_latency_ratio": 110}, "110 lets a file take 110 times as long; a tenth slower is 1.1"),
        ({"max_latency_ratio": 0.1}, "0.1 lets a file take 0.1 times as long; a tenth slower is 1.1"),
        ({"min_share": 97}, "97 can't be meant: it is a share of the teacher's metric, from 0 to 1; 97 % is 0.97"),
        ({"max_ms": float("nan")}, "check: max_ms is nan: input should be a finite number"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(limits: dict[str, float], says: str) -> None:
    with pytest.raises(UserError) as refused:
        build(Limits, limits, "check")
    assert says in str(refused.value)


def test_a_drop_that_no_text_can_show_is_refused(two: tuple[str, str]) -> None:
    with pytest.raises(UserError) as refused:
        check(*two, Limits(max_drop=0.005))
    assert str(refused.value) == (
        "--max-drop 0.005: one of 900 texts is 0.11 points already: give 0, or points, hundredths of the metric (the "
        "share 0.005 is 0.5 points)"
    )


def test_python_has_the_same_doors(two: tuple[str, str]) -> None:
    checked = palmtop.check(two[0], against=two[1], max_drop=0.5, max_mb=5, only=["small"])
    assert checked == check(*two, Limits(max_drop=0.5, max_mb=5), ["small"])
    assert [pair.name for pair in palmtop.against(*two).of("worse")] == ["small"]
    with pytest.raises(UserError, match=r"check: min_share: 97 can't be meant"):
        palmtop.check(two[0], min_share=97)


def test_faults_end_with_two_and_what_broke_with_one(
    two: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, old = two
    for words, says in (
        ([new], "there is nothing to check: give a limit"),
        ([new, "--max-drop", "0.5", "--max-latency-ratio", "1.1"], "--max-drop and --max-latency-ratio: say against"),
        ([new, "--against", old, "--max-drop", "10"], "a drop of 10 points can't be meant"),
        ([new, "--max-mb", "5", "--only", "smal"], "no row is called like 'smal'; did you mean 'small'?"),
        ([new, "--min-share", "0.9", "--only", "floor"], "error: --min-share could be judged on no row"),
        ([new, "--max-mb", "5", "--only", "base", "--against", new], "nothing was measured between them"),
    ):
        assert _ended(*words) == 2 and says in capsys.readouterr().err
    assert _ended(new, "--against", old, "--max-drop", "0.5", "--only", "small") == 1
    assert capsys.readouterr().out.startswith("Broken: 1 of 1 check of new against old; 0 held.\n\n| model")
    assert _ended(new, "--max-mb", "5", "--only", "small") == 0
    assert capsys.readouterr().out.startswith("Held: 1 of 1 check of new, none broken.")


def test_what_cannot_be_told_passes_but_under_strict(two: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    words = [*two[:1], "--against", two[1], "--max-drop", "0.5", "--only", "base"]
    assert _ended(*words) == 0
    said = capsys.readouterr().out
    assert said.startswith("Nothing broken, and nothing known to hold: 1 check of new against old; 1 can't be told.")
    assert _ended(*words, "--strict") == 1


def test_a_limit_that_is_judged_on_no_row_is_a_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = write_run(tmp_path / "old", *numbers_of("small", 0.9, 4))
    new = write_run(tmp_path / "new", *numbers_of("small", 0.9, 4, machine=MACHINE | {"processor": "6502"}))
    assert _ended(str(new), "--against", str(old), "--max-latency-ratio", "1.1") == 2
    assert "error: --max-latency-ratio could be judged on no row (timed on another machine" in capsys.readouterr().err


def test_the_files_for_a_pull_request_and_for_ci(two: tuple[str, str], tmp_path: Path) -> None:
    files = tmp_path / "said.md", tmp_path / "said.xml"
    words = [two[0], "--against", two[1], "--max-drop", "0.5", "--max-mb", "5", "--max-latency-ratio", "1.1"]
    assert _ended(*words, "--markdown", str(files[0]), "--junit", str(files[1])) == 1
    said = files[0].read_text(encoding="utf-8")
    assert said.startswith("### palmtop check: 2 limits broken\n\nBroken: 2 of 7 checks of new against old")
    assert said.index("| broken") < said.index("| can't be told") < said.index("| held")
    root = ElementTree.parse(files[1]).getroot()
    assert root.tag == "testsuites" and root[0].get("name") == "palmtop check new"
    cases = list(root[0])
    counts = [len([case for case in cases if case.find(what) is not None]) for what in ("failure", "skipped")]
    assert [root[0].get(what) for what in ("tests", "failures", "skipped", "errors")] == ["7", *map(str, counts), "0"]
    failed = next(case for case in cases if case.find("failure") is not None)
    assert (failed.get("classname"), failed.get("name")) == ("new: small on host_litert", "max-drop 0.5 points")
    assert str(failed[0].get("message")).startswith("broken: -10.00 points [-12.83, -7.17]: by the two intervals")


def test_names_of_the_users_cannot_break_the_xml(tmp_path: Path) -> None:
    run = write_run(tmp_path / "my", *numbers_of('<b a="1">&\x1b', 0.9, 4))
    assert _ended(str(run), "--max-mb", "1", "--junit", str(tmp_path / "said.xml")) == 1
    case = ElementTree.parse(tmp_path / "said.xml").getroot()[0][0]
    assert case.get("classname") == 'my: <b a="1">&\\x1b on host_litert'
