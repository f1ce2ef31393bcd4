"""Rounding after training against training on the grid: accuracy, agreement, size and speed in LiteRT, as a Markdown
table.

    python tests/benchmarks/quantize_aware.py STUDENT OUT [--epochs 1] [--learning-rate 2e-4] [--rows N]

STUDENT is a float torch bundle with a task; its bundles and files are made in OUT, and kept there for the next call.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from tflite_integers import differing, quantize_as_planned, torch_logits  # beside the tests

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.compress.quantization.fake_quantized import Rounding, plan
from palmtop.data.encoding import Encoding, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.export.file_timing import medians_ms
from palmtop.making import make
from palmtop.metrics import mcnemar, proportion
from palmtop.models.opening import open_classifier
from palmtop.signature import Signature
from palmtop.task import Split, Task

GRIDS = {(8, 8): 0.1, (4, 8): 0.25, (4, 4): 1.0}
"""(bits of linear layers, bits of embeddings): share of the learning rate; the less rounding moves, the less is to be
mended."""
LENGTH = 32


@dataclass(frozen=True)
class Row:
    """A file and its answers."""

    name: str
    folder: Path
    outputs: Any
    graph: str
    """How it stands to the graph it was trained in."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("student", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--rows", type=int, help="only so many texts of the evaluation split")
    given = parser.parse_args()
    student = Bundle.open(given.student)
    task = Task.of(student.path)
    assert task is not None
    whole = task.load("evaluation")
    split = whole.take(np.arange(given.rows or len(whole)))
    encodings = HostTokenizer(student.path, LENGTH).encode(split.texts)
    rows = [_float(student, given.out, encodings)]
    for bits, share in GRIDS.items():
        rows.append(
            _quantized(
                f"int{bits[0]}, embeddings int{bits[1]}: rounded afterwards", student, bits, given.out, encodings
            )
        )
        settings = {
            "linear_bits": bits[0],
            "embedding_bits": bits[1],
            "epochs": given.epochs,
            "learning_rate": given.learning_rate * share,
        }
        aware = _made("quantize_aware", settings, student, given.out / f"aware-int{bits[0]}-int{bits[1]}")
        rows.append(
            _quantized(f"int{bits[0]}, embeddings int{bits[1]}: trained on the grid", aware, bits, given.out, encodings)
        )
    _print(rows, split)


def _float(student: Bundle, out: Path, encodings: list[Encoding]) -> Row:
    file = _made("to_tflite", {"lengths": LENGTH}, student, out / f"{student.name}-float")
    return Row("float32", file.path, _answers(file.path, encodings), "")


def _quantized(name: str, source: Bundle, bits: tuple[int, int], out: Path, encodings: list[Encoding]) -> Row:
    file = _made("to_tflite", {"lengths": LENGTH}, source, out / f"{source.name}-float")
    folder = out / f"{source.name}-int{bits[0]}-int{bits[1]}-file"
    folder.mkdir(exist_ok=True)
    for beside in ("signature.json", "tokenizer.json"):
        (folder / beside).write_bytes((file.path / beside).read_bytes())
    model = open_classifier(source.path)
    chosen = plan(model, Rounding(bits[0]), Rounding(bits[1]), ())
    quantize_as_planned(file.path / "model.tflite", model, chosen, folder / "model.tflite")
    found = _answers(folder, encodings)
    lacking, odd = differing(model, chosen, folder / "model.tflite")
    return Row(
        name,
        folder,
        found,
        f"{len(chosen) - len(lacking)} of {len(chosen)} weights equal{f', {len(odd)} others' if odd else ''}; "
        f"{_against_graph(source, chosen, encodings, found)}",
    )


def _against_graph(source: Bundle, chosen: dict[str, Rounding], encodings: list[Encoding], found: Any) -> str:
    """Equal answers and the largest difference in spreads of the outputs: with rounded activations, and without."""
    import torch

    signature = Signature.read(source.path)
    padded = [pad(encodings[start : start + 50], LENGTH, signature.pad_id) for start in range(0, len(encodings), 50)]
    batches = [{name: torch.from_numpy(batch[name]).long() for name in signature.inputs} for batch in padded]
    told = []
    for activations in (True, False):
        graph = torch_logits(source.path, batches, chosen, activations)
        equal = (graph.argmax(1) == found.argmax(1)).mean()
        told.append(f"{equal:.2%} ({np.abs(graph - found).max() / graph.std(axis=0).mean():.3f})")
    return " / ".join(told)


def _answers(folder: Path, encodings: list[Encoding]) -> Any:
    with target.for_format("tflite").open(folder, 1) as runner:
        return runner.predict(encodings)


def _made(use: str, settings: dict[str, Any], source: Bundle, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda line: print(line, file=sys.stderr))


def _print(rows: list[Row], split: Split) -> None:
    speeds = medians_ms([("tflite", row.folder) for row in rows])
    first, labels = rows[0], split.labels
    print(
        "| file | accuracy [95 %] | p against float | answers as float's | MB | ms | integers; answers as the "
        "training graph's (largest difference, in spreads): activations rounded in it / not |"
    )
    print("|---|---|---|---|---|---|---|")
    for row, milliseconds in zip(rows, speeds, strict=True):
        answers, usual = row.outputs.argmax(1), first.outputs.argmax(1)
        score = proportion(int((answers == labels).sum()), len(labels))
        size = (row.folder / "model.tflite").stat().st_size / 1e6
        print(
            f"| {row.name} | {score.value:.4f} [{score.low:.4f}, {score.high:.4f}] | "
            f"{mcnemar(answers, usual, labels):.3f} | {(answers == usual).mean():.2%} | {size:.1f} | "
            f"{milliseconds:.2f} | {row.graph} |"
        )
    print(f"\n{len(labels)} texts, {LENGTH} tokens, one thread, medians of runs in turns.")


if __name__ == "__main__":
    main()
