"""Which stages there are, read from the files in compress/ and export/ without importing one."""

import ast
import importlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from palmtop import format as file_format

ROOMS = ("compress", "export")
CLASS = re.compile(r"^class (\w+)", re.MULTILINE)
DERIVED = re.compile(r"^class (\w+)\((.*)\):", re.MULTILINE)
"""A class, and what it derives from. One pattern for all files: compiling one for each took a quarter of the time."""
METHOD = re.compile(r"^    (?:@|def |async def )", re.MULTILINE)
"""Where a method of a class begins."""


@dataclass(frozen=True)
class Description:
    """What the list of stages says of one."""

    name: str
    room: str
    """The folder that it stands in: compress or export."""
    summary: str
    accepts: frozenset[str]
    produces: str


@cache
def names() -> dict[str, str]:
    """Every stage by name, with its module.

    A stage `some_name` is the class `SomeName` in some_name.py, anywhere in a room; one that says what it produces and
    isn't abstract.
    """
    found = {}
    for room in ROOMS:
        for path in _folder(room).rglob("*.py"):
            bases = dict(DERIVED.findall(path.read_text(encoding="utf-8"))).get(class_name(path.stem))
            module = ".".join(("palmtop", room, *path.relative_to(_folder(room)).with_suffix("").parts))
            if (
                bases is not None
                and "ABC" not in bases.split(", ")
                and _declared(module, class_name(path.stem), "produces") is not None
            ):
                found[path.stem] = module
    return dict(sorted(found.items(), key=lambda item: (item[1].split(".")[1], item[0])))


def class_name(name: str) -> str:
    """to_tflite -> ToTflite."""
    return "".join(part.capitalize() for part in name.split("_"))


def effect(name: str) -> str | None:
    """What the stage called `name` says that it does to a model (palmtop.effect); None where there is no such
    stage."""
    module = names().get(name)
    said = _declared(module, class_name(name), "effect") if module is not None else None
    return ast.literal_eval(said) if said is not None else None


def descriptions() -> list[Description]:
    """Every stage, read from its file without importing it."""
    return [_describe(name, module) for name, module in names().items()]


def _describe(name: str, module: str) -> Description:
    accepts, produces = (_declared(module, class_name(name), wanted) for wanted in ("accepts", "produces"))
    return Description(
        name,
        module.split(".")[1],
        " ".join((ast.get_docstring(_head(module, class_name(name))) or "").split("\n\n")[0].split()),
        _formats(accepts),
        ast.literal_eval(produces) if produces else "?",
    )


def _formats(accepts: ast.expr | None) -> frozenset[str]:
    """Of `frozenset({...})` what is in it; of `file_format.quantized()` and the like what the formats' files say."""
    if not isinstance(accepts, ast.Call):
        return frozenset()
    if isinstance(accepts.func, ast.Attribute):
        found: frozenset[str] = getattr(file_format, accepts.func.attr)()
        return found
    return frozenset(ast.literal_eval(accepts.args[0]) if accepts.args else ())


def _declared(module: str, kind: str, wanted: str) -> ast.expr | None:
    """The value that a class, or the nearest of its bases within palmtop, gives to a class variable."""
    body = _head(module, kind).body
    where = {node.name: module for node in body if isinstance(node, ast.ClassDef)}
    where |= {
        alias.name: node.module or "" for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    found = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == kind)
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == wanted:
            return node.value
    bases = [
        base.id for base in found.bases if isinstance(base, ast.Name) and where.get(base.id, "").startswith("palmtop.")
    ]
    return next((value for base in bases if (value := _declared(where[base], base, wanted))), None)


@cache
def _head(module: str, kind: str) -> ast.Module:
    """A file up to the first method of a class: its imports, and the class's fields. Parsing all of every file would
    take most of the time that `palmtop --help` has."""
    room, *inside, name = module.split(".")[1:] if module.count(".") > 1 else ("", *module.split(".")[1:])
    folder = _folder(room) if room else Path(__file__).parent
    text = folder.joinpath(*inside, f"{name}.py").read_text(encoding="utf-8")
    start = next((found for found in CLASS.finditer(text) if found[1] == kind), None)
    end = METHOD.search(text, start.end()) if start else None
    return ast.parse(text[: end.start()] if end else text)


@cache
def _folder(room: str) -> Path:
    linked = Path(__file__).parent / room
    return linked if linked.is_dir() else Path(str(importlib.import_module(f"palmtop.{room}").__path__[0]))
