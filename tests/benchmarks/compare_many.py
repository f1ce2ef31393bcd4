"""How long 10,000 measurements take to compare, and how much memory: a run folder is made up, and the command is run.

python tests/benchmarks/compare_many.py [MEASUREMENTS]
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from palmtop import measurement
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.measurement import Measurement

TASK = "made-up v1 0123456789abcdef"
METRICS = {
    "model_bytes": (5_000_000.0, "bytes"),
    "download_bytes": (6_000_000.0, "bytes"),
    "gzip_bytes": (4_000_000.0, "bytes"),
    "accuracy": (0.9, "share"),
    "macro_f1": (0.89, "share"),
    "truncated_texts": (3.0, "texts"),
    "difference_baseline": (0.0, "1"),
    "mcnemar_p": (0.5, "probability"),
    "agreement_torch": (0.99, "share"),
    "agreement_teacher": (0.95, "share"),
    "latency_ms": (2.0, "ms"),
    "latency_p90_ms": (2.2, "ms"),
    "latency_p99_ms": (2.5, "ms"),
    "tokenize_ms": (0.1, "ms"),
    "tokenize_p90_ms": (0.1, "ms"),
    "tokenize_p99_ms": (0.2, "ms"),
    "text_latency_ms": (2.1, "ms"),
    "text_latency_p90_ms": (2.3, "ms"),
    "text_latency_p99_ms": (2.6, "ms"),
    "load_ms": (30.0, "ms"),
    "memory_mb": (12.0, "MB"),
}
TIMING = {"threads": 1, "length": 32, "padded_to": 32, "runs": 60}
VERSIONS = {name: "2.13.0" for name in ("python", "torch", "transformers", "litert", "onnxruntime", "numpy")}


def main(wanted: int) -> None:
    """Make it up, compare it in every form, print the seconds of each and the most MB of any."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        taken = [one for number in range(-(-wanted // len(METRICS))) for one in _numbers(number)][:wanted]
        measurement.append(run / measurement.FILE, taken)
        names = {one.name: one.bundle for one in taken}
        standing = Standing(metric="accuracy", bundles=names, baseline="file-0", teacher="file-1")
        RunFile(tasks={TASK: standing}).write(run)
        for form in ("markdown", "wide", "csv", "json"):
            command = [sys.executable, "-m", "palmtop", "compare", run, "--format", form, "--out", run / form]
            started, before = time.perf_counter(), _processor_seconds()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds = round(time.perf_counter() - started, 2)
            taken_by = round(_processor_seconds() - before, 2)
            print(json.dumps({"form": form, "seconds": seconds, "of_a_processor": taken_by}), flush=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
        print(json.dumps({"measurements": len(taken), "rows": len(names), "peak_mb": round(peak)}))


def _processor_seconds() -> float:
    """Of all that was started and has ended: on a machine that does other things beside, this is what it costs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _numbers(number: int) -> list[Measurement]:
    """All that is measured of one file, on one of two machines."""
    machine = {"processor": "Z80", "cores": 2, "memory_gb": 16.0, "system": "Linux 6.1", "versions": VERSIONS}
    return [
        Measurement(
            bundle=f"{number:064x}",
            name=f"file-{number}",
            format="tflite",
            target="host_litert",
            metric=metric,
            value=value,
            unit=unit,
            n=None if unit == "bytes" else 60 if unit == "ms" else 5000,
            conditions=_conditions(metric),
            machine=machine,
            task=TASK,
            session="s1",
            date=f"2026-01-01T00:00:{number % 60:02d}+00:00",
        )
        for metric, (value, unit) in METRICS.items()
    ]


def _conditions(metric: str) -> dict[str, object]:
    if metric in ("difference_baseline", "mcnemar_p"):
        return {"with": f"{0:064x}", "on": "host_litert"}
    if metric == "agreement_teacher":
        return {"with": f"{1:064x}"}
    return TIMING if metric.endswith("_ms") else {"precision": "float32"} if metric.endswith("bytes") else {}


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
