"""A cascade measured beside the two models it is made of: its share, its mean time, its paired difference, its row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_runs import by_metric, measure_into, section_of
from tiny import write_task
from word_models import with_validation, word_model

from palmtop import measurement
from palmtop.bundle import Bundle
from palmtop.eval.compare import compare
from palmtop.eval.measuring.expected import in_turns
from palmtop.eval.measuring.size import download_bytes, model_bytes
from palmtop.making import make_by_name
from palmtop.measurement import Measurement
from palmtop.signature import NOT_PADDED
from palmtop.target import Runner, find

Run = tuple[Path, list[str], list[Measurement]]
"""A run's folder, what was said, and what stands in its file."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("cascade_measured")
    task = with_validation(write_task(folder / "data", train=240, evaluation=120))
    small, large = word_model(folder / "small", task, 0.7), word_model(folder / "large", task, 0.1, seed=1)
    both = make_by_name("cascade", {"first": small, "max_drop": 2}, large, folder / "both", lambda _: None)
    return {"small": small, "large": large, "both": both}


@pytest.fixture(scope="module")
def run(bundles: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return measure_into(_measured(bundles), tmp_path_factory.mktemp("run") / "run", on=("host_onnx",), baseline="large")


def _measured(bundles: dict[str, Bundle]) -> dict[str, Bundle]:
    return {name: bundles[name] for name in ("large", "both")}


def test_a_cascade_has_the_bytes_of_both(bundles: dict[str, Bundle]) -> None:
    small, large, both = (bundles[name] for name in ("small", "large", "both"))
    assert model_bytes(both) == model_bytes(small) + model_bytes(large)
    above = sum((both.path / name).stat().st_size for name in ("labels.txt", "signature.json"))
    assert download_bytes(both) == download_bytes(small) + download_bytes(large) + above


def test_what_only_a_cascade_has_is_measured(bundles: dict[str, Bundle], run: Run) -> None:
    taken, task = by_metric(run[2], "both"), bundles["both"].task
    assert task is not None
    split = task.load("evaluation")
    right = {}
    for name, bundle in bundles.items():
        with find("host_onnx").open(bundle.path) as runner:
            encodings = runner.tokenize(split.texts)
            right[name] = runner.predict(encodings).argmax(axis=1) == split.labels
            first = runner.answered_first(encodings)
    assert first is not None  # of the last, the cascade
    assert (taken["answered_first"].value, taken["answered_first"].n) == (pytest.approx(first.mean()), 120)
    assert taken["answered_first"].unit == "share"
    found = taken["difference_larger"]
    assert found.value == pytest.approx(right["both"].mean() - right["large"].mean())
    assert found.low is not None and found.high is not None and found.low <= found.value <= found.high
    assert found.conditions == {"with": bundles["large"].digest}
    assert taken["latency_ms"].value is None and taken["latency_ms"].why == NOT_PADDED
    assert (taken["text_latency_ms"].value or 0) > 0


def test_mean_times_are_of_one_session_and_of_every_text(run: Run) -> None:
    times = {name: by_metric(run[2], name)["expected_ms"] for name in ("large", "both")}
    assert len({one.session for one in times.values()}) == 1
    assert all(one.conditions == {"threads": 1, "texts": 120} and one.n == 120 for one in times.values())
    assert all(one.low <= one.value <= one.high for one in times.values() if one.value and one.low and one.high)


def test_what_was_measured_is_kept(bundles: dict[str, Bundle], run: Run) -> None:
    before = len(measurement.read(run[0] / measurement.FILE))
    measure_into(_measured(bundles), run[0], on=("host_onnx",), baseline="large")
    assert len(measurement.read(run[0] / measurement.FILE)) == before


class Clock(Runner):
    """Answers in no time and says how long it took: a text's letters, half of them for its tokens."""

    def tokenize(self, texts: Any) -> list[Any]:
        return list(texts)

    def predict(self, encodings: Any) -> np.ndarray:
        raise NotImplementedError

    def latencies_ms(self, encodings: Any, length: int | None, runs: int) -> list[float]:
        return [float(len(encodings[number % len(encodings)][0])) for number in range(runs)]

    def tokenize_latencies_ms(self, texts: Any, runs: int) -> list[float]:
        return [len(texts[number % len(texts)][0]) / 2 for number in range(runs)]

    def close(self) -> None:
        pass


def test_each_text_is_timed_once_with_its_tokens() -> None:
    texts = [("x" * number,) for number in range(1, 31)]
    ours, theirs = in_turns([Clock(), Clock()], texts)
    assert ours == theirs == [1.5 * number for number in range(1, 31)]


def test_the_table_says_what_the_cascade_gains(run: Run) -> None:
    section = section_of(run[0])
    rows = {row.name: row for row in section.rows}
    cells = rows["both"].cells
    assert cells["answered_first"].value is not None and cells["larger_points"].low is not None
    assert rows["large"].cells["answered_first"].word == "not comparable"
    said = next(verdict.says for verdict in section.verdicts if "first model" in verdict.says)
    assert said.startswith("both on host_onnx: its first model answers ")
    assert (
        "% of the 120 texts, a text takes " in said and " where large takes " in said and "points from large [" in said
    )
    drawn = compare([run[0]]).draw("wide")
    assert "% by the first" in drawn and "mean ms" in drawn
    without = compare([run[0]], only=["large"]).draw("wide")
    assert "% by the first" not in without and "mean ms" not in without
