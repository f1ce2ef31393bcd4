"""Our .tflite against litert-torch on the untouched model, as a Markdown table: python tests/benchmarks/export_speed.py
BUNDLE.

Both are converted from the same torch bundle at each length, in float32 and with all weights in dynamic int8. One
thread; files run in turns in a new order each round, so that a busy machine treats them alike. A ratio is the median
over rounds of theirs / ours within the round, with the quartiles. Time is this thread's CPU time, the kernels' own;
`--clock wall` is for a machine that does nothing else.

`--texts 200`: also texts of the evaluation split as they come, ours in one file of up to four lengths that were chosen
from the training texts, and in one for any length; theirs padded to the longest of the four.
"""

import argparse
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from runtimes.made import Untouched

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding
from palmtop.data.tokenization import HostTokenizer
from palmtop.export.graph.edge import edge_classifier, example
from palmtop.export.graph.passes import clean_at
from palmtop.making import make
from palmtop.signature import Signature
from palmtop.target import Runner
from palmtop.task import Task

LENGTHS = (32, 128)
ROUNDS, RUNS, WARM_UP = 40, 4, 1
CLOCKS: dict[str, Callable[[], float]] = {"cpu": time.thread_time, "wall": time.perf_counter}
NAMES = ("litert-torch", "ours")
Run = Callable[[], Any]


def main() -> None:
    """Convert, quantize, time, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="cpu")
    parser.add_argument("--texts", type=int, default=0)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for length in given.lengths:
            files = converted(given.bundle, length, Path(folder))
            for precision in ("float32", "dynamic_int8"):
                if precision == "dynamic_int8":
                    files = [quantized(file) for file in files]
                rows.append(row(length, precision, files, in_turns(files, given.rounds, CLOCKS[given.clock])))
    print(
        f"| tokens | precision | litert-torch, {given.clock} ms | ours | times as fast [quartiles] | operators | "
        "RESHAPE | difference |"
    )
    print("|---:|---|---:|---:|---|---|---|---:|")
    print("\n".join(rows))
    if given.texts:
        print("\n".join(as_texts_come(given.bundle, given.texts, given.rounds // 4, CLOCKS[given.clock])))


def as_texts_come(bundle: Path, count: int, rounds: int, clock: Callable[[], float]) -> list[str]:
    """A table: milliseconds of a text, mean over the first texts of the evaluation split."""
    lines = [
        "",
        "| precision | ours takes | litert-torch, padded, ms a text | ours | times as fast [quartiles] |",
        "|---|---|---:|---:|---|",
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = {"several": {"length_count": 4}, "any": {"lengths": "any"}}
        ours = {
            way: make("to_tflite", stage.find("to_tflite")(**given), Bundle.open(bundle), folder / way, print)
            for way, given in made.items()
        }
        signature, task = Signature.read(ours["several"].path), Task.of(bundle)
        assert signature.lengths is not None and task is not None
        longest = signature.lengths[-1]
        texts = HostTokenizer(bundle, longest).encode(task.load("evaluation").texts[:count])
        theirs = converted(bundle, longest, folder)[0]
        for precision in ("float32", "dynamic_int8"):
            if precision == "dynamic_int8":
                ours = {
                    way: make("quantize", stage.find("quantize")(scheme=precision), file, folder / f"{way}-int8", print)
                    for way, file in ours.items()
                }
                theirs = quantized(theirs)
            padded = shutil.copytree(ours["several"].path, folder / f"padded-{precision}")
            shutil.copy(theirs, padded / "model.tflite")
            signature.model_copy(update={"lengths": (longest,)}).write(padded)
            runners = [
                target.find("host_litert").open(each) for each in (padded, *(file.path for file in ours.values()))
            ]
            taken = texts_in_turns(runners, texts, rounds, clock)
            mean = [f"{value:.2f}" for value in np.median(taken, axis=0)]
            for seat, takes in enumerate((", ".join(map(str, signature.lengths)), "any length"), start=1):
                low, middle, high = np.percentile(taken[:, 0] / taken[:, seat], (25, 50, 75))
                lines.append(
                    f"| {precision} | {takes} | {mean[0]} | {mean[seat]} | {middle:.2f} [{low:.2f}, {high:.2f}] |"
                )
    return lines


def texts_in_turns(
    runners: list[Runner], texts: list[Encoding], rounds: int, clock: Callable[[], float]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Milliseconds of a text, mean over all [rounds, files]."""
    taken = np.zeros((rounds, len(runners)))
    for turn in range(rounds):
        for seat in random.sample(range(len(runners)), len(runners)):
            start = clock()
            for text in texts:
                runners[seat].predict([text])
            taken[turn, seat] = 1e3 * (clock() - start) / len(texts)
    return taken


def converted(bundle: Path, length: int, folder: Path) -> list[Path]:
    """Theirs and ours."""
    import litert_torch

    inputs = Signature.read(bundle).inputs
    files = [folder / f"{name}-{length}.tflite" for name in NAMES]
    whole = {name: tensor.long() for name, tensor in example(inputs, 1, length).items()}
    litert_torch.convert(Untouched(bundle, inputs).eval(), sample_kwargs=whole).export(str(files[0]))
    module, _ = clean_at(edge_classifier(Bundle.open(bundle), False), inputs, length)
    litert_torch.convert(module, sample_kwargs=example(inputs, 1, length)).export(str(files[1]))
    return files


def quantized(file: Path) -> Path:
    """All weights in int8, one scale a row, activations as they come."""
    from ai_edge_quantizer import quantizer, recipe

    out = file.with_suffix(".int8.tflite")
    quantizer.Quantizer(str(file), recipe.dynamic_wi8_afp32()).quantize().export_model(str(out), overwrite=True)
    return out


def in_turns(files: list[Path], rounds: int, clock: Callable[[], float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Median milliseconds of a few answers [rounds, files]."""
    runs = [opened(file) for file in files]
    taken = np.zeros((rounds, len(files)))
    for turn in range(rounds):
        for seat in random.sample(range(len(files)), len(files)):
            times = []
            for _ in range(WARM_UP + RUNS):
                start = clock()
                runs[seat]()
                times.append(clock() - start)
            taken[turn, seat] = 1e3 * float(np.median(times[WARM_UP:]))
    return taken


def opened(file: Path) -> Run:
    """An answer to one padded text of random words."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(file), num_threads=1).get_signature_runner()
    made = {
        "input_ids": lambda shape: np.random.default_rng(0).integers(5, 100, shape),
        "token_type_ids": np.zeros,
        "attention_mask": lambda shape: (np.arange(shape[1]) < 0.8 * shape[1])[None],
    }
    feeds = {
        name: made[name](tensor["shape"]).astype(tensor["dtype"]) for name, tensor in runner.get_input_details().items()
    }
    return lambda: next(iter(runner(**feeds).values()))


def row(length: int, precision: str, files: list[Path], taken: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """A line of the table."""
    ratios = taken[:, 0] / taken[:, 1]
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    counts, answers = [operators(file) for file in files], [opened(file)() for file in files]
    cells = (
        length,
        precision,
        *(f"{value:.2f}" for value in np.median(taken, axis=0)),
        f"{middle:.2f} [{low:.2f}, {high:.2f}]",
        f"{sum(counts[0].values())} -> {sum(counts[1].values())}",
        f"{counts[0]['RESHAPE']} -> {counts[1]['RESHAPE']}",
        f"{np.abs(answers[0] - answers[1]).max():.1e}",
    )
    return f"| {' | '.join(map(str, cells))} |"


def operators(file: Path) -> dict[str, int]:
    """How many of each operator."""
    from ai_edge_litert.interpreter import Interpreter

    return Counter(operator["op_name"] for operator in Interpreter(str(file))._get_ops_details())


if __name__ == "__main__":
    main()
