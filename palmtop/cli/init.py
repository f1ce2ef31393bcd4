"""palmtop init: write a commented recipe for a user's own data and model."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from palmtop.cli.init_recipe import TEMPLATE, lengths, measured
from palmtop.cli.say import note
from palmtop.errors import UserError, did_you_mean, raise_all

TABLES = (".csv", ".tsv", ".jsonl")
TEXT_NAMES = ("text", "sentence", "utterance", "query", "question", "content", "review", "message", "comment", "tweet")
PAIR_NAMES = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("question", "sentence"),
)
LABEL_NAMES = ("label", "labels", "intent", "class", "category", "target", "sentiment", "score", "topic")


@dataclass(frozen=True)
class Columns:
    """The columns of the user's data."""

    texts: tuple[str, ...]
    label: str


def init(  # noqa: PLR0913, PLR0917  # a command's arguments are its flags
    file: Annotated[Path, typer.Argument(help="The recipe to write.")] = Path("recipe.yaml"),
    model: Annotated[str | None, typer.Option(help="A model folder, or a hub id (owner/name).")] = None,
    data: Annotated[
        str | None, typer.Option(help="Training data: a .csv, .tsv or .jsonl file, or a Hugging Face data set.")
    ] = None,
    evaluation: Annotated[str | None, typer.Option(help="Evaluation data: a file, or a split of the data set.")] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(help="In place of --evaluation: part the data file; this share of its rows is for evaluation."),
    ] = None,
    text: Annotated[str | None, typer.Option(help="The column with the text; guessed where it is plain.")] = None,
    text2: Annotated[str | None, typer.Option(help="The column with the second text of a pair.")] = None,
    label: Annotated[str | None, typer.Option(help="The column with the label; guessed where it is plain.")] = None,
    config: Annotated[str | None, typer.Option(help="The data set's configuration.")] = None,
    split: Annotated[str, typer.Option(help="The data set's split to train on.")] = "train",
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="What a run may take on the machine it runs on: epochs are cut.")
    ] = None,
    regression: Annotated[bool, typer.Option("--regression", help="The label is a number, not a class.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a recipe for your data and model, with comments, to be changed by hand."""
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file} should end in .yaml, so that 'palmtop run' takes it for a file")
    if file.exists() and not force:
        raise UserError(f"{file} exists: choose another name, or overwrite it with --force")
    if data is not None and hold_out is not None:
        data, evaluation = _parted(file, data, evaluation, hold_out, (text, text2, label), regression)
    values = _placeholders() if data is None else _data_values(file, data, evaluation, config, split)
    if data is not None:
        columns = _columns(data, config, split, (text, text2), label)
        values |= {
            "text": _yaml(columns.texts[0])
            if len(columns.texts) == 1
            else json.dumps(list(columns.texts), ensure_ascii=False),
            "label": _yaml(columns.label),
        }
    values |= {
        "file": str(file),
        "model": _yaml(_model(model)) if model else "OWNER/NAME           # a model folder, or a hub id",
    }
    values |= {"minutes": f"minutes: {minutes:g}" if minutes else "# minutes: 30"}
    values |= lengths(model) | measured("regression" if regression else "classification")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TEMPLATE.format_map(values), encoding="utf-8")
    todo = "fill in the words in capitals, then " if data is None or model is None else ""
    if data is not None and _is_file(data):
        _tell(file)
    print(f"wrote {file}; {todo}check it: palmtop run {file} --check")


def _placeholders() -> dict[str, str]:
    return {
        "title": "A recipe to fill in: the words in capitals are yours to replace.",
        "name": "my-task",
        "text": "TEXT-COLUMN            # or [FIRST, SECOND] for pairs",
        "label": "LABEL-COLUMN",
        "splits": "  train: TRAIN.csv            # .csv, .tsv or .jsonl, or .gz of one; starts at this file's folder\n"
        "  evaluation: TEST.csv        # rows that are not trained on\n"
        "  # train: {dataset: OWNER/NAME, split: train}   # or a Hugging Face data set",
    }


def _data_values(file: Path, data: str, evaluation: str | None, config: str | None, split: str) -> dict[str, str]:
    if evaluation is None:
        raise UserError(
            "--evaluation is missing: "
            + (
                "a file with rows that are not trained on, or --hold-out 0.2 to keep a share of these for it"
                if _is_file(data)
                else f"the split of {data} to measure on (validation, test, ...)"
            )
        )
    if _is_file(data) and not Path(evaluation).is_file():
        raise UserError(f"--evaluation: there is no file {evaluation}")
    if _is_file(data) and Path(evaluation).samefile(data):
        raise UserError(
            f"--evaluation is {data}, the file that is trained on: give one of other rows, or --hold-out 0.2 in its "
            "place to keep a share of these for it"
        )
    lines = [
        f"  {role}: {_source(file, data, given, config)}"
        for role, given in (("train", data if _is_file(data) else split), ("evaluation", evaluation))
    ]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("._-") or "my-task"
    return {"title": f"Made small from {Path(data).name}.", "name": _yaml(name), "splits": "\n".join(lines)}


def _parted(
    file: Path,
    data: str,
    evaluation: str | None,
    share: float,
    named: tuple[str | None, str | None, str | None],
    regression: bool,
) -> tuple[str, str]:
    """The two files that --hold-out makes of one, beside the recipe."""
    from palmtop.cli.hold_out import hold_out

    if evaluation is not None or not _is_file(data):
        raise UserError("--hold-out parts one data file: leave out --evaluation, and name a file with --data")
    *texts, label = named
    columns = _columns(data, None, "train", (texts[0], texts[1]), label)
    file.parent.mkdir(parents=True, exist_ok=True)
    values = _rows_of(data, None, "train")
    by = None if regression else columns.label
    train, held = hold_out(values, columns.texts, by, share, file.parent, file.stem)
    print(f"wrote {train} and {held}: {share:.0%} of the texts of each label are held out for evaluation")
    return str(train), str(held)


def _tell(file: Path) -> None:
    """Say on stderr what 'palmtop run --check' will say of the data in the recipe, as far as it is about rows."""
    from palmtop.task import Task
    from palmtop.task_notes import noticed
    from palmtop.yaml_file import read_mapping

    try:
        task = Task.find(read_mapping(file)["task"], file.resolve().parent)
        seen = noticed(task, task.check())
        told = (*seen.faults, *seen.notes)
    except UserError as error:
        told = error.faults
    for line in told:
        note(line)


def _source(file: Path, data: str, given: str, config: str | None) -> str:
    """A file name that holds from the recipe's folder, or a data set with its split."""
    if not _is_file(data):
        folder = {"dataset": str(Path(data).resolve()) if Path(data).is_dir() else data}
        return json.dumps(folder | ({"config": config} if config else {}) | {"split": given}, ensure_ascii=False)
    return _yaml(os.path.relpath(Path(given).resolve(), file.resolve().parent))


def _columns(
    data: str, config: str | None, split: str, texts: tuple[str | None, str | None], label: str | None
) -> Columns:
    """The columns that were named, checked, and the others as far as their names are plain.

    Raises:
        UserError: no such file or column, or names that leave room for doubt.
    """
    columns = _rows_of(data, config, split)
    known = list(columns)
    given = zip(("--text", "--text2", "--label"), (*texts, label), strict=True)
    raise_all(
        [
            f"{option}: {data} has no column '{name}'; {did_you_mean(name, known)}"
            for option, name in given
            if name is not None and name not in known
        ]
    )
    chosen = label or _only([name for name in known if name.lower() in LABEL_NAMES and name not in texts])
    named = tuple(name for name in texts if name) or _guessed_texts(
        [name for name in known if name != chosen], chosen is not None
    )
    if chosen is None or not named:
        lacking = " and ".join(option for option, there in (("--text", named), ("--label", chosen)) if not there)
        raise UserError(f"{data} has the columns {', '.join(known)}: say with {lacking} which are meant")
    return Columns(named, chosen)


def _rows_of(data: str, config: str | None, split: str) -> Mapping[str, Sequence[Any]]:
    from palmtop.data import rows
    from palmtop.settings import build

    source = build(
        rows.Source, {"file": data} if _is_file(data) else {"dataset": data, "config": config, "split": split}, "--data"
    )
    return rows.read(source).columns


def _guessed_texts(known: list[str], label_known: bool) -> tuple[str, ...]:
    lower = {name.lower(): name for name in known}
    pairs = [pair for pair in PAIR_NAMES if set(pair) <= set(lower)]
    if len(pairs) == 1:
        return tuple(lower[name] for name in pairs[0])
    plain = _only([name for name in known if name.lower() in TEXT_NAMES]) or (_only(known) if label_known else None)
    return (plain,) if plain and not pairs else ()


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _model(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _is_file(data: str) -> bool:
    return Path(data.removesuffix(".gz")).suffix.lower() in TABLES


def _yaml(word: str) -> str:
    """A YAML scalar: plain where that is safe, quoted as JSON elsewhere."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", word) and word.lower() not in ("true", "false", "null")
    return word if plain else json.dumps(word, ensure_ascii=False)
