"""Runs that keep the answers behind their accuracy: a task of 200 texts with two labels, answered without a model."""

import hashlib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
from made_runs import MACHINE, one

from palmtop import measurement
from palmtop.eval.measuring.answers import FOLDER
from palmtop.eval.measuring.plan import task_id
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.measurement import Measurement
from palmtop.metrics import proportion
from palmtop.task import Task

TEXTS = [(f"text {number}", "ab"[number % 2]) for number in range(200)]


def kept_run(run: Path, wrong: Mapping[str, Set[int]], suffix: str = "", **changed: Any) -> Path:
    """A run's folder, or more of it: for each name a bundle's folder with its task, its accuracy, its answers.

    Args:
        wrong: the texts that each gets wrong.
        suffix: ends the digests; another one is another bundle of that name.
    """
    run.mkdir(exist_ok=True)
    (run / "evaluation.csv").write_text(
        "text,label\n" + "".join(f"{text},{label}\n" for text, label in TEXTS), encoding="utf-8"
    )
    source = {"file": "evaluation.csv"}
    task = Task.find(
        {"name": "kept", "text": "text", "label": "label", "labels": ["a", "b"], "train": source, "evaluation": source},
        run,
    )
    taken = [
        _accuracy(name, len(texts), bundle=f"digest of {name}{suffix}", task=task_id(task), **changed)
        for name, texts in wrong.items()
    ]
    measurement.append(run / measurement.FILE, taken)
    for name, texts in wrong.items():
        (run / name).mkdir(exist_ok=True)
        task.write(run / name)
        keep_answers(run, f"digest of {name}{suffix}", texts)
    file = RunFile.read(run)
    known = Standing(metric="accuracy", bundles={one.name: one.bundle for one in taken}, teacher="teacher")
    file.note(task_id(task), known)
    file.write(run)
    return run


def keep_answers(run: Path, digest: str, wrong: Set[int], machine: Mapping[str, Any] = MACHINE) -> None:
    """Keep answers as measuring does: logits of two labels, with the note that says what they are of."""
    right = np.array(["ab".index(label) for _, label in TEXTS])
    answered = np.where([number in wrong for number in range(len(TEXTS))], 1 - right, right)
    task = Task.of(next(path.parent for path in run.glob("*/task.json")))
    assert task is not None
    path = run / FOLDER / f"{digest[:16]}-host_litert.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, np.eye(2, dtype=np.float32)[answered])
    note = {
        "digest": digest,
        "target": "host_litert",
        "machine": machine,
        "texts": task.load("evaluation").digest,
        "truncated": 0,
        "tokenizer_mismatches": None,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(note), encoding="utf-8")


def _accuracy(name: str, wrong: int, **changed: Any) -> Measurement:
    score = proportion(len(TEXTS) - wrong, len(TEXTS))
    said = {"low": score.low, "high": score.high, "n": score.n, "unit": "share", "target": "host_litert"}
    return one(name, "accuracy", score.value, **said | changed)
