"""FileFormat: what there is to know of a format of model files. Found by file name in palmtop/formats."""

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from palmtop.errors import UserError, did_you_mean

ROOM = "palmtop.formats"
NO_FORMATS = ("_", "read_")
"""How the other files of that folder begin."""
CONVERTED = "converted"
"""The target of formats that nothing here runs."""
BESIDE = ("tokenizer.json", "labels.txt", "signature.json")
PARTS = ("first", "second")
"""The folders of a cascade's two models, each a whole bundle."""


@dataclass(frozen=True)
class Quantizer:
    """What writes quantized files of a format."""

    name: str
    """Dotted name of its class, a `palmtop.export.quantization.quantizable.Quantizable`."""
    schemes: tuple[str, ...]
    """Those of 'palmtop quantize' that it has."""
    packages: tuple[str, ...] = ()
    """Those it needs, whose versions can change the result."""
    modules_named: bool = True
    """Whether layers have the names of the model's modules, so that a user can say which to keep finer."""


@dataclass(frozen=True)
class InApp:
    """What an app's folder with a model of a format is for."""

    client: str
    """What answers with it."""
    packages: tuple[str, ...]
    """What asks it for its golden answers."""
    licence: str | None = None
    """Of the code that lies in the folder; None where there is none."""
    page: str | None = None
    """The target whose runtime answers in the folder's web page; None where there is no page."""


@dataclass(frozen=True)
class FileFormat:
    """A format: its files, who reads, runs and quantizes them. Others are named, not imported: this is data."""

    name: str
    called: str | None = None
    """As people write it, where that is another word."""
    files: tuple[str, ...] = ()
    """Names of the model's own files, weights and graph, as patterns; the first tells the format of the model in an
    app's folder. An app has none of its own."""
    also_at: tuple[str, ...] = ()
    """Where the first of them may lie besides, in a folder that is laid out for another tool; the first that is there
    answers."""
    target: str | None = None
    """The target that judges it: the format's own runtime on this machine."""
    not_run: str | None = None
    """Why nothing here runs it; such a format is converted, and no number but its size is ever told."""
    beside: tuple[str, ...] = BESIDE
    """Files that an app fetches with the model."""
    reader: str | None = None
    """Dotted name of the function that takes its files apart, from a folder to a `palmtop.anatomy.Anatomy`."""
    reader_package: tuple[str, str] | None = None
    """What the reader needs: the module it imports, and the package's name."""
    explained: bool = True
    """Whether 'explain' shows what the reader finds; a model without layers has nothing to tell apart."""
    matrices: str | None = None
    """Dotted name of the function that lists the matrices stored in it (`palmtop.export.stored_once.Stored`); None
    where a file holds none as such."""
    quantizer: Quantizer | None = None
    in_app: InApp | None = None
    """None: no app's folder is made of it."""
    parts: str | None = None
    """The format of the two models of which it is a cascade; None: one model."""


@cache
def names() -> frozenset[str]:
    """The formats there are, by file name; nothing is imported."""
    paths = (Path(__file__).parent / "formats").glob("*.py")
    return frozenset(path.stem for path in paths if not path.stem.startswith(NO_FORMATS))


def known(name: str) -> str:
    """The name itself.

    Raises:
        UserError: there is no such format, with the nearest name.
    """
    if name not in names():
        raise UserError(f"no format '{name}'; {did_you_mean(name, sorted(names()))}")
    return name


def find(name: str) -> FileFormat:
    """The format called `name`.

    Raises:
        UserError: there is none, with the nearest name.
    """
    found: FileFormat = importlib.import_module(f"{ROOM}.{known(name)}").FORMAT
    return found


def every() -> list[FileFormat]:
    """All formats, by name."""
    return [find(name) for name in sorted(names())]


def quantized() -> frozenset[str]:
    """Those with a quantizer."""
    return frozenset(each.name for each in every() if each.quantizer)


def in_apps() -> frozenset[str]:
    """Those of which an app's folder can be made."""
    return frozenset(each.name for each in every() if each.in_app)


def in_folders() -> frozenset[str]:
    """Those of which a folder for others can be made: an app's, or one that tools for torch models open."""
    return in_apps() | {"torch"}


def not_run() -> frozenset[str]:
    """Those that are converted, and run by nothing here."""
    return frozenset(each.name for each in every() if each.not_run)


def judge(name: str) -> str:
    """The name of the target that runs a format.

    Raises:
        UserError: nothing runs it, with the reason.
    """
    found = find(name)
    if found.target is None:
        raise UserError(
            f"{name} is converted, not run: {found.not_run}"
            if found.not_run
            else f"no target runs {name} as such: what runs is the model in it"
        )
    return found.target


def own_targets(formats: Iterable[str]) -> tuple[str, ...]:
    """The names of the targets on which bundles of these formats are measured where none is named: each format's own;
    of an app's folder none."""
    own = [find(name) for name in formats]
    return tuple(dict.fromkeys(made.target or CONVERTED for made in own if made.target or made.not_run))


def model_in(folder: Path) -> str | None:
    """The format of the model in an app's folder, by its first file; None where there is none."""
    return next((each.name for each in every() if each.in_app and _holds(folder, each)), None)


def _holds(folder: Path, made: FileFormat) -> bool:
    return any((folder / name).is_file() for name in (made.files[0], *made.also_at))


def of_parts(part: str) -> "FileFormat":
    """The format of cascades of two models of the format `part`.

    Raises:
        UserError: there is none.
    """
    found = next((each for each in every() if each.parts == part), None)
    if found is None:
        known = ", ".join(each.parts for each in every() if each.parts)
        raise UserError(f"no cascade is made of {part} bundles; it is of {known}")
    return found


def part_files(patterns: Iterable[str]) -> tuple[str, ...]:
    """Patterns of files as they lie in both folders of a cascade."""
    return tuple(f"{folder}/{pattern}" for folder in PARTS for pattern in patterns)


def called(dotted: str) -> Callable[..., Any]:
    """The function or class that a format, or a family, names."""
    module, _, name = dotted.rpartition(".")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
