"""Running a recipe's steps: one that fails stops only what follows from it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from palmtop import making
from palmtop.bundle import Bundle
from palmtop.errors import UserError, from_os
from palmtop.making import Say
from palmtop.processes import processes
from palmtop.recipe.step_bundles import with_bundles
from palmtop.recipe.steps import Step

Result = TypeVar("Result")
Attempting = Callable[[Sequence[Step], Path, Say, "Attempt | None"], "Attempt"]
"""A way to make steps, as `attempt` is: (steps, out, say, what became of the first of them) -> what became of all."""

LONGEST = 300
"""Letters of a failure's line; the whole of it was told when the step failed."""


@dataclass(frozen=True)
class Failed:
    """What came instead of a result."""

    why: str
    """In a line."""


@dataclass
class Attempt:
    """What became of a recipe's steps."""

    bundles: dict[str, Bundle] = field(default_factory=dict)
    """What is made, by step."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why, in a line, by step."""
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The failed steps that each of these follows from."""

    @property
    def missing(self) -> dict[str, str]:
        """Why there is no bundle, by step: it failed, or what it follows from did."""
        return {name: f"failed: {why}" for name, why in self.failed.items()} | {
            name: f"left out, it follows from {' and '.join(of)}" for name, of in self.left_out.items()
        }

    def leaves_out(self, step: Step) -> bool:
        """Whether a step is left out, because one that it follows from is missing; if so it is written down."""
        lost = [name for name in needed(step) if name not in self.bundles]
        if lost:
            roots = dict.fromkeys(root for name in lost for root in self.left_out.get(name, (name,)))
            self.left_out[step.name] = tuple(roots)
        return bool(lost)

    def note(self, step: Step, result: Bundle | Failed) -> None:
        """Write down what became of a step that was tried."""
        if isinstance(result, Failed):
            self.failed[step.name] = result.why
        else:
            self.bundles[step.name] = result

    def told(self) -> tuple[str, ...]:
        """The failures for the end of a run: how many, and a line for each step that isn't made; none where all are."""
        if not self.failed:
            return ()
        of = len(self.bundles) + len(self.missing)
        return (
            f"{len(self.failed)} of {of} steps failed; mend the cause and run the same command again: what is made is "
            "kept, and it goes on with what is missing",
            *(f"{name}: {why}" for name, why in self.missing.items()),
        )


def attempt(steps: Sequence[Step], out: Path, say: Say, before: Attempt | None = None) -> Attempt:
    """Make what is missing, in order, below the folder `out`, whatever fails on the way.

    Of a distributed run the first failure ends it: the other processes wait for the step's bundle, and it won't come.

    Args:
        before: what became of the first of the steps, which are not tried again.
    """
    made = before or Attempt()
    for step in steps:
        if step.name in made.bundles or step.name in made.missing:
            continue
        if made.leaves_out(step):
            say(f"{step.name}: {made.missing[step.name]}")
            continue
        made.note(step, tried(step.name, partial(make_step, step, made.bundles, out, say), say))
    return made


def tried(name: str, action: Callable[[], Result], say: Say) -> Result | Failed:
    """What an action gives, or how it failed, which is said: a user's fault line by line, one of ours with its
    traceback. Of a distributed run it raises."""
    try:
        return action()
    except Exception as error:
        if processes() > 1:
            raise
        return Failed(_tell(name, error, say))


def needed(step: Step) -> list[str]:
    """The steps whose bundles it is made of."""
    return [name for name in (step.source, *step.bundles.values()) if name is not None]


def make_step(step: Step, bundles: Mapping[str, Bundle], out: Path, say: Say) -> Bundle:
    """A step's bundle, below the folder `out`.

    Args:
        bundles: those it is made of are among them, by step.

    Raises:
        UserError: what `making.make` raises.
    """
    source = bundles[step.source] if step.source else None
    return making.make(step.use, with_bundles(step.stage, step.bundles, out), source, out / step.name, say)


def _tell(name: str, error: Exception, say: Say) -> str:
    """Say why something failed; returns it in one line."""
    known = error if isinstance(error, UserError) else from_os(error) if isinstance(error, OSError) else None
    if known is None:
        logging.getLogger(__name__).error("%s failed", name, exc_info=error)
        return _line(f"{type(error).__name__}: {error} (the traceback stands above)")
    for fault in known.faults:
        say(f"{name}: failed: {fault}")
    return _line("; ".join(known.faults))


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
