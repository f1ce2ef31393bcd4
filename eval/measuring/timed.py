"""What a latency was timed at, and why two of one session still can't make a ratio: other kinds, lengths, threads or
machines."""

from typing import Any

from palmtop.measurement import Measurement
from palmtop.target import OWN_LENGTH

LINEAR = "linear"
"""The format that pads nothing: its time is the same at every length."""


def timed_at(latency: Measurement) -> Any:
    """Tokens that the model ran with; OWN_LENGTH where each text had its own; None where the model pads nothing, or it
    isn't known."""
    asked = latency.conditions
    return asked.get("padded_to", asked.get("length"))


def in_words(tokens: Any) -> str:
    """A length that a latency was timed at, as sentences say it."""
    if tokens == OWN_LENGTH:
        return "each text's own length"
    return "an unknown length" if tokens is None else f"{tokens} tokens"


def apart(ours: Measurement, theirs: Measurement) -> str | None:
    """Why the one latency by the other says nothing, and what to do; None where both did the same work on equal
    terms."""
    if why := ours.unlike(theirs):
        return why
    at, beside = timed_at(ours), timed_at(theirs)
    if LINEAR not in (ours.format, theirs.format) and at != beside:
        return f"timed at {in_words(at)}, {theirs.name} at {in_words(beside)}: {_remedy(ours, theirs)}"
    threads, others = (one.conditions.get("threads") for one in (ours, theirs))
    if threads != others:
        return f"timed with {threads} thread(s), {theirs.name} with {others}: measure with --threads 1"
    return other_machine(ours, theirs)


def other_machine(ours: Measurement, theirs: Measurement) -> str | None:
    """What to do where the two were timed on two machines; None where it was one."""
    if _machine(ours) != _machine(theirs):
        return f"timed on another machine than {theirs.name}: measure both on one"
    return None


def _remedy(ours: Measurement, theirs: Measurement) -> str:
    """A file that ran longer than another has fixed lengths only, and not that one."""
    lengths = (timed_at(ours), timed_at(theirs))
    if OWN_LENGTH in lengths:
        return "compare their text to answer"
    if None in lengths:
        return "measure again"
    longer = max(ours, theirs, key=timed_at)
    return f"export {longer.name} with --lengths {min(lengths)} or any, or measure with --length {max(lengths)}"


def _machine(latency: Measurement) -> dict[str, Any]:
    return {key: value for key, value in latency.machine.items() if key != "versions"}
