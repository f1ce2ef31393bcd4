"""What distilling costs as the data and the teacher grow: seconds of the first epoch, with asking the teacher, and of
each after it.

    python tests/benchmarks/distill_cost.py TEACHER [--rows 1000] [--layers 3] [--repeats 3]

Once, twice and four times the data with the same teacher; the same data with a teacher of twice the layers, its own,
each standing twice. The student, batch and losses (soft targets and labels) are the same throughout. The least of
several runs counts.
"""

import argparse
import copy
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palmtop.bundle import Bundle, Origin, seal
from palmtop.compress.distillation.distill import Distill, distillation_loss
from palmtop.compress.distillation.teacher_signals import Wanted, signals
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.fit import fit
from palmtop.compress.learning.layer_choice import spread_layers
from palmtop.compress.learning.special import Special
from palmtop.models.opening import keep_layers, open_classifier
from palmtop.signature import Signature
from palmtop.task import Task

EPOCHS = 2


def main(teacher: Path, rows: int, layers: int, repeats: int) -> None:
    """Measure and print."""
    once = Bundle.open(teacher)
    print("| data | teacher | asking it | first epoch | each epoch after it |\n|---|---|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        twice = _doubled(once, Path(folder) / "doubled")
        for times, bundle, said in ((1, once, "1x"), (2, once, "1x"), (4, once, "1x"), (1, twice, "2x")):
            taken = np.array([_seconds(bundle, once, times * rows, layers) for _ in range(repeats)]).min(axis=0)
            asking, first, later = taken
            print(
                f"| {times}x, {times * rows:,} texts | {said} | {asking:.1f} s | {asking + first:.1f} s | {later:.1f} "
                "s |",
                flush=True,
            )


def _seconds(teacher: Bundle, student_of: Bundle, rows: int, layers: int) -> tuple[float, float, float]:
    """Of asking the teacher, of the first epoch's steps, of the last's."""
    task = Task.of(teacher.path)
    assert task is not None
    split = task.load("train")
    drawn = np.random.default_rng(0).permutation(len(split))[:rows]
    data = Encoded.of(split.take(drawn), teacher.path, Signature.read(teacher.path))
    model = open_classifier(student_of.path)
    student = keep_layers(model, spread_layers(model.config.num_hidden_layers, layers))
    settings = Distill(epochs=EPOCHS, cosine_weight=0, learning_rate=2e-4, checkpoint_every=10**6)
    marks: list[float] = []

    def mark(*_: Any) -> None:
        marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PALMTOP_CACHE"] = scratch  # so that nothing an earlier run asked for is taken again
        start = time.perf_counter()
        said = signals(teacher, data, Wanted(), lambda _: None)
        asked = time.perf_counter() - start
        fit(
            student,
            data,
            distillation_loss(settings, task),
            settings,
            Path(scratch),
            said.batch,
            Special(each_epoch=mark),
        )
        mark()
    return asked, marks[1] - marks[0], marks[2] - marks[1]


def _doubled(bundle: Bundle, out: Path) -> Bundle:
    """A BERT of twice the layers: each stands twice. What it answers doesn't matter here, only what it takes."""
    shutil.copytree(bundle.path, out, ignore=shutil.ignore_patterns("palmtop.json", "logs", "model.safetensors"))
    model = open_classifier(bundle.path)
    encoder = model.base_model.encoder
    encoder.layer = torch.nn.ModuleList([copy.deepcopy(layer) for layer in encoder.layer for _ in range(2)])
    model.config.num_hidden_layers = len(encoder.layer)
    model.save_pretrained(out)
    seal(out, "torch", Origin(stage="finetune", settings={}, inputs={}, versions={}), None, {})
    return Bundle.open(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    main(given.teacher, given.rows, given.layers, given.repeats)
