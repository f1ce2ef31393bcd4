"""Raw answers of artefacts to a task's evaluation texts: computed once, kept beside the measurements."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.data.tokenization import HostTokenizer
from palmtop.durably import write_array_durably, write_durably
from palmtop.eval.measuring.plan import Subject
from palmtop.signature import FILE as SIGNATURE
from palmtop.target import Runner
from palmtop.task import Split
from palmtop.task_kinds.kind import TaskKind

FOLDER = "predictions"


@dataclass(frozen=True)
class Answers:
    """What an artefact answered, and what its tokenizer did to the texts."""

    outputs: Float32[ndarray, "texts outputs"]
    """What the task's kind keeps of a runner's outputs (`TaskKind.answers`)."""
    truncated: int
    """Texts that were cut to the model's longest length."""
    tokenizer_mismatches: int | None
    """Texts whose token ids differ from the Hugging Face tokenizer's; None where that is the one used, or there is
    none."""


def answers(subject: Subject, split: Split, kind: TaskKind, run: Path, threads: int) -> Answers:
    """The answers to a whole split: those kept in `run` if nothing they depend on has changed, else new ones."""
    bundle, target = subject.bundle, subject.target
    depends = {"digest": bundle.digest, "target": target.label, "machine": subject.machine, "texts": split.digest}
    path = _path(run, bundle.digest, target.label)
    kept = _kept(path, depends)
    if kept is not None:
        return kept
    signature = bundle.signature if (bundle.path / SIGNATURE).is_file() else None
    with target.open(bundle.path, threads) as runner:
        encodings = runner.tokenize(split.texts)
        outputs = kind.answers(runner.predict(encodings).astype(np.float32), encodings, signature)
        mismatches = _mismatches(bundle, runner, encodings, split.texts) if target.own_tokenizer else None
    made = Answers(outputs, sum(encoding.truncated for encoding in encodings), mismatches)
    _keep(path, depends, made)
    return made


def kept_answers(run: Path, digest: str, target: str, machine: dict[str, Any], texts: str) -> Answers | None:
    """The answers that a run kept of an artefact to the texts with that digest, read without its runtime; None where it
    kept none, or they are damaged, or of another machine.

    Args:
        target: its label.
    """
    depends = {"digest": digest, "target": target, "machine": machine, "texts": texts}
    return _kept(_path(run, digest, target), depends)


def _path(run: Path, digest: str, target: str) -> Path:
    return run / FOLDER / f"{digest[:16]}-{quote(target, safe='@')}.npy"


def _mismatches(bundle: Bundle, runner: Runner, encodings: list[Encoding], texts: list[Text]) -> int | None:
    if not (bundle.path / TOKENIZER).is_file():
        return None
    expected = HostTokenizer.of(bundle.path, bundle.signature).encode(texts)
    return sum(
        not np.array_equal(theirs.input_ids, ours.input_ids) for theirs, ours in zip(encodings, expected, strict=True)
    )


def _keep(path: Path, depends: dict[str, Any], made: Answers) -> None:
    """The note beside the array is written last: an array without its note, or with an older one, isn't trusted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_array_durably(path, made.outputs)
    write_durably(
        _note(path),
        json.dumps(
            depends
            | {
                "truncated": made.truncated,
                "tokenizer_mismatches": made.tokenizer_mismatches,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            },
            indent=1,
        )
        + "\n",
    )


def _kept(path: Path, depends: dict[str, Any]) -> Answers | None:
    try:
        note = json.loads(_note(path).read_text(encoding="utf-8"))
        raw = path.read_bytes()
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    if {name: note.get(name) for name in depends} != depends or note.get("sha256") != hashlib.sha256(raw).hexdigest():
        return None
    return Answers(np.load(path), note["truncated"], note["tokenizer_mismatches"])


def _note(path: Path) -> Path:
    return path.with_suffix(".json")
