"""The target android against a real adbd on this machine, which plays the phone with this machine's Python; no phone
has ever been asked."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loopback_adbd import SERIAL, Phone, phone

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.data.encoding import Text
from palmtop.errors import UserError
from palmtop.eval.measuring.latency import side_by_side
from palmtop.eval.targets import _adb_link, _arm64, android
from palmtop.eval.targets.android import thermal_status
from palmtop.target import Unreachable

pytest.importorskip("adbutils", reason="the extra 'remote' isn't installed")
KEPT = Path(__file__).parents[1] / "data" / "run_before_the_move" / "student-tflite"
TEXTS: list[Text] = [
    ("play some jazz",),
    ("will it rain tomorrow",),
    ("what is the weather like in the mountains now",),
]
LABEL = f"android:{SERIAL}"


@pytest.fixture
def plugged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Phone]:
    """The phone's folder is below this test's, and its Python is this one: its own is for Arm."""
    packed = tmp_path / "arm64.tar.gz"
    packed.write_bytes(b"for a phone")
    monkeypatch.setattr(_arm64, "payload", lambda: packed)
    monkeypatch.setattr(_arm64, "unpacked", lambda *_: sys.executable)
    for module in (_adb_link, android):
        monkeypatch.setattr(module, "FOLDER", str(tmp_path / "phone"))
    with phone(tmp_path, monkeypatch) as there:
        yield there


@pytest.fixture(scope="module")
def student() -> Bundle:
    return Bundle.open(KEPT)


def test_a_phone_answers_and_says_what_it_is(plugged_in: Phone, student: Bundle) -> None:
    there = target.find(LABEL)
    assert there.missing() is None
    machine = there.machine()
    assert machine.processor.startswith("Acme Pocket 3, Zilog Z80, ")
    assert machine.system == "Android 14 (API 34)"
    with target.find("host_litert").open(student.path) as ours, there.open(student.path) as theirs:
        encodings = ours.tokenize(TEXTS)
        np.testing.assert_array_equal(ours.predict(encodings), theirs.predict(theirs.tokenize(TEXTS)))
        assert len(theirs.latencies_ms(encodings, 16, 5)) == 5
        plugged_in.thermal.write_text("IsStatusOverride: false\nThermal Status: 3\nCached temperatures:\n")
        state = theirs.state()
    assert state.noted["thermal_status"] == "severe"
    assert state.doubt == "the phone is hot (thermal status severe): let it cool, and measure again"


def test_a_cable_that_is_pulled_half_way_leaves_the_times_so_far(plugged_in: Phone, student: Bundle) -> None:
    with target.find(LABEL).open(student.path) as runner:
        threading.Timer(1.5, plugged_in.kill).start()
        (timed,) = side_by_side([runner], TEXTS, 16, 1_000_000)
    assert isinstance(timed.gone, Unreachable)
    assert str(timed.gone).startswith(f"{LABEL}: ")
    assert "measure again" in str(timed.gone)


def test_an_unknown_phone_is_told(plugged_in: Phone) -> None:
    assert target.find("android:R5CN00").missing() == (
        "android:R5CN00: adb knows no phone 'R5CN00': plug it in, switch USB debugging on in its developer options, "
        "and look with `adb devices` how it is called"
    )


def test_a_phone_of_another_kind_is_refused(plugged_in: Phone) -> None:
    (plugged_in.programs / "getprop").write_text("#!/bin/sh\necho armeabi-v7a\n", encoding="utf-8")
    assert target.find(LABEL).missing() == f"{LABEL}: the phone's programs are armeabi-v7a, not arm64-v8a"


def test_without_an_arm_system_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_arm64, "payload", lambda: None)
    assert target.find(LABEL).missing() == "the target android needs an Arm system: `palmtop setup arm64`"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("device 'R5' not found", "adb knows no phone 'R5': plug it in"),
        ("device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "the phone doesn't trust this machine"),
        ("device offline", "the phone is offline: unplug it"),
        ("connect to adb server failed: [Errno 111]", "adb's server can't be reached"),
        ("closed", "adb says 'closed': look at the phone"),
    ],
)
def test_what_adb_says_is_told_with_what_to_do(said: str, told: str) -> None:
    assert _adb_link._told("R5", said).startswith(told)


@pytest.mark.parametrize(("said", "status"), [("Thermal Status: 0\n", 0), ("x\nThermal Status: 5", 5), ("", None)])
def test_the_thermal_status_is_read(said: str, status: int | None) -> None:
    assert thermal_status(said) == status


def test_a_full_phone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = tmp_path / "model.tflite"
    big.write_bytes(bytes(3_000_000))
    monkeypatch.setattr(android, "FOLDER", str(tmp_path / "phone"))
    with phone(tmp_path, monkeypatch, disk="1m"):
        there = target.find(LABEL)
        assert isinstance(there, android.Target)
        with pytest.raises(UserError) as raised:
            there.brought(big)
    assert str(raised.value) == (
        f"{LABEL}: no space left there for model.tflite (3 MB): free some; {tmp_path}/phone/files there holds what "
        "palmtop brought, and may be removed"
    )


def test_what_the_phones_gpu_takes_is_asked_of_the_users_own_tool(
    plugged_in: Phone, student: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tool is played by a script that prints what the real one does."""
    there = target.find(LABEL)
    assert isinstance(there, android.Target)
    taken, executed = tmp_path / "benchmark_model", "completely executed by the delegate."
    line = "Replacing 49 out of 49 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions for x."
    times = "INFO: count=60 first=4215 curr=4180 min=4100 max=5200 avg=4310 std=12 p5=4102 median=4250 p95=5100"
    taken.write_text(
        f"#!/bin/sh\necho '{line}'\necho 'Explicitly applied GPU delegate, and it is {executed}'\n"
        f"echo '{times}'\necho \"$@\" >&2\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PALMTOP_BENCHMARK_MODEL", str(taken))
    found = there.delegated(student.path, "gpu", 8)
    assert str(found) == "49 of 49 nodes delegated to GPU; 4.25 ms an answer, 60 runs"
    taken.write_text("#!/bin/sh\necho no such graph >&2\nexit 1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"benchmark_model ended with 1 \(no such graph\)"):
        there.delegated(student.path, "gpu", 8)
