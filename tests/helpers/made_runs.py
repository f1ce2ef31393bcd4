"""Runs for tables: made of measurements that nobody took, or taken of tiny bundles."""

from pathlib import Path
from typing import Any

from palmtop import measurement
from palmtop.bundle import Bundle
from palmtop.eval.compare import compare
from palmtop.eval.measure import MeasureOptions, measure
from palmtop.eval.measuring.run_file import RunFile, Standing
from palmtop.eval.reports.table import Section
from palmtop.measurement import Measurement

TASK = "tiny v1 0123456789abcdef"
MACHINE = {"processor": "Z80", "cores": 1, "memory_gb": 0.1, "system": "CP/M 2.2", "versions": {"litert": "2.3"}}
ON = ("host_onnx", "host_linear")
TIMING = {"threads": 1, "length": 32, "padded_to": 32, "runs": 60}


def one(name: str, metric: str, value: float | None, **changed: Any) -> Measurement:
    formats = {"teacher": ("torch", "host_torch"), "floor": ("linear", "host_linear"), "web": ("tfjs", "browser")}
    bundle_format, on = formats.get(name, ("tflite", "host_litert"))
    said = {
        "bundle": f"digest of {name}",
        "name": name,
        "format": bundle_format,
        "target": on,
        "metric": metric,
        "value": value,
        "unit": "1",
        "machine": MACHINE,
        "task": TASK,
        "session": "s1",
        "date": "2026-01-01T00:00:00+00:00",
        "valid": value is not None,
    }
    return Measurement(**said | changed)


def numbers_of(name: str, accuracy: float, ms: float, **changed: Any) -> list[Measurement]:
    sized = {"conditions": {"precision": "float32"}} | changed
    return [
        one(name, "model_bytes", 2_000_000, **sized),
        one(name, "download_bytes", 3_000_000, **sized),
        one(name, "accuracy", accuracy, low=accuracy - 0.02, high=accuracy + 0.02, n=900, **changed),
        one(name, "truncated_texts", 0, n=900, **changed),
        one(name, "load_ms", 30, n=3, **changed),
        one(name, "memory_mb", 9, n=3, **changed),
        *(
            one(
                name,
                f"{kind}_{end}",
                ms,
                low=ms - 0.1 if end == "ms" else None,
                high=ms + 0.1 if end == "ms" else None,
                n=60,
                **{"conditions": TIMING} | changed,
            )
            for kind in ("latency", "text_latency", "tokenize")
            for end in ("ms", "p90_ms", "p99_ms")
        ),
    ]


def write_run(folder: Path, *taken: Measurement, standing: Standing | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    measurement.append(folder / measurement.FILE, taken)
    names = {one.name: one.bundle for one in taken}
    known = standing or Standing(
        metric="accuracy",
        bundles=names,
        baseline="base" if "base" in names else None,
        teacher="teacher" if "teacher" in names else None,
    )
    RunFile(tasks={TASK: known}).write(folder)
    return folder


def section_of(*runs: Path) -> Section:
    (section,) = compare(runs).sections
    return section


def said_of(section: Section) -> tuple[str, ...]:
    """The sentences of its verdicts, without what to do."""
    return tuple(verdict.says for verdict in section.verdicts)


def measure_into(bundles: dict[str, Bundle], out: Path, **options: Any) -> tuple[Path, list[str], list[Measurement]]:
    """Measure bundles; returns the run's folder, what was said, and what stands in its file."""
    said: list[str] = []
    measure(bundles, MeasureOptions(**{"on": ON, "baseline": "onnx", "length": 32} | options), out, said.append)
    return out, said, measurement.read(out / measurement.FILE)


def by_metric(taken: list[Measurement], name: str) -> dict[str, Measurement]:
    """The measurements of one bundle."""
    return {one.metric: one for one in taken if one.name == name}
