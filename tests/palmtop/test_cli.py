"""The command line as a user meets it: exit codes, one line a fault, no traceback."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import told

from palmtop import __version__
from palmtop.bundle import Bundle, Origin, is_sealed, seal
from palmtop.cli import stage_command
from palmtop.cli.main import main
from palmtop.eval.measuring.run_file import RunFile

TABLE = "text,label\nhello there,greet\nbye now,leave\ngood day there,greet\nsee you now,leave\n"
TASK = "{name: t, text: text, label: label, train: train.csv, evaluation: test.csv}"
RECIPE = f"""\
# Two linear models.
task: {TASK}
steps:
  - {{name: words, use: tfidf}}
  - {{name: letters, use: tfidf, settings: {{analyzer: char_wb}}}}
measure: {{on: [host_linear]}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(TABLE)
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def plain(text: str) -> str:
    """A panel's words without its frame and its line breaks."""
    return " ".join(text.replace("│", " ").split())


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "--version", code=0) == f"{__version__}\n"


def test_unknown_commands_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such command 'distil'. Did you mean 'distill', 'distill_causal'?" in plain(told(capsys, "distil"))
    assert "No such option: --strenght (Possible options: --strength)" in plain(
        told(capsys, "tfidf", "--strenght", "3", "--out", "a")
    )
    assert "Missing option '--out'" in plain(told(capsys, "tfidf", "--task", TASK))


def test_check_only_checks(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert told(capsys, "run", "r.yaml", "--check", code=0) == "r.yaml: nothing wrong in 2 steps: words, letters\n"
    assert not (folder / "palmtop-runs").exists()


def test_every_fault_is_a_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "r.yaml").write_text(RECIPE.replace("use: tfidf}", "use: tfdf}").replace("host_linear", "host_lin"))
    assert told(capsys, "run", "r.yaml") == (
        "error: step 'words': no stage 'tfdf'; did you mean 'tfidf'?\n"
        "error: measure: no target 'host_lin'; did you mean 'host_linear'?\n"
    )


@pytest.mark.slow
def test_a_run_makes_measures_and_tells(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "r.yaml").write_text(
        RECIPE.replace("  - {name: letters, use: tfidf, settings: {analyzer: char_wb}}\n", "")
    )
    drawn = told(capsys, "run", "r.yaml", code=0)
    out = folder / "palmtop-runs" / "r"
    assert "| words (floor)" in drawn
    assert (out / "table.md").read_text() in drawn
    assert {row["name"] for row in csv.DictReader((out / "table.csv").open())} == {"words"}
    assert json.loads((out / "table.json").read_text())
    again = told(capsys, "run", "r.yaml", code=0)
    assert again.startswith("words: made before with the same settings and inputs, kept\n")
    assert told(capsys, "compare", str(out), code=0) == (out / "table.md").read_text()
    assert told(capsys, "compare", str(out), "--format", "csv", "--out", "t.csv", code=0) == "wrote t.csv\n"
    assert (folder / "t.csv").read_text() == (out / "table.csv").read_text()
    assert told(capsys, "compare", str(out), "--format", "cvs") == "error: no format 'cvs'; did you mean 'csv'?\n"
    assert "| words (floor)" in told(capsys, "measure", str(out / "words"), "--on", "host_linear", code=0)
    assert told(capsys, "measure", str(out / "words"), "--on", "host_linear", "--runs", "3") == (
        "error: measure: runs is 3: input should be greater than or equal to 50\n"
    )
    assert told(capsys, "measure", "nowhere") == f"error: there is no folder {folder}/nowhere\n"


def test_strict_ends_with_exit_code_3_after_all_was_made_and_written(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "test.csv").write_text("text,label\nhello you,greet\ngood day to you,greet\n")  # no correlation with one
    (folder / "t.yaml").write_text(TASK.strip("{}").replace(", ", "\n") + "\nmetric: matthews\n")
    (folder / "r.yaml").write_text("task: t.yaml\nsteps: [{name: words, use: tfidf}]\nmeasure: {on: [host_linear]}\n")
    strict = "strict: 1 verdict(s) of the table say WRONG\n"
    assert told(capsys, "run", "r.yaml", "--strict", code=3) == strict
    out = folder / "palmtop-runs" / "r"
    assert "**WRONG: words on host_linear: matthews is not valid: " in (out / "table.md").read_text()
    assert RunFile.read(out).tasks.popitem()[1].task_at == str(folder / "t.yaml")
    assert told(capsys, "measure", str(out / "words"), "--on", "host_linear", "--strict", code=3) == strict
    assert "WRONG" in told(capsys, "run", "r.yaml", code=0)


def test_a_stage_from_the_command_line(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    made = told(capsys, "tfidf", "--task", TASK, "--out", "a", "--longest", "4", "--analyzer", "char_wb", code=0)
    assert made.startswith("a: tfidf\na: linear, 0.00 MB; rows 4, ")
    settings = Bundle.open(folder / "a").card.origin.settings
    assert (settings["longest"], settings["analyzer"], settings["seed"]) == (4, "char_wb", 0)
    assert told(capsys, "tfidf", "--task", "t", "--out", "b", "--strength", "-1", "--analyzer", "words") == (
        "error: tfidf: analyzer is 'words': input should be 'word' or 'char_wb'\n"
        "error: tfidf: strength is '-1': input should be greater than 0\n"
    )
    assert told(capsys, "tfidf", "--task", "clinc15", "--out", "b").startswith(
        "error: no task 'clinc15'; did you mean 'clinc150'?"
    )
    assert told(capsys, "distill", "a", "--out", "b") == "error: distill needs a torch bundle, but a is linear\n"
    assert told(capsys, "distill", "none", "--out", "b") == "error: there is no folder none\n"
    (folder / "hub").mkdir()
    (folder / "hub" / "config.json").write_text("{}")
    assert told(capsys, "distill", "hub", "--out", "b") == (
        "error: hub is a model folder, but no bundle yet: take it in first with 'palmtop adopt --model hub --out NEW', "
        "and start from NEW\n"
    )
    assert told(capsys, "tfidf", "--task", TASK, "--out", "train.csv") == (
        "error: train.csv exists and isn't a bundle: choose another folder with --out, or empty it\n"
    )
    assert told(capsys, "tfidf", "--task", TASK, "--out", "train.csv/a") == (
        "error: train.csv is a file, or lies below one, where a folder is wanted: choose another folder with --out\n"
    )


def test_the_outline_is_checked_before_work(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text('{"model_type": "bert", "num_hidden_layers": 2}')
    seal(folder / "model", "torch", Origin(stage="adopt", settings={}, inputs={}, versions={}), None, {})
    assert told(capsys, "distill", "model", "--out", "b") == (
        "error: distill needs a teacher that was fine-tuned: put a 'finetune' step before it\n"
    )


def test_the_list_of_commands_has_the_stages_of_each_room_in_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = told(capsys, "--help", code=0)
    commands, to_torch, to_files = re.split(r"^Stages .*:$", drawn, flags=re.MULTILINE)
    assert re.search(r"^  run +Check a recipe as a whole", commands, re.MULTILINE) and "  --version" in commands
    assert "\n  finetune " in to_torch and "\n  tfidf " in to_torch and "\n  to_tflite " in to_files
    assert max(map(len, drawn.splitlines())) <= 100


def test_the_help_of_a_stage_has_its_settings(capsys: pytest.CaptureFixture[str]) -> None:
    drawn = plain(told(capsys, "tfidf", "--help", code=0))
    assert all(word in drawn for word in ("--strength", "Inverse of the L2 regularisation", "(over 0)", "word|char_wb"))
    listed = plain(told(capsys, "stages", code=0))
    assert "tfidf nothing linear The floor: TF-IDF" in listed


@pytest.mark.parametrize(
    ("text", "annotation", "value"),
    [
        ("3", int | tuple[int, ...] | None, "3"),
        ("3,4", int | tuple[int, ...] | None, ["3", "4"]),
        ("none", int | None, None),
        ("none", str, "none"),
        ("3", tuple[int, ...], ["3"]),
        ("{a: [1]}", str | dict[str, int], {"a": [1]}),
        ("a, b", str, "a, b"),
    ],
)
def test_the_values_of_options(text: str, annotation: object, value: object) -> None:
    assert stage_command.value_of(text, annotation) == value


def test_two_runs_into_one_folder(folder: Path) -> None:
    (folder / "test.csv").write_text("text,label\nhello you,greet\nbye you,leave\n")
    (folder / "holder.py").write_text(
        "import sys, time\nfrom pathlib import Path\nfrom palmtop.making import lock_on\n"
        "with lock_on(Path('out')):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "holder.py"], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        words = [sys.executable, "-m", "palmtop", "run", "r.yaml", "--out", "out"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        holder.kill()
    assert (done.returncode, done.stderr) == (
        2,
        "error: another palmtop is working on out: wait for it, or choose another folder with --out\n",
    )


def test_a_fault_of_ours_crashes_with_its_traceback(folder: Path) -> None:
    (folder / "broken.py").write_text(
        "import sys\nfrom palmtop.cli import main\nfrom palmtop.recipe import recipe\n"
        "def broken(*_):\n    raise KeyError('ours')\n"
        "recipe.Recipe.read = broken\nmain.main(['run', 'r.yaml'])\n"
    )
    done = subprocess.run([sys.executable, "broken.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last)")
    assert done.stderr.endswith("KeyError: 'ours'\n")


@pytest.mark.parametrize("seconds", [0.4, 1.2, 1.6, 2.0])
def test_a_killed_command_leaves_nothing_half_and_goes_on(
    seconds: float, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    words = ("tfidf", "--task", TASK, "--out", "a")
    with subprocess.Popen([sys.executable, "-m", "palmtop", *words], stdout=subprocess.DEVNULL) as running:
        time.sleep(seconds)
        running.kill()
    assert is_sealed(folder / "a") or not (folder / "a").exists()
    told(capsys, *words, code=0)
    Bundle.open(folder / "a").verify()
    assert not list(folder.glob(".a*")) or running.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "said"), [(signal.SIGINT, ""), (signal.SIGTERM, " by SIGTERM"), (signal.SIGHUP, " by SIGHUP")]
)
def test_what_is_stopped_says_how_to_go_on(sent: signal.Signals, said: str, folder: Path) -> None:
    (folder / "stuck.py").write_text(
        "import signal, time\nfrom palmtop.cli import main\nfrom palmtop.recipe import recipe\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job in the background ignores it
        "def stuck(*_):\n    print('in', flush=True)\n    time.sleep(60)\n"
        "recipe.Recipe.read = stuck\nmain.main(['run', 'r.yaml'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "stuck.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        running.send_signal(sent)
        _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (128 + sent, f"\nstopped{said}; run the same command again to continue\n")


def test_the_second_process_of_a_distributed_run_is_silent(folder: Path) -> None:
    (folder / "r.yaml").write_text(RECIPE.replace("[host_linear]", "[]"))
    words = [sys.executable, "-m", "palmtop", "run", "r.yaml", "--out", "out"]
    with (
        subprocess.Popen(
            words,
            env=os.environ | {"RANK": "1", "WORLD_SIZE": "2"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as second,
        subprocess.Popen(
            words, env=os.environ | {"RANK": "0", "WORLD_SIZE": "2"}, stdout=subprocess.PIPE, text=True
        ) as first,
    ):
        said, _ = first.communicate(timeout=120)
        heard, complained = second.communicate(timeout=120)
    assert (first.returncode, second.returncode, heard, complained) == (0, 0, "", "")
    assert said == "words: tfidf\nletters: tfidf\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o500)
    assert told(capsys, "tfidf", "--task", TASK, "--out", "closed/a") == (
        "error: closed/.a.partial can't be written or read (Permission denied): change its permissions or choose "
        "another folder "
        "with --out\n"
    )


def test_places_that_a_bundle_cannot_take(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "link").symlink_to("nowhere")
    assert told(capsys, "tfidf", "--task", TASK, "--out", "link") == (
        "error: link is a link to nowhere, which isn't there: remove the link, or choose another folder with --out\n"
    )
    (folder / "new").mkdir()
    monkeypatch.chdir(folder / "new")
    for out in (".", "..", "../new", "/"):
        assert told(
            capsys,
            "tfidf",
            "--task",
            TASK.replace("train.csv", "../train.csv").replace("test.csv", "../test.csv"),
            "--out",
            out,
        ).startswith(f"error: {Path(out)} is the folder you stand in, or one above it, and a bundle takes the place")


def test_no_label_moves_the_cursor_and_no_terminal_lacks_a_letter(folder: Path) -> None:
    (folder / "test.csv").write_text("text,label\nhello,\x1b[2Jgreet\n")
    (folder / "r.yaml").write_text(RECIPE.replace("test.csv", "été.csv"))
    (folder / "test.csv").rename(folder / "été.csv")
    done = subprocess.run(
        [sys.executable, "-m", "palmtop", "run", "r.yaml", "--check"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {folder}/\\xe9t\\xe9.csv: 1 row (1) has a label unknown to the task: ")
    assert "\x1b" not in done.stderr and "\\x1b[2Jgreet" in done.stderr


def test_what_may_not_be_meant_is_noted_beside_the_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "r.yaml", "--check"])
    out, err = capsys.readouterr()
    assert out == "r.yaml: nothing wrong in 2 steps: words, letters\n"
    assert err == (
        "note: 4 of 4 texts of the evaluation split (100%) are in the training data too: numbers measured on them "
        "flatter; remove them from one of the two\n"
    )
    (folder / "train.csv").write_text("text,label\n" + "".join(f"text {row},{'ab'[row % 2]}\n" for row in range(20)))
    (folder / "test.csv").write_text((folder / "train.csv").read_text())
    assert told(capsys, "run", "r.yaml", "--check").startswith("error: all 20 texts of the evaluation split (")
