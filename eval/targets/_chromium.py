"""A headless Chromium of our own, driven by playwright from a thread of its own, and what its pages answer."""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from palmtop.errors import UserError

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
TIMEOUT_S = 300
"""The longest that one question to a page may take; a page that hangs is ended with its browser."""

Answer = TypeVar("Answer")


def find_chromium() -> str | None:
    """The browser's executable: PALMTOP_CHROMIUM, or the first of the usual names on the PATH."""
    named = os.environ.get("PALMTOP_CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


@functools.cache
def chromium_version(executable: str) -> str:
    """The version number that the browser says it has."""
    said = subprocess.run(
        [executable, "--version"], capture_output=True, text=True, timeout=60, check=False
    ).stdout.split()
    return next((word for word in said if word[:1].isdigit()), "unknown")


class Chromium:
    """A browser process with a fresh profile.

    playwright is bound to the thread it was started in and can't run inside an event loop, so it gets a thread here;
    pages may then be used from any thread, and in notebooks.
    """

    def __init__(self) -> None:
        executable = find_chromium()
        if executable is None:
            raise UserError(missing_chromium())
        self._mark = f"--palmtop-session={uuid.uuid4().hex}"
        self._thread = ThreadPoolExecutor(1, "palmtop-chromium")
        self._closed = False
        try:
            self.run(lambda: self._start(executable))
        except BaseException:
            self._thread.shutdown(wait=False)
            raise

    def open(self, address: str, ready: str) -> "Page":
        """Open a page and wait until the expression `ready` holds in it."""
        return Page(self, address, ready)

    def run(self, question: Callable[[], Answer]) -> Answer:
        """Do something in the browser's thread.

        Raises:
            RuntimeError: what went wrong in the page, in its words; or that it didn't answer in time.
        """
        from playwright.sync_api import Error

        future = self._thread.submit(question)
        try:
            return future.result(TIMEOUT_S)
        except TimeoutError:
            self._kill()
            raise RuntimeError(f"the page didn't answer within {TIMEOUT_S} s; its browser was ended") from None
        except Error as error:
            raise RuntimeError(_message(error)) from error

    def renderer_peaks_kb(self) -> dict[int, int]:
        """The peak resident memory (VmHWM) of each renderer process of this browser, by process id."""
        parents = {pid: _status(pid, "PPid") for pid in _processes()}
        return {
            pid: _status(pid, "VmHWM")
            for pid in parents
            if self._pid() in _ancestors(pid, parents) and "--type=renderer" in _command(pid)
        }

    def close(self) -> None:
        """End the browser and its thread."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):  # a browser that has died already
            self.run(self._stop)
        self._thread.shutdown()

    def _start(self, executable: str) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        try:
            self.browser = self._playwright.chromium.launch(
                executable_path=executable, headless=True, args=[*FLAGS, self._mark]
            )
        except BaseException:
            self._playwright.stop()
            raise

    def _stop(self) -> None:
        try:
            self.browser.close()
        finally:
            self._playwright.stop()

    def _pid(self) -> int:
        mine = [pid for pid in _processes() if self._mark in (command := _command(pid)) and "--type=" not in command]
        return min(mine, default=0)

    def _kill(self) -> None:
        pid = self._pid()
        if pid:
            os.kill(pid, signal.SIGKILL)


class Page:
    """A page that answers questions: functions of its window.palmtop."""

    def __init__(self, browser: Chromium, address: str, ready: str) -> None:
        self._browser = browser
        self._errors: list[str] = []
        try:
            browser.run(lambda: self._open(address, ready))
        except RuntimeError as error:
            raise RuntimeError("; ".join(self._errors) or str(error)) from error

    def ask(self, question: str, argument: dict[str, Any]) -> Any:
        """Call window.palmtop.<question>(argument) and wait for its answer.

        Raises:
            RuntimeError: the page threw; with its message.
        """
        call = "([question, argument]) => window.palmtop[question](argument)"
        return self._browser.run(lambda: self._page.evaluate(call, [question, argument]))

    def close(self) -> None:
        """Close the page."""
        with contextlib.suppress(RuntimeError):  # a browser that has died already
            self._browser.run(self._context.close)

    def _open(self, address: str, ready: str) -> None:
        self._context = self._browser.browser.new_context()
        self._page = self._context.new_page()
        self._page.on("pageerror", lambda error: self._errors.append(str(error)))
        self._page.goto(address)
        self._page.wait_for_function(ready)


def missing_chromium() -> str:
    """How to get a browser."""
    named = os.environ.get("PALMTOP_CHROMIUM")
    if named:
        return f"PALMTOP_CHROMIUM={named} isn't an executable: correct it, or unset it to use the Chromium on the PATH"
    return "Chromium isn't installed: apt-get install chromium, or set PALMTOP_CHROMIUM=/path; `palmtop setup` does it"


def _message(error: BaseException) -> str:
    """A page's own words: without playwright's prefix and the stack."""
    return str(error).removeprefix("Page.evaluate: ").split("\n    at ")[0].strip()


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    found: set[int] = set()
    while pid in parents and pid not in found:
        found.add(pid)
        pid = parents[pid]
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").replace("\0", " ")
    except OSError:  # it has ended
        return ""


def _status(pid: int, key: str) -> int:
    """A number of /proc/<pid>/status; memory is in kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)
