"""A cascade of .tflite files where phones run them, and a browser: the rule is the same on every target."""

import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from once import MadeOnce
from tiny import write_task
from word_models import with_validation

from palmtop.bundle import Bundle
from palmtop.eval.targets import browser_litert
from palmtop.eval.targets._elsewhere import ElsewhereTarget
from palmtop.eval.targets._wire import RUNNER, ProcessStream, Wire
from palmtop.eval.verify import verify
from palmtop.making import make_by_name
from palmtop.measurement import Kind
from palmtop.target import Target, find

pytestmark = pytest.mark.slow

FLOAT32 = 1e-4


@pytest.fixture(scope="module")
def both(adopted_bert: Bundle, once: MadeOnce, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An int8 file before the float one that it was made of."""
    folder = tmp_path_factory.mktemp("cascade_elsewhere")
    task = with_validation(write_task(folder / "data"))
    large = once("to_tflite", {"lengths": 24}, adopted_bert)
    small = once("quantize", {"tolerance": 2}, large)
    settings = {"first": small, "share": 0.5, "task": task}
    return make_by_name("cascade", settings, large, folder / "both", lambda _: None)


class Beside(ElsewhereTarget):
    """The runner of other machines, in a process of this one."""

    name: ClassVar[str] = "beside"
    kind: Kind = "measured"

    def wire(self) -> Wire:
        """Its lines go through pipes."""
        return Wire(ProcessStream([sys.executable, str(RUNNER)], dict(os.environ)), self.label)

    def brought(self, file: Path) -> str:
        """It is here."""
        return str(file)


def _apart(both: Bundle, there: Target) -> tuple[float, Any]:
    """How far the answers of a target are from this machine's, where the same model gives them; and which does."""
    assert both.task is not None
    texts = both.task.load("evaluation").texts
    with find("host_litert").open(both.path) as host, there.open(both.path) as runner:
        expected, found = (one.predict(one.tokenize(texts)) for one in (host, runner))
        here, same = (one.answered_first(one.tokenize(texts)) for one in (host, runner))
        assert len(runner.latencies_ms(runner.tokenize(texts), None, 4)) == 4
    assert here is not None and same is not None
    alike = here == same
    return float(np.abs(found - expected)[alike].max()), (here.mean(), alike.mean())


def test_models_on_another_machine_share_the_texts_as_here(both: Bundle) -> None:
    there = Beside()
    apart, (share, alike) = _apart(both, there)
    assert apart < FLOAT32 and alike == 1 and 0.2 < share < 0.8
    load_ms, memory_mb = there.cost_of_loading(both.path, ("rain",))
    assert load_ms > 0 and memory_mb > 0


def test_a_browser_opens_a_page_for_each(both: Bundle) -> None:
    target = browser_litert.Target()
    assert target.missing() is None and target.refuses(both.path) is None
    apart, (share, alike) = _apart(both, target)
    assert apart < 0.1 and alike > 0.9 and 0.2 < share < 0.8  # int8's steps, rounded otherwise in wasm


def test_verify_asks_both(both: Bundle) -> None:
    said: list[str] = []
    verify(both.path, said.append)
    assert "7 plain texts in host_litert: 3 finite outputs each, as many as labels" in said
