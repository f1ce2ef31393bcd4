"""What works with what: stages for kinds of tasks, and for families, as the kinds' and families' own files say."""

from collections.abc import Sequence
from typing import Annotated

import typer

from palmtop.errors import UserError, did_you_mean

WORKS, REFUSED = "yes", "no"
Rows = list[tuple[str, ...]]


def kinds(
    kind: Annotated[
        str | None, typer.Argument(help="One kind: why each stage that refuses it does, and its options.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """List the kinds of tasks, and which stages work for them."""
    from palmtop import task_kinds

    if kind is None:
        _show(*kinds_grid(), markdown)
        return
    found = task_kinds.find(kind)
    rows = [(stage, why_not_kind(stage, kind)) for stage in _stages() if not found.works(stage)]
    _show(("stage", f"why it isn't for {kind.replace('_', ' ')}"), rows, markdown)
    if found.options is not None:
        told = [
            (name, str(field.get_default(call_default_factory=True)), " ".join((field.description or "").split()))
            for name, field in found.options.model_fields.items()
        ]
        _show(("a task's options", "by default", "what it is"), told, markdown)


def families(
    family: Annotated[str | None, typer.Argument(help="One family: why each stage that refuses it does.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """List the families of transformers, and which stages refuse them."""
    from palmtop.models.family import EVERY_FAMILY

    if family is None:
        _show(*families_grid(), markdown)
        return
    if family not in EVERY_FAMILY:
        raise UserError(f"no family '{family}'; {did_you_mean(family, EVERY_FAMILY)}")
    rows = sorted(EVERY_FAMILY[family].refuses.items())
    _show(("stage", f"why it isn't for {EVERY_FAMILY[family].name}"), rows, markdown)


def kinds_grid() -> tuple[tuple[str, ...], Rows]:
    """Head and rows: a row for each stage, a column for each kind."""
    from palmtop import task_kinds

    known = [task_kinds.find(name) for name in task_kinds.names()]
    rows = [(stage, *(WORKS if kind.works(stage) else REFUSED for kind in known)) for stage in _stages()]
    return ("stage", *(kind.name for kind in known)), rows


def families_grid() -> tuple[tuple[str, ...], Rows]:
    """Head and rows: a row for each family, with the stages that refuse it."""
    from palmtop.models.family import EVERY_FAMILY

    rows: Rows = []
    for model_type, family in sorted(EVERY_FAMILY.items()):
        lengths = "any, or fixed" if family.any_length else "fixed"
        rows.append((model_type, family.kind, lengths, ", ".join(sorted(family.refuses)) or "none"))
    return ("family", "kind", "lengths of a .tflite", "stages that its file refuses"), rows


def why_not_kind(stage: str, kind: str) -> str:
    """Why a stage refuses a kind of task."""
    from palmtop import task_kinds

    return task_kinds.find(kind).refuses.get(stage, "not yet")


def as_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _stages() -> list[str]:
    """Every stage that can work on a model with a task's head: language models have none."""
    from palmtop.stage_files import names

    return list(names())


def _show(head: Sequence[str], rows: Sequence[Sequence[str]], markdown: bool) -> None:
    if markdown:
        print(as_markdown(head, rows))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=box.SIMPLE)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
