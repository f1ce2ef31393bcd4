"""Answer: what a model says to one text, with names in place of an array."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, kw_only=True)
class Answer(ABC):
    """What a model says to one text, or to one pair."""

    truncated: bool
    """The text was longer than the model reads, and its end was cut off."""

    head: ClassVar[Mapping[str, int]]
    """The columns of `lines`, and how wide they are drawn."""

    def as_dict(self) -> dict[str, Any]:
        """The answer as plain values, ready for JSON."""
        given = asdict(self)
        return given | {"truncated": given.pop("truncated")}

    def best(self, top: int) -> "Answer":
        """The answer with no more than its `top` most probable labels; itself where it ranks none."""
        return self

    @abstractmethod
    def lines(self, top: int) -> list[tuple[str, ...]]:
        """The answer as lines of a table: one, or as many as labels are wanted."""
