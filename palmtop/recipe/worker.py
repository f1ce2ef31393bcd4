"""A worker's part: it makes one step of a recipe, in a process of its own, here or on another machine of a cluster."""

import io
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.making import Busy, Say
from palmtop.quiet import quieten
from palmtop.recipe.attempt import Failed, make_step, needed, tried
from palmtop.recipe.steps import Step
from palmtop.version import VERSION

PATIENCE_SECONDS = 60.0
"""So long a shared folder may take to show what another machine has put there, and a worker that was cut off to notice
it and to let go of its lock."""
POLL_SECONDS = 0.2
PASSED = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "PALMTOP_CACHE", "HF_HUB_OFFLINE")
"""What of the environment a worker on another machine takes over: what changes numbers and places. No keys."""


@dataclass(frozen=True)
class Order:
    """A step to make, as it goes to a worker."""

    step: Step
    sources: Mapping[str, str]
    """Digests of the bundles that it is made of, by step."""
    out: Path
    """The folder of all bundles, absolute: the same for everyone."""
    say: Say
    """Is called in the worker's process, so it has to be a function that can be found by its name."""
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(default_factory=Path.cwd)
    """Where relative paths start."""
    version: str = VERSION

    @classmethod
    def of(cls, step: Step, bundles: Mapping[str, Bundle], out: Path, say: Say) -> "Order":
        """The order to make a step of bundles that are there."""
        sources = {name: bundles[name].digest for name in needed(step)}
        passed = {name: os.environ[name] for name in PASSED if name in os.environ}
        return cls(step, sources, out.resolve(), say, passed)


def work(order: Order) -> str | Failed:
    """Make the step; returns its bundle's digest, or how it failed, which is said."""
    os.environ.update(order.environment)
    quieten()
    if order.folder.is_dir():
        os.chdir(order.folder)
    with lines_of(order.step.name):
        return tried(order.step.name, partial(_make, order), order.say)


def opened(path: Path, digest: str) -> Bundle:
    """The bundle that another process has put in its place, as soon as it is seen here.

    Raises:
        UserError: it isn't seen.
    """

    def look() -> Bundle:
        found = Bundle.open(path)
        if found.digest != digest:
            raise UserError(f"{path} isn't what was made: {digest[:12]} was, {found.digest[:12]} lies there")
        return found

    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        with suppress(UserError):
            return look()
        time.sleep(POLL_SECONDS)
    try:
        return look()
    except UserError as error:
        raise UserError(
            f"{'; '.join(error.faults)}: a run on several machines needs a folder that all of them see under one name: "
            "choose such a one with --out"
        ) from None


def _make(order: Order) -> str:
    if order.version != VERSION:
        raise UserError(
            f"the worker on {platform.node()} has palmtop {VERSION}, and the run is of {order.version}: install "
            "the same on all machines"
        )
    bundles = {name: opened(order.out / name, digest) for name, digest in order.sources.items()}
    return _when_free(lambda: make_step(order.step, bundles, order.out, order.say)).digest


def _when_free(action: Callable[[], Bundle]) -> Bundle:
    """What an action gives, once nobody else is at work there."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action()
        except Busy:
            if time.monotonic() > until:
                raise
            time.sleep(POLL_SECONDS)


@contextmanager
def lines_of(name: str) -> Iterator[None]:
    """Whatever Python writes meanwhile, warnings and progress too, carries a step's name. The streams stay for the next
    step: libraries keep hold of the one that they found first."""
    streams = [_named("stdout"), _named("stderr")]
    for stream in streams:
        stream.step = name
    try:
        yield
    finally:
        for stream in streams:
            stream.end()


def _named(stream: str) -> "Named":
    now = getattr(sys, stream)
    made = now if isinstance(now, Named) else Named(now)
    setattr(sys, stream, made)
    return made


class Named(io.TextIOBase):
    """A stream whose lines carry a step's name, where they don't begin with it. Each is written at once, so lines of
    several processes don't mix; and it is no terminal, so nothing draws over what it has written."""

    step = ""

    def __init__(self, to: TextIO) -> None:
        self._to, self._begun = to, ""

    def write(self, text: str) -> int:
        """Write the lines that are whole now."""
        *whole, self._begun = f"{self._begun}{text}".split("\n")
        if whole:
            self._to.write("".join(f"{self._led(line)}\n" for line in whole))
            self._to.flush()
        return len(text)

    def writable(self) -> bool:
        """It is."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]  # which says that it may be set
        """That of the stream behind it."""
        return self._to.encoding

    def end(self) -> None:
        """Write what was begun."""
        if self._begun:
            self.write("\n")

    def _led(self, line: str) -> str:
        line, lead = line.rpartition("\r")[2], f"{self.step}: "
        return line if not line or line.startswith(lead) else f"{lead}{line}"
