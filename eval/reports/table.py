"""The table: cells, rows and sections, before they are drawn."""

from dataclasses import dataclass, field
from typing import Any, Literal

from palmtop.measurement import Measurement
from palmtop.metrics import Score

NOT_MEASURED, NOT_COMPARABLE, NOT_VALID = "not measured", "not comparable", "not valid"
NOT_BESIDE = "not timed side by side with the baseline"
WEAK_TEACHER = "weak teacher"
"""Stands for a share of a teacher that is worse than a linear model or than its own student."""

COLUMNS = (
    "model_mb",
    "download_mb",
    "gzip_mb",
    "nonzero_percent",
    "metric",
    "difference_points",
    "paired_p",
    "kept_percent",
    "agreement_torch",
    "agreement_teacher",
    "timed_at",
    "latency_ms",
    "latency_p90_ms",
    "latency_p99_ms",
    "speedup",
    "tokenize_ms",
    "text_latency_ms",
    "load_ms",
    "memory_mb",
    "answered_first",
    "larger_points",
    "expected_ms",
)
"""Names of a row's cells. MB are 10^6 bytes, points are hundredths of the metric; timed_at: tokens of the three after
it; paired_p: of the kind's paired test against the baseline."""


@dataclass(frozen=True)
class Cell:
    """A number with its 95 % interval, or the word that stands in its place."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    word: str | None = None
    why: str | None = None
    """The reason for the word."""
    kind: str = "measured"


@dataclass(frozen=True)
class Row:
    """An artefact on a target."""

    name: str
    digest: str
    format: str
    precision: str
    target: str
    machine: int
    """Number of the machine in its section, from 1."""
    roles: tuple[str, ...]
    """Among baseline, teacher, floor."""
    cells: dict[str, Cell]
    """By column, see COLUMNS."""
    numbers: dict[str, Measurement]
    """The newest measurement of each metric, as it was written."""
    metrics: dict[str, Cell] = field(default_factory=dict)
    """The task's other metrics, by name: macro F1 beside accuracy."""

    def __str__(self) -> str:
        return f"{self.name} on {self.target}"


@dataclass(frozen=True)
class Verdict:
    """What the numbers say, and what to do about it."""

    says: str
    """A sentence."""
    do: str = ""
    """What mends it; nothing where there is nothing to mend."""
    severity: Literal["wrong", "note"] = "note"
    """wrong: the numbers can't be trusted, or the file can't be shipped, as they stand."""
    about: str | None = None
    """Name of the only artefact that it is about."""

    def __str__(self) -> str:
        return f"{self.says}; {self.do}" if self.do else self.says


@dataclass(frozen=True)
class Step:
    """A measured step of the way to a file."""

    row: Row
    says: str
    value: float
    """The metric after it, in hundredths."""
    cost: Score | None
    """How much it changed the metric, in hundredths; paired by text where both answered and the texts are there. None
    for the first."""


@dataclass(frozen=True)
class Way:
    """From the teacher to a file: what each step cost."""

    to: str
    """The file, as the table calls it."""
    steps: tuple[Step, ...]
    total: Score
    """What all of them together cost, in hundredths of the metric."""


@dataclass(frozen=True)
class Section:
    """The rows of one task, and what has to be said under them."""

    task: str
    metric: str
    rows: tuple[Row, ...]
    machines: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    """Where the numbers come from."""
    verdicts: tuple[Verdict, ...]
    """What they say, plainly; the wrong ones first."""
    brief: tuple[str, ...] = ()
    """The notes that a table at a glance can't do without."""
    advice: str | None = None
    """Which file to ship, in a sentence; None where there is none."""
    ways: tuple[Way, ...] = ()
    """What each step cost on the way to each file, the one to ship first; none where nobody asked."""

    @property
    def wrong(self) -> tuple[Verdict, ...]:
        """The verdicts that can't be passed over."""
        return tuple(verdict for verdict in self.verdicts if verdict.severity == "wrong")


def with_interval(row: Row) -> str:
    """A row's metric as sentences show it."""
    cell = row.cells["metric"]
    return f"{cell.value:.3f}" + (
        f" [{cell.low:.3f}, {cell.high:.3f}]" if cell.low is not None and cell.high is not None else ""
    )


def milliseconds(value: float | None) -> str:
    """A time as tables and sentences show it: two decimals, three below a tenth."""
    return f"{value or 0:.{2 if (value or 0) >= 0.1 else 3}f}"  # noqa: PLR2004  # a tenth
