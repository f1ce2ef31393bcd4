"""Making a bundle: kept, continued, replaced as a whole, alone; whatever kills the process, and whenever."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.numpy import save_file

from palmtop.bundle import Bundle, Format, is_sealed
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.making import lock_on, make
from palmtop.measure_settings import MeasureText
from palmtop.recipe.recipe import Recipe
from palmtop.recipe.steps import Step
from palmtop.stage import Stage, Work

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree")
"""What a process does to a folder, as Python's audit hooks tell it, just before it is done."""


class Write(Stage):
    """Writes some files, and counts in its scratch folder how often it ran."""

    accepts: ClassVar[frozenset[Format]] = frozenset()
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "none"
    distributed: ClassVar[bool] = True

    parts: int = 3
    """How many files."""
    seconds: float = 0.0
    """How long it takes."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Write; the first process of a distributed run writes the model."""
        rank = os.environ.get("RANK", "0")
        with (work.scratch / f"runs-{rank}").open("a", encoding="utf-8") as file:
            file.write("x")
        for part in range(self.parts if rank == "0" else 0):
            (work.out / f"part{part}").write_text(f"part {part}\n", encoding="utf-8")
        time.sleep(self.seconds)
        return {"runs": len((work.scratch / f"runs-{rank}").read_text(encoding="utf-8"))}


class Longer(Stage):
    """Copies its source and adds a file."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"

    text: str = "more"
    """What the new file holds."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Copy and add."""
        assert source is not None
        for name in source.card.files:
            shutil.copy(source.path / name, work.out / name)
        (work.out / self.text).write_text(self.text, encoding="utf-8")
        return {}


class Telling(Write):
    """Says what it does."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Say it, and write."""
        work.say(f"writing {self.parts} parts")
        return super().run(source, work)


class Full(Write):
    """Finds the disk full."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Write until it is full."""
        raise OSError(errno.ENOSPC, "No space left on device", str(work.out / "part0"))


class FullInRust(Write):
    """Writes through a library that has words of its own for a full disk."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Write 400 kB."""
        save_file({"weights": np.zeros(100_000, np.float32)}, work.out / "model.safetensors")
        return {}


def quiet(_: str) -> None:
    """For runs whose words don't matter."""


def in_child(action: Callable[[], object], **environment: str) -> int:
    """Start `action` in a process of its own; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    os.environ.update(environment)
    try:
        action()
    except BaseException as error:  # noqa: BLE001  # the child must not go on as a second pytest
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


def killed_at(event: int, folder: Path, action: Callable[[], object]) -> bool:
    """Run `action` in a process that is killed just before its n-th change below `folder`; False if it ended before."""
    seen = 0

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if name in EVENTS and any(str(folder) in str(argument) for argument in arguments):
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)

    def watched() -> None:
        sys.addaudithook(hook)
        action()

    _, status = os.waitpid(in_child(watched), 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RANK", raising=False)


def test_made_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    made = make("write", Write(), None, tmp_path / "a", said.append)
    made.verify()
    assert made.card.facts["runs"] == 1
    assert make("write", Write(), None, tmp_path / "a", said.append).card.created == made.card.created
    assert said == ["a: write", "a: made before with the same settings and inputs, kept"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_the_card_says_what_the_stage_does_and_an_equal_one_without_is_kept(tmp_path: Path) -> None:
    first = make("write", Write(), None, tmp_path / "a", quiet)
    made = make("longer", Longer(), first, tmp_path / "b", quiet)
    assert (made.card.effect, [step.effect for step in made.lineage]) == ("cuts", ["none", "cuts"])
    card = json.loads((made.path / "palmtop.json").read_text())
    assert "effect" not in card["origin"]
    for said in (card, *card["lineage"]):
        del said["effect"]
    (made.path / "palmtop.json").write_text(json.dumps(card))  # as a card of before
    said: list[str] = []
    assert make("longer", Longer(), first, tmp_path / "b", said.append).card.effect is None
    assert said == ["b: made before with the same settings and inputs, kept"]


def test_what_a_setting_became_here_stands_in_the_origin_and_an_equal_one_is_kept(tmp_path: Path) -> None:
    class Choosing(Write):
        def became(self, facts: Mapping[str, Any]) -> dict[str, str]:
            return {"way": f"after {facts['runs']} run"}

    made = make("write", Choosing(), None, tmp_path / "a", quiet)
    assert made.card.origin.became == {"way": "after 1 run"}
    said: list[str] = []
    assert make("write", Choosing(), None, tmp_path / "a", said.append) == made
    assert said == ["a: made before with the same settings and inputs, kept"]
    plain = make("write", Write(), None, tmp_path / "b", quiet)
    assert "became" not in json.loads((plain.path / "palmtop.json").read_text())["origin"]  # as cards of before
    assert plain.card.origin != made.card.origin and plain.card.origin.asked == made.card.origin.asked


def test_what_a_stage_says_is_told_where_its_maker_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    make("telling", Telling(), None, tmp_path / "a", said.append)
    assert said == ["a: telling", "writing 3 parts"]
    assert capsys.readouterr().out == ""


def test_other_settings_replace_it(tmp_path: Path) -> None:
    make("write", Write(parts=5), None, tmp_path / "a", quiet)
    assert set(make("write", Write(parts=2), None, tmp_path / "a", quiet).card.files) == {"part0", "part1"}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["palmtop.json", "part0", "part1"]


def test_a_kill_at_any_moment_leaves_the_old_or_nothing_or_the_new(tmp_path: Path) -> None:
    out, moment, states = tmp_path / "run" / "a", 0, set()
    while True:
        moment += 1
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        old = make("write", Write(parts=1), None, out, quiet)
        killed = killed_at(moment, tmp_path / "run", lambda: make("write", Write(parts=2), None, out, quiet))
        states.add(Bundle.open(out).card.origin.settings["parts"] if is_sealed(out) else "nothing")
        if is_sealed(out):
            Bundle.open(out).verify()
            assert killed or Bundle.open(out).digest != old.digest
        else:
            assert not out.exists()
        again = make("write", Write(parts=2), None, out, quiet)
        again.verify()
        assert set(again.card.files) == {"part0", "part1"}
        if not killed:
            break
    assert moment > 20
    assert states == {1, 2, "nothing"}


def test_what_was_cut_short_is_continued_with_its_scratch(tmp_path: Path) -> None:
    pid = in_child(lambda: make("write", Write(seconds=30), None, tmp_path / "a", quiet))
    wait_for(tmp_path / ".a.partial" / "bundle" / "part2")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert not (tmp_path / "a").exists()
    (tmp_path / ".a.partial" / "bundle" / "stray").write_text("left behind")
    shutil.copytree(tmp_path / ".a.partial", tmp_path / "kept")
    said: list[str] = []
    assert (
        make("write", Write(), None, tmp_path / "a", said.append).card.facts["runs"] == 1
    )  # other settings: begun anew
    shutil.rmtree(tmp_path / "a")
    (tmp_path / "kept").rename(tmp_path / ".a.partial")
    (tmp_path / ".a.partial" / "origin.json").write_text(
        (tmp_path / ".a.partial" / "origin.json").read_text().replace("30.0", "0.0")
    )
    continued = make("write", Write(), None, tmp_path / "a", said.append)
    assert (continued.card.facts["runs"], set(continued.card.files)) == (2, {"part0", "part1", "part2"})
    assert said == ["a: write", "a: write, continuing what was cut short"]


def test_two_processes_on_one_folder(tmp_path: Path) -> None:
    pid = in_child(lambda: make("write", Write(seconds=30), None, tmp_path / "a", quiet))
    wait_for(tmp_path / ".a.partial" / "bundle" / "part2")
    with pytest.raises(UserError) as caught:
        make("write", Write(seconds=1), None, tmp_path / "a", quiet)
    assert (
        str(caught.value)
        == f"another palmtop is working on {tmp_path}/a: wait for it, or choose another folder with --out"
    )
    assert (tmp_path / ".a.partial" / "bundle" / "part2").is_file()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    make("write", Write(), None, tmp_path / "a", quiet)


def test_a_lock_holds_whoevers_cache_is_used_and_leaves_nothing(tmp_path: Path) -> None:
    holds = tmp_path / "holds"

    def hold() -> None:
        with lock_on(tmp_path / "a"):
            holds.touch()
            time.sleep(30)

    pid = in_child(hold, PALMTOP_CACHE=str(tmp_path / "another-cache"))
    wait_for(holds)
    with pytest.raises(UserError, match=r"another palmtop is working on .*a: wait for it"), lock_on(tmp_path / "a"):
        pytest.fail("two at once")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with lock_on(tmp_path / "a"):
        pass
    assert [path.name for path in tmp_path.iterdir() if "lock" in path.name] == []


def test_what_one_left_that_was_killed_behind_the_rename_is_cleared_up(tmp_path: Path) -> None:
    made = make("write", Write(), None, tmp_path / "a", quiet)
    shop, old = tmp_path / ".a.partial", tmp_path / ".a.old"
    for left in (shop / "scratch", old):
        left.mkdir(parents=True)
    (shop / "origin.json").write_text(made.card.origin.model_dump_json())
    with lock_on(tmp_path / "a"):  # another is at work
        assert make("write", Write(), None, tmp_path / "a", quiet) == made
        assert shop.exists() and old.exists()
    assert make("write", Write(), None, tmp_path / "a", quiet) == made
    assert not shop.exists() and not old.exists()
    other = made.card.origin.model_copy(update={"settings": {"parts": 7}})
    (shop / "scratch").mkdir(parents=True)
    (shop / "origin.json").write_text(other.model_dump_json())  # cut short, and to be continued
    assert make("write", Write(), None, tmp_path / "a", quiet) == made
    assert shop.exists()


def test_a_lock_ends_with_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with lock_on(tmp_path / "a"), lock_on(tmp_path / "b"):
            pass


@pytest.mark.parametrize("distributed", [True, False])
def test_the_second_process_of_a_distributed_run_waits_for_the_first(distributed: bool, tmp_path: Path) -> None:
    class Alone(Write):
        distributed: ClassVar[bool] = False

    stage = Write(seconds=0.3) if distributed else Alone(seconds=0.3)
    second = in_child(lambda: make("write", stage, None, tmp_path / "a", quiet).verify(), RANK="1", WORLD_SIZE="2")
    time.sleep(0.2)
    assert os.waitpid(second, os.WNOHANG)[0] == 0
    pid = in_child(lambda: make("write", stage, None, tmp_path / "a", quiet).verify(), RANK="0", WORLD_SIZE="2")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]) == 0
    made = Bundle.open(tmp_path / "a").card
    assert (made.facts["runs"], set(made.files)) == (1, {"part0", "part1", "part2"})


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_there_and_no_bundle_stays(kind: str, tmp_path: Path) -> None:
    precious = tmp_path / "a" / "thesis.txt" if kind == "folder" else tmp_path / "a"
    precious.parent.mkdir(exist_ok=True)
    precious.write_text("mine")
    with pytest.raises(UserError) as caught:
        make("write", Write(), None, tmp_path / "a", quiet)
    assert str(caught.value) == f"{tmp_path}/a exists and isn't a bundle: choose another folder with --out, or empty it"
    assert precious.read_text() == "mine"


def test_a_bundle_that_was_changed_is_not_kept_in_silence(tmp_path: Path) -> None:
    make("write", Write(), None, tmp_path / "a", quiet)
    (tmp_path / "a" / "part1").write_text("PART 1\n")
    with pytest.raises(
        UserError, match=r"part1 was changed after it was sealed \(sha256 differs\): remove the folder and make"
    ):
        make("write", Write(), None, tmp_path / "a", quiet)


def test_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        make("full", Full(), None, tmp_path / "a", quiet)
    assert str(caught.value) == (
        f"no space left on the disk while writing {tmp_path}/.a.partial/bundle/part0: free some space and run the "
        "same command again; finished steps are kept and the unfinished one continues"
    )
    assert not (tmp_path / "a").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full_and_one_that_is_read_only(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("mounting isn't allowed here")
    try:
        with pytest.raises(UserError, match=r"^no space left on the disk while writing "):
            make("write", Write(parts=100), None, disk / "a", quiet)
        with pytest.raises(UserError, match=rf"^no space left on the disk while writing {disk}: "):
            make("full", FullInRust(), None, disk / "a", quiet)
        make("write", Write(parts=3), None, disk / "a", quiet).verify()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(
            UserError, match=r"can't be written or read \(Read-only file system\): change its permissions or choose"
        ):
            make("write", Write(parts=2), None, disk / "b", quiet)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_changing_a_setting_makes_only_what_follows(tmp_path: Path) -> None:
    def run(text: str) -> list[str]:
        said: list[str] = []
        steps = (
            Step("first", "write", None, Write()),
            Step("second", "longer", "first", Longer(text=text)),
            Step("third", "longer", "second", Longer(text="third")),
            Step("aside", "longer", "first", Longer(text="aside")),
        )
        bundles = Recipe("r", steps, MeasureText(), None).run(tmp_path, said.append)
        assert [step.digest for step in bundles["third"].lineage] == [
            bundles[name].digest for name in ("first", "second", "third")
        ]
        return said

    kept = "made before with the same settings and inputs, kept"
    assert run("one") == ["first: write", "second: longer", "third: longer", "aside: longer"]
    assert run("one") == [f"{name}: {kept}" for name in ("first", "second", "third", "aside")]
    assert run("two") == [f"first: {kept}", "second: longer", "third: longer", f"aside: {kept}"]


def wait_for(path: Path) -> None:
    for _ in range(500):
        if path.exists():
            return
        time.sleep(0.02)
    pytest.fail(f"{path} didn't come")
