"""A recipe's step that fails stops only what follows from it: the rest is made, measured and listed."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from tiny_stages import Made

from palmtop.bundle import Bundle, Format
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.measuring.run_file import RunFile
from palmtop.measure_settings import MeasureText
from palmtop.recipe.recipe import Recipe
from palmtop.recipe.steps import Step
from palmtop.stage import Work

TASK = "{name: t, text: text, label: label, train: train.csv, evaluation: test.csv}"
RECIPE = f"""\
task: {TASK}
steps:
  - {{name: letters, use: tfidf, settings: {{analyzer: char_wb}}}}
  - {{name: words, use: tfidf}}
measure: {{on: [host_linear], baseline: letters}}
"""


class Follows(Made):
    """Follows another, and may name one more."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})

    teacher: str | None = None
    """Another bundle."""


class Broken(Follows):
    """Fails as long as a file says so, by a fault of the user's or of ours."""

    switch: Path
    """While there is this file."""

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Fail, or write."""
        with (work.scratch / "tries").open("a", encoding="utf-8") as file:
            file.write("x")
        if self.switch.exists():
            said = self.switch.read_text()
            raise UserError([said, "second fault"]) if said != "ours" else KeyError(said)
        return super().run(source, work) | {"tries": len((work.scratch / "tries").read_text())}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    rows = ("hello there,greet\nbye now,leave\n", "hello you,greet\nbye you,leave\n")
    for name, lines in zip(("train.csv", "test.csv"), rows, strict=True):
        (tmp_path / name).write_text(f"text,label\n{lines}")
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def graph(folder: Path) -> Recipe:
    steps = (
        Step("base", "made", None, Made()),
        Step("broken", "broken", "base", Broken(switch=folder / "switch")),
        Step("after", "follows", "broken", Follows()),
        Step("taught", "follows", "base", Follows(), {"teacher": "after"}),
        Step("aside", "follows", "base", Follows()),
    )
    return Recipe("r", steps, MeasureText(), None)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("too small:\nchoose more", "too small: choose more; second fault"),
        ("ours", "KeyError: 'ours' (the traceback stands above)"),
    ],
)
def test_what_does_not_follow_is_made_and_the_rest_is_listed(
    said: str, line: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "switch").write_text(said)
    heard: list[str] = []
    made = graph(folder).attempt(folder / "run", heard.append)
    assert list(made.bundles) == ["base", "aside"]
    assert made.failed == {"broken": line}
    assert made.left_out == {"after": ("broken",), "taught": ("broken",)}
    assert made.told() == (
        "1 of 5 steps failed; mend the cause and run the same command again: what is made is kept, and it goes on "
        "with what is missing",
        f"broken: failed: {line}",
        "after: left out, it follows from broken",
        "taught: left out, it follows from broken",
    )
    assert "after: left out, it follows from broken" in heard
    if said == "ours":
        assert caplog.records[0].exc_info is not None
    else:
        assert "broken: failed: second fault" in heard
    with pytest.raises(UserError, match="1 of 5 steps failed"):
        graph(folder).run(folder / "run", heard.append)


def test_the_same_command_goes_on_with_the_failed_step(folder: Path) -> None:
    (folder / "switch").write_text("not yet")
    graph(folder).attempt(folder / "run", print)
    (folder / "switch").unlink()
    heard: list[str] = []
    made = graph(folder).attempt(folder / "run", heard.append)
    assert (made.missing, made.told()) == ({}, ())
    kept = "made before with the same settings and inputs, kept"
    assert heard == [
        f"base: {kept}",
        "broken: broken, continuing what was cut short",
        "after: follows",
        "taught: follows",
        f"aside: {kept}",
    ]
    assert made.bundles["broken"].card.facts["tries"] == 2


def test_a_distributed_run_ends_with_the_first_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other processes wait for the step's bundle."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    (folder / "switch").write_text("no")
    with pytest.raises(UserError, match=r"^no\n"):
        graph(folder).attempt(folder / "run", print)


@pytest.mark.slow
def test_a_run_measures_what_there_is_and_names_what_is_missing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "letters").write_text("no bundle")
    assert _ended("run", "r.yaml", "--out", "out") == 1
    out, err = capsys.readouterr()
    why = "out/letters exists and isn't a bundle: choose another folder with --out, or empty it"
    assert err.endswith(
        "1 of 2 steps failed; mend the cause and run the same command again: what is made is kept, and it goes on "
        f"with what is missing\nletters: failed: {why}\n"
    )
    assert "| words (floor)" in out and f"missing: letters: failed: {why}" in out
    (standing,) = RunFile.read(folder / "out").tasks.values()
    assert (standing.baseline, list(standing.bundles)) == ("letters", ["words"])
    (folder / "out" / "letters").unlink()
    assert _ended("run", "r.yaml", "--out", "out") == 0
    out, err = capsys.readouterr()
    assert "missing" not in out + err


def test_where_nothing_is_left_to_measure_the_failures_are_told_all_the_same(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "out").mkdir()
    for name in ("letters", "words"):
        (folder / "out" / name).write_text("no bundle")
    assert _ended("run", "r.yaml", "--out", "out", "--strict") == 1
    out, err = capsys.readouterr()
    assert "not measured: there is nothing to measure on host_linear" in out
    assert "2 of 2 steps failed" in err


def _ended(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)
