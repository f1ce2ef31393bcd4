"""What the Android app shares stands in the table as a phone's, and is set against nothing of another machine."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_runs import TASK, numbers_of, section_of, write_run

from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.reports import phone_file
from palmtop.eval.reports.draw_table import render


def shared(folder: Path, **changed: Any) -> Path:
    """A file as android_demo's BenchmarkReport.kt writes it."""
    said = {
        "palmtop_phone": 1,
        "model": {
            "name": "small",
            "digest": "digest of small",
            "format": "tflite",
            "precision": "dynamic_int8",
            "task": "tiny v1",
            "bytes": 2_000_000,
        },
        "phone": {
            "model": "Sinclair Spectrum",
            "chip": "Z80A",
            "cores": 1,
            "memory_gb": 0.1,
            "system": "Android 15 (API 35)",
        },
        "litert": "1.4.0",
        "threads": 1,
        "warm_up": 10,
        "heat": {"before": "none", "after": "light"},
        "session": "phone-1",
        "date": "2026-01-02T00:00:00+00:00",
        "lengths": [{"tokens": 32, "n": 100, "p50_ms": 2, "p90_ms": 3, "p99_ms": 4.5}],
        "tokenization": {"n": 60, "p50_ms": 0.25, "p90_ms": 0.5, "p99_ms": 1.0},
    }
    path = folder / "shared.json"
    path.write_text(json.dumps(said | changed))
    return path


def test_a_phones_numbers_stand_beside_the_runs_and_make_no_ratio(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *numbers_of("base", 0.94, 10), *numbers_of("small", 0.93, 4))
    section = section_of(run, shared(tmp_path))
    phone = next(row for row in section.rows if row.target == "android_demo")
    assert (section.task, phone.name, phone.machine) == (TASK, "small", 2)
    assert [phone.cells[name].value for name in ("latency_ms", "latency_p90_ms", "latency_p99_ms")] == [2, 3, 4.5]
    assert (phone.cells["tokenize_ms"].value, phone.cells["model_mb"].value) == (0.25, 2)
    assert phone.cells["timed_at"].value == 32
    assert phone.cells["speedup"].value is None
    assert phone.cells["speedup"].why == "timed on another machine than base: measure both on one"
    assert phone.cells["difference_points"].value is None
    assert phone.cells["kept_percent"].value is None
    here = next(row for row in section.rows if row.name == "small" and row.machine == 1)
    assert here.cells["speedup"].value == 2.5  # as without the phone
    assert section.advice == "ship small on host_litert: 2.0 MB, accuracy 0.930, 2.5 times as fast as base"


def test_alone_it_is_a_table_that_says_where_it_is_from(tmp_path: Path) -> None:
    lengths = [{"tokens": tokens, "n": 100, "p50_ms": tokens, "p90_ms": 99, "p99_ms": 99} for tokens in (8, 64)]
    table = compare([shared(tmp_path, lengths=lengths)])
    assert [row.name for row in table.sections[0].rows] == ["small (8 tokens)", "small (64 tokens)"]
    for form in ("markdown", "wide", "csv", "json"):
        drawn = render(table, form)
        assert "android_demo" in drawn or form == "markdown"
        assert "Sinclair Spectrum (Z80A), a phone" in drawn or form == "csv"


def test_numbers_of_a_hot_phone_are_not_told(tmp_path: Path) -> None:
    [row] = section_of(shared(tmp_path, heat={"before": "none", "after": "severe"})).rows
    assert row.cells["latency_ms"].value is None
    assert row.cells["latency_ms"].why == "the phone was hot and slowed itself down: let it cool, and measure again"
    assert row.cells["model_mb"].value == 2


@pytest.mark.parametrize(
    ("content", "says"),
    [("{", "isn't a file that the Android app shares"), ('{"palmtop_phone": 2}', "share it again, all of it")],
)
def test_another_file_is_refused(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(UserError, match=says):
        phone_file.read(tmp_path / "other.json")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone\.json isn't there"):
        compare([tmp_path / "gone.json"])
