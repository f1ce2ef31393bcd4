"""Steps per second of distilling: ours beside a plain loop and TextBrewer, in one run on the same texts, student, batch
and losses.

    python tests/benchmarks/distill_speed.py TEACHER [--layers 3] [--batch 32] [--slices 12] [--steps 8] [--hidden]
    [--textbrewer SRC]

The plain loop is what public scripts do: texts padded to 64 tokens (or to the longest of the batch), the teacher asked
at every step, torch's default AdamW, batches in random order. Ours keeps the teacher's signals, groups texts by length
and uses the fused optimizer. It multiplies in bfloat16 where the processor does so natively; the others, and it too in
a row of its own, in float32. All go through the same number of optimizer steps in slices, a random one next, so that a
busy machine treats them alike; the ratio is the median over rounds of slices. Losses at the end are printed to show
that all learn the same. TextBrewer 0.2.1: SRC is its source folder.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from palmtop.bundle import Bundle
from palmtop.compress.distillation.answer_losses import cosine_loss, distillation_loss
from palmtop.compress.distillation.distill import Distill
from palmtop.compress.distillation.teacher_signals import Wanted, signals
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.fit import fit
from palmtop.compress.learning.layer_choice import spread_layers
from palmtop.compress.learning.special import Special
from palmtop.data.tokenization import HostTokenizer
from palmtop.models.opening import keep_layers, open_classifier
from palmtop.signature import Signature
from palmtop.task import Task
from palmtop.task_kinds.losses import soft_loss

RATE, PADDED = 2e-4, 64


class Gate:
    """Lets a training through a few steps at a time, and tells how long they took."""

    def __init__(self, train: Callable[["Gate"], None]) -> None:
        self.losses: list[float] = []
        self._permits, self._arrived = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(train,), daemon=True)
        self._thread.start()
        self._arrived.acquire()  # it stands before its first step

    def step(self, *_: Any) -> None:
        """What the training calls before each step."""
        self._arrived.release()
        self._permits.acquire()

    def seconds(self, steps: int) -> float:
        """Let it do so many steps."""
        start = time.perf_counter()
        for _ in range(steps):
            self._permits.release()
            self._arrived.acquire()
        return time.perf_counter() - start

    def _run(self, train: Callable[["Gate"], None]) -> None:
        train(self)
        self._arrived.release()


def main() -> None:
    """Set up, take turns, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--hidden", action="store_true", help="the cosine between last hidden states too")
    parser.add_argument("--textbrewer", type=Path)
    given = parser.parse_args()
    bench = Bench(Bundle.open(given.teacher), given.layers, given.batch, given.slices * given.steps + 1, given.hidden)
    trainings: dict[str, Callable[[Gate], None]] = {
        "ours": bench.ours,
        "ours, precision float32": lambda gate: bench.ours(gate, "float32"),
        "plain, padded to 64": bench.plain_fixed,
        "plain, padded to the longest": bench.plain_dynamic,
    }
    if given.textbrewer:
        sys.path.insert(0, str(given.textbrewer))
        trainings["TextBrewer 0.2.1"] = bench.textbrewer
    gates = {name: Gate(train) for name, train in trainings.items()}
    taken = np.zeros((given.slices, len(gates)))
    names = list(gates)
    for turn in range(given.slices):
        for place in random.sample(range(len(names)), len(names)):
            taken[turn, place] = gates[names[place]].seconds(given.steps)
    print(bench.about())
    print(
        "| loop | steps a second | ours is so many times as fast [quartiles] | loss, mean of the last half "
        "|\n|---|---:|---|---:|"
    )
    for place, name in enumerate(names):
        low, middle, high = np.percentile(taken[:, place] / taken[:, 0], (25, 50, 75))
        losses = gates[name].losses
        loss = f"{np.mean(losses[len(losses) // 2 :]):.3f}" if losses else "not told"
        print(
            f"| {name} | {given.steps / np.median(taken[:, place]):.2f} | {middle:.1f} [{low:.1f}, {high:.1f}] | "
            f"{loss} |"
        )


class Bench:
    """One student, one set of texts, one sum of losses; several loops."""

    def __init__(self, bundle: Bundle, layers: int, batch: int, steps: int, hidden: bool) -> None:
        task = Task.of(bundle.path)
        assert task is not None
        self._bundle, self._task, self._batch, self._steps, self._hidden = bundle, task, batch, steps, hidden
        self._teacher = open_classifier(bundle.path)
        self._layers = spread_layers(self._teacher.config.num_hidden_layers, layers)
        self._split = task.load("train")
        signature = Signature.read(bundle.path)
        signature = signature.model_copy(update={"max_length": min(PADDED, signature.max_length)})
        self._data = Encoded.of(self._split, bundle.path, signature)
        self._rows = HostTokenizer(bundle.path, signature.max_length).encode(self._split.texts)
        wanted = Wanted((self._teacher.config.num_hidden_layers,) if hidden else ())
        self._said = signals(bundle, self._data, wanted, lambda _: None)

    def about(self) -> str:
        """What was measured."""
        kept = self._said
        return (
            f"{self._task.name}: {len(self._data)} texts of {np.mean(self._data.lengths):.1f} tokens, student of "
            f"layers "
            f"{self._layers}, batch {self._batch}, {torch.get_num_threads()} threads; the teacher's signals: "
            f"{kept.seconds} s once, "
            f"{kept.size_bytes / 1e6:.1f} MB on disk\n"
        )

    def ours(self, gate: Gate, precision: Literal["auto", "float32"] = "auto") -> None:
        """palmtop's loop."""
        settings = Distill(
            batch_size=self._batch,
            precision=precision,
            learning_rate=RATE,
            warmup=0.0,
            epochs=self._steps * self._batch / len(self._data),
            label_weight=1.0,
            cosine_weight=1.0 if self._hidden else 0.0,
            checkpoint_every=10**6,
        )
        counted = distillation_loss(settings, self._task, settings.cosine_weight)

        def loss(student: Any, batch: Any) -> Any:
            terms = counted(student, batch)
            gate.losses.append(float(torch.stack(list(terms.values())).sum(0).mean().detach()))
            return terms

        with tempfile.TemporaryDirectory() as scratch:
            fit(
                self._student(),
                self._data,
                loss,
                settings,
                Path(scratch),
                self._said.batch,
                Special(each_step=gate.step),
            )

    def plain_fixed(self, gate: Gate) -> None:
        """Padded to 64 tokens."""
        self._plain(gate, PADDED)

    def plain_dynamic(self, gate: Gate) -> None:
        """Padded to the longest text of the batch."""
        self._plain(gate, None)

    def textbrewer(self, gate: Gate) -> None:
        """TextBrewer's GeneralDistiller, as its documentation shows it."""
        from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

        def adaptor(batch: Any, output: Any) -> dict[str, Any]:
            return {"logits": output.logits, "hidden": output.hidden_states or (), "losses": output.loss}

        def before(batch: Any) -> Any:
            gate.step()
            return batch

        student = self._student()
        matches = (
            [
                {
                    "layer_T": self._teacher.config.num_hidden_layers,
                    "layer_S": len(self._layers),
                    "feature": "hidden",
                    "loss": "cos",
                    "weight": 1,
                }
            ]
            if self._hidden
            else []
        )
        with tempfile.TemporaryDirectory() as scratch:
            distiller = GeneralDistiller(
                TrainingConfig(device="cpu", output_dir=scratch, ckpt_steps=10**6),
                DistillationConfig(temperature=2, hard_label_weight=1, kd_loss_weight=1, intermediate_matches=matches),
                open_classifier(self._bundle.path),
                student,
                adaptor,
                adaptor,
            )
            with distiller:
                distiller.train(
                    torch.optim.AdamW(student.parameters(), lr=RATE),
                    list(self._batches(PADDED)),
                    num_steps=self._steps,
                    batch_postprocessor=before,
                    output_hidden_states=self._hidden,
                )

    def _plain(self, gate: Gate, length: int | None) -> None:
        student = self._student()
        optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, self._steps)
        for batch in self._batches(length):
            gate.step()
            labels = batch.pop("labels")
            with torch.no_grad():
                taught = self._teacher(**batch, output_hidden_states=self._hidden)
            output = student(**batch, output_hidden_states=self._hidden)
            loss = soft_loss(output.logits, taught.logits, 2.0).mean() + cross_entropy(output.logits, labels)
            if self._hidden:
                loss = (
                    loss
                    + cosine_loss(output.hidden_states[-1], taught.hidden_states[-1], batch["attention_mask"]).mean()
                )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            gate.losses.append(float(loss.detach()))

    def _student(self) -> Any:
        torch.manual_seed(0)
        return keep_layers(self._teacher, self._layers).train()

    def _batches(self, length: int | None) -> Any:
        random_rows = np.random.default_rng(0)
        for _ in range(self._steps):
            rows = random_rows.choice(len(self._rows), self._batch, replace=False)
            longest = length or max(len(self._rows[row]) for row in rows)
            made = {name: torch.zeros(self._batch, longest, dtype=torch.int64) for name in self._data.inputs}
            for place, row in enumerate(rows):
                ids, count = self._rows[row].input_ids, len(self._rows[row])
                made["input_ids"][place, :count] = torch.from_numpy(ids)
                made["attention_mask"][place, :count] = 1
            yield made | {"labels": torch.from_numpy(self._split.labels[rows])}


if __name__ == "__main__":
    main()
