"""How far a long piece of work is: in a terminal one line with the time left, in a log a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

EVERY_SECONDS = 30.0
"""Between two lines of a log."""


class Progress:
    """Of one piece of work, told on stderr. Work that is over before the first line was due says nothing in a log."""

    def __init__(
        self,
        what: str,
        total: int,
        unit: str,
        done: int = 0,
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            what: the work, as it is called in the line.
            total: how many units it has.
            unit: one of them: step, batch.
            done: those that were done before, by a run that was cut short.
        """
        from tqdm import tqdm

        self._what, self._total, self._unit, self._first, self._done = what, total, unit, done, done
        self._out = out or sys.stderr
        self._clock, self._started = clock, clock()
        self._told = self._started
        self._bar = (
            tqdm(total=total, initial=done, desc=what, unit=unit, leave=False, file=self._out)
            if self._out.isatty()
            else None
        )

    def at(self, done: int, note: str = "") -> None:
        """So many units are done; `note` is a word on how it goes."""
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(done - self._done)
        self._done = done
        now = self._clock()
        if self._bar is None and now - self._told >= EVERY_SECONDS:
            self._told = now
            spent = now - self._started
            left = spent / max(1, done - self._first) * (self._total - done)
            word = f", {note}" if note else ""
            self._say(f"{self._unit} {done} of {self._total}{word}, {spent:.0f} s, about {left:.0f} s left")

    def close(self) -> None:
        """The work is over."""
        if self._bar is not None:
            self._bar.close()
        elif self._told > self._started:
            units = self._unit + ("es" if self._unit.endswith("ch") else "s")
            self._say(f"{self._done} {units} in {self._clock() - self._started:.0f} s")

    def _say(self, line: str) -> None:
        print(f"{self._what}: {line}", file=self._out, flush=True)


def followed(items: Sequence[int], what: str, unit: str) -> Iterator[int]:
    """Each of the items, with progress told between them; nothing where there is but one."""
    progress = Progress(what, len(items), unit) if len(items) > 1 else None
    try:
        for number, item in enumerate(items, 1):
            yield item
            if progress is not None:
                progress.at(number)
    finally:
        if progress is not None:
            progress.close()
