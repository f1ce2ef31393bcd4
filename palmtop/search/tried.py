"""What became of a search's candidates: limits, what was tried of each, what it cost, why it lost; kept as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from palmtop.search.price import Costs

Fate = Literal["doesn't fit", "over the limit", "failed", "behind", "dominated", "on the front", "chosen"]
"""doesn't fit: its steps don't go together. over the limit: by its price, so it wasn't trained. behind: others did
better in a round. dominated: one as good is smaller and faster."""


@dataclass(frozen=True)
class Limits:
    """What a file must keep; a limit that is None isn't held against it."""

    max_mb: float | None = None
    """MB (10^6 bytes) of the file."""
    max_ms: float | None = None
    """Milliseconds of an answer, the median."""
    min_share: float | None = None
    """Share of the teacher's metric."""

    @property
    def given(self) -> dict[str, float]:
        """Those that there are, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def beyond(self, mb: float, ms: float | None) -> float:
        """By which share of a limit the costs are above it, of the one that they are furthest above; 0 where all are
        held."""
        return max(self._over(mb, ms).values(), default=0.0)

    def said(self, mb: float, ms: float | None) -> str:
        """The limits that the costs are above, in words; nothing where all are held."""
        return " and ".join(f"{share:.1%} over the limit in {unit}" for unit, share in self._over(mb, ms).items())

    def _over(self, mb: float, ms: float | None) -> dict[str, float]:
        held = (("MB", mb, self.max_mb), ("ms", ms, self.max_ms))
        return {
            unit: value / most - 1
            for unit, value, most in held
            if most is not None and value is not None and value > most
        }

    def unknown(self, costs: Costs) -> str | None:
        """Why a limit can't be held against the costs; None where each can."""
        if self.max_ms is None or (costs.ms is not None and costs.why is None):
            return None
        return f"there is no time to hold against --max-ms: {costs.why or 'not measured'}"


class Tried(BaseModel):
    """A candidate, and all that is known of it."""

    model_config = ConfigDict(extra="forbid")

    number: int
    chosen: dict[str, str]
    """Place by place."""
    fate: Fate
    why: str = ""
    """In a line."""
    mb: float | None = None
    about: bool = False
    """Whether the price was that of a file like it; the MB are the file's own once there is one."""
    ms: float | None = None
    grades: dict[str, float] = {}
    """The metric on the validation part, by the share of the epochs that it was trained for."""
    pricing_seconds: float = 0
    seconds: float = 0
    """Of its own steps in all rounds; those it shares with others counted too."""
    training_seconds: float = 0
    """Of the first round's training."""
    apart_seconds: float = 0
    """Of the first round's exports and all else."""

    def __str__(self) -> str:
        return ", ".join(f"{place}: {label}" for place, label in self.chosen.items() if label != "none")

    def now(self, fate: Fate, why: str) -> Self:
        """The same with its fate."""
        return self.model_copy(update={"fate": fate, "why": why})

    @property
    def grade(self) -> float | None:
        """After its longest training."""
        return self.grades[max(self.grades, key=float)] if self.grades else None

    @property
    def share(self) -> float:
        """Of the epochs in its longest training."""
        return max(map(float, self.grades), default=0.0)

    @property
    def cost(self) -> str:
        """MB and ms as a sentence says them."""
        ms = "" if self.ms is None else f", {self.ms:.2f} ms"
        return (
            "not priced"
            if self.mb is None
            else f"{'about ' if self.about and not self.grades else ''}{self.mb:.2f} MB{ms}"
        )


class Outcome(BaseModel):
    """What a search found."""

    model_config = ConfigDict(extra="forbid")

    recipe: str
    task: str
    target: str
    metric: str
    limits: dict[str, float]
    space: int
    """Candidates that there are."""
    teacher: float | None
    """Its metric on the validation part."""
    texts: int
    """Of the validation part."""
    tried: list[Tried]
    chosen: int | None = None
    """Number of the winner; None where nothing fits."""
    seeds: dict[str, float] = {}
    """The winner's metric on the validation part, by seed."""
    verdict: str
    """In a sentence."""
    share: float = 1.0
    """Of the epochs that the winner was trained for."""
    seconds: float = 0
    """Of all that was priced and made."""
    app: str | None = None
    """The folder with the chosen file."""


def front(tried: Sequence[Tried]) -> list[Tried]:
    """Those that no other is better than in the metric, MB and ms at once, of the ones trained longest."""
    longest = max((one.share for one in tried), default=0.0)
    able = [one for one in tried if one.grades and one.share == longest]
    return [one for one in able if not any(_beats(other, one) for other in able)]


def _beats(other: Tried, one: Tried) -> bool:
    theirs, ours = _place(other), _place(one)
    return all(a <= b for a, b in zip(theirs, ours, strict=True)) and theirs != ours


def _place(one: Tried) -> tuple[float, float, float]:
    """All three the better the less."""
    return (-(one.grade or 0.0), one.mb or 0.0, one.ms or 0.0)
