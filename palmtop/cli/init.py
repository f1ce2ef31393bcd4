"""palmtop init: write a commented recipe for a user's own data and model."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from palmtop import task_kinds
from palmtop.cli.init_columns import Columns, guessed_columns, guessed_kind
from palmtop.cli.init_recipe import TEMPLATE, formats_and_targets, lengths
from palmtop.cli.init_splits import HELD, guessed_splits
from palmtop.cli.say import note
from palmtop.errors import UserError

TABLES = (".csv", ".tsv", ".jsonl")
NO_LABEL = '""                    # none: each first text learns to find its own second'
NO_VALIDATION = (
    "  # validation: a third split of the same columns, to choose by; without one a tenth of train is held out for it"
)


def init(  # noqa: PLR0913, PLR0917  # a command's arguments are its flags
    file: Annotated[Path, typer.Argument(help="The recipe to write.")] = Path("recipe.yaml"),
    model: Annotated[str | None, typer.Option(help="A model folder, or a hub id (owner/name).")] = None,
    data: Annotated[
        str | None, typer.Option(help="Training data: a .csv, .tsv or .jsonl file, or a Hugging Face data set.")
    ] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(help="Rows to measure on: a file, or a split. Else the data set's own, or a fifth of the file."),
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Rows to choose epochs and rates by: a file, or a split. Else a tenth of the training data."),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="Texts without labels, which the teacher labels: a .txt with one a line, .csv, .tsv, .jsonl."
        ),
    ] = None,
    hold_out: Annotated[
        float | None, typer.Option(help="In place of --evaluation: the share of the data file's texts to measure on.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="The column with the text; guessed where it is plain.")] = None,
    text2: Annotated[str | None, typer.Option(help="The column with the second text of a pair.")] = None,
    label: Annotated[str | None, typer.Option(help="The column with the label; guessed where it is plain.")] = None,
    config: Annotated[str | None, typer.Option(help="The data set's configuration.")] = None,
    split: Annotated[str, typer.Option(help="The data set's split to train on.")] = "train",
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="What a run may take on the machine it runs on: epochs are cut.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(help=f"What a label is ({', '.join(task_kinds.names())}); seen in the rows where it is plain."),
    ] = None,
    regression: Annotated[bool, typer.Option("--regression", help="Short for --kind regression.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a recipe for your data and model, with comments, to be changed by hand."""
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file} should end in .yaml, so that 'palmtop run' takes it for a file")
    if file.exists() and not force:
        raise UserError(f"{file} exists: choose another name, or overwrite it with --force")
    kind = _named_kind(kind, regression)
    if data is None:
        values, kind = _placeholders(), kind or "classification"
    else:
        rows = _rows_of(data, config, split)
        columns = guessed_columns(data, list(rows), (text, text2), label)
        seen = guessed_kind(rows, columns)
        if kind is None and seen is None:
            raise UserError(f"{data}: the column '{columns.label}' looks like no kind of label: say with --kind which")
        kind = kind or seen or ""
        if hold_out is not None or (evaluation is None and _is_file(data)):
            share = HELD if hold_out is None else hold_out
            data, evaluation = _parted(file, data, evaluation, share, rows, columns, kind, force)
        if not _is_file(data):
            evaluation, validation = guessed_splits(data, config, split, columns.label, evaluation, validation)
            print(
                f"splits: {split} to train on, {validation or 'a part of it'} to choose by, {evaluation} to measure on"
            )
        values = _data_values(file, data, {"validation": validation, "evaluation": evaluation}, config, split)
        values |= {
            "text": _yaml(columns.texts[0])
            if len(columns.texts) == 1
            else json.dumps(list(columns.texts), ensure_ascii=False),
            "label": _yaml(columns.label) if columns.label else NO_LABEL,
        }
    if unlabelled is not None:
        values["splits"] += f"\n  unlabelled: {_unlabelled(file, unlabelled)}"
    values |= {
        "file": str(file),
        "model": _yaml(_model(model)) if model else "OWNER/NAME           # a model folder, or a hub id",
    }
    values |= {"minutes": f"minutes: {minutes:g}" if minutes else "# minutes: 30"}
    values |= lengths(model) | formats_and_targets(kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(TEMPLATE.format_map(values), encoding="utf-8")
    todo = "fill in the words in capitals, then " if data is None or model is None else ""
    if data is not None and _is_file(data):
        _tell(file)
    print(f"wrote {file}; {todo}check it: palmtop run {file} --check")


def _unlabelled(file: Path, given: Path) -> str:
    """The name of a file of texts without labels that holds from the recipe's folder."""
    if not given.is_file():
        raise UserError(f"--unlabelled: there is no file {given}")
    return _yaml(os.path.relpath(given.resolve(), file.resolve().parent))


def _named_kind(kind: str | None, regression: bool) -> str | None:
    """The kind that was asked for, checked, or None."""
    named = {name for name in (kind, "regression" if regression else None) if name is not None}
    if len(named) > 1:
        raise UserError(f"--kind {kind} and --regression are two kinds: leave out one")
    for name in named:
        task_kinds.find(name)
    return next(iter(named), None)


def _placeholders() -> dict[str, str]:
    return {
        "title": "A recipe to fill in: the words in capitals are yours to replace.",
        "name": "my-task",
        "text": "TEXT-COLUMN            # or [FIRST, SECOND] for pairs",
        "label": "LABEL-COLUMN",
        "splits": "  train: TRAIN.csv            # .csv, .tsv or .jsonl, or .gz of one; starts at this file's folder\n"
        "  evaluation: TEST.csv        # rows that are not trained on\n"
        "  # train: {dataset: OWNER/NAME, split: train}   # or a Hugging Face data set\n" + NO_VALIDATION,
    }


def _data_values(
    file: Path, data: str, others: Mapping[str, str | None], config: str | None, split: str
) -> dict[str, str]:
    """The title, the name and the splits.

    Args:
        others: the file, or the split of the data set, for validation and for evaluation.
    """
    given = {role: other for role, other in others.items() if other is not None}
    for role, other in given.items():
        _check_other(role, other, data, split)
    sources = {"train": data if _is_file(data) else split} | given
    lines = [f"  {role}: {_source(file, data, one, config)}" for role, one in sources.items()]
    if "validation" not in given:
        lines.append(NO_VALIDATION)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("._-") or "my-task"
    return {"title": f"Made small from {Path(data).name}.", "name": _yaml(name), "splits": "\n".join(lines)}


def _check_other(role: str, other: str, data: str, split: str) -> None:
    """Raises: UserError: no such file, or the rows that are trained on."""
    if _is_file(data) and not Path(other).is_file():
        raise UserError(f"--{role}: there is no file {other}")
    if not (Path(other).samefile(data) if _is_file(data) else other == split):
        return
    instead = ", or --hold-out 0.2 in its place to keep a share of these for it"
    what = f"{data}, the file" if _is_file(data) else f"{other}, the split"
    raise UserError(
        f"--{role} is {what} that is trained on: give one of other rows"
        + (instead if role == "evaluation" and _is_file(data) else "")
    )


def _parted(
    file: Path,
    data: str,
    evaluation: str | None,
    share: float,
    rows: Mapping[str, Sequence[Any]],
    columns: Columns,
    kind: str,
    force: bool,
) -> tuple[str, str]:
    """The two files that one is parted into, beside the recipe."""
    from palmtop.cli.hold_out import hold_out, refuse_overwriting

    if evaluation is not None or not _is_file(data):
        raise UserError("--hold-out parts one data file: leave out --evaluation, and name a file with --data")
    file.parent.mkdir(parents=True, exist_ok=True)
    by = columns.label if task_kinds.find(kind).one_label else None
    train, held = (file.parent / f"{file.stem}-{part}.jsonl" for part in ("train", "evaluation"))
    refuse_overwriting((train, held), Path(data), force)
    hold_out(rows, columns.texts, by, share, (train, held))
    of_each = " of each label" if by else ""
    print(f"wrote {train} and {held}: {share:.0%} of the texts{of_each} are held out for evaluation")
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


def _rows_of(data: str, config: str | None, split: str) -> Mapping[str, Sequence[Any]]:
    from palmtop.data import rows
    from palmtop.settings import build

    source = build(
        rows.Source, {"file": data} if _is_file(data) else {"dataset": data, "config": config, "split": split}, "--data"
    )
    return rows.read(source).columns


def _model(model: str) -> str:
    return str(Path(model).resolve()) if Path(model).is_dir() else model


def _is_file(data: str) -> bool:
    return Path(data.removesuffix(".gz")).suffix.lower() in TABLES


def _yaml(word: str) -> str:
    """A YAML scalar: plain where that is safe, quoted as JSON elsewhere."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", word) and word.lower() not in ("true", "false", "null")
    return word if plain else json.dumps(word, ensure_ascii=False)
