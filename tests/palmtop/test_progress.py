"""Progress: a line now and then in a log, one line in a terminal."""

import io

from palmtop.progress import EVERY_SECONDS, Progress, followed


class _Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_now_and_then_with_steps_seconds_and_what_is_left() -> None:
    out, clock = io.StringIO(), _Clock()
    progress = Progress("training", 100, "step", done=20, out=out, clock=clock)
    for step in range(21, 61):
        clock.now += 1.0
        progress.at(step, "loss 0.5")
    clock.now += 40.0
    progress.close()
    assert EVERY_SECONDS == 30
    assert out.getvalue().splitlines() == [
        "training: step 50 of 100, loss 0.5, 30 s, about 50 s left",
        "training: 60 steps in 80 s",
    ]


def test_many_batches_are_no_batchs() -> None:
    out, clock = io.StringIO(), _Clock()
    progress = Progress("teacher", 2, "batch", out=out, clock=clock)
    clock.now += 31.0
    progress.at(2)
    progress.close()
    assert out.getvalue().splitlines()[-1] == "teacher: 2 batches in 31 s"


def test_what_is_over_soon_says_nothing_in_a_log() -> None:
    out, clock = io.StringIO(), _Clock()
    progress = Progress("training", 2, "step", out=out, clock=clock)
    progress.at(2)
    progress.close()
    assert not out.getvalue()


def test_a_terminal_has_one_line_that_is_wiped_at_the_end() -> None:
    out = _Terminal()
    progress = Progress("training", 2, "step", out=out)
    progress.at(1, "loss 0.5")
    progress.close()
    assert "training" in out.getvalue() and "\n" not in out.getvalue()


def test_items_are_followed_in_their_order() -> None:
    assert list(followed(range(0, 10, 4), "teacher", "batch")) == [0, 4, 8]
    assert list(followed((), "teacher", "batch")) == []
