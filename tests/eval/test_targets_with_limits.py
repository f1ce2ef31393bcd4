"""What measuring makes of a target that answers a sample, whose clock says nothing, or whose machine goes away."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from jaxtyping import Float32
from made_runs import measure_into, section_of
from numpy import ndarray

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.eval.targets import host_litert
from palmtop.measurement import FILE, Kind, read
from palmtop.target import Runner, State, Unreachable

KEPT = Path(__file__).parents[1] / "data" / "run_before_the_move" / "student-tflite"
PLAYED = "the clock is an actor's"
GONE = "afar:board: the cable was pulled"


class Afar(host_litert.Target):
    """This machine, playing another one."""

    name: ClassVar[str] = "afar"
    address_is: ClassVar[str | None] = "NAME"
    leaves_after: ClassVar[int] = 10**9
    """Questions about times after which it goes away."""
    says: ClassVar[State] = State({"load": 0.5})

    @property
    def place(self) -> str:
        return self.label

    def open(self, folder: Path, threads: int = 1) -> Runner:
        return _Leaving(super().open(folder, threads), self.leaves_after, self.says)


class Played(Afar):
    """One whose clock says nothing, and that is slow."""

    name: ClassVar[str] = "played"
    kind: Kind = "emulated"
    untimed: ClassVar[str | None] = PLAYED

    def answers_at_most(self, folder: Path) -> int | None:
        return 200

    def cost_of_loading(self, *_: Any) -> tuple[float, float]:
        raise AssertionError("its clock says nothing")


class _Leaving(Runner):
    def __init__(self, runner: Runner, leaves_after: int, says: State) -> None:
        self._runner, self._left, self._says = runner, leaves_after, says

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        return self._runner.tokenize(texts)

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts ..."]:
        return self._runner.predict(encodings)

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        if self._left == 0:
            raise Unreachable(GONE)
        self._left -= 1
        return self._runner.latencies_ms(encodings, length, runs)

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        return self._runner.tokenize_latencies_ms(texts, runs)

    def state(self) -> State:
        return self._says

    def close(self) -> None:
        self._runner.close()


@pytest.fixture(autouse=True)
def there() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        known = [*target.names(), "afar", "played"]
        patched.setattr(target, "names", lambda: known)
        for made in (Afar, Played):
            patched.setitem(sys.modules, f"{target.ROOM}.{made.name}", SimpleNamespace(Target=made))
            patched.setattr(made, "cost_of_loading", made.__dict__.get("cost_of_loading", lambda *_: (1.0, 1.0)))
        yield


@pytest.fixture(scope="module")
def bundles() -> dict[str, Bundle]:
    return {"student": Bundle.open(KEPT)}


def test_a_clock_that_says_nothing_is_never_read(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    out, said, taken = measure_into(bundles, tmp_path / "run", on=("played:x",), baseline=None, length=8)
    assert not [one for one in taken if one.unit in ("ms", "MB") and one.value is not None]
    assert {one.why for one in taken if one.unit in ("ms", "MB")} == {PLAYED}
    answered = [one for one in taken if one.metric == "accuracy"]
    assert [(one.n, one.conditions, one.kind) for one in answered] == [(200, {"sample": 200}, "emulated")]
    assert any(line.endswith("200 texts, a sample of 4500") for line in said)
    section = section_of(out)
    assert section.rows[0].cells["latency_ms"].word == "not measured"
    assert "student on played:x: answered a sample, 200 texts spread evenly over the split" in section.notes
    assert measure_into(bundles, out, on=("played:x",), baseline=None, length=8)[2] == taken


def test_a_sample_is_set_against_the_same_texts(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Played, "kind", "measured")
        on = ("host_litert", "played:x")
        two = bundles | {"other": Bundle.open(shutil.copytree(KEPT, tmp_path / "other"))}
        out, _, taken = measure_into(two, tmp_path / "run", on=on, baseline="student", length=8)
    (paired,) = (
        one for one in taken if (one.metric, one.target, one.name) == ("difference_baseline", "played:x", "other")
    )
    assert (paired.n, paired.value, paired.conditions["sample"]) == (200, 0, 200)
    row = next(row for row in section_of(out).rows if (row.name, row.target) == ("other", "played:x"))
    assert row.cells["difference_points"].value == 0


def test_a_machine_that_goes_away_leaves_what_was_measured(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched, pytest.raises(UserError) as raised:
        patched.setattr(Afar, "leaves_after", 8)
        measure_into(bundles, tmp_path / "run", on=("afar:board", "host_litert"), baseline=None, length=8)
    out = tmp_path / "run"
    assert raised.value.faults == (
        GONE,
        f"what was measured is kept in {out}: the same command goes on from there",
    )
    row, here = sorted(section_of(out).rows, key=lambda row: row.target)
    assert row.cells["metric"].value is not None and here.cells["latency_ms"].value
    assert row.cells["latency_ms"].word == row.cells["text_latency_ms"].word == "not valid"
    why = f"after 12 of 60 answers: {GONE}"
    assert row.cells["latency_ms"].why == why
    assert f"student on afar:board: latency ms not valid: {why}" in section_of(out).notes
    taken = read(out / FILE)
    _, said, again = measure_into(bundles, out, on=("afar:board", "host_litert"), baseline=None, length=8)
    assert "student on afar:board: answers measured before, kept" in said
    assert "student on host_litert: latencies measured before, kept" in said
    new = again[len(taken) :]
    assert new and {one.target for one in new} == {"afar:board"} and all(one.valid for one in new)
    assert {one.noted["load"] for one in new} == {0.5}


def test_times_of_a_hot_machine_are_not_valid_and_are_taken_again(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Afar, "says", State({"hottest_c": 90.0}, "the machine is hot"))
        out, said, _ = measure_into(bundles, tmp_path / "run", on=("afar:board",), baseline=None, length=8)
    assert any("(not valid: the machine is hot)" in line for line in said)
    (row,) = section_of(out).rows
    assert (row.cells["latency_ms"].word, row.cells["latency_ms"].why) == ("not valid", "the machine is hot")
    measure_into(bundles, out, on=("afar:board",), baseline=None, length=8)
    (row,) = section_of(out).rows
    assert row.cells["latency_ms"].value
