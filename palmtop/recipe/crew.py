"""Who makes a recipe's steps side by side: the crew that the driver sends them to, and one of processes on this
machine."""

import multiprocessing
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import FrameType
from typing import Self

from palmtop.needs import Needs, memory_gb
from palmtop.recipe.attempt import Failed
from palmtop.recipe.worker import Order, work

Made = Future[str | Failed]
"""What `palmtop.recipe.worker.work` will give."""
TRIES = 3
"""How often a step is begun whose worker dies: by an order, or because memory ran out, which may have been others'."""
GRACE_SECONDS = 10.0
"""So long a worker that is told to stop has to clean up after itself."""


class Crew(ABC):
    """Takes orders, as many as there is room for, and is asked about each that has ended."""

    size: int
    """How many steps at once are worth having ready."""

    @abstractmethod
    def has_room(self, needs: Needs) -> bool:
        """Whether a step that needs so much can be begun now; always where none is under way."""

    @abstractmethod
    def send(self, order: Order, needs: Needs) -> Made:
        """Have a step made."""

    @abstractmethod
    def outcome(self, ended: Made) -> str | Failed | None:
        """What came of an order; None where its worker died, and the step is to be sent once more."""


def lost(times: int) -> Failed:
    """How a step failed whose worker died each time."""
    return Failed(
        f"its worker died {times} times, at the last without a word: out of memory, most likely (have fewer steps side "
        "by side), or killed"
    )


@dataclass(frozen=True)
class _Sent:
    """An order under way."""

    order: Order
    needs: Needs
    worker: ProcessPoolExecutor


class LocalCrew(Crew):
    """Processes on this machine. Each worker is a pool of one, so that one which dies takes no other with it; they end
    with this process, however that ends."""

    def __init__(self, size: int) -> None:
        """
        Args:
            size: how many steps at once.
        """
        self.size = size
        self._spawned = multiprocessing.get_context("spawn")  # torch's threads don't live through a fork
        self._held, self._holding = self._spawned.Pipe(duplex=False)
        self._idle: list[ProcessPoolExecutor] = []
        self._sent: dict[Made, _Sent] = {}
        self._tries: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._holding.close()
        for worker in [*self._idle, *(sent.worker for sent in self._sent.values())]:
            worker.shutdown(wait=True, cancel_futures=True)
        self._holding.close()
        self._held.close()

    def has_room(self, needs: Needs) -> bool:
        """Where less than `size` are under way, the memory is enough for all, and none of them computes on the GPU that
        this one wants: all processes would take the same."""
        under_way = [sent.needs for sent in self._sent.values()]
        if not under_way:
            return True
        memory_needed = needs.memory_gb + sum(other.memory_gb for other in under_way)
        taken = needs.gpu and any(other.gpu for other in under_way) and _has_gpu()
        return len(under_way) < self.size and memory_needed <= memory_gb() and not taken

    def send(self, order: Order, needs: Needs) -> Made:
        """To a worker that waits, or to a new one."""
        worker = self._idle.pop() if self._idle else self._hired()
        self._tries[order.step.name] = self._tries.get(order.step.name, 0) + 1
        ended = worker.submit(_work, order)
        self._sent[ended] = _Sent(order, needs, worker)
        return ended

    def outcome(self, ended: Made) -> str | Failed | None:
        """A worker that died is replaced when one is wanted."""
        sent, error = self._sent.pop(ended), ended.exception()
        name = sent.order.step.name
        if not isinstance(error, BrokenProcessPool | KeyboardInterrupt):
            self._idle.append(sent.worker)
            return ended.result()
        sent.worker.shutdown(wait=False)
        if self._tries[name] < TRIES:
            sent.order.say(f"{name}: its worker died; tried again ({self._tries[name] + 1} of {TRIES})")
            return None
        failed = lost(TRIES)
        sent.order.say(f"{name}: failed: {failed.why}")
        return failed

    def _hired(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, self._spawned, _begin, (self._held,))


def _work(order: Order) -> str | Failed:
    with _stoppable():
        return work(order)


def _begin(held: Connection) -> None:
    """A worker's first act. Ctrl-C reaches it from the terminal as it does its driver, which decides what ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(held,), daemon=True).start()


def _watch(held: Connection) -> None:
    """End this worker when its driver closes the other end, or ends, whatever ends it."""
    try:
        held.recv()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(1)


@contextmanager
def _stoppable() -> Iterator[None]:
    """While a step is made SIGTERM interrupts it, so that it ends what it has started, as Ctrl-C would; a worker that
    waits just ends."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()
