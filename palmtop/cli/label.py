"""palmtop label: texts without labels become rows to train on, labelled by what each label means."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from palmtop.errors import UserError


def label(  # a command's arguments are its flags
    model: Annotated[Path, typer.Argument(help="Bundle folder of a model for sentence embedding, of any format.")],
    texts: Annotated[
        Path,
        typer.Argument(metavar="TEXTS", help="A .txt with a text on each line, a .csv, .tsv or .jsonl (or a .gz)."),
    ],
    table: Annotated[
        Path, typer.Option(help="YAML: 'labels:', below it each label with what it means, or a list of such sentences.")
    ],
    out: Annotated[Path, typer.Option(help="The .jsonl file to write: text, label, confidence.")],
    text: Annotated[str, typer.Option(help="The file's column with the text.")] = "text",
    least: Annotated[
        float, typer.Option(min=0, max=1, help="Confidence below which a text is left out, as of no label.")
    ] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Label texts by what each label means, without a row that anybody labelled: the label whose description is nearest
    by the model's vectors, with its confidence. The file is data like any other, for 'train:' or 'palmtop init'."""
    from palmtop.cli.texts_in import from_file
    from palmtop.durably import replacing
    from palmtop.labelling import labelled, read_table, vectors_of
    from palmtop.loaded import load

    _check_place(out, texts, force)
    meant = read_table(table)
    asked = dict.fromkeys(row[0] for row in from_file(texts, (text,)) if row[0].strip())
    kept: Counter[str] = Counter()
    with load(model) as opened, replacing(out) as beside, beside.open("w", encoding="utf-8") as file:
        for row in labelled(asked, meant, vectors_of(opened)):
            if row.confidence >= least:
                kept[row.label] += 1
                written = {"text": row.text, "label": row.label, "confidence": round(row.confidence, 4)}
                file.write(json.dumps(written, ensure_ascii=False) + "\n")
    counted = ", ".join(f"{name} {kept[name]:,}" for name in meant)
    left = len(asked) - kept.total()
    print(
        f"wrote {out}: {kept.total():,} texts ({counted})" + (f"; {left:,} left out, below {least:g}" if left else "")
    )


def _check_place(out: Path, texts: Path, force: bool) -> None:
    """Raises: UserError: nothing can be written there."""
    if out.suffix != ".jsonl":
        raise UserError(f"{out} should end in .jsonl, so that a task reads it as such")
    if out.exists() and texts.exists() and out.samefile(texts):
        raise UserError(f"{out} is the file of the texts: give another name with --out")
    if out.exists() and not force:
        raise UserError(f"{out} exists: choose another name, or overwrite it with --force")
