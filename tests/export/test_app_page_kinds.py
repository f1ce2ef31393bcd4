"""The page of an app of every kind of task in Chromium: tags are coloured in the text, a span is marked in its context,
of several labels those above their thresholds are given, a number is a number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_pages import AppPage, golden_differences, served
from tiny import write_model, write_multi_label, write_questions, write_tags, write_task

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.eval.targets._chromium import Chromium
from palmtop.loaded import load
from palmtop.making import make

pytestmark = pytest.mark.slow  # four models are trained and exported

WRITERS = {
    "multi_label": write_multi_label,
    "token_classification": write_tags,
    "question_answering": write_questions,
    "regression": lambda folder: write_task(folder, kind="regression"),
}
ASKED = {
    "multi_label": ["now rain guitar for me"],
    "token_classification": ["now rain guitar, for me"],
    "question_answering": ["what is it now", "for me rain storm, some more"],
    "regression": ["play me a loud song"],
}
EXPORTS = {"tflite": ("to_tflite", {"lengths": "any"}), "tfjs": ("to_tfjs", {})}


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    opened = Chromium()
    yield opened
    opened.close()


@pytest.fixture(scope="module", params=sorted(WRITERS))
def taught(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Bundle]:
    """A kind, and a BERT of two layers that has learnt its tiny task."""
    folder = tmp_path_factory.mktemp(request.param)
    task = WRITERS[request.param](folder / "data")
    base = _make("adopt", {"model": str(write_model(folder / "model", "bert"))}, None, folder / "base")
    settings = {"task": task, "epochs": 16, "learning_rate": 5e-3, "batch_size": 16}
    return request.param, _make("finetune", settings, base, folder / "teacher")


@pytest.mark.parametrize("made_of", sorted(EXPORTS))
def test_the_page_shows_what_python_answers(
    made_of: str, taught: tuple[str, Bundle], browser: Chromium, tmp_path: Path
) -> None:
    kind, teacher = taught
    use, settings = EXPORTS[made_of]
    app = _make("to_app", {"title": "Tiny"}, _make(use, settings, teacher, tmp_path / "file"), tmp_path / "app")
    texts = ASKED[kind]
    with load(teacher) as model:
        expected = model(texts[0] if len(texts) == 1 else (texts[0], texts[1])).as_dict()
    page = AppPage(browser, viewport={"width": 360, "height": 740})
    with served(app.path) as address:
        page.open(address)
        found = golden_differences(page, app.path)
        for box, text in zip(("#text", "#pair"), texts, strict=False):
            page.run(lambda box=box, text=text: page.page.fill(box, text))
        page.wait("document.querySelectorAll('#answers li').length > 0")
        page.run(lambda: page.page.screenshot(path=tmp_path / f"{kind}-{made_of}.png", full_page=True))
        shown, marks = page.shown("#answers").split("\n"), page.evaluate(MARKS)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()
    values = np.concatenate([row.outputs for _, (row, _) in found])
    assert max(difference for difference, _ in found) < 1e-3 * values[values > -1e3].std()
    _compare(kind, expected, shown, marks)
    if kind == "question_answering":
        assert all(said["answers"][0]["label"] == row.answer for _, (row, said) in found)
    if kind == "token_classification":
        assert all(" ".join(said["tags"]) == row.answer for _, (row, said) in found)


MARKS = """[...document.querySelectorAll("mark")].map(
  (each) => [each.firstChild.data, each.querySelector("small")?.textContent],
)"""


def _compare(kind: str, expected: dict[str, Any], shown: list[str], marks: list[list[str]]) -> None:
    if kind == "regression":
        assert float(shown[1]) == pytest.approx(expected["number"], abs=2e-3) and not marks
    elif kind == "multi_label":
        assert {line.removeprefix("\u2713 ") for line in shown if line.startswith("\u2713")} == set(expected["labels"])
        assert set(expected["labels"]) == {"music", "weather"} and len(shown) == 6
    elif kind == "question_answering":
        assert "rain" in expected["answer"] and marks == [[expected["answer"], None]]
        assert shown[0] == expected["answer"] and shown[1] == f"{100 * expected['score']:.1f} %"
    else:
        found = [[each["text"], each["label"]] for each in expected["entities"]]
        assert found and marks == found and shown == [word for each in found for word in each]


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda _: None)
