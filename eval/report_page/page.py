"""The page as a whole: a part for each task, in a template that stands beside this file."""

from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template

from palmtop.eval.report_page.calibration import calibration
from palmtop.eval.report_page.curves import curves
from palmtop.eval.report_page.flips import flips
from palmtop.eval.report_page.latencies import latencies
from palmtop.eval.report_page.markup import Markup, as_it_is, element, escaped, items, joined
from palmtop.eval.report_page.numbers import numbers
from palmtop.eval.report_page.pictured import pictured
from palmtop.eval.report_page.provenance import provenance
from palmtop.eval.report_page.waterfall import waterfall
from palmtop.eval.report_page.weights import weights
from palmtop.eval.reports.found import Found
from palmtop.version import VERSION

TEMPLATE = Path(__file__).parent / "template"
PARTS: Sequence[Callable[[Found], Markup]] = (
    numbers,
    pictured,
    waterfall,
    latencies,
    weights,
    flips,
    calibration,
    curves,
    provenance,
)
"""What is told of a task, in this order."""


def page(name: str, tasks: Sequence[Found], faults: Sequence[str]) -> str:
    """The whole file.

    Args:
        name: the run's.
        faults: what of its folder can't be read.
    """
    template = Template((TEMPLATE / "report.html").read_text(encoding="utf-8"))
    style = as_it_is((TEMPLATE / "report.css").read_text(encoding="utf-8"))
    told = [_task(number, found) for number, found in enumerate(tasks, 1)]
    links = [element("a", found.section.task, href=f"#task-{number}") for number, found in enumerate(tasks, 1)]
    contents = element("nav", items(links), aria_label="Tasks") if len(tasks) > 1 else Markup("")
    damaged = items(faults, class_="wrong") if faults else Markup("")
    filled = {
        "title": escaped(f"palmtop: {name}"),
        "style": style,
        "name": escaped(name),
        "contents": contents,
        "body": joined([damaged, *told]),
        "version": escaped(VERSION),
    }
    return template.substitute(filled)


def _task(number: int, found: Found) -> Markup:
    heading = element("h2", found.section.task, id=f"task-{number}")
    return element("article", heading, *(tell(found) for tell in PARTS))
