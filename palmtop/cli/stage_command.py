"""A command for each stage: options come from its settings, and its bundle is made as a recipe would make it."""

import inspect
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import typer

from palmtop.cli.say import say
from palmtop.errors import UserError
from palmtop.stage_files import Description

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from palmtop.bundle import Bundle
    from palmtop.stage import Stage

LIMITS = {"ge": "at least", "gt": "over", "le": "at most", "lt": "under"}
"""How a range that pydantic checks is told in the help."""


@dataclass(frozen=True)
class Told:
    """What is said of one setting, in its command's help and in its room's README."""

    text: str
    """What it is, and its range."""
    takes: str
    """What may be given, alternatives with | between them."""
    default: str
    """As it would be given; empty where there is none, or None."""


def placeholder(known: Description) -> Callable[[], None]:
    """A command that only lists: its stage isn't imported, so its options aren't known."""

    def listed() -> None:
        raise UserError(f"the options of '{known.name}' were not read: run 'palmtop {known.name} --help'")

    listed.__doc__ = known.summary
    return listed


def command(name: str) -> Callable[..., None]:
    """The command of the stage `name`, with an option for each of its settings."""
    from palmtop.stage import find

    kind = find(name)

    def make_one(out: Path | None = None, source: Path | None = None, **given: str | bool | Path | None) -> None:
        chosen = {key: value for key, value in given.items() if value is not None}
        places = {key: Path(str(chosen.pop(key))) for key in kind.hand_overs if key in chosen}
        _make_and_hand_over(name, kind, source, out, chosen, places)

    parameters = [*_places(kind), *(_option(key, field) for key, field in kind.model_fields.items())]
    make_one.__doc__ = inspect.getdoc(kind)
    make_one.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads a command's options from
    make_one.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return make_one


def value_of(text: str, annotation: Any) -> Any:
    """What is meant by an option's text, as far as pydantic needs help: lists with commas, mappings and [lists] as
    YAML, 'none'."""
    choices = _choices(annotation)
    if text == "none" and type(None) in choices:
        return None
    if (dict in choices and text.lstrip().startswith("{")) or (tuple in choices and text.lstrip().startswith("[")):
        from palmtop.yaml_file import parse

        return parse(f"given: {text}", "the option")["given"]
    named = [value for part in _parts(annotation) if get_origin(part) is Literal for value in get_args(part)]
    if tuple in choices and text not in named and ("," in text or not choices & {str, int, float}):
        return [part.strip() for part in text.split(",")]
    return text


def told(field: "FieldInfo") -> Told:
    """What is said of a setting: its docstring, its range, what it takes, its default."""
    text = " ".join((field.description or "").split()) + _limits(field)
    return Told(text, _metavar(field.annotation), _default(field))


def _make_and_hand_over(
    name: str,
    kind: "type[Stage]",
    source: Path | None,
    out: Path | None,
    given: dict[str, Any],
    places: dict[str, Path],
) -> None:
    """Make the bundle, and of it what was asked for besides; the bundle itself is kept only where `out` says."""
    if not places and out is not None:
        _make(name, kind, source, out, given)
        return
    if not places or source is None:
        options = ", ".join(f"--{key.replace('_', '-')}" for key in kind.hand_overs)
        raise UserError(f"{name} has nowhere to write to: give a folder with --out, or with {options}")
    from palmtop.bundle import Bundle

    opened = Bundle.open(source)
    for key, place in places.items():
        kind.hand_overs[key].check(opened, place)
    with tempfile.TemporaryDirectory() as passing:
        made = _make(name, kind, source, out or Path(passing, source.resolve().name), given)
        for key, place in places.items():
            kind.hand_overs[key].write(opened, made, place)
            say(f"{place}: written")


def _make(name: str, kind: "type[Stage]", source: Path | None, out: Path, given: dict[str, Any]) -> "Bundle":
    from palmtop.making import make_by_name
    from palmtop.processes import rank

    values = {
        key: value_of(text, kind.model_fields[key].annotation) if isinstance(text, str) else text
        for key, text in given.items()
    }
    made = make_by_name(name, values, source, out, say)
    if rank() == 0:
        _report(made)
    return made


def _report(made: "Bundle") -> None:
    size = sum(entry.size_bytes for entry in made.card.files.values())
    facts = ", ".join(
        f"{key} {value}" for key, value in made.card.facts.items() if isinstance(value, int | float | str)
    )
    say(f"{made.path}: {made.format}, {size / 1e6:.2f} MB" + (f"; {facts}" if facts else ""))


def _places(kind: "type[Stage]") -> list[inspect.Parameter]:
    source = Annotated[Path, typer.Argument(help=f"Bundle folder ({' or '.join(sorted(kind.accepts))}) to start from.")]
    out = Annotated[Path, typer.Option(help="Folder of the new bundle.")]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [
        *([inspect.Parameter("source", keyword, annotation=source)] if kind.accepts else []),
        *([] if kind.hand_overs else [inspect.Parameter("out", keyword, annotation=out)]),
        *([_place("out", "Folder of the new bundle.")] if kind.hand_overs else []),
        *(_place(name, each.told) for name, each in kind.hand_overs.items()),
    ]


def _place(name: str, told: str) -> inspect.Parameter:
    """An option for a folder, of several of which one is enough."""
    option = typer.Option(f"--{name.replace('_', '-')}", help=told)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Path | None, option], default=None
    )


def _option(name: str, field: "FieldInfo") -> inspect.Parameter:
    """An option that is not given stays None, so that the default remains the setting's own."""
    flag, said = "--" + name.replace("_", "-"), told(field)
    if bool in _choices(field.annotation):
        option = typer.Option(f"{flag}/--no-{flag[2:]}", help=said.text, show_default=said.default)
        return inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[bool | None, option], default=None
        )
    option = typer.Option(flag, help=said.text, metavar=said.takes, show_default=said.default or False)
    if field.is_required():
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str, option])
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[str | None, option], default=None
    )


def _default(field: "FieldInfo") -> str:
    value = field.get_default(call_default_factory=True, validated_data={}) if not field.is_required() else None
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _limits(field: "FieldInfo") -> str:
    told = [
        f"{word} {getattr(limit, key)}"
        for limit in field.metadata
        for key, word in LIMITS.items()
        if key in _slots(limit)
    ]
    return f" ({', '.join(told)})" if told else ""


def _slots(limit: Any) -> tuple[str, ...]:
    return tuple(limit.__dataclass_fields__) if type(limit).__module__ == "annotated_types" else ()


def _metavar(annotation: Any) -> str:
    named = [str(value) for part in _parts(annotation) if get_origin(part) is Literal for value in get_args(part)]
    words = {bool: "true|false", int: "INTEGER", float: "NUMBER", tuple: "A,B,...", dict: "{...}", str: "TEXT"}
    return "|".join([*named, *(word for kind, word in words.items() if kind in _choices(annotation))]) or "TEXT"


def _parts(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union; a plain annotation is its own only one."""
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(part for alternative in get_args(annotation) for part in _parts(alternative))
    return _parts(get_args(annotation)[0]) if get_origin(annotation) is Annotated else (annotation,)


def _choices(annotation: Any) -> set[Any]:
    """The bare types of the alternatives: tuple for tuple[int, ...]."""
    return {get_origin(part) or part for part in _parts(annotation)}
