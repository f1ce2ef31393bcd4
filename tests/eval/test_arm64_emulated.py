"""The target arm64_emulated: LiteRT's kernels for 64-bit Arm answer as this machine's do, and no time is told."""

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import palmtop
from palmtop import target
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.targets import _arm64, arm64_emulated
from palmtop.eval.targets._boards import CORES, board

KEPT = Path(__file__).parents[1] / "data" / "run_before_the_move"
STUDENT = KEPT / "student-tflite"
INT8 = 0.05
"""Of the spread: two libraries' ways of rounding to 8 bits; measured on 4,500 texts: 0.029 at most."""


@pytest.fixture
def packed() -> Path:
    found = _arm64.payload()
    if found is None:
        pytest.skip("there is no Arm system here: `palmtop setup arm64` makes one")
    return found


def test_a_core_is_asked_for_by_its_name_or_is_the_a76() -> None:
    assert target.find("arm64_emulated").label == "arm64_emulated:a76"
    with pytest.raises(UserError) as raised:
        target.find("arm64_emulated:a78")
    assert str(raised.value) == "arm64_emulated has no core 'a78'; did you mean 'a76'?"


def test_qemus_max_is_never_used() -> None:
    assert "max" not in {core.cpu for core in CORES.values()} | set(CORES)


def test_a_core_that_qemu_does_not_know_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    qemu = tmp_path / "qemu"
    qemu.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "qemu-aarch64 version 7.2.22 (Debian)" && exit\n'
        'echo "Available CPUs:"; echo "  cortex-a53"; echo "  cortex-a76"; echo "  max"; exit 1\n',
        encoding="utf-8",
    )
    qemu.chmod(0o755)
    monkeypatch.setattr(_arm64, "emulator", lambda: qemu)
    told = target.find("arm64_emulated:a710").missing()
    assert told == "qemu 7.2.22 knows no Cortex-A710: choose another core (a53, a76)"


def test_without_qemu_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arm64, "emulator", lambda: None)
    told = target.find("arm64_emulated").missing()
    assert told == "the target arm64_emulated needs qemu and an Arm system: `palmtop setup arm64`"


def test_float_files_answer_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    there = target.find("arm64_emulated")
    assert there.answers_at_most(STUDENT) == 200
    monkeypatch.setattr(arm64_emulated, "precision", lambda _: "dynamic_int8")
    assert there.answers_at_most(STUDENT) is None


def test_a_board_says_the_core_that_it_has(tmp_path: Path) -> None:
    (tmp_path / "system" / "usr").mkdir(parents=True)
    for core in CORES.values():
        made = board(tmp_path / "system", core)
        assert f"CPU part\t: {core.part}\n" in (made / "proc" / "cpuinfo").read_text(encoding="ascii")
        assert (made / "usr").resolve() == (tmp_path / "system" / "usr").resolve()
        assert made == board(tmp_path / "system", core)


@pytest.mark.slow
def test_arms_kernels_answer_as_this_machines(packed: Path, int8: Bundle) -> None:
    texts = int8.task.load("evaluation").texts[::75] if int8.task else []
    there = target.find("arm64_emulated:a76")
    assert there.missing() is None
    assert there.machine().processor == "Cortex-A76, emulated"
    with target.find("host_litert").open(int8.path) as ours, there.open(int8.path) as theirs:
        encodings = ours.tokenize(texts)
        expected, found = ours.predict(encodings), theirs.predict(encodings)
    assert len(texts) == 60 and np.abs(expected - found).max() / expected.std() < INT8
    assert _sure(expected, found)


@pytest.mark.slow
def test_the_python_that_is_brought_needs_nothing_of_its_machine(packed: Path) -> None:
    """With its own loader and libraries: without those of the emulator's root, as on a board that has others."""
    root, qemu = _arm64.root_here(), _arm64.emulator()
    told = "import sys, json, ctypes, ssl, sqlite3, bz2, lzma; print(sys.version_info[:2], sys.prefix)"
    words = shlex.split(_arm64.python_in(str(root)))
    place = next(number for number, word in enumerate(words) if word.endswith("ld-linux-aarch64.so.1"))
    done = _run([*words[:place], str(qemu), *words[place:], "-c", told])
    assert done.stdout.split() == ["(3,", "11)", f"{root}/usr"], done.stderr


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of a model that was hardly trained: its answers lie so near each other that int8 differs by more than their
    spread, whose kernels ever compute it."""
    folder = tmp_path_factory.mktemp("int8") / "int8"
    return palmtop.make("quantize", STUDENT, folder, say=lambda _: None, tolerance=2.0)


def _sure(expected: Any, found: Any) -> bool:
    """Whether the labels are the same wherever the first is ahead by more than rounding can move it."""
    two = np.sort(expected, axis=1)[:, -2:]
    sure = two[:, 1] - two[:, 0] > 2 * INT8 * expected.std()
    return bool((expected.argmax(axis=1) == found.argmax(axis=1))[sure].all())


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, check=False, capture_output=True, text=True)
