"""The command that writes a run's report."""

import os
from pathlib import Path
from typing import Annotated

import typer

from palmtop.cli.table import OFFLINE


def report(
    run: Annotated[Path, typer.Argument(help="Folder with a measurements.jsonl.")],
    out: Annotated[Path | None, typer.Option(help="Write to this file.", show_default="RUN/report.html")] = None,
) -> None:
    """Write one HTML file about a run: table, pictures, changed answers, calibration, training, origins; it needs no
    network."""
    for name in OFFLINE:
        os.environ.setdefault(name, "1")
    from palmtop.eval.report import write_report

    print(f"wrote {write_report(run, out)}")
