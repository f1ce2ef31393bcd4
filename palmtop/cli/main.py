"""The command line: reads what is asked for, calls the rooms, and tells faults a line each."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from palmtop.cli.against import beside
from palmtop.cli.attention import attention
from palmtop.cli.check import check
from palmtop.cli.grids import families, kinds
from palmtop.cli.init import init
from palmtop.cli.label import label
from palmtop.cli.leaderboard import leaderboard
from palmtop.cli.listing import STAGES, Listing
from palmtop.cli.look import explain, tokens
from palmtop.cli.predict import predict
from palmtop.cli.price import price
from palmtop.cli.push import push
from palmtop.cli.report import report
from palmtop.cli.run import run
from palmtop.cli.say import check_words, say, write_all_characters
from palmtop.cli.search import search
from palmtop.cli.setup import setup
from palmtop.cli.table import Strict, end, form_asked, measure_into, names_in, with_ways
from palmtop.errors import UserError, did_you_mean, from_os, printable
from palmtop.quiet import quieten
from palmtop.version import VERSION

USER_FAULT, INTERRUPTED = 2, 130
"""Exit codes; the others stand with the commands that end with them."""
KILLED = 128
"""Added to the number of the signal that ended it, as shells do."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    quieten()
    write_all_characters()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and not words[0].startswith("-"):
        words[0] = words[0].replace("-", "_")  # to-tflite, as a shell would have it, is to_tflite, as a recipe has it
    _hear_signals()
    with telling():
        check_words(words)
        app_for(words)(args=words, prog_name="palmtop")


class Stopped(KeyboardInterrupt):
    """Another program asked this one to stop: a system that shuts down, a terminal that was closed."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__()
        self.by = by


def _hear_signals() -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C, unless whoever started this had them ignored, as nohup does."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def _stop(number: int, _: object) -> None:
    raise Stopped(signal.Signals(number))


def app_for(words: Sequence[str]) -> typer.Typer:
    """The commands. Of the stages only the one named in `words` is imported; the others are listed by their first
    line."""
    app = typer.Typer(
        cls=Listing,
        help="Make a text transformer small, export it, and measure each artefact in its own runtime.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_global)
    for command in (
        run,
        price,
        search,
        measure,
        compare,
        check,
        predict,
        label,
        report,
        leaderboard,
        verify,
        explain,
        attention,
        tokens,
        push,
        stages,
        kinds,
        families,
        targets,
        recipes,
        init,
        setup,
    ):
        app.command()(telling()(command))
    _add_stages(app, words)
    return app


@contextmanager
def telling() -> Iterator[None]:
    """Turn what a user can mend into lines on stderr and exit code 2; anything else crashes with its traceback."""
    try:
        yield
    except UserError as error:
        _fail(error)
    except Stopped as stopped:
        print(f"\nstopped by {stopped.by.name}; run the same command again to continue", file=sys.stderr)
        raise SystemExit(KILLED + stopped.by) from None
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to continue", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except OSError as error:
        told = from_os(error)
        if told is None:
            raise
        _fail(told)


def _version(wanted: bool) -> None:
    if wanted:
        print(VERSION)
        raise typer.Exit


def measure(  # noqa: PLR0913, PLR0917  # an option each
    bundles: Annotated[list[Path], typer.Argument(help="Bundle folders.")],
    on: Annotated[
        str | None,
        typer.Option(
            help="Targets, with commas between them; name:address where one has an address.",
            show_default="each format's own runtime",
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The bundle that the others are compared with.", show_default="the first tflite bundle"),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="The bundle whose answers the others are compared with.", show_default="the first fine-tuned bundle"
        ),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            help="Tokens at which latencies are compared.", show_default="what 95 % of the training texts don't exceed"
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Threads of the runtime.")] = 1,
    runs: Annotated[int, typer.Option(help="Timed answers behind each latency, at least 50.")] = 60,
    out: Annotated[
        Path | None,
        typer.Option(help="Where measurements.jsonl and the table go.", show_default="the bundles' common folder"),
    ] = None,
    strict: Strict = False,
) -> None:
    """Measure bundles side by side in their own runtimes, and print the table."""
    from palmtop.eval.measure import by_name, common_folder
    from palmtop.format import own_targets
    from palmtop.making import lock_on
    from palmtop.measure_settings import MeasureText
    from palmtop.settings import build

    opened = by_name(bundles)
    options = build(
        MeasureText,
        {
            "on": on.split(",") if on else own_targets(bundle.format for bundle in opened.values()),
            "baseline": baseline,
            "teacher": teacher,
            "length": length,
            "threads": threads,
            "runs": runs,
        },
        "measure",
    )
    folder = out or common_folder(opened.values())
    with lock_on(folder):
        end(measure_into(folder, opened, options), strict)


def compare(  # noqa: PLR0913, PLR0917  # an option each
    runs: Annotated[
        list[Path], typer.Argument(help="Folders with a measurements.jsonl, and files that the Android app shares.")
    ],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OLD",
            help="Set the run beside an older one instead: worse, same or better. OLD is a folder, or RUN@DATE, a run "
            "as it stood at the end of a day (UTC): RUN@2026-11-23.",
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help="markdown, wide, csv, json or latex.")] = "markdown",
    wide: Annotated[
        bool, typer.Option("--wide", help="Every column and metric, in two tables; the same as --format wide.")
    ] = False,
    latex: Annotated[bool, typer.Option("--latex", help="A table for a paper; the same as --format latex.")] = False,
    waterfall: Annotated[
        bool, typer.Option("--waterfall", help="Also what each step cost, from the teacher to each file.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(help="Names of the rows to show, or patterns, with commas between them.", show_default="all"),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(help="The column whose best number comes first, by its heading.", show_default="as measured"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.", show_default="print")] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw size and time against quality, into this .svg or .png.")
    ] = None,
    strict: Strict = False,
) -> None:
    """Draw the table of what was measured in one or several runs; with --against, say what got worse since an older
    one."""
    if against is not None:
        left = {"--wide": wide, "--latex": latex, "--waterfall": waterfall, "--sort": sort, "--picture": picture}
        beside(runs, against, form, only, out, left | {"--strict": strict})
        return
    from palmtop.eval.compare import compare as table_of
    from palmtop.eval.reports.draw_table import render

    form = form_asked(form, wide, latex)
    table = table_of(runs, names_in(only), sort)
    if waterfall:
        table = with_ways(table, runs, form)
    drawn = render(table, form)
    if out is None:
        print(drawn, end="")
    else:
        out.write_text(drawn, encoding="utf-8")
        print(f"wrote {out}")
    if picture is not None:
        from palmtop.eval.reports.trade_off import picture as draw

        left_out = draw(table, picture)
        print(f"wrote {picture}" + (f"; {left_out}" if left_out else ""))
    end(table, strict)


def verify(bundle: Annotated[Path, typer.Argument(help="Bundle folder; of an app everything is recomputed.")]) -> None:
    """Check a bundle on this machine: its seal, and an app's manifest, tokenizer, labels and golden answers; damage is
    named."""
    from palmtop.eval.verify import verify as verify_bundle

    verify_bundle(bundle, say)
    print(f"{bundle}: nothing wrong")


def stages(
    room: Annotated[str | None, typer.Argument(help="Only those of one room: compress or export.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print each with all its settings, as the room's README has it.")
    ] = False,
) -> None:
    """List the stages: what each takes, what it makes, what it does."""
    from palmtop.stage_files import ROOMS, descriptions

    rooms = ROOMS if room is None else (room,)
    if not set(rooms) <= set(ROOMS):
        raise UserError(f"no room '{room}' of stages; {did_you_mean(rooms[0], ROOMS)}")
    if markdown:
        from palmtop.cli.stage_reference import reference

        print("\n".join(reference(each) for each in rooms), end="")
        return
    rows = [
        (known.name, ", ".join(sorted(known.accepts)) or "nothing", known.produces, known.summary)
        for known in descriptions()
        if known.room in rooms
    ]
    _print_table(("stage", "takes", "makes", "what it does"), rows)


def targets() -> None:
    """List the targets: how each is asked for with --on, what it runs, what its numbers are, what it needs here."""
    from palmtop import target

    rows = []
    for name in target.names():
        known = target.class_of(name)
        asked = name if known.address_is is None else f"{name}:{known.address_is}"
        rows.append((asked, ", ".join(sorted(known.formats)), str(known.kind), known.needs() or "nothing more"))
    _print_table(("target", "runs", "its numbers are", "needs"), rows)


def recipes() -> None:
    """List the shipped recipes."""
    from palmtop.recipe import recipe

    _print_table(("recipe", "what it does"), [(name, recipe.summary(path)) for name, path in recipe.shipped().items()])


def _global(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


def _add_stages(app: typer.Typer, words: Sequence[str]) -> None:
    from palmtop.cli import stage_command
    from palmtop.stage_files import descriptions

    named = next((word for word in words if not word.startswith("-")), None)
    for known in descriptions():
        action = stage_command.command(known.name) if known.name == named else stage_command.placeholder(known)
        app.command(
            known.name, help=None if known.name == named else known.summary, rich_help_panel=STAGES[known.room]
        )(telling()(action))


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*head, box=box.SIMPLE)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _fail(error: UserError) -> NoReturn:
    for fault in error.faults:
        print(f"error: {printable(fault)}", file=sys.stderr)
    raise SystemExit(USER_FAULT) from None


if __name__ == "__main__":
    main()
