"""Bundle: a model on disk, sealed, with provenance. A folder without a card is unfinished, never a result."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from palmtop import effect as effects
from palmtop import format as file_format
from palmtop.durably import write_durably
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.paths import without_folders, without_paths
from palmtop.signature import Signature

if TYPE_CHECKING:
    from palmtop.task import Task

CARD = "palmtop.json"
LOGS = "logs"
"""The folder of training logs inside a bundle: kept with it, but no part of the model, so not sealed."""


def _known(name: str) -> str:
    try:
        return file_format.known(name)
    except UserError as error:
        raise ValueError(str(error)) from None  # which pydantic tells as a fault of the field


Format = Annotated[str, AfterValidator(_known)]
"""What a folder holds, one of palmtop/formats; an app is one of the exported formats with all that an app needs beside
it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(_Frozen):
    """How a bundle was made. Two bundles of equal origin are the same thing made twice; of origins that differ only in
    `became`, the same as far as rounding lets them."""

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    """sha256 of everything that was read: the source bundle, the task's data, a model folder."""
    versions: dict[str, str]
    """Packages whose version can change the result."""
    became: dict[str, str] = {}
    """What settings that leave a choice to the machine became there: the ways differ in how they round. Not asked for,
    so one that became otherwise is kept too; not on cards from before it was written."""
    untrained: bool = False
    """Whether stages on the way to it learnt nothing, because only its shapes were wanted: it is no result."""

    @property
    def asked(self) -> Self:
        """What was asked for, which is known before work."""
        return self.model_copy(update={"became": {}})

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Where nothing became of anything and all was learnt, as it was always written: who compares the text, or is
        older, finds it so."""
        written: dict[str, Any] = write(self)
        return {name: value for name, value in written.items() if name not in ("became", "untrained") or value}


class Ancestor(_Frozen):
    """One step of a bundle's way from the teacher on."""

    digest: str
    stage: str
    format: Format
    settings: dict[str, Any] = {}
    effect: Effect | None = None
    """What the stage did to the model; None on cards from before stages said it, where the stage is no more."""


class FileEntry(_Frozen):
    """A sealed file."""

    size_bytes: int
    sha256: str


class Card(_Frozen):
    """What palmtop.json holds."""

    palmtop: int = 1
    format: Format
    digest: str
    origin: Origin
    lineage: tuple[Ancestor, ...]
    """From the first ancestor to this bundle's source; the bundle itself is not in it. An app's names no folder of the
    machine that it was made on."""
    effect: Effect | None = None
    """What the stage did to the model, as it said itself; not on cards from before stages said it (`Bundle.lineage`
    knows). No part of the origin: it follows from the stage, and what was made before it was written stays equal."""
    facts: dict[str, Any]
    """What happened, as the stage measured it; not what was asked for."""
    files: dict[str, FileEntry]
    created: str


@dataclass(frozen=True)
class Bundle:
    """A sealed model folder. What it holds doesn't change, so what is read of it is read once."""

    path: Path
    card: Card

    @property
    def format(self) -> Format:
        return self.card.format

    @property
    def model_format(self) -> Format:
        """The format of the model in it: of an app's folder that of the exported file."""
        return (file_format.model_in(self.path) if self.format == "app" else None) or self.format

    @property
    def digest(self) -> str:
        return self.card.digest

    @property
    def name(self) -> str:
        return self.path.name

    @cached_property
    def signature(self) -> Signature:
        """What its model takes and gives.

        Raises:
            UserError: it has no signature.json, as a linear model, or a damaged one.
        """
        return Signature.read(self.path)

    @cached_property
    def task(self) -> "Task | None":
        """The task that it was made for; None where it was made for none."""
        from palmtop.task import Task  # brings numpy, which the list of stages does without

        return Task.of(self.path)

    @property
    def lineage(self) -> tuple[Ancestor, ...]:
        """The way to this bundle, itself included; each step with its effect, on old cards too."""
        made = self.card.origin
        itself = Ancestor(
            digest=self.digest,
            stage=made.stage,
            format=self.format,
            settings=made.settings,
            effect=self.card.effect,
        )
        return tuple(map(_with_effect, (*self.card.lineage, itself)))

    @property
    def is_cascade(self) -> bool:
        """Whether it is two models, the first asked for every text."""
        return file_format.find(self.model_format).parts is not None

    @cached_property
    def parts(self) -> "tuple[Bundle, ...]":
        """The bundles of a cascade, each whole in its folder: the first asked, and the larger; of any other none."""
        return tuple(Bundle.open(self.path / name) for name in file_format.PARTS) if self.is_cascade else ()

    @property
    def in_torch(self) -> str | None:
        """Digest of the torch bundle whose answers it should give: the nearest on its way, or itself; None where there
        is none."""
        return next((step.digest for step in reversed(self.lineage) if step.format == "torch"), None)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a bundle; every sealed file must be there in its sealed size.

        Raises:
            UserError: no such folder, no card, a damaged card, or files missing or of another size, all told together.
        """
        if not path.is_dir():
            raise UserError(f"there is no folder {path}")
        try:
            card = Card.model_validate_json((path / CARD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{path} isn't a bundle (it has no {CARD}): finish it by running its recipe again, or make one of a "
                "Hugging Face folder with 'palmtop adopt'"
            ) from None
        except (ValidationError, UnicodeDecodeError) as error:
            raise UserError(_fault_of_card(path / CARD, error)) from None
        faults = [fault for name, entry in card.files.items() if (fault := _size_fault(path, name, entry))]
        if faults:
            raise UserError(faults)
        return cls(path, card)

    def unsealed(self) -> list[str]:
        """Files that lie in the folder and weren't there when it was sealed."""
        return sorted({path.relative_to(self.path).as_posix() for path in _content(self.path)} - set(self.card.files))

    def verify(self) -> None:
        """Read every sealed file and compare its sha256.

        Raises:
            UserError: the files that were changed since sealing, by name; or a card that isn't of these files.
        """
        faults = [
            f"{self.path / name} was changed after it was sealed (sha256 differs): remove the folder and make the "
            "bundle again"
            for name, entry in self.card.files.items()
            if sha256_of(self.path / name) != entry.sha256
        ]
        if self.digest != _digest(self.format, self.card.files):
            faults.append(
                f"{self.path / CARD} is damaged (its digest isn't its files'): remove the folder and make the bundle "
                "again"
            )
        if faults:
            raise UserError(faults)


def is_sealed(path: Path) -> bool:
    """Whether `path` is a finished bundle (its card is written last)."""
    return (path / CARD).is_file()


def seal(
    folder: Path,
    bundle_format: Format,
    origin: Origin,
    source: Bundle | None,
    facts: dict[str, Any],
    effect: Effect | None = None,
) -> None:
    """Hash what a stage left in `folder` and write the card, durably, as the last thing.

    An app is handed to others: of the paths in its ancestors' settings only the last parts are kept. Its origin is kept
    whole: it is compared with that of the next run.

    Args:
        effect: what the stage says that it does to a model; None where nobody says it.
    """
    files = _entries(folder)
    lineage = source.lineage if source else ()
    card = Card(
        format=bundle_format,
        digest=_digest(bundle_format, files),
        origin=origin,
        lineage=_handed_out(lineage) if bundle_format == "app" else lineage,
        effect=effect,
        facts=facts,
        files=files,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_durably(folder / CARD, card.model_dump_json(indent=1) + "\n")


def hand_out(card: Card, folder: Path) -> None:
    """Seal a copy of a bundle that goes to others, whose files may be others by now: the same origin, way and facts, of
    paths only the last parts; the digest is that of the copy, and `copy_of` that of the bundle."""
    files = _entries(folder)
    made = card.model_copy(
        update={
            "digest": _digest(card.format, files),
            "files": files,
            "origin": card.origin.model_copy(update={"settings": without_paths(card.origin.settings)}),
            "lineage": _handed_out(card.lineage),
            "facts": without_folders(card.facts) | {"copy_of": card.digest},
        }
    )
    write_durably(folder / CARD, made.model_dump_json(indent=1) + "\n")


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_effect(step: Ancestor) -> Ancestor:
    """An old card doesn't say it: then it is what the stage says today."""
    return step if step.effect is not None else step.model_copy(update={"effect": effects.of_stage(step.stage)})


def _handed_out(lineage: tuple[Ancestor, ...]) -> tuple[Ancestor, ...]:
    return tuple(step.model_copy(update={"settings": without_paths(step.settings)}) for step in lineage)


def _entries(folder: Path) -> dict[str, FileEntry]:
    return {
        path.relative_to(folder).as_posix(): FileEntry(size_bytes=path.stat().st_size, sha256=sha256_of(path))
        for path in sorted(_content(folder))
    }


def _digest(bundle_format: Format, files: Mapping[str, FileEntry]) -> str:
    content = json.dumps([bundle_format, {name: entry.sha256 for name, entry in files.items()}])
    return hashlib.sha256(content.encode()).hexdigest()


def _content(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).parts[0] not in (CARD, LOGS):
            yield path


def _fault_of_card(card: Path, error: ValidationError | UnicodeDecodeError) -> str:
    """A card of a format that isn't known here is whole, and says so; any other is damaged."""
    faults = error.errors() if isinstance(error, ValidationError) else []
    if faults and all(fault["type"] == "value_error" and fault["loc"][-1] == "format" for fault in faults):
        said = "; ".join(dict.fromkeys(fault["msg"].removeprefix("Value error, ") for fault in faults))
        return f"{card}: {said}: open it with the palmtop that made it, or a newer one"
    return f"{card} is damaged: remove the folder and make the bundle again"


def _size_fault(folder: Path, name: str, entry: FileEntry) -> str | None:
    try:
        size = (folder / name).stat().st_size
    except FileNotFoundError:
        return f"{folder / name} is missing: remove the folder and make the bundle again"
    return (
        None
        if size == entry.size_bytes
        else (
            f"{folder / name} has {size} bytes, sealed with {entry.size_bytes}: remove the folder and make the bundle "
            "again"
        )
    )
