"""What is said of a wrong setting."""

from typing import Literal

import pytest
from pydantic import Field

from palmtop.errors import UserError, did_you_mean, raise_all
from palmtop.settings import Settings, build


class Inner(Settings):
    depth: int = 1


class Outer(Settings):
    sparsity: float = Field(default=0.5, ge=0, lt=1)
    choose: Literal["spread", "lower"] = "spread"
    needed: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    start: str | None = Field(default=None, alias="from")


def told(**values: object) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        build(Outer, values, "step 'a'")
    return caught.value.faults


def test_every_fault_is_told_at_once() -> None:
    assert told(sparcity=0.3, choose="middle", sparsity=1) == (
        "step 'a': sparsity is 1: input should be less than 1",
        "step 'a': choose is 'middle': input should be 'spread' or 'lower'",
        "step 'a': the setting 'needed' is missing",
        "step 'a': no setting 'sparcity'; did you mean 'sparsity'?",
    )


def test_an_unknown_setting_is_compared_with_those_of_its_own_place() -> None:
    assert told(needed="x", inner={"dept": 2}) == ("step 'a': no setting 'dept' in 'inner'; did you mean 'depth'?",)
    assert told(needed="x", many=[{}, {"dpth": 2}]) == (
        "step 'a': no setting 'dpth' in 'many.1'; did you mean 'depth'?",
    )
    assert told(needed="x", form="b") == ("step 'a': no setting 'form'; did you mean 'from'?",)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    assert told(needed="x", sparsity=number)[0].startswith(
        f"step 'a': sparsity is {number}: input should be a finite number"
    )


def test_a_long_value_is_shortened() -> None:
    assert len(told(needed="x", sparsity="9" * 5_000)[0]) < 200


def test_did_you_mean() -> None:
    assert did_you_mean("distil", ["distill", "prune"]) == "did you mean 'distill'?"
    assert did_you_mean("zzz", ["distill", "adopt"]) == "known: adopt, distill"
    assert did_you_mean("zzz", []) == "known: none"


def test_raise_all() -> None:
    raise_all([])
    with pytest.raises(UserError) as caught:
        raise_all(["one", "two"])
    assert str(caught.value) == "one\ntwo"
