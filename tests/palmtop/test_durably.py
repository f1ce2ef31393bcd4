"""Files are whole or not at all; of several processes the first makes, the others wait."""

import errno
import resource
import threading
from pathlib import Path

import numpy as np
import pytest

from palmtop.durably import replacing, write_array_durably, write_durably
from palmtop.processes import made_by_first


def test_what_could_not_be_written_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "kept.npy"
    write_durably(path, "old")
    with pytest.raises(ValueError, match="half"), replacing(path) as beside:
        assert beside.suffix == ".npy"
        beside.write_text("ne")
        raise ValueError("half")
    assert path.read_text() == "old"
    write_durably(path, "new")
    assert path.read_text() == "new"
    assert [found.name for found in tmp_path.iterdir()] == ["kept.npy"]


def test_an_array_that_finds_no_room_is_told_by_name_and_number(tmp_path: Path) -> None:
    path = tmp_path / "kept.npy"
    write_array_durably(path, np.arange(3))
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, allowed[1]))
    try:
        with pytest.raises(OSError, match=r"kept\.npy") as caught:
            write_array_durably(path, np.arange(3000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert caught.value.errno == errno.EFBIG
    assert np.load(path).tolist() == [0, 1, 2]


def test_the_first_process_makes_once_and_the_others_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark, made = tmp_path / "mark", []

    def make() -> None:
        made.append(1)
        mark.touch()

    monkeypatch.setenv("RANK", "1")
    waiting = threading.Thread(target=made_by_first, args=(mark, make))
    waiting.start()
    waiting.join(timeout=0.5)
    assert waiting.is_alive() and not made
    monkeypatch.setenv("RANK", "0")
    for _ in range(2):
        made_by_first(mark, make)
    waiting.join(timeout=10)
    assert not waiting.is_alive() and len(made) == 1
