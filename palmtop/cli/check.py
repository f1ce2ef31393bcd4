"""The command that holds a run to limits, and ends with an exit code that CI understands."""

import sys
from pathlib import Path
from typing import Annotated

import typer

BROKEN, UNJUDGED = 1, 2
"""Exit codes: a limit is broken; one was judged on no row."""


def check(  # noqa: PLR0913, PLR0917  # an option each
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder with a measurements.jsonl, or RUN@DATE.")],
    against: Annotated[
        str | None,
        typer.Option(metavar="OLD", help="The older run, or RUN@DATE: a run as it stood at the end of a day (UTC)."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="What a row may lose of its metric on OLD, in points, hundredths of the metric: 0.5 is 93.5 % after "
            "94 %; less than 10. Broken where the whole 95 % interval of the difference lies beyond.",
        ),
    ] = None,
    max_mb: Annotated[
        float | None, typer.Option(metavar="MB", help="How large a model's files may be, in 10^6 bytes.")
    ] = None,
    max_latency_ratio: Annotated[
        float | None,
        typer.Option(metavar="RATIO", help="The median latency by that in OLD, from 0.2 to 5: 1.1 is a tenth slower."),
    ] = None,
    max_ms: Annotated[float | None, typer.Option(metavar="MS", help="Milliseconds of an answer, the median.")] = None,
    min_share: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of the teacher's metric to be kept, from 0 to 1: 0.97 is 97 %."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            help="Names of the rows to check, or patterns, with commas between them.",
            show_default="all; for size and time files for a device other than the baseline",
        ),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the table as Markdown, for a pull request.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML, for CI.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="What can't be told is broken too.")] = False,
) -> None:
    """Hold a run to limits of quality, size and time, alone or against an older one; exit code 1 where one is
    broken."""
    import palmtop
    from palmtop.cli.table import names_in
    from palmtop.eval.reports import check_report

    found = palmtop.check(
        run,
        against=against,
        max_drop=max_drop,
        max_mb=max_mb,
        max_latency_ratio=max_latency_ratio,
        max_ms=max_ms,
        min_share=min_share,
        only=names_in(only),
    )
    print("\n".join(check_report.lines(found)))
    for path, drawn in ((markdown, check_report.markdown(found)), (junit, check_report.junit(found, strict))):
        if path is not None:
            path.write_text(drawn, encoding="utf-8")
            print(f"wrote {path}")
    _end(
        bool(found.of("broken")), bool(found.of("can't be told") or found.of("not comparable")), strict, found.unjudged
    )


def _end(broken: bool, untold: bool, strict: bool, unjudged: dict[str, str]) -> None:
    if broken or (strict and untold):
        raise SystemExit(BROKEN)
    for option, why in unjudged.items():
        print(
            f"error: {option} could be judged on no row ({why}): leave it out, or measure what it needs",
            file=sys.stderr,
        )
    if unjudged:
        raise SystemExit(UNJUDGED)
