"""The target ssh against a real ssh server on this machine: answers, what is brought there once, and what is told when
the machine isn't to be had, is full, or goes away half-way."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from loopback_sshd import Server, sshd

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.data.encoding import Text
from palmtop.errors import UserError
from palmtop.eval.measuring.latency import side_by_side
from palmtop.eval.targets import _ssh_link, ssh
from palmtop.eval.targets._elsewhere import doubt
from palmtop.eval.targets._ssh_link import Address
from palmtop.target import Unreachable

pytest.importorskip("asyncssh", reason="the extra 'remote' isn't installed")
KEPT = Path(__file__).parents[1] / "data" / "run_before_the_move" / "student-tflite"
TEXTS: list[Text] = [
    ("play some jazz",),
    ("will it rain tomorrow",),
    ("what is the weather like in the mountains now",),
]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with sshd(tmp_path, monkeypatch) as started:
        yield started


@pytest.fixture(scope="module")
def student() -> Bundle:
    return Bundle.open(KEPT)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("pi@board", Address("board", "pi")),
        ("board", Address("board")),
        ("me@10.0.0.7:2222", Address("10.0.0.7", "me", 2222)),
        ("me@[fe80::1]:22", Address("fe80::1", "me", 22)),
    ],
)
def test_an_address_is_ssh_s(text: str, parts: Address) -> None:
    assert Address.read(text) == parts


@pytest.mark.parametrize("text", ["pi@", "a:b:c", "board:ssh", "me@board:70000", "board:0"])
def test_what_is_no_address_is_told_before_any_work(text: str) -> None:
    with pytest.raises(UserError) as raised:
        target.find(f"ssh:{text}")
    assert str(raised.value) == f"'{text}' is no address for ssh: write ssh:USER@HOST, or ssh:USER@HOST:PORT"


def test_a_machine_elsewhere_answers_as_this_one(server: Server, student: Bundle) -> None:
    there = target.find(server.label)
    assert there.missing() is None
    machine = there.machine()
    assert machine.cores == len(os.sched_getaffinity(0)) and machine.versions["ai-edge-litert"]
    with target.find("host_litert").open(student.path) as ours, there.open(student.path) as theirs:
        encodings = ours.tokenize(TEXTS)
        np.testing.assert_array_equal(ours.predict(encodings), theirs.predict(theirs.tokenize(TEXTS)))
        (timed,) = side_by_side([theirs], TEXTS, 16, 50)
    assert len(timed.alone_ms) == 50 and min(timed.alone_ms) > 0
    assert not timed.tokenize_ms and not timed.text_ms and timed.not_tokenized
    assert timed.noted["load"] >= 0
    load_ms, memory_mb = there.cost_of_loading(student.path, TEXTS[0])
    assert load_ms > 0 and memory_mb > 0


def test_a_file_goes_there_once_and_only_whole(server: Server, tmp_path: Path) -> None:
    there = target.find(server.label)
    assert isinstance(there, ssh.Target)
    file = tmp_path / "model.tflite"
    file.write_bytes(os.urandom(100_000))
    place = Path(there.brought(file))
    assert place.read_bytes() == file.read_bytes()
    written = place.stat().st_mtime_ns
    assert (Path(there.brought(file)), place.stat().st_mtime_ns) == (place, written)
    place.with_name(f"{place.name}.partial").write_bytes(b"cut off")  # by a wire that was cut
    place.unlink()
    assert Path(there.brought(file)).read_bytes() == file.read_bytes()
    assert list(place.parent.glob("*.partial")) == []


def test_a_file_that_was_changed_there_is_not_answered_with(server: Server, student: Bundle) -> None:
    there = target.find(server.label)
    assert isinstance(there, ssh.Target)
    Path(there.brought(student.path / "model.tflite")).write_bytes(b"another")
    with pytest.raises(UserError, match="isn't the file that was sent: remove it there, and measure again"):
        there.open(student.path)


def test_an_unknown_host_key_is_refused(server: Server) -> None:
    (Path.home() / ".ssh" / "known_hosts").unlink()
    told = target.find(server.label).missing()
    assert told == (
        f"{server.label}: its host key isn't the one in your known_hosts, or isn't there yet: run "
        f"`ssh -p {server.port} root@127.0.0.1` once and look at the key before you take it"
    )


def test_another_key_than_the_known_one_is_refused(server: Server) -> None:
    known = Path.home() / ".ssh" / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {(Path.home() / '.ssh' / 'id_ed25519.pub').read_text()}")
    assert "its host key isn't the one in your known_hosts" in str(target.find(server.label).missing())


def test_who_is_not_let_in_is_told_how_to_be(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in (Path.home() / ".ssh").glob("id_*"):
        key.rename(key.with_name(f"not_{key.name}"))
    how = f"`ssh-copy-id -p {server.port} root@127.0.0.1` puts your key there, or set PALMTOP_SSH_PASSWORD"
    assert target.find(server.label).missing() == (
        f"{server.label}: it doesn't let you in (none of your keys opens it): {how}"
    )
    monkeypatch.setenv("PALMTOP_SSH_PASSWORD", "wrong")
    assert target.find(server.label).missing() == (
        f"{server.label}: it doesn't let you in (the password in PALMTOP_SSH_PASSWORD is wrong): {how}"
    )


def test_where_nothing_answers_it_is_told(server: Server) -> None:
    server.kill()
    assert target.find(server.label).missing() == (
        f"{server.label}: it is there, and no ssh server answers at that port: start sshd on it, or write the port, "
        "ssh:USER@HOST:PORT"
    )


def test_a_name_that_nobody_has_is_told() -> None:
    assert target.find("ssh:me@no-such-machine.invalid").missing() == (
        "ssh:me@no-such-machine.invalid: no machine is called 'no-such-machine.invalid' here: look at the name, or "
        "write its number"
    )


def test_a_machine_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    monkeypatch.setattr(_ssh_link, "CONNECT_S", 0.5)
    with socket.socket() as silent:  # takes the call, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        label = f"ssh:me@127.0.0.1:{silent.getsockname()[1]}"
        assert target.find(label).missing() == (
            f"{label}: no answer in time: see that it is switched on and in this network, and measure again"
        )


def test_a_python_without_litert_says_what_to_do(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_SSH_PYTHON", "/usr/bin/false")
    told = str(target.find(server.label).missing())
    assert told.startswith(f"{server.label}: /usr/bin/false there has no LiteRT (status 1; Linux ")
    assert told.endswith("or name a Python that has it with PALMTOP_SSH_PYTHON") or "palmtop setup arm64" in told


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = tmp_path / "model.tflite"
    big.write_bytes(bytes(3_000_000))
    with sshd(tmp_path / "full", monkeypatch, disk="1m") as server:
        there = target.find(server.label)
        assert isinstance(there, ssh.Target)
        with pytest.raises(UserError) as raised:
            there.brought(big)
    assert str(raised.value) == (
        f"{server.label}: no space left there for model.tflite (3 MB): free some; {server.there}/palmtop/files there "
        "holds what palmtop brought, and may be removed"
    )


def test_a_machine_that_goes_away_half_way_leaves_the_times_so_far(server: Server, student: Bundle) -> None:
    with target.find(server.label).open(student.path) as runner:
        threading.Timer(1.0, server.kill).start()
        (timed,) = side_by_side([runner], TEXTS, 16, 1_000_000)
    assert isinstance(timed.gone, Unreachable)
    assert timed.doubt == f"after {len(timed.alone_ms)} of 1000000 answers: {timed.gone}"
    assert str(timed.gone) == (
        f"{server.label}: the connection was cut: see that it is switched on and in this network, and measure again"
    )


def test_a_machine_that_came_back_is_gone_on_with(server: Server) -> None:
    there = target.find(server.label)
    machine = there.machine()
    server.kill()
    assert there.missing() is not None
    server.start()
    assert there.machine() == machine


@pytest.mark.parametrize(
    ("noted", "told"),
    [
        ({"load": 0.4, "cores": 4, "hottest_c": 51.0, "throttles_at_c": 80.0}, None),
        (
            {"load": 5.5, "cores": 4},
            "the machine is busy (load 5.5 on 4 cores): end what else runs there, and measure again",
        ),
        (
            {"load": 1.0, "cores": 4, "hottest_c": 81.2, "throttles_at_c": 80.0},
            "the machine is hot (81 of 80 degrees C, where it slows down): let it cool, and measure again",
        ),
        ({"load": 1.0, "cores": 4, "hottest_c": 81.2, "throttles_at_c": None}, None),
    ],
)
def test_times_of_a_hot_or_busy_machine_are_doubted(noted: dict[str, float], told: str | None) -> None:
    assert doubt(noted) == told
