"""Runs for reports: sealed bundles that nobody trained, numbers that nobody measured, answers that nobody gave."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_runs import MACHINE, one
from safetensors.numpy import save_file

from palmtop import measurement
from palmtop.bundle import Bundle, Origin, seal
from palmtop.effect import Effect
from palmtop.eval.measuring.plan import task_id
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.measurement import Measurement
from palmtop.signature import Signature
from palmtop.task import Task

NASTY = '<img src=x onerror="document.title=1">'
"""A label, and a part of a text."""
TEXTS = (
    f"a {NASTY} & so on",
    "<script>document.title = 2</script> in a text",
    "'quoted' \"twice\" ]]> --> \u202e turned \x1b[31m",
    "a fourth text of some more words than those before",
)
LABELS = (0, 1, 0, 1)
TAUGHT = ((4.0, 0.0), (0.0, 3.0), (2.0, 0.0), (0.0, 1.0))
"""A teacher's logits: all right."""
LEARNT = ((4.0, 0.0), (2.0, 0.0), (0.0, 0.5), (0.0, 1.0))
"""A student's: the second and the third text get another label, the second by far more."""
ANSWERS: dict[str, Callable[[Any], Any]] = {
    "classification": lambda logits: logits,
    "multi_label": lambda logits: logits / 10 - 0.01,
    "regression": lambda logits: logits[:, :1],
}
"""What is kept of them, as each kind of task keeps it."""


def task_in(folder: Path, name: str = "made", kind: str = "classification") -> Task:
    """A task of four texts, with names of labels that try to be HTML."""
    written: dict[str, Callable[[int], Any]] = {
        "classification": lambda label: (NASTY, "plain")[label],
        "multi_label": lambda label: [(NASTY, "plain")[label]],
        "regression": float,
    }
    rows = [{"text": text, "label": written[kind](label)} for text, label in zip(TEXTS, LABELS, strict=True)]
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    labels = None if kind == "regression" else (NASTY, "plain")
    said = {"name": name, "kind": kind, "text": "text", "label": "label", "labels": labels}
    return Task.model_validate({**said, "train": str(data), "evaluation": str(data)})


def bundle_in(  # what a card says
    folder: Path,
    task: Task,
    stage: str,
    source: Bundle | None = None,
    *,
    made: str = "torch",
    effect: Effect = "teaches",
    **facts: Any,
) -> Bundle:
    """A sealed folder of a model that can't be run."""
    folder.mkdir(parents=True)
    of_its_own = np.full((4, 8), sum(folder.name.encode()), np.float32)
    save_file({"embeddings.weight": of_its_own}, folder / "model.safetensors")
    task.write(folder)
    Signature(inputs=("input_ids",), max_length=32, pad_id=0).write(folder)
    origin = Origin(stage=stage, settings={"name": folder.name}, inputs={}, versions={"torch": "2.13.0"})
    seal(folder, made, origin, source, facts, effect)
    return Bundle.open(folder)


def taken_of(bundle: Bundle, task: Task, accuracy: float, ms: float, **changed: Any) -> list[Measurement]:
    """Its numbers."""
    said = {"bundle": bundle.digest, "format": bundle.format, "task": task_id(task), "target": "host_torch"} | changed
    timing = {"threads": 1, "length": 32, "padded_to": 32, "runs": 60}
    return [
        one(bundle.name, "model_bytes", 2_000_000, **{"conditions": {"precision": "float32"}} | said),
        one(bundle.name, task.main_metric, accuracy, low=accuracy - 0.1, high=min(1, accuracy + 0.1), n=4, **said),
        *(
            one(bundle.name, f"latency_{end}", ms * times, n=60, **{"conditions": timing} | said)
            for end, times in (("ms", 1), ("p90_ms", 1.5), ("p99_ms", 2))
        ),
    ]


def keep(run: Path, bundle: Bundle, task: Task, outputs: Any, target: str = "host_torch") -> None:
    """Its answers, as measuring leaves them."""
    path = run / "predictions" / f"{bundle.digest[:16]}-{target}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, np.asarray(outputs, np.float32))
    note = {
        "digest": bundle.digest,
        "target": target,
        "machine": MACHINE,
        "texts": task.load("evaluation").digest,
        "truncated": 0,
        "tokenizer_mismatches": None,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    path.with_suffix(".json").write_text(json.dumps(note), encoding="utf-8")


def whole_run(folder: Path, name: str = "made", kind: str = "classification") -> Path:
    """Teacher, student, and a file of the student on two targets; answers of all but the file's second target."""
    folder.mkdir(exist_ok=True)
    task = task_in(folder, name, kind)
    teacher = bundle_in(folder / f"{name}-teacher", task, "finetune", by_epoch=[0.5, 0.75, 1.0], best_epoch=3)
    trimmed = bundle_in(folder / f"{name}-trimmed", task, "trim_vocabulary", teacher, effect="cuts", tokens_after=1200)
    student = bundle_in(folder / f"{name}-student", task, "distill", trimmed, layers_copied=[0, 2, 5])
    file = bundle_in(
        folder / f"{name}-int8", task, "quantize", student, made="onnx", effect="rounds", precision="dynamic_int8"
    )
    measurement.append(
        folder / measurement.FILE,
        [
            *taken_of(teacher, task, 1.0, 12),
            *taken_of(student, task, 0.5, 6),
            *taken_of(file, task, 0.5, 3, target="host_onnx"),
            *taken_of(file, task, 0.25, 30, target="browser"),
        ],
    )
    for bundle, outputs, target in (
        (teacher, TAUGHT, "host_torch"),
        (student, LEARNT, "host_torch"),
        (file, LEARNT, "host_onnx"),
    ):
        keep(folder, bundle, task, ANSWERS[kind](np.asarray(outputs, np.float32)), target)
    known = RunFile.read(folder)
    standing = {each.name: each.digest for each in (teacher, student, file)}
    known.tasks[task_id(task)] = Standing(
        metric=task.main_metric, bundles=standing, baseline=file.name, teacher=teacher.name, missing={}
    )
    known.write(folder)
    return folder
