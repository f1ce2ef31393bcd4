"""A cascade of .tflite files wherever they run: here, on another machine, in a browser, in an app's page: one rule."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from app_pages import AppPage, golden_differences, served
from kotlin_jvm import compiled_once
from once import MadeOnce
from tiny import write_task
from tiny_bundles import reseal
from word_models import with_validation

from palmtop.app_manifest import Manifest
from palmtop.bundle import Bundle
from palmtop.eval.targets import browser_litert
from palmtop.eval.targets._chromium import Chromium
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
    """A float file before the int8 one that was made of it: which of them answers turns with no machine's rounding."""
    folder = tmp_path_factory.mktemp("cascade_elsewhere")
    task = with_validation(write_task(folder / "data"))
    float32 = once("to_tflite", {"lengths": 24}, adopted_bert)
    int8 = once("quantize", {"tolerance": 2}, float32)
    settings = {"first": float32, "share": 0.5, "task": task}
    return make_by_name("cascade", settings, int8, folder / "both", lambda _: None)


@pytest.fixture(scope="module")
def app(both: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_by_name("to_app", {}, both, tmp_path_factory.mktemp("cascade_app") / "app", lambda _: None)


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
    assert apart < 0.1 and alike == 1 and 0.2 < share < 0.8  # int8's steps, rounded otherwise in wasm


def test_verify_asks_both(both: Bundle) -> None:
    said: list[str] = []
    verify(both.path, said.append)
    assert "7 plain texts in host_litert: 3 finite outputs each, as many as labels" in said


def test_an_apps_page_answers_as_the_golden_answers_have_it(app: Bundle) -> None:
    assert not (app.path / "first" / "index.html").exists() and (app.path / "cascade.js").is_file()
    browser = Chromium()
    page = AppPage(browser)
    try:
        with served(app.path) as address:
            page.open(address)
            found = golden_differences(page, app.path)
            shown = page.shown("#status")
    finally:
        page.close()
        browser.close()
    assert {said["by"] for _, (_, said) in found} == {"first", "second"}
    assert "Ready" in shown
    assert max(difference for difference, _ in found) < 0.1  # int8's steps, rounded otherwise in wasm
    same = [said["answers"][0]["label"] == row.answer for _, (row, said) in found]
    assert np.mean(same) >= Manifest.read(app.path).tolerance.agreement
    assert max(difference for difference, (_, said) in found if said["by"] == "first") < FLOAT32


def test_an_app_of_two_is_verified_model_by_model(app: Bundle) -> None:
    said: list[str] = []
    verify(app.path, said.append)
    assert sum("golden.jsonl: " in line and "answers of host_litert" in line for line in said) == 3


def test_the_phones_engine_answers_as_python_does(app: Bundle, both: Bundle, shared: Path) -> None:
    assert both.task is not None
    texts = both.task.load("evaluation").texts
    with find("host_litert").open(app.path) as runner:
        encodings = runner.tokenize(texts)
        expected, stands = runner.predict(encodings), runner.answered_first(encodings)
    assert stands is not None
    report, *found = compiled_once(shared).ask("cascade", app.path, [{"text": list(text)} for text in texts])
    assert (report["fault"], report["trusted"], report["other_tokens"]) == (None, True, 0)
    assert float(report["difference"]) < FLOAT32
    assert [row["by_first"] for row in found] == stands.tolist()
    np.testing.assert_allclose([row["outputs"] for row in found], expected, atol=1e-7)
    labels = both.task.label_names
    assert [row["answer"]["given"] for row in found] == [[labels[place]] for place in expected.argmax(axis=1)]


def test_the_phones_engine_refuses_another_rule(app: Bundle, shared: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(app.path, tmp_path / "app")
    rule = app.signature.cascade
    assert rule is not None
    hotter = rule.model_copy(update={"temperature": 9 * rule.temperature, "threshold": 0.0})
    app.signature.model_copy(update={"cascade": hotter}).write(copy)
    (damaged,) = compiled_once(shared).ask("cascade", copy)
    assert "signature.json is damaged" in damaged["refused"]
    reseal(copy, restate=True)
    (report, refused) = compiled_once(shared).ask("cascade", copy, [{"text": ["rain"]}])
    assert "answers otherwise than recorded" in report["fault"] and refused["by"] == "NotTrusted"
