"""The folders that to_app makes: whose they are, what each is made of, and why one can't be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from palmtop import format as file_format
from palmtop.models.family import family_named
from palmtop.stage import Outline

Name = Literal["palmtop", "transformers.js", "sentence-transformers", "model2vec"]


@dataclass(frozen=True)
class Layout:
    """A folder for one tool."""

    takes: frozenset[str]
    """Formats of the bundle that it is made of."""
    instead: str
    """What to do with a bundle of another."""
    settings: frozenset[str] = frozenset()
    """Settings that are for it alone."""


LAYOUTS: Final[Mapping[Name, Layout]] = {
    "palmtop": Layout(
        file_format.in_apps(),
        "export it first, with to_tflite, to_onnx or to_tfjs; of a torch bundle itself there is layout: "
        "sentence-transformers, and model2vec of a static student",
        frozenset({"task_clients"}),
    ),
    "transformers.js": Layout(frozenset({"onnx"}), "hand over what 'palmtop to_onnx' makes", frozenset({"quantized"})),
    "sentence-transformers": Layout(
        frozenset({"torch"}), "hand over the torch bundle", frozenset({"pooling", "normalize"})
    ),
    "model2vec": Layout(frozenset({"torch"}), "hand over the torch bundle of a static student"),
}


def faults(name: Name, source: Outline, changed: frozenset[str]) -> list[str]:
    """Why a bundle has no such folder, or which settings are for another.

    Args:
        changed: settings that aren't as they are by default.
    """
    chosen = LAYOUTS[name]
    found = [
        f"{setting} is for layout: {owner}, this is {name}: leave it out"
        for owner, other in LAYOUTS.items()
        for setting in sorted(other.settings & changed)
        if owner != name
    ]
    if source.format not in chosen.takes:
        takes = " or ".join(sorted(chosen.takes))
        return [*found, f"layout: {name} is made of {takes}, this is {source.format}: {chosen.instead}"]
    return [*found, *_model_faults(name, source)]


def _model_faults(name: Name, source: Outline) -> list[str]:
    """Models that a tool has no class for."""
    family = family_named(source.family) if source.family is not None else None
    if name == "model2vec" and not (family and family.mean_of_rows):
        return [
            f"model2vec opens tables of token vectors, and this is a {source.family}: make a static student of it with "
            "'palmtop static', or take layout: sentence-transformers"
        ]
    if name != "sentence-transformers":
        return []
    if family and family.mean_of_rows:
        return ["sentence-transformers has no class for a static student: take layout: model2vec, which it opens too"]
    if family and family.own_class is not None:
        return [f"sentence-transformers has no class for a {family.name} student: take layout: palmtop"]
    return [
        f"sentence-transformers opens what transformers has a class for, and this model differs from any ({key} in its "
        "config.json): it stays palmtop's own"
        for key in source.changes
    ]
