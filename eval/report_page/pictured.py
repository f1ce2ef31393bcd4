"""The picture of the trade-off, drawn by `palmtop compare --picture`, inside the page."""

import tempfile
from dataclasses import replace
from pathlib import Path

from palmtop.errors import UserError
from palmtop.eval.report_page.markup import Markup, as_it_is, element, paragraph, part
from palmtop.eval.reports.draw_table import Table
from palmtop.eval.reports.found import Found
from palmtop.eval.reports.trade_off import picture

TITLE = "What each file costs and keeps"
SAYS = (
    "Two panels: the metric against MB, and against milliseconds a text, both on a logarithmic scale; a mark for each "
    "file, its shape by format, with the 95 % interval. The numbers are those of the table above."
)


def pictured(found: Found) -> Markup:
    """The picture, or why there is none."""
    try:
        drawn, left_out = _drawn(found)
    except UserError as error:
        return part(TITLE, paragraph(f"not drawn: {error}", class_="missing"))
    picture_of = element("div", drawn, class_="scrolls plot", tabindex=0, role="region", aria_label=TITLE)
    return part(TITLE, picture_of, paragraph(left_out) if left_out else "")


def _drawn(found: Found) -> tuple[Markup, str]:
    """What matplotlib wrote without its head, titled for who doesn't see it, and the line of what isn't in it."""
    rows = tuple(replace(row, name=row.name.replace("$", r"\$")) for row in found.rows)  # it would read formulas
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.svg"
        left_out = picture(Table((replace(found.section, rows=rows),)), path)
        written = path.read_text(encoding="utf-8")
    _, _, inside = written[written.index("<svg") :].partition(">")
    head = written[written.index("<svg") : written.index("<svg") + len("<svg")]
    opening = written[written.index("<svg") + len(head) : len(written) - len(inside)]
    titled = f"{head} role='img'{opening}<title>{TITLE}</title><desc>{SAYS}</desc>{inside}"
    return as_it_is(titled), left_out
