"""Every quantization scheme on one float file, as a Markdown table: python tests/benchmarks/quantize_schemes.py FLOAT
--out FOLDER.

Size of the model file; the main metric and the agreement with the float file on the whole evaluation split, in the
format's own runtime; milliseconds of an answer padded to 32 tokens on one thread, all files in turns. What is made is
kept in FOLDER.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.making import make
from palmtop.signature import Signature
from palmtop.task import Task

LENGTH, TURNS, RUNS = 32, 15, 10
STATIC: dict[str, dict[str, Any]] = {
    "static_int8": {},
    "static_int8, percentile 99.99": {"percentile": 99.99},
    "static_int8, every operator": {"static_operators": "all"},
}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "tflite": {
        scheme: {"scheme": scheme}
        for scheme in (
            "float16",
            "weight_only_int8",
            "dynamic_int8",
            "dynamic_int8_embedding_int4",
            "dynamic_int8_embedding_int4_block32",
            "dynamic_int4",
            "dynamic_int4_block128",
            "dynamic_int4_block64",
            "dynamic_int4_block32",
        )
    }
    | {"dynamic_int4, auto 0.2": {"scheme": "dynamic_int4", "auto": True, "max_drop": 0.2}}
    | {name: settings | {"scheme": "static_int8"} for name, settings in STATIC.items()},
    "onnx": {"dynamic_int8": {"scheme": "dynamic_int8"}}
    | {name: settings | {"scheme": "static_int8"} for name, settings in STATIC.items() if "every" not in name},
    "tfjs": {"per_row_int8": {"scheme": "per_row_int8"}},
}


def main() -> None:
    """Make, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    source = Bundle.open(given.source)
    kind = stage.find("quantize")
    made = {"float32": source}
    for name, settings in SETTINGS[source.format].items():
        made[name] = make(
            "quantize", kind(**settings), source, given.out / name.replace(", ", "-").replace(" ", "_"), print
        )
    print(table(made))


def table(made: dict[str, Bundle]) -> str:
    """Markdown; the first bundle is the float file."""
    source = next(iter(made.values()))
    task = Task.of(source.path)
    assert task is not None
    split = task.load("evaluation")
    encodings = HostTokenizer(source.path, Signature.read(source.path).max_length).encode(split.texts)
    runtime = target.for_format(source.format)
    with ExitStack() as stack:
        runners = {name: stack.enter_context(runtime.open(bundle.path)) for name, bundle in made.items()}
        outputs = {name: runner.predict(encodings) for name, runner in runners.items()}
        times: dict[str, list[float]] = {name: [] for name in runners}
        for _ in range(TURNS):
            for name, runner in runners.items():
                runner.latencies_ms(encodings[:RUNS], LENGTH, 3)
                times[name] += runner.latencies_ms(encodings[:RUNS], LENGTH, RUNS)
    expected, floats = outputs["float32"].argmax(axis=1), median(times["float32"])
    lines = [
        f"| scheme | MB | {task.main_metric} | agreement with float | ms @{LENGTH} | speed-up |",
        "|---|---|---|---|---|---|",
    ]
    for name, bundle in made.items():
        ms, metric = median(times[name]), task.of_kind.of_outputs(task.main_metric, outputs[name], split.labels)
        lines.append(
            f"| {name} | {_megabytes(bundle):.2f} | {metric:.4f} | "
            f"{np.mean(outputs[name].argmax(axis=1) == expected):.4f} | {ms:.2f} | "
            f"{floats / ms:.2f}{' (slower)' if ms > floats else ''} |"
        )
    return "\n".join(
        [
            f"{source.name}, {len(split)} texts of {task.name}; {target.host_machine(()).processor}, one thread",
            "",
            *lines,
        ]
    )


def _megabytes(bundle: Bundle) -> float:
    return (
        sum(
            entry.size_bytes
            for name, entry in bundle.card.files.items()
            if name.endswith((".tflite", ".onnx", ".bin", "model.json"))
        )
        / 1e6
    )


if __name__ == "__main__":
    main()
