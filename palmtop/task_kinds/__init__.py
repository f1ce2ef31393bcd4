"""The kinds of tasks, one file each, found by file name.

A kind `some_name` is the class `SomeName(TaskKind)` in some_name.py.
"""

import importlib
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from palmtop.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from palmtop.families.family import Kind
    from palmtop.task_kinds.kind import TaskKind


@cache
def names() -> tuple[str, ...]:
    """Every kind of task, by name."""
    return tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if _holds_a_kind(path)))


@cache
def find(name: str) -> "TaskKind":
    """The kind of task called `name`.

    Raises:
        UserError: there is none, with the nearest name.
    """
    if name not in names():
        raise UserError(f"no kind of task '{name}'; {did_you_mean(name, names())}")
    kind: type[TaskKind] = getattr(importlib.import_module(f"palmtop.task_kinds.{name}"), _class_name(name))
    return kind()


@cache
def by_output(output: str) -> "TaskKind":
    """The kind of task that a model answers whose signature says `output`.

    Raises:
        UserError: no kind has such outputs.
    """
    known = {word: name for name in names() for word in find(name).outputs}
    if output not in known:
        raise UserError(f"signature.json says that the outputs are '{output}'; {did_you_mean(output, known)}")
    return find(known[output])


@cache
def architectures(transformer: "Kind") -> tuple[str, ...]:
    """How the names of transformers' classes with a task's head end, of such a transformer: ForSequenceClassification
    and so on."""
    kinds = map(find, names())
    return tuple(dict.fromkeys(kind.architecture for kind in kinds if transformer in kind.transformers))


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _holds_a_kind(path: Path) -> bool:
    return (
        re.search(rf"^class {_class_name(path.stem)}\(TaskKind\):", path.read_text(encoding="utf-8"), re.MULTILINE)
        is not None
    )
