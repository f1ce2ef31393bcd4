"""palmtop predict: ask a bundle's model, in its own runtime, and print what it answers."""

import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palmtop.errors import raise_all

if TYPE_CHECKING:
    from palmtop.answering import Purpose
    from palmtop.cli.texts_in import Text
    from palmtop.loaded import Model
    from palmtop.task_kinds.answer import Answer

STDIN = "-"
CHUNK = 256
"""Rows of a file that are answered, and printed, at a time. Lines of stdin are answered one by one, as they come."""
WIDTH = 100
PAIR = 2


def predict(  # noqa: PLR0913, PLR0917  # a command's arguments are its flags
    bundle: Annotated[Path, typer.Argument(help="Bundle folder of any format, or an app's.")],
    texts: Annotated[
        list[str] | None, typer.Argument(help="What to ask; '-' or nothing: the lines of stdin.", metavar="TEXT")
    ] = None,
    second: Annotated[
        str | None, typer.Option(help="The second text of a pair, or the context of the questions.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Ask each row of a .csv, .tsv or .jsonl, or each line of a .txt (or a .gz).")
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The file's column with the text.", show_default="the task's")
    ] = None,
    text2: Annotated[
        str | None, typer.Option(help="The file's column with the second text.", show_default="the task's")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each text, one a line.")] = False,
    threads: Annotated[int, typer.Option(help="Threads of the runtime.", min=1)] = 1,
    top: Annotated[
        int | None,
        typer.Option(help="Labels to print, the most probable.", min=1, show_default="1; all with --json"),
    ] = None,
) -> None:
    """Ask a model, and print its answers: a label and its probability, a number, the words that answer a question, a
    text's vector, and with --second the cosine of two; or what is written behind a prompt, as it comes."""
    from palmtop.bundle import Bundle
    from palmtop.loaded import load, purpose_of

    opened = Bundle.open(bundle)
    purpose = purpose_of(opened)
    given = [] if texts == [STDIN] else texts or []
    raise_all(_faults(purpose, given, second, file, (text, text2), top))
    rows = _rows(purpose, given, second, file, (text, text2))
    first = next(rows)  # faults of a file are told before a runtime is opened; none is empty
    cut, asked = 0, itertools.chain([first], rows)
    with load(opened, threads=threads) as model, _until_nobody_reads():
        cut = _write(model, asked) if purpose.writes and not as_json else _ask(model, asked, as_json, top)
    if cut:
        print(f"{cut} of the texts were longer than the model reads, and were cut", file=sys.stderr)


def _faults(
    purpose: "Purpose",
    texts: Sequence[str],
    second: str | None,
    file: Path | None,
    columns: tuple[str | None, str | None],
    top: int | None,
) -> list[str]:
    """What of the options doesn't fit together, or doesn't fit the model."""
    from palmtop.loaded import wanted
    from palmtop.task_kinds import find

    pair, faults = len(purpose.columns) == PAIR, []
    apart = find(purpose.kind).apart  # a text alone may be asked, or a pair
    plain = file is None or file.name.removesuffix(".gz").endswith(".txt")
    if file is not None and texts:
        faults.append("there are texts and a --file: give the one or the other")
    if plain and columns != (None, None):
        faults.append("--text and --text2 name columns of a .csv, .tsv or .jsonl: give one with --file")
    if pair and plain and second is None and not apart:
        faults.append(
            f"the model reads {wanted(purpose)} at a time: give the second with --second, or a --file with columns of "
            "both"
        )
    if not pair and not apart and (second is not None or columns[1] is not None):
        faults.append(f"the model reads {wanted(purpose)} at a time: leave out --second and --text2")
    if pair and second is not None and columns[1] is not None:
        faults.append("--second and --text2 both name the second text: give the one or the other")
    if top is not None and not purpose.ranked:
        faults.append(f"--top is for models that choose a label, and this one is for {purpose.kind.replace('_', ' ')}")
    return faults


def _rows(
    purpose: "Purpose",
    texts: Sequence[str],
    second: str | None,
    file: Path | None,
    columns: tuple[str | None, str | None],
) -> "Iterator[list[Text]]":
    """What is asked, in chunks, none of them empty."""
    from palmtop.cli.texts_in import from_file, from_stdin

    if file is not None:
        named = [given or known for given, known in zip(columns, purpose.columns, strict=False)]
        rows, size = from_file(file, named if second is None else named[:1]), CHUNK
    elif texts:
        rows, size = iter([(one,) for one in texts]), CHUNK
    else:
        rows, size = from_stdin(), 1
    whole = rows if second is None else ((*row, second) for row in rows)
    while chunk := list(itertools.islice(whole, size)):
        yield chunk


def _ask(model: "Model", chunks: "Iterator[list[Text]]", as_json: bool, top: int | None) -> int:
    """The answers, as they come; returns how many texts were cut."""
    cut = 0
    for number, chunk in enumerate(chunks):
        answers = model.ask(chunk)
        lines = _json(chunk, answers, top) if as_json else _table(chunk, answers, top or 1, number == 0)
        print(*lines, sep="\n", flush=True)
        cut += sum(answer.truncated for answer in answers)
    return cut


def _write(model: "Model", chunks: "Iterator[list[Text]]") -> int:
    """Each prompt with what is written behind it, piece by piece, and an empty line between two; returns how many
    prompts were cut."""
    cut = 0
    for number, (prompt,) in enumerate(text for chunk in chunks for text in chunk):
        print("\n\n" if number else "", prompt, sep="", end="", flush=True)
        continuation = model.write(prompt)
        for piece in continuation:
            print(piece, end="", flush=True)
        cut += continuation.written.truncated
    print()
    return cut


def _json(texts: "Sequence[Text]", answers: "Sequence[Answer]", top: int | None) -> list[str]:
    """A line for each answer, in ASCII: what any program reads, whatever the text has in it."""
    return [
        json.dumps(dict(zip(("text", "second"), text, strict=False)) | (answer.best(top) if top else answer).as_dict())
        for text, answer in zip(texts, answers, strict=True)
    ]


def _table(texts: "Sequence[Text]", answers: "Sequence[Answer]", top: int, begins: bool) -> list[str]:
    """A line for each answer, or as many as labels are wanted; no line is wider than the terminal, or than 100."""
    head = answers[0].head
    room = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    widths = [max(10, room - sum(head.values()) - 2 * len(head)), *head.values()]
    lines = [_line(("text", *head), widths), _line(["-" * width for width in widths], widths)] if begins else []
    for text, answer in zip(texts, answers, strict=True):
        for number, cells in enumerate(answer.lines(top)):
            lines.append(_line((text[0] if number == 0 else "", *cells), widths))
    return lines


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(_fitted(cell, width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _fitted(cell: str, width: int) -> str:
    """A text in so many columns of a terminal, without what would move its cursor."""
    from rich.cells import cell_len, set_cell_size

    shown = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in " ".join(cell.split())
    )
    return set_cell_size(shown, width) if cell_len(shown) <= width else set_cell_size(shown, width - 1) + "…"


@contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """End quietly where the reader of the answers has gone: palmtop predict ... | head."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes when it ends
        raise SystemExit(0) from None
