"""A folder of the cache is made once, whole, and by one process at a time."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from palmtop.errors import UserError
from palmtop.folders import cache, fill_once

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
    said.put((name, fill_once(cache("things") / "one", CARD, slowly, lambda words: said.put((name, words)))))


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

    assert fill_once(folder, CARD, fill, print) is False
    assert [path.name for path in folder.iterdir()] == [CARD] and not left.exists()
    assert fill_once(folder, CARD, lambda _: pytest.fail("made twice"), print) is True


def test_an_error_leaves_nothing_that_could_be_taken_for_whole() -> None:
    folder = cache("things") / "one"

    def fails(into: Path) -> None:
        (into / "part").write_text("half")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        fill_once(folder, CARD, fails, print)
    assert not folder.exists()
    assert fill_once(folder, CARD, lambda into: (into / CARD).touch(), print) is False


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
