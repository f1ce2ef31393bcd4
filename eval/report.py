"""The report of a run: one HTML file with its table, pictures, changed answers, calibration, trainings and origins;
nothing in it is fetched from anywhere."""

from pathlib import Path

from palmtop.durably import write_durably
from palmtop.eval.compare import compare
from palmtop.eval.report_page.page import page
from palmtop.eval.reports.found import Found, kept_bundles

NAME = "report.html"


def report(run: Path) -> str:
    """The page of a run's folder. What the folder doesn't have any more is said in words.

    Raises:
        UserError: a run without measurements, or a damaged file of them.
    """
    sections = compare([run]).sections
    bundles, faults = kept_bundles(run)
    return page(run.resolve().name, [Found(run, section, bundles) for section in sections], faults)


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the page, by default into the run's folder as report.html, and return where.

    Raises:
        UserError: as `report`.
    """
    path = out or run / NAME
    write_durably(path, report(run))
    return path
