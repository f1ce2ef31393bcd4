"""measurements.jsonl: appended to, read back, and whole again after a killed writer."""

from pathlib import Path

import pytest

from palmtop.errors import UserError
from palmtop.measurement import Measurement, append, read


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
