"""The int8 model that the Android app comes with, on everything that runs here: the same 500 texts, the same labels."""

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_pages import AppPage, served
from kotlin_jvm import ROOT, compiled_once
from tiny_bundles import file_entry

from palmtop import target, task_kinds
from palmtop.app_manifest import MANIFEST, FileEntry, Manifest
from palmtop.data.encoding import Text
from palmtop.eval.targets._chromium import Chromium
from palmtop.export.app.page import write_page
from palmtop.signature import Signature

pytestmark = pytest.mark.slow

MODEL = ROOT / "android_demo" / "app" / "src" / "main" / "assets" / "models" / "clinc150"
COUNT = 500
ROUNDING = {"jvm": 0.0, "page": 0.05, "arm64_emulated:a76": 0.05, "arm64_emulated:a53": 0.05}
"""Of the outputs' spread: the JVM has the very library of Python; a browser's and Arm's kernels round to 8 bits in ways
of their own."""


@pytest.fixture(scope="module")
def texts() -> list[Text]:
    """The first test texts of CLINC150."""
    with gzip.open(ROOT / "palmtop" / "tasks" / "clinc150" / "test.tsv.gz", "rt", encoding="utf-8") as file:
        next(file)
        return [(line.split("\t")[0],) for line, _ in zip(file, range(COUNT), strict=False)]


@pytest.fixture(scope="module")
def expected(texts: list[Text]) -> np.ndarray:
    """What Python answers on this machine, [texts, labels]."""
    return _on("host_litert", texts)


def test_a_jvm_answers_as_python(texts: list[Text], expected: np.ndarray, shared: Path) -> None:
    rows = compiled_once(shared).ask("answers", MODEL, [{"text": list(text)} for text in texts])
    _same(expected, np.array([row["bits"] for row in rows], np.int32).view(np.float32), "jvm")


def test_a_page_answers_as_python(texts: list[Text], expected: np.ndarray, page: AppPage, tmp_path: Path) -> None:
    app = shutil.copytree(MODEL, tmp_path / "app")
    write_page("tflite", app)
    added = {path.relative_to(app).as_posix(): path for path in app.rglob("*") if path.is_file()}
    manifest = Manifest.read(app)
    entries = {name: FileEntry(**file_entry(path)) for name, path in added.items() if name != MANIFEST}
    manifest.model_copy(update={"files": entries}).write(app)
    (app / "palmtop.json").write_text('{"digest": "the one that comes with the app"}')  # the page keeps files under it
    with served(app) as address:
        page.open(address)
        said: list[dict[str, Any]] = [page.classify(list(text)) for text in texts]
    _same(expected, np.array([one["outputs"] for one in said], np.float32), "page")


@pytest.mark.parametrize("core", ["arm64_emulated:a76", "arm64_emulated:a53"])
def test_an_emulated_core_answers_as_python(core: str, texts: list[Text], expected: np.ndarray) -> None:
    if lack := target.find(core).missing():
        pytest.skip(lack)
    _same(expected, _on(core, texts), core)


@pytest.fixture
def page() -> Iterator[AppPage]:
    browser = Chromium()
    opened = AppPage(browser)
    yield opened
    opened.close()
    browser.close()


def _on(label: str, texts: list[Text]) -> np.ndarray:
    with target.find(label).open(MODEL) as runner:
        return runner.predict(runner.tokenize(texts))


def _same(expected: np.ndarray, found: np.ndarray, where: str) -> None:
    """Equal labels, and outputs within the rounding of the place, which is within what the manifest lets through."""
    manifest, signature = Manifest.read(MODEL), Signature.read(MODEL)
    kind = task_kinds.by_output(signature.output)
    apart = kind.differences(expected, found, signature.output)
    assert found.shape == (COUNT, len((MODEL / "labels.txt").read_text(encoding="utf-8").splitlines()))
    assert ROUNDING[where] < manifest.tolerance.difference
    assert float(apart.by_text.max()) <= ROUNDING[where], (where, apart.by_text.max(), apart.agreement)
    assert apart.agreement == 1, where
