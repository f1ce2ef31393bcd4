"""The report in a real Chromium: nothing is asked for, nothing is complained of, nothing is wider than a phone, and the
keyboard opens what is folded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reported_runs import whole_run

from palmtop.eval.report import write_report
from palmtop.eval.targets._chromium import Chromium

pytestmark = pytest.mark.slow
LETTERS = 9.5
"""Pixels of the smallest letters in our drawings, at least."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(whole_run(tmp_path_factory.mktemp("report") / "run")).as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    opened = Chromium()
    yield opened
    opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_quiet_and_fits(width: int, scheme: str, address: str, browser: Chromium) -> None:
    def look() -> dict[str, Any]:
        context = browser.browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page, heard, asked = context.new_page(), [], []
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found = page.evaluate(
            """() => ({
                wide: document.documentElement.scrollWidth,
                title: document.title,
                letters: Math.min(...[...document.querySelectorAll('.drawing')].map(
                    each => 12.5 * each.getBoundingClientRect().width / 420)),
                paper: getComputedStyle(document.body).backgroundColor,
            })"""
        )
        context.close()
        return {**found, "heard": heard, "asked": asked}

    found = browser.run(look)
    assert found["heard"] == [] and found["asked"] == [address]
    assert found["wide"] == width
    assert found["title"] == "palmtop: run"  # no label of the run's has changed it
    assert found["letters"] >= LETTERS
    assert (found["paper"] == "rgb(21, 24, 29)") == (scheme == "dark")


def test_the_keyboard_opens_what_is_folded(address: str, browser: Chromium) -> None:
    def press() -> tuple[str, bool, bool]:
        page = browser.browser.new_page()
        page.goto(address)
        page.keyboard.press("Tab")
        first = page.evaluate("document.activeElement.textContent")
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.tagName") == "SUMMARY":
                break
        before = page.evaluate("document.activeElement.parentElement.open")
        page.keyboard.press("Enter")
        after = page.evaluate("document.activeElement.parentElement.open")
        page.close()
        return first, before, after

    assert browser.run(press) == ("To the content", False, True)


def test_on_paper_everything_folded_is_there(address: str, browser: Chromium, tmp_path: Path) -> None:
    def height() -> tuple[float, float]:
        page = browser.browser.new_page()
        page.goto(address)
        page.emulate_media(media="print")
        folded = page.evaluate("document.querySelector('details:not([open])').getBoundingClientRect().height")
        head = page.evaluate("document.querySelector('details:not([open]) summary').getBoundingClientRect().height")
        page.close()
        return folded, head

    folded, head = browser.run(height)
    assert folded > 2 * head
