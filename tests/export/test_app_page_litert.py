"""The page of a .tflite app: LiteRT.js answers as the interpreter does, at the shortest length; typing never waits, and
the second visit needs no network."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from app_pages import KEPT, AppPage, golden_differences, served
from once import MadeOnce

from palmtop import stage
from palmtop.app_manifest import Manifest, read_golden
from palmtop.bundle import Bundle
from palmtop.eval.reports import phone_file
from palmtop.eval.targets._chromium import Chromium
from palmtop.export.app import page as app_page
from palmtop.export.app.page import why_none
from palmtop.making import make
from palmtop.task import Task

FLOAT = 1e-4
"""Of logits whose spread is about 1: another build of the same kernels."""
TEXT = "play me a loud song"
COUNTED = """() => {
  window.posted = 0;
  const post = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (...given) { window.posted++; post.apply(this, given); };
}"""
"""Counts what the page asks its worker."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("litert-pages")


@pytest.fixture(scope="module")
def apps(adopted_bert: Bundle, once: MadeOnce, folder: Path) -> dict[str, Bundle]:
    """A random BERT as an app: of two lengths, of any, and of any in int8."""
    files = {"two": once("to_tflite", {"lengths": [8, 24]}, adopted_bert)}
    files["any"] = once("to_tflite", {"lengths": "any"}, adopted_bert)
    files["int8"] = once("quantize", {"scheme": "dynamic_int8", "tolerance": 2}, files["any"])
    return {name: _app(file, folder / name, title=f"Tiny {name}") for name, file in files.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    opened = Chromium()
    yield opened
    opened.close()


@pytest.fixture
def page(browser: Chromium) -> Iterator[AppPage]:
    opened = AppPage(browser, viewport={"width": 360, "height": 740})
    yield opened
    opened.close()


@pytest.mark.parametrize("name", ["two", "any", "int8"])
def test_the_page_answers_as_the_interpreter_does(name: str, apps: dict[str, Bundle], page: AppPage) -> None:
    with served(apps[name].path) as address:
        page.open(address)
        found = golden_differences(page, apps[name].path)
    spread = float(np.std([row.outputs for _, (row, _) in found], axis=0).mean())
    tolerance = Manifest.read(apps[name].path).tolerance.difference if name == "int8" else FLOAT
    assert max(difference for difference, _ in found) < tolerance * spread
    if name != "int8":
        assert all(said["answers"][0]["label"] == row.answer for _, (row, said) in found)
    lengths = {"two": [8, 24]}.get(name, [16, 32, 64, 70])
    for _, (row, said) in found:
        assert said["tokens_run"] == next(length for length in lengths if length >= len(row.input_ids))


def test_no_request_leaves_the_origin_and_other_formats_files_stay_away(apps: dict[str, Bundle], page: AppPage) -> None:
    with served(apps["any"].path) as address:
        page.open(address, KEPT)
        page.classify([TEXT])
    asked = [urlsplit(each) for each in page.asked]
    assert {each.netloc for each in asked if each.scheme != "data"} == {urlsplit(address).netloc}
    shipped = {path.relative_to(apps["any"].path).as_posix() for path in apps["any"].path.rglob("*")}
    assert "litert.js" in shipped and not shipped & {"tfjs.js", "runtime/tf-core.min.js", "runtime/int8_rows.js"}
    wasm = [each.path for each in asked if each.path.endswith(".wasm")]
    assert len(set(wasm)) == 1, "of the runtime's modules one is fetched, that of this browser"


def test_loading_is_told_in_bytes(apps: dict[str, Bundle], page: AppPage) -> None:
    told = "window.told = []; new MutationObserver(() => told.push(document.getElementById('status').textContent))"
    watched = f"addEventListener('DOMContentLoaded', () => {{ {told}.observe(document.getElementById('status'), "
    page.run(lambda: page.page.add_init_script(f"{watched}{{ childList: true }}) }})"))
    with served(apps["any"].path) as address:
        page.open(address)
    said = page.evaluate("window.told")
    assert any(line.startswith("Loading: ") and line.endswith(" MB") for line in said)
    assert said[-1] == "Ready. Nothing you write leaves this page."
    assert page.evaluate("document.getElementById('loaded').hidden")


@pytest.mark.slow
def test_who_types_on_a_slow_phone_never_waits_and_sees_no_stale_answer(apps: dict[str, Bundle], page: AppPage) -> None:
    with served(apps["any"].path) as address:
        page.open(address)
        page.slow_down(4)
        page.evaluate(COUNTED)
        page.run(lambda: page.page.evaluate(_typing(TEXT)))
        # all letters were written before the first answer: the model is asked for the first, and then for the last
        page.wait("document.querySelectorAll('#answers li').length > 0")
        expected = page.classify([TEXT])
        assert page.evaluate("window.posted") == 3
        assert page.shown("#answers").split("\n")[0] == expected["answers"][0]["label"]
        page.run(lambda: page.page.fill("#text", "  "))
        page.wait("document.querySelectorAll('#answers li').length === 0")


def test_the_second_visit_needs_no_network(apps: dict[str, Bundle], page: AppPage) -> None:
    with served(apps["any"].path) as address:
        page.open(address, KEPT)
        expected = page.classify([TEXT])
    page.open(address)  # its server is gone
    again = page.classify([TEXT])
    assert again["outputs"] == expected["outputs"]
    assert page.shown("h1") == "Tiny any"


@pytest.mark.slow
def test_a_new_version_takes_the_place_of_the_old_one_whole(
    apps: dict[str, Bundle], page: AppPage, tmp_path: Path
) -> None:
    served_at = shutil.copytree(apps["any"].path, tmp_path / "served")
    with served(served_at) as address:
        page.open(address, KEPT)
        [old] = page.evaluate("caches.keys()")
        assert old.endswith(apps["any"].digest)
        shutil.rmtree(served_at)
        shutil.copytree(apps["two"].path, served_at)
        page.open(address, KEPT)
        assert page.shown("h1") == "Tiny two" and page.classify([TEXT])["tokens_run"] == 8
        [new] = page.evaluate("caches.keys()")
        assert new.endswith(apps["two"].digest)
    page.open(address)
    assert page.shown("h1") == "Tiny two"


@pytest.mark.slow
def test_what_was_kept_and_is_damaged_is_fetched_again(apps: dict[str, Bundle], page: AppPage) -> None:
    damage = "async () => { const kept = await caches.open((await caches.keys())[0]);"
    with served(apps["any"].path) as address:
        page.open(address, KEPT)
        page.evaluate(damage + "await kept.put('labels.txt', new Response('weather\\nmusic\\nmoney\\n')); }")
        page.open(address)
        row = read_golden(apps["any"].path)[0]
        assert page.classify(list(row.text))["answers"][0]["label"] == row.answer


@pytest.mark.slow
def test_the_benchmarks_json_has_the_phones_form(apps: dict[str, Bundle], page: AppPage, tmp_path: Path) -> None:
    with served(apps["two"].path) as address:
        page.open(address)
        report = page.run(lambda: _benchmark(page.page))
    assert report["palmtop_phone"] == 1 and report["threads"] == 1 and report["warm_up"] == 10
    assert report["model"]["digest"] == Manifest.read(apps["two"].path).lineage[-1].digest
    assert report["model"]["bytes"] == (apps["two"].path / "model.tflite").stat().st_size
    assert [(each["tokens"], each["n"]) for each in report["lengths"]] == [(8, 60), (24, 60)]
    for each in (*report["lengths"], report["tokenization"]):
        assert 0 <= each["p50_ms"] <= each["p90_ms"] <= each["p99_ms"]
    assert report["litert"].startswith("LiteRT.js, wasm 2.") and report["target"] == "app_page"
    (tmp_path / "palmtop-benchmark.json").write_text(json.dumps(report))
    taken = {(one.name, one.metric): one for one in phone_file.read(tmp_path / "palmtop-benchmark.json")}
    longest = taken["Tiny two (24 tokens)", "latency_ms"]
    assert (longest.target, longest.value) == ("app_page", report["lengths"][1]["p50_ms"])
    assert longest.machine["processor"].endswith(" (unknown), in a browser")


def test_everything_has_a_name_for_screen_readers_and_fits_a_phone(apps: dict[str, Bundle], page: AppPage) -> None:
    with served(apps["two"].path) as address:
        page.open(address)
        page.run(lambda: page.page.keyboard.type(TEXT))  # the box has the focus
        page.wait("document.querySelectorAll('#answers li').length > 0")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        seen = page.run(lambda: page.page.locator("main").aria_snapshot())
        page.run(lambda: page.page.keyboard.press("Tab"))
        page.run(lambda: page.page.keyboard.press("Enter"))
        assert page.evaluate("document.getElementById('benchmark').open"), "the keyboard opens the benchmark"
    assert 'textbox "Text"' in seen and 'region "Answer"' in seen and "status:" in seen


def test_without_litert_js_the_app_is_made_and_says_what_lacks(
    apps: dict[str, Bundle], once: MadeOnce, adopted_bert: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    file = once("to_tflite", {"lengths": "any"}, adopted_bert)
    made = _app(file, tmp_path / "app")
    assert made.card.facts["page"] == "LiteRT.js isn't installed: `palmtop setup` fetches it"
    assert not (made.path / "index.html").exists() and "As a web page" not in (made.path / "README.md").read_text()
    assert "runtime" not in Manifest.read(made.path).licences
    assert "As a web page" in (apps["any"].path / "README.md").read_text()


def test_a_kind_that_the_page_cant_show_has_none(adopted_bert: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task.of(adopted_bert.path)
    assert task is not None and why_none("tflite", task) is None
    monkeypatch.setattr(type(task.of_kind), "page", False)
    assert why_none("tflite", task) == "the page can't show the answers of classification"
    assert why_none("onnx", task) == "no page runs onnx"


def test_another_litert_js_than_the_one_that_is_known_is_told(tmp_path: Path) -> None:
    (tmp_path / "litert.js").write_text("import { createWasmLib } from '@litertjs/wasm-utils';")
    with pytest.raises(RuntimeError, match=r"names .* 0 times, not once"):
        app_page._name_the_neighbour(tmp_path / "litert.js")


def _app(file: Bundle, out: Path, **settings: Any) -> Bundle:
    return make("to_app", stage.find("to_app")(**settings), file, out, lambda _: None)


def _typing(text: str) -> str:
    """Each letter is an input event of its own, as a keyboard gives them."""
    return f"""(() => {{
      const box = document.getElementById("text");
      for (const letter of {json.dumps(text)}) {{ box.value += letter; box.dispatchEvent(new Event("input")); }}
    }})()"""


def _benchmark(page: Any) -> Any:
    page.click("summary")
    page.click("#bench-start")
    page.wait_for_selector("#bench-save:not([hidden])", timeout=120_000)
    with page.expect_download() as download:
        page.click("#bench-save")
    return json.loads(Path(download.value.path()).read_text())
