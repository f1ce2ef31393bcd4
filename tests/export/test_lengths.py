"""Token counts chosen from texts: the cheapest by exhaustive search, what they cost, and a file made with them."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import write_model, write_task

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.export.lengths import Histogram, cheapest, cost_facts, expected_ms, longest_needed, probes
from palmtop.making import make
from palmtop.signature import Signature
from palmtop.task import Task


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_other_lengths_are_cheaper(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    histogram = Histogram.of(random.gamma(3, 6, 400).astype(int).clip(2, 64))
    costs = {length: random.random() + 0.05 * length**1.3 for length in range(8, 65, 8)}
    found = cheapest(histogram, 64, count, costs.__getitem__)
    every = [(*chosen, 64) for size in range(count) for chosen in combinations(range(8, 64, 8), size)]
    best = min(expected_ms(histogram, lengths, [costs[length] for length in lengths]) for lengths in every)
    assert expected_ms(histogram, found, [costs[length] for length in found]) == pytest.approx(best)
    assert found[-1] == 64 and len(found) <= count


def test_a_length_that_saves_nothing_is_not_taken() -> None:
    histogram = Histogram.of([30] * 100)
    assert cheapest(histogram, 32, 3, float) == (32,)
    assert cheapest(Histogram.of([5] * 90 + [30] * 10), 32, 2, lambda _: 1.0) == (32,)


def test_shares_and_costs_follow_the_shortest_length_that_fits() -> None:
    histogram = Histogram.of([4, 8, 9, 16, 17, 40])  # the last is cut to 24
    assert histogram.shares((8, 16, 24)).tolist() == pytest.approx([2 / 6, 2 / 6, 2 / 6])
    facts = cost_facts(histogram, (8, 16, 24), (1.0, 2.0, 3.0))
    assert (facts["expected_ms"], facts["padded_ms"]) == (2.0, 3.0)
    assert (
        facts["length_cost"]
        == "2.00 ms expected over 6 training texts at 8, 16, 24 tokens; 3.00 ms if all were padded to 24"
    )
    assert facts["tokens"] == {"texts": 6, "p50": 9, "p90": 40, "p99": 40, "longest": 40}


def test_one_length_leaves_out_a_few_of_the_longest_texts_and_several_leave_out_none() -> None:
    histogram = Histogram.of([10] * 997 + [200] * 3)
    assert longest_needed(histogram, 1, 512) == 16
    assert longest_needed(histogram, 3, 512) == 256
    assert longest_needed(histogram, 3, 128) == 128
    assert [probes(longest) for longest in (8, 16, 64)] == [(8,), (8, 16), (8, 32, 64)]


@pytest.mark.slow
def test_a_file_of_the_cheapest_lengths_tells_what_they_cost(tmp_path: Path) -> None:
    base = _make("adopt", {"model": str(write_model(tmp_path / "model", "bert", layers=1))}, None, tmp_path / "base")
    short = {"task": write_task(tmp_path / "data"), "epochs": 1, "learning_rate": 1e-3, "batch_size": 16}
    model = _make("finetune", short, base, tmp_path / "teacher")
    made = _make("to_tflite", {"length_count": 2}, model, tmp_path / "file")
    facts, lengths = made.card.facts, Signature.read(made.path).lengths or ()
    task = Task.of(model.path)
    assert task is not None
    longest = max(map(len, HostTokenizer(model.path, 70).encode(task.load("train").texts)))
    assert 1 <= len(lengths) <= 2 and lengths[-1] >= longest
    assert facts["lengths"] == list(lengths) and list(facts["ms_by_length"]) == [str(length) for length in lengths]
    assert facts["tokens"]["texts"] == 96 and sum(facts["share_by_length"].values()) == pytest.approx(1, abs=1e-3)
    assert not list(tmp_path.glob(".file*"))
    with target.find("host_litert").open(made.path) as runner:
        assert runner.predict(HostTokenizer(model.path, 24).encode([("play song",)])).shape == (1, 3)


def test_a_count_of_lengths_is_for_auto() -> None:
    with pytest.raises(ValueError, match="length_count is for lengths: auto"):
        stage.find("to_tflite")(lengths=[16], length_count=2)


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
