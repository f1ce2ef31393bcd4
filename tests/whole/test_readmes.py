"""The READMEs say what the code says: generated parts are what the command prints, tables fit, links lead somewhere."""

import re
from itertools import groupby
from pathlib import Path

import pytest

from palmtop import format as file_format
from palmtop import stage, stage_files, target, task_kinds
from palmtop.cli.grids import as_markdown, families_grid, kinds_grid
from palmtop.cli.main import main
from palmtop.eval.reports.draw_table import QUALITY, SPEED
from palmtop.eval.reports.glance import CORE

ROOT = Path(__file__).parents[2]
READMES = (
    "README.md",
    "compress/README.md",
    "export/README.md",
    "eval/README.md",
    "android_demo/README.md",
    "CONTRIBUTING.md",
)
GENERATED = "<!-- generated from here to the end -->\n"
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
WIDE, MOST = 100, 6
"""A table that a newcomer meets: characters of a line, and columns."""


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def tables(text: str) -> list[list[str]]:
    """The lines of each table."""
    return [list(lines) for is_row, lines in groupby(text.splitlines(), lambda line: line.startswith("|")) if is_row]


def cells(line: str) -> int:
    """How many cells Markdown sees in a row."""
    return len(re.findall(r"(?<!\\)\|", line)) - 1


def anchors(text: str) -> set[str]:
    """The headings, as GitHub names them in links."""
    headings = [line.lstrip("# ") for line in text.splitlines() if re.match("#+ ", line)]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("room", stage_files.ROOMS)
def test_a_rooms_readme_ends_with_what_the_command_prints(room: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["stages", room, "--markdown"])
    said, generated = read(f"{room}/README.md").split(GENERATED)
    assert generated == capsys.readouterr().out, f"the command that writes it anew stands in {room}/README.md"
    assert f"palmtop stages {room} --markdown >> {room}/README.md" in said


@pytest.mark.parametrize("name", sorted(stage_files.names()))
def test_every_stage_and_every_setting_is_described(name: str) -> None:
    room = stage_files.names()[name].split(".")[1]
    described = read(f"{room}/README.md")
    assert f"\n### {name}\n" in described
    assert not [key for key in stage.find(name).model_fields if f"\n| `{key}` |" not in described]


def test_a_list_that_may_stand_in_place_of_a_word_is_said_to() -> None:
    assert "| `lengths` | `auto`, `any`, `A,B,...` | `auto` |" in read("export/README.md")


def test_stages_of_one_room_or_of_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["stages", "export"])
    listed = capsys.readouterr().out
    assert "to_tflite" in listed
    assert "distill" not in listed
    with pytest.raises(SystemExit):
        main(["stages", "exprot"])
    assert capsys.readouterr().err == "error: no room 'exprot' of stages; did you mean 'export'?\n"


def test_every_format_target_kind_and_column_is_described() -> None:
    measuring, start = read("eval/README.md"), read("README.md")
    exported = {stage.find(name).produces for name, module in stage_files.names().items() if ".export." in module}
    assert not [name for name in exported & set(file_format.names()) if f"| `{name}` |" not in read("export/README.md")]
    assert not [name for name in target.names() if f"| `{name}` |" not in measuring]
    assert not [name for name in task_kinds.names() if f"| `{name}`" not in start]
    assert not [heading for heading, _ in (*QUALITY.values(), *SPEED.values()) if heading not in measuring]


def test_the_table_of_the_start_is_one_at_a_glance() -> None:
    head = [cell.strip() for cell in tables(read("README.md"))[0][0].strip("|").split("|")]
    headings = [heading for heading, _ in CORE.values()]
    assert head == ["model", *("accuracy [95 %]" if heading == "metric" else heading for heading in headings)]


@pytest.mark.parametrize("name", READMES)
def test_tables_are_whole(name: str) -> None:
    for table in tables(read(name)):
        assert len({cells(line) for line in table}) == 1, table[0]


@pytest.mark.parametrize("name", READMES[:-1])
def test_what_is_written_by_hand_fits_the_page(name: str) -> None:
    """What the code prints is as wide as it is."""
    printed = [as_markdown(*kinds_grid()), as_markdown(*families_grid())]
    for table in tables(read(name).split(GENERATED)[0]):
        assert cells(table[0]) <= MOST or "\n".join(table) in printed, table[0]
        assert max(map(len, table)) <= WIDE or "\n".join(table) in printed, table[0]


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    for file, heading in LINK.findall(read(name)):
        if "://" in file:
            continue
        there = (ROOT / name).parent / file if file else ROOT / name
        assert there.exists(), f"{name}: {file}"
        assert not heading or heading in anchors(there.read_text(encoding="utf-8")), f"{name}: {file}#{heading}"


@pytest.mark.parametrize("name", ["PAPERS.md", "BENCHMARKS.md", "CONTRIBUTING.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    named = set(re.findall(r"`((?:compress|export|eval|palmtop|tests)/[\w/.-]+)`", read(name)))
    assert not [path for path in named if not (ROOT / path).exists()]
