"""Write tasks of public data sets, which palmtop may not bring along, for the benchmarks: SST-2, MRPC, STS-B, TREC,
SQuAD 1.1, GoEmotions, WNUT17, UNER-EWT.

    python tests/benchmarks/public_tasks.py DATA TASKS

DATA holds the folders sst2, mrpc, stsb, trec, squad, goemotions, wnut17 and uner_ewt with the files as they are
published; TASKS gets NAME.yaml and
JSONL files. SST-2's evaluation is dev and test together (2,693 sentences: dev alone cannot resolve two points). Where
no validation split is published, a tenth of the training rows (of SST-2: 2,000 phrases; of SQuAD 10 articles) is held
out, drawn once with a fixed seed.
"""

import csv
import gzip
import json
import random
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from palmtop.data.rows import Source, read

Row = dict[str, Any]


def main(data: Path, tasks: Path) -> None:
    """Write every task."""
    tasks.mkdir(parents=True, exist_ok=True)
    train, validation = _held_out(_sst2(data / "sst2" / "train.tsv.gz"), 2000)
    _write(
        tasks,
        "sst2",
        "text",
        train,
        validation,
        [*_sst2(data / "sst2" / "dev.tsv"), *_sst2(data / "sst2" / "test.tsv")],
    )
    mrpc = data / "mrpc"
    dev = _mrpc(mrpc / "glue_dev.tsv")
    known = {json.dumps(row) for row in dev}
    train = [row for row in _mrpc(mrpc / "msr_paraphrase_train.txt.gz") if json.dumps(row) not in known]
    _write(tasks, "mrpc", ["first", "second"], train, dev, _mrpc(mrpc / "msr_paraphrase_test.txt.gz"))
    stsb = {split: _stsb(next((data / "stsb").glob(f"stsb-en-{split}.csv*"))) for split in ("train", "dev", "test")}
    _write(tasks, "stsb", ["first", "second"], stsb["train"], stsb["dev"], stsb["test"], kind="regression")
    train, validation = _held_out(_trec(data / "trec" / "train.label.gz"), 545)
    _write(tasks, "trec", "text", train, validation, _trec(data / "trec" / "test.label"))
    train, validation = _held_out(_articles(next((data / "squad").glob("train-v1.1*.json*"))), 10)
    dev = _articles(next((data / "squad").glob("dev-v1.1*.json*")))
    _write(
        tasks,
        "squad",
        ["question", "context"],
        *(_squad(articles) for articles in (train, validation, dev)),
        kind="question_answering",
        label="answers",
    )
    emotions = data / "goemotions"
    names = _lines(emotions / "labels.txt")
    splits = (_goemotions(emotions / f"{split}.tsv.gz", names) for split in ("train", "dev", "test"))
    _write(tasks, "goemotions", "text", *splits, kind="multi_label")
    for name, files in (
        ("wnut17", ("train.conll.gz", "dev.conll", "test.conll")),
        ("uner-ewt", ("train.prerelease.iob2.gz", "dev.iob2.gz", "test.iob2.gz")),
    ):
        parts = [_tags(data / name.replace("-", "_") / file) for file in files]
        _write(tasks, name, "tokens", *parts, kind="token_classification", label="tags")


def _goemotions(path: Path, labels: list[str]) -> list[Row]:
    rows = (line.split("\t") for line in _lines(path))
    return [{"text": text.strip(), "label": [labels[int(one)] for one in ids.split(",")]} for text, ids, _ in rows]


def _tags(path: Path) -> list[Row]:
    """Sentences of a CoNLL file, as lists of words and of tags."""
    columns = read(Source(file=str(path))).columns
    return [
        {"tokens": list(words), "tags": list(tags)}
        for words, tags in zip(columns["tokens"], columns["tags"], strict=True)
    ]


def _sst2(path: Path) -> list[Row]:
    words = {"0": "negative", "1": "positive"}
    return [{"text": text, "label": words[label]} for label, text in (line.split("\t") for line in _lines(path)[1:])]


def _mrpc(path: Path) -> list[Row]:
    words = {"0": "different", "1": "same"}
    rows = (line.split("\t") for line in _lines(path)[1:])
    return [{"first": row[3].strip(), "second": row[4].strip(), "label": words[row[0]]} for row in rows]


def _stsb(path: Path) -> list[Row]:
    return [
        {"first": first, "second": second, "label": float(score)} for first, second, score in csv.reader(_lines(path))
    ]


def _trec(path: Path) -> list[Row]:
    rows = (line.split(" ", 1) for line in _lines(path, "latin-1"))
    return [{"text": text, "label": label.split(":")[0]} for label, text in rows]


def _articles(path: Path) -> list[Row]:
    articles: list[Row] = json.loads("".join(_lines(path)))["data"]
    return articles


def _squad(articles: Iterable[Row]) -> list[Row]:
    """A row for each question of the articles (one has 25,000 spaces before it), its answers as Hugging Face's SQuAD
    has them."""
    return [
        {
            "question": asked["question"].strip(),
            "context": paragraph["context"],
            "answers": {name: [answer[name] for answer in asked["answers"]] for name in ("text", "answer_start")},
        }
        for article in articles
        for paragraph in article["paragraphs"]
        for asked in paragraph["qas"]
    ]


def _lines(path: Path, encoding: str = "utf-8-sig") -> list[str]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [line for line in content.decode(encoding).split("\n") if line.strip()]


def _held_out(rows: list[Row], count: int) -> tuple[list[Row], list[Row]]:
    chosen = set(random.Random(0).sample(range(len(rows)), count))
    return [row for place, row in enumerate(rows) if place not in chosen], [rows[place] for place in sorted(chosen)]


def _write(
    folder: Path,
    name: str,
    text: str | list[str],
    *splits: Iterable[Row],
    kind: str = "classification",
    label: str = "label",
) -> None:
    task: dict[str, Any] = {"name": name, "kind": kind, "text": text, "label": label}
    for split, rows in zip(("train", "validation", "evaluation"), splits, strict=True):
        task[split] = f"{name}-{split}.jsonl"
        (folder / task[split]).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
