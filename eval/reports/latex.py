"""The table as LaTeX, for a paper: booktabs, seven columns, a table for each task."""

from palmtop.eval.reports.glance import CORE
from palmtop.eval.reports.markdown import form, name, numbered, on_one_line
from palmtop.eval.reports.table import Row, Section

ESCAPED = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "[": "{[}",  # after a line's end it would be a length
        "]": "{]}",
    }
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
)
"""What LaTeX would take for a command, or draw as something else in its old fonts."""


def latex(section: Section) -> str:
    """A section as a floating table; a preamble with \\usepackage{booktabs} is all it needs."""
    metric = f"{section.metric.replace('_', ' ')} [95 %]"
    heads = [metric if column == "metric" else heading for column, (heading, _) in CORE.items()]
    lines = [["model", "format, precision, target", *heads], *(_cells(row, section) for row in section.rows)]
    head, *rows = [" & ".join(map(escaped, line)) + r" \\" for line in lines]
    return "\n".join(
        [
            *(f"% WRONG: {on_one_line(verdict.says)}" for verdict in section.wrong),
            r"\begin{table}",
            rf"\caption{{{escaped('; '.join([section.task, *section.brief]))}}}",
            rf"\begin{{tabular}}{{ll{'r' * len(heads)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escaped(text: str) -> str:
    """A text as LaTeX writes it out, whatever stands in it."""
    return on_one_line(text).translate(ESCAPED)


def _cells(row: Row, section: Section) -> list[str]:
    return [
        name(row),
        numbered(form(row), row, section),
        *(draw(row.cells[column]) for column, (_, draw) in CORE.items()),
    ]
