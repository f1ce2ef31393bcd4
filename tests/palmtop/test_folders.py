"""A folder of the cache is made once, whole, and by one process at a time; what was changed since is made again."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from palmtop.errors import UserError
from palmtop.folders import SEAL, cache, fill_once

CARD = "card"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path))


def _fill(said: Any, go_on: Any) -> None:
    """In a process of its own; `said` and `go_on` are its queue and its event."""

    def slowly(into: Path) -> None:
        (into / "part").write_text("half")
        assert go_on.wait(60)
        (into / "part").write_text("whole")
        (into / CARD).touch()

    name = multiprocessing.current_process().name
    said.put((name, fill_once(cache("things") / "one", slowly, lambda words: said.put((name, words)))))


def test_a_second_process_waits_and_takes_what_the_first_made() -> None:
    spawned = multiprocessing.get_context("spawn")
    said, go_on = spawned.Queue(), spawned.Event()
    both = [spawned.Process(target=_fill, args=(said, go_on)) for _ in range(2)]
    for each in both:
        each.start()
    folder = cache("things") / "one"
    second, words = said.get(timeout=60)
    assert words == f"another palmtop is making {folder}: waiting for it"
    assert not folder.exists()
    go_on.set()
    for each in both:
        each.join()
    [first] = {each.name for each in both} - {second}
    assert dict(said.get(timeout=60) for _ in both) == {first: False, second: True}
    assert (folder / "part").read_text() == "whole"


def test_what_a_killed_one_left_is_made_again() -> None:
    folder = cache("things") / "one"
    left = cache("things", ".one.partial")
    (left / "part").write_text("half")

    def fill(into: Path) -> None:
        assert not list(into.iterdir())
        (into / CARD).touch()

    assert fill_once(folder, fill, print) is False
    assert {path.name for path in folder.iterdir()} == {CARD, SEAL} and not left.exists()
    assert fill_once(folder, lambda _: pytest.fail("made twice"), print) is True


def test_an_error_leaves_nothing_that_could_be_taken_for_whole() -> None:
    folder = cache("things") / "one"

    def fails(into: Path) -> None:
        (into / "part").write_text("half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        fill_once(folder, fails, print)
    assert not folder.exists()
    assert fill_once(folder, lambda into: (into / CARD).touch(), print) is False


@pytest.mark.parametrize("damage", ["changed", "cut", "lost", "added", "no seal", "a seal that can't be read"])
def test_what_is_not_as_it_was_sealed_is_made_again_with_a_word(damage: str) -> None:
    folder, said = cache("things") / "one", list[str]()

    def fill(into: Path) -> None:
        (into / "part").write_text("whole")

    def harm() -> None:
        (folder / "part").write_text("whale")

    harms: dict[str, Callable[[], object]] = {
        "changed": harm,
        "cut": lambda: (folder / "part").write_text("who"),
        "lost": (folder / "part").unlink,
        "added": (folder / "other").touch,
        "no seal": (folder / SEAL).unlink,
        "a seal that can't be read": lambda: (folder / SEAL).write_text("{"),
    }
    assert fill_once(folder, fill, said.append) is False
    harms[damage]()
    assert not said
    assert fill_once(folder, fill, said.append) is False
    assert said == [f"{folder} isn't as it was sealed, or has no seal: it is made again"]
    assert (folder / "part").read_text() == "whole"
    assert fill_once(folder, lambda _: pytest.fail("made twice"), print) is True


def test_others_of_a_distributed_run_wait_for_what_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = cache("things") / "one"
    folder.mkdir()
    (folder / "part").write_text("of another time")
    monkeypatch.setenv("RANK", "1")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(fill_once, folder, lambda _: pytest.fail("not the first"), print)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=0.5)
        monkeypatch.setenv("RANK", "0")
        assert fill_once(folder, lambda into: (into / "part").touch(), print) is False
        assert waiting.result(timeout=10) is True


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nobody"])
def test_a_home_that_keeps_no_cache(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for name in ("PALMTOP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / place))
    with pytest.raises(UserError) as caught:
        cache("locks")
    told = str(caught.value)
    assert told.startswith(f"palmtop's cache can't be kept in {tmp_path / place}/.cache/palmtop/locks (")
    assert told.endswith("): name a folder that can be written with the environment variable PALMTOP_CACHE")
