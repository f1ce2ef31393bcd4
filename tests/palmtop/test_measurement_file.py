"""measurements.jsonl: appended to, read back, and whole again after a killed writer."""

import math
from pathlib import Path

import pytest

from palmtop.errors import UserError
from palmtop.measurement import Measurement, append, read, sound


def one(**changes: object) -> Measurement:
    given = {
        "bundle": "d",
        "name": "é",
        "format": "torch",
        "target": "host_torch",
        "metric": "accuracy",
        "value": 0.5,
        "unit": "share",
        "machine": {},
        "session": "s",
        "date": "2025-01-01",
    }
    return Measurement.model_validate(given | changes)


def test_appended_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    assert read(path) == []
    append(path, [one(), one(value=None, valid=False, why="no phone")])
    append(path, [one(value=0.75)])
    assert [found.value for found in read(path)] == [0.5, None, 0.75]


def test_a_line_cut_anywhere_is_left_out_and_the_next_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    line = one().model_dump_json().encode()
    for cut in range(1, len(line)):
        path.write_bytes(line + b"\n" + line[:cut])
        assert read(path) == [one()], line[:cut]
        append(path, [one(value=0.25)])
        assert [found.value for found in read(path)] == [0.5, 0.25], line[:cut]


def test_a_foreign_line_is_told_by_number(tmp_path: Path) -> None:
    path = tmp_path / "measurements.jsonl"
    path.write_text(one().model_dump_json() + '\n{"value": 3}\n')
    with pytest.raises(UserError) as caught:
        read(path)
    assert (
        str(caught.value) == f"{path}, line 2 isn't a measurement (Field required): remove the line and measure again"
    )


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"value": 0.999, "low": 0.313, "high": 0.389}, "0.999 isn't in [0.313, 0.389]"),
        ({"value": 0.5, "low": 0.6, "high": 0.4}, "0.5 isn't in [0.6, 0.4]"),
        ({"value": 0.9, "low": 0.3, "high": 0.4, "unit": "1"}, "0.9 isn't in [0.3, 0.4]"),
        ({"value": 1.5}, "1.5 is no share"),
        ({"value": -0.1, "unit": "probability"}, "-0.1 is no probability"),
        ({"value": math.nan}, "nan in [None, None] isn't finite"),
        ({"value": 0.5, "low": 0.4, "high": math.inf}, "0.5 in [0.4, inf] isn't finite"),
        ({"value": 0.0, "unit": "ms", "metric": "latency_ms"}, "0.0 ms is no time"),
        ({"value": -3.0, "unit": "bytes"}, "-3.0 is no number of bytes"),
        ({"value": 2.5, "unit": "texts"}, "2.5 is no number of texts"),
        ({"value": 7.0, "unit": "texts", "n": 6}, "7 of 6 texts"),
        ({"value": None}, "valid, and no number"),
        ({"n": -4}, "-4 texts or runs"),
    ],
)
def test_what_nobody_can_have_measured_is_told_and_left_out(changed: dict[str, object], fault: str) -> None:
    wrong = one(**changed)
    assert wrong.fault() == fault
    told = f"{wrong.metric} of é on host_torch can't have been measured ({fault})"
    assert sound([wrong]) == ([], [told])
    again = wrong.model_copy(update={"value": 0.5, "low": 0.4, "high": 0.6, "unit": "share", "n": 9})
    assert sound([wrong, again]) == ([again], [])  # measured again since


@pytest.mark.parametrize(
    "changed",
    [
        {"value": 1.0, "low": 0.999147070593888, "high": 0.9999999999999999},
        {"value": 0.41, "low": 0.3, "high": 0.4, "unit": "1"},  # of few texts, resampled
        {"value": -0.5, "low": -0.6, "high": -0.4, "unit": "1"},
        {"value": 0.0, "unit": "ms", "metric": "tokenize_ms"},
        {"value": None, "valid": False, "why": "no phone"},
    ],
)
def test_what_can_be_measured_is_kept(changed: dict[str, object]) -> None:
    assert one(**changed).fault() is None


def test_a_run_of_before_has_no_such_number() -> None:
    taken = read(Path(__file__).parents[1] / "data" / "run_before_the_move" / "measurements.jsonl")
    assert sound(taken) == (taken, []) and taken
