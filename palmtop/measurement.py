"""Measurement: a number that can stand alone, and the file of them, measurements.jsonl."""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from palmtop.errors import UserError

FILE = "measurements.jsonl"
NOT_RUN: Literal["converted, not run"] = "converted, not run"
"""Of a file that nothing here runs: its bytes were counted, nothing else is known of it."""
MOST_FREQUENT = "most_frequent_label"
"""The metric that says what answering the most frequent label alone would score, in `conditions` of which metric."""
LAST_EPOCH_GAINED = "last_epoch_gained"
"""The metric, also a fact on the card, of a model whose training was still getting better on the validation split when
it ended: by how much its last epoch did, in `conditions` of how many epochs."""
EXPECTED_MS = "expected_ms"
"""The metric of a cascade, and of what it is made of: the mean time from a text to its answer."""
ANSWERED_FIRST = "answered_first"
"""The metric that says which share of the texts the first model of a cascade answers."""
DIFFERENCE_LARGER = "difference_larger"
"""The metric that sets a cascade's answers against those of its larger model alone, pair by pair."""
OF_CUT_TEXTS, OF_WHOLE_TEXTS = "metric_of_cut_texts", "metric_of_whole_texts"
"""The metrics that say what the deciding metric, in `conditions`, is of the texts that were cut and of the others."""
SAMPLE = "sample"
"""In `conditions` of numbers about answers: how many texts were answered, where that wasn't the whole split."""
SHARES = ("share", "probability")
COUNTS = ("bytes", "texts", "weights")
"""Units of which there is no half and no less than none."""
ROUNDING = 1e-9
"""An end of an interval may lie so far on the wrong side of its number, as 0.9999999999999999 does of 1."""
Kind = Literal["measured", "emulated", "estimated", "converted, not run"]


class Measurement(BaseModel):
    """One number with all that is needed to read it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str
    """Digest of the bundle."""
    name: str
    """The bundle's name in its run."""
    format: str
    target: str
    metric: str
    value: float | None
    """None when it could not be measured; `why` then says the reason."""
    unit: str
    low: float | None = None
    """Lower end of the 95 % interval."""
    high: float | None = None
    n: int | None = None
    """How many texts or runs the number comes from."""
    conditions: dict[str, Any] = {}
    """What has to be equal for two numbers to be compared: threads, length, baseline, ..."""
    machine: dict[str, Any]
    task: str | None = None
    """name, version and digest of the evaluation data."""
    session: str
    """Numbers of one session were taken side by side, in one run on one machine."""
    date: str
    kind: Kind = "measured"
    valid: bool = True
    why: str | None = None
    """Why the number is not valid or not there."""
    noted: dict[str, Any] = {}
    """What was so while it was taken, and needn't be the same where two are compared: load, temperature."""

    @property
    def is_doubtful(self) -> bool:
        """Whether it was taken, and doesn't hold: the machine was hot, or went away half-way. It is measured anew."""
        return self.value is not None and not self.valid

    def identity(self) -> str:
        """What two measurements of the same thing under equal conditions have in common; the newer one counts."""
        same: list[Any] = [
            self.bundle,
            self.name,
            self.target,
            self.metric,
            self.task,
            self.machine,
            self.conditions,
            self.kind,
        ]
        return json.dumps(same, sort_keys=True)

    def fault(self) -> str | None:
        """Why nobody can have measured this; None where nothing speaks against it."""
        ends = [end for end in (self.low, self.high) if end is not None]
        if self.value is None:
            return "valid, and no number" if self.valid else "no number, and an interval" if ends else None
        if not all(map(math.isfinite, (self.value, *ends))):
            return f"{self.value} in [{self.low}, {self.high}] isn't finite"
        return self._fault_of_value(self.value) or (
            self._fault_of_interval(self.value, *ends) if len(ends) > 1 else None
        )

    def _fault_of_value(self, value: float) -> str | None:
        if self.unit in SHARES and not 0 <= value <= 1:
            return f"{value} is no {self.unit}"
        if self.unit in COUNTS and (value < 0 or value % 1):
            return f"{value} is no number of {self.unit}"
        if self.unit in COUNTS and self.n is not None and value > self.n:
            return f"{value:.0f} of {self.n} {self.unit}"
        if self.unit == "ms" and (value < 0 or (value == 0 and not self.metric.startswith("tokenize"))):
            return f"{value} ms is no time"  # a browser's clock may be too coarse for a text's tokens
        if self.n is not None and self.n < 0:
            return f"{self.n} texts or runs"
        return None

    def _fault_of_interval(self, value: float, low: float, high: float) -> str | None:
        """Shares and medians lie in their intervals; another statistic can lie beside those of its resamples, by no
        more than their width."""
        reach = ROUNDING if self.unit in (*SHARES, "ms") else ROUNDING + (high - low)
        return None if low <= high and low - reach <= value <= high + reach else f"{value} isn't in [{low}, {high}]"

    def unlike(self, other: "Measurement") -> str | None:
        """Why the two are never set against each other: what is emulated or estimated says nothing beside what is
        measured. None where both are of one kind."""
        if self.kind == other.kind:
            return None
        return (
            f"{self.kind} on {self.target}, {other.name} is {other.kind} on {other.target}: measure both on one target"
        )

    def other_sample(self, other: "Measurement") -> str | None:
        """Why two metrics aren't set against each other though both are of one kind: the one is of a sample of the
        texts. None where both are of the same texts."""
        ours, theirs = (one.conditions.get(SAMPLE) for one in (self, other))
        if ours == theirs:
            return None
        said = [f"{texts} texts" if texts else "all texts" for texts in (ours, theirs)]
        return f"of {said[0]}, {other.name} of {said[1]}"


def append(path: Path, measurements: Iterable[Measurement]) -> None:
    """Add to the file, after completing a line that a killed process left unfinished."""
    lines = "".join(measurement.model_dump_json() + "\n" for measurement in measurements)
    with path.open("a+b") as file:
        if file.tell() and not _ends_with_newline(path):
            lines = "\n" + lines
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[Measurement]:
    """All measurements of a file, oldest first. An unfinished last line (a killed process) is left out.

    Raises:
        UserError: a line that is no measurement, by number.
    """
    try:
        lines = (
            path.read_bytes().decode("utf-8", errors="replace").split("\n")
        )  # a killed process can cut a character in two
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            found.append(Measurement.model_validate_json(line))
        except ValidationError as error:
            if _cut_short(error):
                continue
            raise UserError(
                f"{path}, line {number} isn't a measurement ({error.errors()[0]['msg']}): remove the line and measure "
                "again"
            ) from None
    return found


def sound(taken: Iterable[Measurement]) -> tuple[list[Measurement], list[str]]:
    """The measurements that can have been taken, and a line about each other one that wasn't taken again since."""
    kept, faults = [], dict[str, str]()
    for one in taken:
        if fault := one.fault():
            faults[one.identity()] = f"{one.metric} of {one.name} on {one.target} can't have been measured ({fault})"
        else:
            if faults:
                faults.pop(one.identity(), None)
            kept.append(one)
    return kept, list(faults.values())


def _cut_short(error: ValidationError) -> bool:
    """Whether the line is JSON that stops in the middle, as a killed writer leaves it."""
    fault = error.errors()[0]
    return fault["type"] == "json_invalid" and "EOF" in str(fault["msg"])


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
