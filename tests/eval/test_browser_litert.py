"""The target browser_litert: a .tflite in Chromium answers as the interpreter does, in every length it has, and is
timed beside others."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from once import MadeOnce
from tiny import sentences

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.measuring.latency import side_by_side
from palmtop.eval.targets.browser_litert import Target
from palmtop.making import make
from palmtop.target import find

TEXTS = [(text,) for text, _ in sentences(14, 7)]
FLOAT32 = 1e-4
"""Of logits whose spread is about 1."""


@pytest.fixture(scope="module")
def target() -> Target:
    return Target()


@pytest.fixture(scope="module")
def exported(adopted_bert: Bundle, once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """A random BERT as a .tflite of one length, of two, and in int8."""
    folder = tmp_path_factory.mktemp("litert")
    made = {
        "one": once("to_tflite", {"lengths": 24}, adopted_bert),
        "two": _make("to_tflite", {"lengths": [8, 24]}, adopted_bert, folder / "two"),
    }
    return made | {"int8": _make("quantize", {"tolerance": 2}, made["one"], folder / "int8")}


@pytest.fixture(scope="module", autouse=True)
def open_browser(target: Target, exported: dict[str, Bundle]) -> Iterator[None]:
    """One browser for all tests."""
    with target.open(exported["one"].path):
        yield


@pytest.mark.parametrize(
    ("name", "tolerance"), [("one", FLOAT32), ("two", FLOAT32), ("int8", 0.1)]
)  # int8's steps, rounded otherwise
def test_answers_are_those_of_the_interpreter(
    name: str, tolerance: float, target: Target, exported: dict[str, Bundle]
) -> None:
    with find("host_litert").open(exported[name].path) as host:
        expected = host.predict(host.tokenize(TEXTS))
    with target.open(exported[name].path) as runner:
        found = runner.predict(runner.tokenize(TEXTS))
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < tolerance * expected.std()


def test_a_page_takes_turns_with_the_interpreter(target: Target, exported: dict[str, Bundle]) -> None:
    with target.open(exported["two"].path) as page, find("host_litert").open(exported["two"].path) as host:
        timings = side_by_side([page, host], TEXTS[:3], 8, 24)
    for timing in timings:
        assert len(timing.padded_ms) == len(timing.alone_ms) == len(timing.tokenize_ms) == 24
        assert timing.not_padded is None


def test_a_text_is_padded_to_the_next_length_of_the_file(target: Target, exported: dict[str, Bundle]) -> None:
    with target.open(exported["one"].path) as page:
        encodings = page.tokenize(TEXTS[:2])
        assert target.padded_to(exported["one"].path, 8) == 24
        assert len(page.latencies_ms(encodings, 8, 3)) == 3
        with pytest.raises(UserError, match="25 tokens are more than the artefact accepts"):
            page.latencies_ms(encodings, 25, 1)


def test_loading_costs_time_and_memory(target: Target, exported: dict[str, Bundle]) -> None:
    milliseconds, megabytes = target.cost_of_loading(exported["one"].path, TEXTS[0])
    assert milliseconds > 0 and megabytes >= 0
    versions = target.machine().versions
    assert versions["litert.js"] and versions["chromium"]


def test_a_file_that_is_none_is_refused_by_name(target: Target, exported: dict[str, Bundle], tmp_path: Path) -> None:
    for path in exported["one"].path.iterdir():
        if path.is_file() and path.name != "model.tflite":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(UserError, match=r"can't be loaded in the browser: .*model\.tflite: 404.*; export it again"):
        target.open(tmp_path)
    (tmp_path / "model.tflite").write_bytes(b"no model at all, but bytes")
    with pytest.raises(UserError, match=r"can't be loaded in the browser: .*; export it again"):
        target.open(tmp_path)


def _make(use: str, settings: dict[str, object], source: Bundle, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda _: None)
