"""A run against an older one: what is paired, by what, and whether the first sentence says what got worse."""

import csv
import io
import json
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from kept_answers import TEXTS, keep_answers, kept_run
from made_runs import MACHINE, TASK, TIMING, numbers_of, one, write_run

from palmtop import measurement
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.measuring.run_file import Standing
from palmtop.eval.reports.against import Against, Pair, against
from palmtop.eval.reports.against_table import notes, render, sentence
from palmtop.eval.reports.paired import by_intervals
from palmtop.metrics import proportion

LATER = {"date": "2026-01-08T10:15:00+00:00", "session": "s2"}


def _pair(found: Against, name: str) -> Pair:
    return next(pair for pair in found.pairs if pair.name == name)


def _two(tmp_path: Path, old: list[Any], new: list[Any]) -> Against:
    runs = write_run(tmp_path / "new", *new), write_run(tmp_path / "old", *old)
    return against(*map(str, runs))


def test_rows_of_one_name_are_paired_and_the_first_sentence_says_what_got_worse(tmp_path: Path) -> None:
    found = _two(
        tmp_path,
        [*numbers_of("small", 0.93, 4), *numbers_of("gone", 0.9, 4), *numbers_of("tiny", 0.8, 4)],
        [*numbers_of("small", 0.83, 4), *numbers_of("added", 0.9, 4), *numbers_of("tiny", 0.81, 4)],
    )
    assert sentence(found) == (
        "Yes, worse: 1 of 2 rows of new got worse since old: small on host_litert (accuracy -10.0 [-12.8, -7.2] "
        "points)."
    )
    assert [pair.verdict for pair in found.pairs] == ["worse", "same"]
    said = notes(found)
    assert "only in new: added on host_litert" in said and "only in old: gone on host_litert" in said
    drawn = render(found, "markdown")
    assert drawn.startswith("Yes, worse")
    assert "0.930 -> 0.830 | -10.0 [-12.8, -7.2] | 2.00 |      1.00 | worse in accuracy |" in drawn


def test_the_table_fits_a_page_and_leaves_the_old_metric_out_where_it_must(tmp_path: Path) -> None:
    name = "student-tflite-four-int8"
    found = _two(tmp_path, numbers_of(name, 0.93, 4), numbers_of(name, 0.83, 4))
    rows = [line for line in render(found, "markdown").splitlines() if line.startswith("|")]
    assert max(map(len, rows)) <= 100 and "|    0.830 | -10.0" in rows[-1]


def test_without_answers_the_two_intervals_decide_and_it_is_told(tmp_path: Path) -> None:
    """Newcombe's method 10: the ends lie at the root of the squared half widths."""
    found = _two(tmp_path, numbers_of("small", 0.93, 4), numbers_of("small", 0.91, 4))
    points = _pair(found, "small").points
    wide = 100 * (0.02**2 + 0.02**2) ** 0.5
    assert (points.value, points.low, points.high) == pytest.approx((-2, -2 - wide, -2 + wide))
    assert any(
        "by the two intervals, which are wider than a paired one: small on host_litert: the evaluation data isn't known"
        in line
        for line in notes(found)
    )
    assert sentence(found).startswith("No, not worse: none of the one row of new got worse since old beyond doubt")
    assert "leave room for a loss of 4.8 points" in sentence(found)


@pytest.mark.parametrize(
    ("shares", "low", "high"),
    [((56, 70, 48, 80), 0.0524, 0.3339), ((9, 10, 3, 10), 0.1705, 0.8090), ((10, 10, 0, 20), 0.6791, 1.0)],
)
def test_the_interval_made_of_two_is_as_in_table_ii_of_newcombe_1998(
    shares: tuple[int, int, int, int], low: float, high: float
) -> None:
    sides = proportion(*shares[:2]), proportion(*shares[2:])
    found = by_intervals(
        *(one("small", "accuracy", side.value, low=side.low, high=side.high, n=side.n) for side in sides)
    )
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))
    assert found.n == min(shares[1], shares[3])


def test_answers_to_the_same_texts_are_paired(tmp_path: Path) -> None:
    """Each model is wrong in a fifth: by their intervals nobody can tell them apart from one that is wrong in two texts
    more; by text, two that only the old one gets right are too few as well, and sixteen are not."""
    wrong = {"old": set(range(40)), "two": set(range(42)), "many": set(range(56))}
    old = kept_run(tmp_path / "old", {"two": wrong["old"], "many": wrong["old"]})
    new = kept_run(tmp_path / "new", {"two": wrong["two"], "many": wrong["many"]}, **LATER)
    found = against(str(new), str(old))
    assert all(pair.difference.paired for pair in found.pairs)
    two, many = _pair(found, "two"), _pair(found, "many")
    assert (two.points.value, many.points.value) == pytest.approx((-1, -8))
    assert (two.verdict, many.verdict) == ("same", "worse")
    assert two.points.n == many.points.n == len(TEXTS)
    assert any(line == "paired by text, 200 texts answered by both: all 2 rows" for line in notes(found))


def test_few_texts_that_differ_may_be_chance_whatever_the_bootstrap_says(tmp_path: Path) -> None:
    """Four lost and none won: one resample in 55 has none of them, which leaves 0 out; McNemar's p is 2 / 2^4."""
    old = kept_run(tmp_path / "old", {"four": set(range(40)), "six": set(range(40))})
    new = kept_run(tmp_path / "new", {"four": set(range(44)), "six": set(range(46))}, **LATER)
    found = against(str(new), str(old))
    four, six = _pair(found, "four"), _pair(found, "six")
    assert four.points.high is not None and four.points.high < 0
    assert (four.difference.chance, six.difference.chance) == (0.125, 0.03125)
    assert (four.verdict, six.verdict) == ("same", "worse")
    assert (
        "the interval leaves 0 out, and it may be chance all the same: four on host_litert: McNemar's p is 0.12"
        in notes(found)
    )


def test_why_kept_answers_cannot_be_paired_is_told(tmp_path: Path) -> None:
    old, new = (kept_run(tmp_path / name, {"small": {0, 1}}) for name in ("old", "new"))
    (tmp_path / "old" / "evaluation.csv").write_text("text,label\nother,a\n", encoding="utf-8")
    (tmp_path / "new" / "evaluation.csv").unlink()
    assert "isn't what it was" in str(_pair(against(str(new), str(old)), "small").difference.unpaired)
    (tmp_path / "old" / "evaluation.csv").unlink()
    assert "can't be read (there is no file" in str(_pair(against(str(new), str(old)), "small").difference.unpaired)


def test_answers_that_are_not_those_measured_are_not_paired(tmp_path: Path) -> None:
    old, new = (kept_run(tmp_path / name, {"small": {0, 1}}) for name in ("old", "new"))
    keep_answers(new, "digest of small", set(range(50)))
    pair = _pair(against(str(new), str(old)), "small")
    assert pair.difference.unpaired == "the answers kept are not those whose numbers were measured"
    keep_answers(new, "digest of small", {0, 1}, machine=MACHINE | {"versions": {"litert": "9"}})
    pair = _pair(against(str(new), str(old)), "small")
    assert pair.difference.unpaired == "new doesn't keep its answers any more"


def test_a_run_made_anew_in_place_is_compared_with_how_it_stood(tmp_path: Path) -> None:
    run = kept_run(tmp_path / "my", {"small": set(range(10)), "gone": set()})
    kept_run(run, {"small": set(range(60))}, suffix=", remade", **LATER)
    with pytest.raises(UserError, match=r"my is what .*my is: .*my was measured on 2026-01-01, 2026-01-08 \(UTC\)"):
        against(str(run), str(run))
    found = against(str(run), f"{run}@2026-01-01")
    pair = _pair(found, "small")
    assert (found.old.label, pair.old.digest, pair.new.digest) == (
        "my@2026-01-01",
        "digest of small",
        "digest of small, remade",
    )
    assert pair.difference.paired and pair.points.value == pytest.approx(-25)
    assert sentence(found).startswith("Yes, worse: 1 of 2 rows of my got worse since my@2026-01-01: small")
    assert against(str(run), f"{run}@2026-01-05").old.rows == found.old.rows
    with pytest.raises(UserError, match="nothing was measured between them"):
        against(str(run), f"{run}@2026-01-08")


def test_answers_of_another_version_of_the_runtime_are_not_taken_for_the_older_ones(tmp_path: Path) -> None:
    """The same file, measured again with a newer runtime: its answers took the place of the old ones."""
    newer = MACHINE | {"versions": {"litert": "2.4"}}
    run = kept_run(tmp_path / "my", {"small": set(range(10))})
    kept_run(run, {"small": set(range(5, 15))}, machine=newer, **LATER)
    keep_answers(run, "digest of small", set(range(5, 15)), newer)
    pair = _pair(against(str(run), f"{run}@2026-01-01"), "small")
    assert pair.is_same_file and pair.difference.unpaired == "my@2026-01-01 doesn't keep its answers any more"


@pytest.mark.parametrize(
    ("date", "says"),
    [
        ("2025-12-31", "nothing was measured in .* by 2025-12-31; .* was measured on 2026-01-01, 2026-01-08"),
        ("last week", "'last week' is no date like 2026-11-23 or 2026-11-23T10:15; .* on 2026-01-01, 2026-01-08"),
        ("2026-02-30", "'2026-02-30' is no date"),
    ],
)
def test_a_date_that_there_is_not_is_told_with_those_that_there_are(tmp_path: Path, date: str, says: str) -> None:
    run = write_run(tmp_path / "my", *numbers_of("small", 0.9, 4), *numbers_of("small", 0.8, 4, **LATER))
    with pytest.raises(UserError, match=says):
        against(str(run), f"{run}@{date}")


def test_two_measurements_of_one_day_are_told_apart_by_their_time(tmp_path: Path) -> None:
    noon = {"date": "2026-01-08T12:00:00+00:00", "session": "s3"}
    run = write_run(tmp_path / "my", *numbers_of("small", 0.9, 4, **LATER), *numbers_of("small", 0.8, 4, **noon))
    with pytest.raises(UserError, match="2026-01-08T10:15, 2026-01-08T12:00"):
        against(str(run), str(run))
    assert _pair(against(str(run), f"{run}@2026-01-08T10:15"), "small").points.value == pytest.approx(-10)


def test_a_folder_with_an_at_in_its_name_is_a_folder(tmp_path: Path) -> None:
    old = write_run(tmp_path / "my@home", *numbers_of("small", 0.9, 4))
    new = write_run(tmp_path / "new", *numbers_of("small", 0.9, 4))
    assert against(str(new), str(old)).old.label == "my@home"


def test_times_are_compared_only_where_the_work_was_equal(tmp_path: Path) -> None:
    def timed(name: str, ms: float, **changed: Any) -> list[Any]:
        sized = {"conditions": {"precision": "float32"} | TIMING | changed.pop("conditions", {})}
        return numbers_of(name, 0.9, ms, **sized | changed)

    elsewhere = MACHINE | {"processor": "6502"}
    names = ("slower", "equal", "longer", "elsewhere", "threads")
    found = _two(
        tmp_path,
        [number for name in names for number in timed(name, 4)],
        [
            *timed("slower", 6, **LATER, bundle="remade"),
            *timed("equal", 4.1, **LATER, bundle="remade"),
            *timed("longer", 6, **LATER, conditions={"padded_to": 64}),
            *timed("elsewhere", 6, **LATER, machine=elsewhere),
            *timed("threads", 6, **LATER, conditions={"threads": 2}),
        ],
    )
    ratios = {pair.name: pair.time_ratio for pair in found.pairs}
    assert (ratios["slower"].value, ratios["slower"].low) == pytest.approx((1.5, 5.9 / 4.1))
    assert [_pair(found, name).by_aspect["ms"] for name in names[:2]] == ["worse", "same"]
    assert [ratios[name].word for name in names[2:]] == ["not comparable"] * 3
    assert "timed at 64 tokens, longer of old at 32 tokens" in str(ratios["longer"].why)
    assert ratios["elsewhere"].why == "timed on another machine than elsewhere of old: measure both on one"
    assert "timed with 2 thread(s), threads of old with 1" in str(ratios["threads"].why)


def test_the_very_same_file_is_not_worse_for_a_busy_machine(tmp_path: Path) -> None:
    found = _two(tmp_path, numbers_of("small", 0.9, 4), numbers_of("small", 0.9, 6, **LATER))
    assert _pair(found, "small").verdict == "same"
    assert any(line.startswith("the same files took 1.50 times as long as then") for line in notes(found))


def test_a_larger_file_is_worse_and_a_smaller_one_better(tmp_path: Path) -> None:
    def sized(name: str, size: float) -> list[Any]:
        return [
            *numbers_of(name, 0.9, 4, bundle=f"{name} {size}"),
            one(name, "model_bytes", size, bundle=f"{name} {size}"),
        ]

    found = _two(
        tmp_path,
        [*sized("fatter", 2e6), *sized("slimmer", 2e6), *sized("alike", 2e6)],
        [*sized("fatter", 3e6), *sized("slimmer", 1e6), *sized("alike", 2.01e6)],
    )
    assert [pair.said() for pair in found.pairs] == [
        "worse in MB, same in accuracy and ms",
        "better in MB, same in accuracy and ms",
        "same in accuracy and MB and ms",
    ]
    assert "fatter on host_litert (2.00 -> 3.00 MB). Better: slimmer on host_litert (2.00 -> 1.00 MB)." in sentence(
        found
    )


def test_a_metric_that_became_invalid_is_worse(tmp_path: Path) -> None:
    found = _two(
        tmp_path,
        numbers_of("small", 0.9, 4),
        [*numbers_of("small", 0.9, 4), one("small", "accuracy", None, why="3 of 900 answers aren't finite numbers")],
    )
    assert _pair(found, "small").verdict == "worse"
    assert "accuracy in new is not valid (3 of 900 answers aren't finite numbers)" in sentence(found)


def test_other_evaluation_data_make_the_metric_incomparable(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", *numbers_of("small", 0.9, 4))
    new = write_run(tmp_path / "new", *numbers_of("small", 0.5, 4, task="tiny v2 fedcba9876543210"))
    found = against(str(new), str(old))
    pair = _pair(found, "small")
    assert (pair.verdict, pair.said()) == ("not comparable", "not comparable in accuracy, same in MB")
    assert pair.points.why == f"other evaluation data: tiny v2 fedcba9876543210 here, {TASK} in old"
    assert sentence(found) == (
        "It can't be told whether new is worse than old: of the one row in both, the metric can't be compared."
    )


def test_emulated_numbers_are_not_set_against_measured_ones(tmp_path: Path) -> None:
    found = _two(tmp_path, numbers_of("small", 0.9, 4), numbers_of("small", 0.5, 4, kind="emulated"))
    assert _pair(found, "small").points.why == (
        "emulated on host_litert, small of old is measured on host_litert: measure both on one target"
    )


def test_what_a_run_could_not_make_is_told(tmp_path: Path) -> None:
    numbers = [*numbers_of("small", 0.9, 4), *numbers_of("broken", 0.9, 4)]
    old = write_run(tmp_path / "old", *numbers)
    standing = Standing(metric="accuracy", bundles={"small": "digest of small"}, missing={"broken": "no memory"})
    new = write_run(tmp_path / "new", *numbers, standing=standing)
    said = notes(against(str(new), str(old)))
    assert "only in old: broken on host_litert" in said and "missing in new: broken: no memory" in said


def test_every_form_has_the_same_rows(tmp_path: Path) -> None:
    found = _two(tmp_path, numbers_of("small", 0.93, 4), numbers_of("small", 0.83, 4))
    (row,) = csv.DictReader(io.StringIO(render(found, "csv")))
    said = json.loads(render(found, "json"))
    assert (row["old_run"], row["new_run"], row["verdict"]) == ("old", "new", "worse")
    assert float(row["points"]) == said["rows"][0]["points"] == pytest.approx(-10)
    assert said["sentence"] == sentence(found)
    with pytest.raises(UserError, match="--against has no format 'wide'"):
        render(found, "wide")


def test_the_command_writes_it_and_refuses_what_says_nothing_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(write_run(tmp_path / name, *numbers_of("small", 0.9, 4))) for name in ("new", "old", "third")]
    with pytest.raises(SystemExit) as ended:
        main(["compare", runs[0], "--against", runs[1], "--only", "sm*"])
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("No, not worse")
    for words, says in (
        ([runs[0], runs[2], "--against", runs[1]], "--against compares one run with an older one, and 2 are named"),
        ([runs[0], "--against", runs[1], "--strict"], "--against takes no --strict: 'palmtop check' ends with an exit"),
        ([runs[0], "--against", runs[1], "--only", "smal"], "no row is called like 'smal'; did you mean 'small'?"),
        ([runs[0], "--against", str(tmp_path / "none")], "has no measurements.jsonl with measurements in it"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["compare", *words])
        assert ended.value.code == 2 and says in capsys.readouterr().err


def test_ten_thousand_measurements_compare_within_two_seconds(tmp_path: Path) -> None:
    """Of the process' own time, on a machine that may be busy."""
    for folder, accuracy in (("old", 0.9), ("new", 0.8)):
        write_run(tmp_path / folder, *(number for row in range(334) for number in numbers_of(f"row{row}", accuracy, 4)))
    lines = sum(len((tmp_path / name / measurement.FILE).read_text().splitlines()) for name in ("old", "new"))
    start = process_time()
    drawn = render(against(str(tmp_path / "new"), str(tmp_path / "old")), "markdown")
    assert process_time() - start < 2 and lines >= 10_000
    assert drawn.startswith("Yes, worse: 334 of 334 rows")
