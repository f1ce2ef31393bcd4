"""Keeping a teacher's signals or computing them anew: the same signals either way, and the choice by disk and time."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.distillation import keep_or_recompute
from palmtop.compress.distillation.keep_or_recompute import (
    CHOICE,
    Budget,
    Recomputed,
    ask,
    by_time,
    choose,
    way_by_time,
)
from palmtop.compress.distillation.teacher_signals import Wanted
from palmtop.compress.learning.encoded import Encoded
from palmtop.errors import UserError
from palmtop.models.opening import open_classifier
from palmtop.signature import Signature
from palmtop.task import Task

WANTED = Wanted((0, 2), "float32")


@pytest.fixture(scope="module")
def data(random_bert: Bundle) -> Encoded:
    """The tiny task's training texts."""
    task = Task.of(random_bert.path)
    assert task is not None
    return Encoded.of(task.load("train"), random_bert.path, Signature.read(random_bert.path))


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing lies in the cache yet."""
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))


def test_both_ways_give_the_same(random_bert: Bundle, data: Encoded, tmp_path: Path) -> None:
    rows, said = [3, 50, 11], dict[str, dict[str, torch.Tensor]]()
    for way in ("cache", "recompute"):
        (tmp_path / way).mkdir()
        asked = ask(random_bert, data, WANTED, Budget(way, 20, 3), tmp_path / way, print)
        said[way] = asked.batch(rows)
        assert asked.facts()["signals"] == way
        assert set(asked.only([2])(rows)) >= {"teacher_logits", "teacher_hidden_2"}
    kept, anew = said["cache"], said["recompute"]
    assert set(kept) == set(anew) == {"teacher_logits", "teacher_hidden_0", "teacher_hidden_2"}
    for name, values in kept.items():
        assert torch.allclose(values, anew[name], atol=1e-5), name
        assert not anew[name].requires_grad


def test_what_is_computed_anew_is_rounded_as_what_is_kept(random_bert: Bundle, data: Encoded) -> None:
    model: Any = open_classifier(random_bert.path)
    halves, rows = Recomputed(model, data, Wanted((2,))), [3, 50, 11]
    whole = Recomputed(model, data, Wanted((2,), "float32")).batch(rows)["teacher_hidden_2"]
    assert torch.equal(halves.batch(rows)["teacher_hidden_2"], whole.half().float())
    assert not torch.equal(whole, whole.half().float())
    with pytest.raises(UserError, match=r"a hidden state of the teacher is 7e\+04, more than float16 holds"):
        halves._as_kept(torch.full((1, 1, 2), 7e4))


def test_which_way_was_chosen_stands_in_the_origin() -> None:
    distill = stage.find("distill")
    assert distill(task="clinc150").became({"signals": "recompute"}) == {"teacher_signals": "recompute"}
    assert distill(task="clinc150", teacher_signals="cache").became({"signals": "cache"}) == {}  # in the settings


def test_the_choice_is_told_with_its_numbers(
    random_bert: Bundle, data: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep_or_recompute, "SMALL_BYTES", 0)
    told: list[str] = []
    asked = ask(random_bert, data, WANTED, Budget("auto", 20, 1000), tmp_path, told.append)
    facts = asked.facts()
    assert facts["signals"] in ("cache", "recompute")  # the clock's to say
    assert facts["signals_needed_bytes"] == 4 * (len(data) * 3 + 2 * len(data.ids) * 32)
    assert min(facts[f"signals_{name}_ms"] for name in ("keeping", "reading", "computing")) > 0
    for part in (
        "MB of ",
        "a batch of 64 texts: ",
        " ms to compute and keep, ",
        " ms to read, ",
        "1000 passes: ",
        " s computed anew",
    ):
        assert part in told[0]
    assert not list((tmp_path / "cache" / "teacher").glob(".trial-*"))
    assert json.loads((tmp_path / CHOICE).read_text())["way"] == facts["signals"]


def test_small_signals_are_kept_and_used_again(random_bert: Bundle, data: Encoded, tmp_path: Path) -> None:
    told: list[str] = []
    for name in ("first", "later"):
        (tmp_path / name).mkdir()
        asked = ask(random_bert, data, WANTED, Budget("auto", 20, 1), tmp_path / name, told.append)
        assert asked.facts()["signals_reused"] == (name == "later")
    assert told[0].startswith("teacher's signals: kept on disk, for they are small (")
    assert told[-1].startswith("teacher's signals: kept on disk, where they lie since an earlier run (")


def test_signals_over_the_limit_are_computed_anew(random_bert: Bundle, data: Encoded, tmp_path: Path) -> None:
    told: list[str] = []
    asked = ask(random_bert, data, WANTED, Budget("auto", 1e-6, 1000), tmp_path, told.append)
    needed = 4 * (len(data) * 3 + 2 * len(data.ids) * 32)
    assert asked.facts() == {"signals": "recompute", "signals_bytes": 0, "signals_needed_bytes": needed}
    assert "computed anew at each step, for they would take" in told[0]
    assert "and signals_limit_gb is 1e-06" in told[0]
    assert asked.only([2]) == asked.batch


def test_a_run_that_goes_on_keeps_to_its_choice(random_bert: Bundle, data: Encoded, tmp_path: Path) -> None:
    ask(random_bert, data, WANTED, Budget("recompute", 20, 1), tmp_path, print)
    assert ask(random_bert, data, WANTED, Budget("auto", 20, 1), tmp_path, print).choice.way == "recompute"


def test_time_decides_over_all_passes() -> None:
    assert way_by_time(30.0, 1.0, 20.0, passes=1) == "recompute"
    assert way_by_time(30.0, 1.0, 20.0, passes=2) == "cache"
    assert way_by_time(21.0, 0.5, 20.0, passes=1) == "cache"  # as good as equal, and it lasts
    assert way_by_time(21.0, 40.0, 20.0, passes=100) == "recompute"  # a disk slower than the teacher


def test_a_slow_disk_is_noticed() -> None:
    choice = by_time((40.0, 30.0, 20.0), texts=96, passes=10, needed_bytes=340_000, free_bytes=10**9)
    assert (choice.way, choice.keeping_ms, choice.reading_ms, choice.computing_ms) == ("recompute", 40.0, 30.0, 20.0)
    assert choice.why == (
        "0.34 MB of 1 GB free; a batch of 64 texts: 40 ms to compute and keep, 30 ms to read, 20 ms to compute; 10 "
        "passes: 0.68 s kept, 0.4 s computed anew"
    )


def test_a_full_disk_is_told_where_keeping_was_ordered(
    random_bert: Bundle, data: Encoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    assert choose(random_bert, data, WANTED, Budget("auto", 20, 10)).way == "recompute"
    with pytest.raises(
        UserError, match=r"the teacher's signals need 0.00 GB in .*, which has 0.00 GB free: free some space"
    ):
        ask(random_bert, data, WANTED, Budget("cache", 20, 1), tmp_path, print)


def test_a_teacher_that_drops_out_is_found_out(random_bert: Bundle, data: Encoded) -> None:
    model: Any = open_classifier(random_bert.path)
    anew = Recomputed(model, data, WANTED)
    assert np.isfinite(anew.batch([0])["teacher_logits"].numpy()).all()
    model.train()
    with pytest.raises(RuntimeError, match="the teacher is not in eval mode: its dropout would be learnt"):
        anew.batch([0])
