"""Pages of apps in a Chromium of the tests' own, and the static server that they come from."""

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from palmtop.app_manifest import read_golden
from palmtop.eval.targets._chromium import Chromium

READY = "window.palmtop !== undefined"
KEPT = "document.getElementById('kept').hidden === false"


@contextmanager
def served(folder: Path, port: int = 0) -> Iterator[str]:
    """The address of a folder behind Python's own static server, which sends no header that a page might ask for."""
    server = _Server(("127.0.0.1", port), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class AppPage:
    """A page whose browser has been here before, or not: pages of one `AppPage` share what is kept.

    Playwright's own objects are used in the browser's thread alone.
    """

    def __init__(self, browser: Chromium, **context: Any) -> None:
        self._browser = browser
        self.asked: list[str] = []
        """Every address that was asked for, by the page, its worker and its service worker."""
        self._context = browser.run(lambda: browser.browser.new_context(**context))
        self._context.on("request", lambda request: self.asked.append(request.url))
        self.page = browser.run(self._context.new_page)

    def open(self, address: str, until: str = READY) -> None:
        """Go there, and wait until the expression holds."""
        self.run(lambda: self.page.goto(f"{address}/"))
        self.wait(until)

    def run(self, question: Any) -> Any:
        """Do something with `page`, in its thread."""
        return self._browser.run(question)

    def wait(self, until: str) -> None:
        """Until an expression holds in the page."""
        self.run(lambda: self.page.wait_for_function(until))

    def evaluate(self, expression: str, argument: Any = None) -> Any:
        """What an expression, or a function of the argument, gives in the page."""
        return self.run(lambda: self.page.evaluate(expression, argument))

    def classify(self, texts: list[str]) -> Any:
        """What the page's script door answers."""
        return self.evaluate("(texts) => window.palmtop.classify({ texts })", texts)

    def shown(self, selector: str = "main") -> str:
        """The text that is seen."""
        return str(self.run(lambda: self.page.inner_text(selector)))

    def slow_down(self, times: int) -> None:
        """Throttle the page's processor."""
        self.run(
            lambda: self._context.new_cdp_session(self.page).send("Emulation.setCPUThrottlingRate", {"rate": times})
        )

    def close(self) -> None:
        """Forget what was kept."""
        self.run(self._context.close)


def golden_differences(page: AppPage, app: Path) -> list[tuple[float, Any]]:
    """Of each golden text by how much the page's outputs differ, and what it answered; its token ids have to be
    equal."""
    found = []
    for row in read_golden(app):
        said = page.classify(list(row.text))
        assert said["ids"] == list(row.input_ids)
        difference = np.abs(np.asarray(said["outputs"]) - np.asarray(row.outputs)).max()
        found.append((float(difference), (row, said)))
    return found


class _Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no fault."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Nothing is logged."""
