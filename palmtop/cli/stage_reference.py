"""The reference of the stages, as Markdown: what the rooms' READMEs say of each, by its file and its settings."""

import importlib
import inspect
import typing
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from palmtop.cli.grids import as_markdown
from palmtop.cli.stage_command import told

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from palmtop.stage import Stage

HEAD = ("setting", "takes", "default", "what it is")
NOT_GIVEN, NO_DEFAULT = "none", "must be given"
NEARER = (
    "Where two of a stage's tables have the same setting, its own goes before these, and of these the one named first."
)


def reference(room: str) -> str:
    """Every stage of a room with its settings, by subject; what several stages share stands once, at the end."""
    from palmtop.stage import find
    from palmtop.stage_files import names

    modules = {name: module for name, module in names().items() if module.split(".")[1] == room}
    kinds = {name: find(name) for name in modules}
    counted = Counter(said_by for kind in kinds.values() for said_by in _groups(kind))
    shared = sorted((said_by for said_by, stages in counted.items() if stages > 1), key=_title)
    parts: list[str] = []
    for package, found in _by_subject(modules).items():
        parts += _subject(package)
        parts += [part for name in found for part in _stage(name, kinds[name], shared)]
    if shared:
        parts += ["## Settings that several stages share", NEARER]
    for said_by in shared:
        parts += [f"### {_title(said_by)}", _text(said_by), _table(_said_by(said_by))]
    return "\n\n".join(parts) + "\n"


def _by_subject(modules: Mapping[str, str]) -> dict[str, list[str]]:
    """The stages in each folder."""
    found: dict[str, list[str]] = {}
    for name, module in sorted(modules.items(), key=lambda item: item[1]):
        found.setdefault(module.rpartition(".")[0], []).append(name)
    return found


def _groups(kind: "type[Stage]") -> "list[type[BaseModel]]":
    """The classes that say a stage's settings, the nearest first: the stage itself, then its bases."""
    nearest = {next(base for base in kind.__mro__ if _says(base, key)) for key in kind.model_fields}
    return [base for base in kind.__mro__ if base in nearest]


def _said_by(base: "type[BaseModel]") -> "dict[str, FieldInfo]":
    return {key: field for key, field in base.model_fields.items() if _says(base, key)}


def _says(base: type, key: str) -> bool:
    return key in inspect.get_annotations(base)


def _subject(package: str) -> list[str]:
    """A heading for a folder of stages; the room itself needs none."""
    if package.count(".") == 1:
        return []
    return [f"## {package.rpartition('.')[2].replace('_', ' ')}", _text(importlib.import_module(package))]


def _stage(name: str, kind: "type[Stage]", shared: "Sequence[type[BaseModel]]") -> list[str]:
    groups = _groups(kind)
    own = {key: field for base in reversed(groups) if base not in shared for key, field in _said_by(base).items()}
    links = ", ".join(f"[{_title(base)}](#{_title(base).replace(' ', '-')})" for base in groups if base in shared)
    makes = "the same" if kind.produces == "same" else kind.produces
    return [
        f"### {name}",
        f"Takes {' or '.join(sorted(kind.accepts)) or 'nothing'}, makes {makes}.",
        _text(inspect.getmodule(kind)),
        _text(kind),
        *([_table(own)] if own else []),
        *(part for field in own.items() for part in _items(*field)),
        *([f"{'Also' if own else 'Settings'}: {links}."] if links else []),
        *(f"`--{key.replace('_', '-')} FOLDER`: {_escaped(each.told)}" for key, each in kind.hand_overs.items()),
    ]


def _items(key: str, field: "FieldInfo") -> list[str]:
    """What each item of a setting says, where its items have settings of their own."""
    return [
        part
        for model in dict.fromkeys(_models(field.annotation))
        for part in (f"Each of `{key}`: {_text(model)}", _table(model.model_fields))
    ]


def _models(annotation: Any) -> "Iterable[type[BaseModel]]":
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def _table(fields: "Mapping[str, FieldInfo]") -> str:
    return as_markdown(HEAD, [_row(key, field) for key, field in fields.items()])


def _row(key: str, field: "FieldInfo") -> tuple[str, ...]:
    said = told(field)
    default = f"`{said.default}`" if said.default else NO_DEFAULT if field.is_required() else NOT_GIVEN
    return f"`{key}`", ", ".join(f"`{word}`" for word in said.takes.split("|")), default, _escaped(said.text)


def _title(base: type) -> str:
    """AnyTraining -> any training."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in base.__name__).strip()


def _text(documented: Any) -> str:
    """A docstring, a line for each of its paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in _escaped(inspect.getdoc(documented) or "").split("\n\n"))


def _escaped(text: str) -> str:
    """As Markdown would otherwise take for a cell's end, a tag or emphasis."""
    return text.replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*")
