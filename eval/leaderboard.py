"""LEADERBOARD.md: one row a file, added by a command from what a run measured, never by hand."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import palmtop
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.eval.reports.leaderboard_rows import HEAD, Line
from palmtop.eval.reports.markdown import grid

FILE = "LEADERBOARD.md"
TITLE = """# Leaderboard

One row a file, measured by palmtop in the file's own runtime. `palmtop leaderboard RUN --add LEADERBOARD.md` adds those
of a run, and takes the place of older rows of the same file, task and runtime; nothing here is written by hand. What
failed stands in BENCHMARKS.md.

- bytes: all that an app fetches, tokenizer and labels included.
- ms: one text, the median at so many tokens (@), or of a cascade the mean over the evaluation texts; x teacher: the
  time of the file in brackets (the teacher's own file, of a cascade its larger model) by this one's, both taken side by
  side in one session.
- command: the stages on its way, with the settings that aren't the default; seeds: those on its way; commit: palmtop's
  when the row was added.
"""


def add(file: Path, new: Sequence[Line]) -> None:
    """Add rows to a leaderboard, made where it isn't there.

    Raises:
        UserError: the file is no leaderboard.
    """
    kept = {line.key: line for line in (*read(file), *new)}
    write_durably(file, TITLE + "\n" + drawn(sorted(kept.values(), key=lambda line: line.order)))


def read(file: Path) -> list[Line]:
    """The rows of a leaderboard; none where there is no file.

    Raises:
        UserError: it is something else.
    """
    if not file.is_file():
        return []
    rows = [_cells(line) for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    if not rows or tuple(rows[0]) != HEAD or any(len(row) != len(HEAD) for row in rows):
        raise UserError(f"{file} is no leaderboard (its table hasn't the columns {', '.join(HEAD)}): name another file")
    return [Line(dict(zip(HEAD, row, strict=True))) for row in rows[1:] if not row[0].startswith("---")]


def drawn(rows: Sequence[Line]) -> str:
    """The table."""
    return "\n".join(grid([HEAD, *([line.cells[name] for name in HEAD] for line in rows)], 2)) + "\n"


def commit(place: Path | None = None, unchanged_but: Path | None = None) -> str:
    """The commit that palmtop stands at, or its version where it was installed.

    Args:
        place: a folder of the checkout; by default palmtop's.
        unchanged_but: the only file that may differ from that commit; None: every file may.

    Raises:
        UserError: another file differs: the commit wouldn't be what made the numbers.
    """
    where = place or Path(palmtop.__file__).resolve().parent
    found = _git(where, "rev-parse", "--short=10", "HEAD")
    if found is None:
        return f"version {palmtop.__version__}"
    if unchanged_but is not None:
        top = _git(where, "rev-parse", "--show-toplevel") or ""
        changed = (_git(where, "diff", "--name-only", "HEAD") or "").splitlines()
        others = [name for name in changed if Path(top, name).resolve() != unchanged_but.resolve()]
        if others:
            raise UserError(
                f"{len(others)} files differ from palmtop's commit {found} (the first: {others[0]}): commit them, so "
                "that a row's commit is what made it"
            )
    return found


def _git(where: Path, *words: str) -> str | None:
    """What git says; None where it isn't there, or this is no checkout."""
    try:
        said = subprocess.run(["git", "-C", str(where), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return said.stdout.strip() if said.returncode == 0 else None


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
