"""The pieces of Markdown that tables are made of: a grid, names, cells, lists of sentences."""

from collections.abc import Callable, Iterable, Sequence

from palmtop.eval.reports.table import Cell, Row, Section, milliseconds

Draw = Callable[[Cell], str]
"""How a column shows its cells."""


def grid(rows: Sequence[Sequence[str]], words: int) -> list[str]:
    """Markdown with columns of even width; the first `words` columns to the left, the numbers to the right."""
    whole = [[_in_a_cell(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    lines = [
        [cell.ljust(widths[place]) if place < words else cell.rjust(widths[place]) for place, cell in enumerate(row)]
        for row in whole
    ]
    rule = ["-" * width if place < words else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return ["| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:])]


def name(row: Row) -> str:
    """A row's name with the roles it plays."""
    return row.name + (f" ({', '.join(row.roles)})" if row.roles else "")


def form(row: Row) -> str:
    """What a row is, and where it ran."""
    return f"{row.format} {row.precision}, {row.target}"


def numbered(text: str, row: Row, section: Section) -> str:
    """With the number of the row's machine, where there are several."""
    return text + (f" [machine {row.machine}]" if len(section.machines) > 1 else "")


def drawn(digits: int, scale: float = 1.0, interval: bool = False, sign: str = "") -> Draw:
    """How a column shows its cells; intervals that it leaves out are in CSV and JSON."""

    def draw(cell: Cell) -> str:
        if cell.value is None:
            return cell.word or ""
        value, *bounds = (
            f"{number * scale:{sign}.{digits}f}" for number in (cell.value, cell.low, cell.high) if number is not None
        )
        shown = f"{value} [{', '.join(bounds)}]" if interval and bounds else value
        return shown if cell.kind == "measured" else f"{shown} ({cell.kind})"

    return draw


def time(cell: Cell) -> str:
    """How a column of milliseconds shows its cells."""
    return (
        drawn(2)(cell)
        if cell.value is None
        else milliseconds(cell.value) + ("" if cell.kind == "measured" else f" ({cell.kind})")
    )


def probability(cell: Cell) -> str:
    """How a column of p shows its cells."""
    least = 0.001
    return f"< {least}" if cell.value is not None and cell.value < least else drawn(3)(cell)


def bullets(sentences: Iterable[str]) -> list[str]:
    """A list, each sentence on one line whatever stands in the names in it."""
    return [f"- {on_one_line(sentence)}" for sentence in sentences]


def opening(section: Section) -> list[str]:
    """What stands before a table: the heading, what can't be passed over, a line each, and what to ship."""
    wrong = bullets(f"**WRONG: {verdict.says}**; {verdict.do}" for verdict in section.wrong)
    sentence = [on_one_line(section.advice)] if section.advice else []
    return ["", f"## {section.task}", "", *(line for part in (wrong, sentence) if part for line in (*part, ""))]


def others(section: Section) -> list[str]:
    """The other verdicts, under an empty line."""
    lines = bullets(f"**{verdict}**" for verdict in section.verdicts if verdict.severity == "note")
    return ["", *lines] if lines else []


def on_one_line(text: str) -> str:
    """A sentence as Markdown takes it, whatever stands in the names in it."""
    return " ".join(text.splitlines())


def _in_a_cell(text: str) -> str:
    return on_one_line(text).replace("|", "\\|")
