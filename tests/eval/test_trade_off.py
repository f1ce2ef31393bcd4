"""The picture of the trade-off: which rows are in which panel, one name for dots that lie on each other, what is
refused."""

from pathlib import Path

import pytest
from made_runs import numbers_of, one, section_of, write_run

from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.compare import compare
from palmtop.eval.reports.trade_off import dots, names, picture


@pytest.fixture
def run(tmp_path: Path) -> Path:
    numbers = [*numbers_of("teacher", 0.9, 12), *numbers_of("base", 0.9, 10), *numbers_of("small", 0.88, 4)]
    numbers += [one("large", "accuracy", 0.8, low=0.7, high=0.85), one("large", "model_bytes", 2e9)]
    return write_run(tmp_path / "run", *numbers)


def test_a_dot_is_as_large_and_good_as_its_row(run: Path) -> None:
    section = section_of(run)
    sizes = {dot.row.name: dot for dot in dots(section, "model_mb")}
    assert "large" in sizes
    assert (sizes["large"].across, sizes["large"].low, sizes["large"].value, sizes["large"].high) == (
        2000,
        0.7,
        0.8,
        0.85,
    )
    for name, dot in sizes.items():
        row = next(row for row in section.rows if row.name == name)
        assert (dot.across, dot.value) == (row.cells["model_mb"].value, row.cells["metric"].value)


def test_what_was_not_timed_beside_the_baseline_has_no_time(run: Path, tmp_path: Path) -> None:
    assert {dot.row.name for dot in dots(section_of(run), "latency_ms")} == {"base", "small", "teacher"}
    assert picture(compare([run]), tmp_path / "made.svg").endswith("among the sizes only: large on host_litert")
    drawn = (tmp_path / "made.svg").read_text()
    assert all(name in drawn for name in ("base", "small", "large", "MB of the model", "accuracy"))


def test_dots_on_each_other_share_a_label(run: Path) -> None:
    numbers = {"teacher": 1, "base": 2, "small": 3, "large": 4}
    assert [number for _, number in names(dots(section_of(run), "latency_ms"), numbers)] == ["3", "2", "1"]
    assert [number for _, number in names(dots(section_of(run), "model_mb"), numbers)] == ["1, 2", "3", "4"]


def test_the_command_draws_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", str(run), "--picture", str(tmp_path / "made.png")])
    assert not ended.value.code
    assert (tmp_path / "made.png").read_bytes().startswith(b"\x89PNG")
    assert f"wrote {tmp_path / 'made.png'}; not timed side by side" in capsys.readouterr().out


def test_another_ending_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match=r"--picture made.pdf: the name has to end in .svg or .png"):
        picture(compare([run]), Path("made.pdf"))


def test_nothing_to_draw_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", one("base", "accuracy", 0.5))
    with pytest.raises(UserError, match="there is nothing to draw"):
        picture(compare([run]), tmp_path / "made.svg")
