"""What answers, and takes times, on the other side of a wire: it goes there as one file, runs with Python, numpy and
LiteRT alone, and imports nothing of palmtop's.

It reads questions from its standard input, a line of JSON each, and answers each with one line. What can't be answered
is told as {"refused": why}; anything else ends it with a traceback on its standard error.
"""

# boards have Pythons of their own: nothing in here needs one later than 3.9
from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any, Sequence  # noqa: UP035  # as above

import numpy as np

OPEN = -1
"""A size in an input's shape that is known only when the file runs."""
ARM = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd44": "Cortex-X1",
    "0xd46": "Cortex-A510",
    "0xd47": "Cortex-A710",
    "0xd48": "Cortex-X2",
    "0xd49": "Neoverse-N2",
    "0xd4d": "Cortex-A715",
    "0xd4e": "Cortex-X3",
    "0xd4f": "Neoverse-V2",
    "0xd80": "Cortex-A520",
    "0xd81": "Cortex-A720",
    "0xd82": "Cortex-X4",
}
"""Arm's cores by the part number in /proc/cpuinfo, which has no name for them."""


class Refused(Exception):
    """What whoever asks can mend."""


class Model:
    """A .tflite file in LiteRT; every signature of it shares one set of weights."""

    def __init__(self, path: str, inputs: Sequence[str], lengths: Sequence[int] | None, threads: int) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter: Any = Interpreter(model_path=path, num_threads=threads)
        self._path, self._inputs, self._lengths = path, tuple(inputs), lengths
        self._runners: dict[str, tuple[Any, dict[str, tuple[str, Any]]]] = {}

    def answer(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The outputs by their names, for int32 arrays [1, tokens] by the names of the inputs.

        Raises:
            Refused: the file isn't what its signature says.
        """
        length = batch["input_ids"].shape[1]
        key = f"length_{length}" if len(self._lengths or ()) > 1 else "serving_default"
        if key not in self._runners:  # each signature takes memory of its own, so only those that are used
            self._runners[key] = self._runner(key)
        runner, feeds = self._runners[key]
        found: dict[str, Any] = runner(
            **{tensor: batch[name].astype(dtype, copy=False) for name, (tensor, dtype) in feeds.items()}
        )
        return found

    def _runner(self, key: str) -> tuple[Any, dict[str, tuple[str, Any]]]:
        """The callable of one signature of the file, and for each input its tensor's name and type."""
        known = sorted(self._interpreter.get_signature_list())
        if self._lengths is None and not self._takes_any_length(known):
            raise Refused(
                f"{Path(self._path).parent}: signature.json names no lengths, but this .tflite has fixed ones: export "
                "it again"
            )
        if key not in known:
            raise Refused(
                f"{self._path} has no signature '{key}' (it has: {', '.join(known) or 'none'}): export it again"
            )
        runner = self._interpreter.get_signature_runner(key)
        details = runner.get_input_details()
        names = {name: name for name in self._inputs}
        if set(names) != set(details):  # litert-torch's own names, in the order of the signature
            names = {name: f"args_{position}" for position, name in enumerate(self._inputs)}
        if set(names.values()) != set(details):
            raise Refused(
                f"{self._path} takes {', '.join(sorted(details))}, signature.json says {', '.join(self._inputs)}: "
                "export it again"
            )
        return runner, {name: (tensor, details[tensor]["dtype"]) for name, tensor in names.items()}

    def _takes_any_length(self, signatures: list[str]) -> bool:
        details = self._interpreter.get_signature_runner(signatures[0]).get_input_details() if signatures else {}
        return all(OPEN in tensor["shape_signature"] for tensor in details.values())


class OtherSide:
    """The questions, one method each."""

    def __init__(self) -> None:
        self._model: Model | None = None

    def hello(self) -> dict[str, Any]:
        """The machine: chip, cores, memory, system, clocks, versions."""
        import ai_edge_litert

        litert = getattr(ai_edge_litert, "__version__", None) or _version("ai-edge-litert")
        return {
            "processor": processor(),
            "cores": _cores(),
            "memory_gb": round(_first_number("/proc/meminfo") / 2**20, 1),
            "system": f"{platform.system()} {platform.release().split('-')[0]} {platform.machine()}",
            "clocks": clocks(),
            "versions": {
                "python": platform.python_version(),
                "numpy": np.__version__,
                "ai-edge-litert": litert,
            },
        }

    def state(self) -> dict[str, Any]:
        """What changes while it works: load (mean of a minute), the hottest zone and where it starts to throttle, in
        degrees Celsius."""
        found: dict[str, Any] = {"load": round(os.getloadavg()[0], 2), "cores": _cores()}
        zones = [(temperature, zone) for zone in _zones() if (temperature := _celsius(zone / "temp")) is not None]
        if zones:
            found["hottest_c"], zone = max(zones, key=lambda known: known[0])
            limits = [
                limit
                for kind in zone.glob("trip_point_*_type")
                if _read(kind).strip() in ("passive", "hot")
                and (limit := _celsius(kind.with_name(kind.name.replace("_type", "_temp")))) is not None
            ]
            found["throttles_at_c"] = min(limits, default=None)
        return found

    def open(self, path: str, sha256: str | None, inputs: list[str], lengths: list[int] | None, threads: int) -> None:
        """Load a file, of which is checked that it is the one meant."""
        if sha256 is not None and hashlib.sha256(Path(path).read_bytes()).hexdigest() != sha256:
            raise Refused(f"{path} isn't the file that was sent: remove it there, and measure again")
        self._model = Model(path, inputs, lengths, threads)

    def answers(self, batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The outputs of each batch."""
        return [{name: _said(output) for name, output in self._opened(_batch(one)).items()} for one in batches]

    def times_ms(self, batches: list[dict[str, Any]], runs: int) -> list[float]:
        """How long `runs` answers took, one by one, cycling through the batches."""
        ready, times = [_batch(one) for one in batches], []
        for number in range(runs):
            batch = ready[number % len(ready)]
            started = time.perf_counter_ns()
            self._opened(batch)
            times.append((time.perf_counter_ns() - started) / 1e6)
        return times

    def loading(
        self, path: str, inputs: list[str], lengths: list[int] | None, threads: int, batch: dict[str, Any]
    ) -> list[float]:
        """Of this process, which has loaded nothing before: milliseconds from file to first answer, MB that it added
        at the highest."""
        import ai_edge_litert.interpreter  # noqa: F401  # the runtime is there before the clock starts

        given, before = _batch(batch), lower_peak()
        started = time.perf_counter()
        Model(path, inputs, lengths, threads).answer(given)
        return [(time.perf_counter() - started) * 1000, (peak_bytes() - before) / 1e6]

    def _opened(self, batch: dict[str, Any]) -> dict[str, Any]:
        if self._model is None:
            raise ValueError("nothing was opened")
        return self._model.answer(batch)


def processor() -> str:
    """The chip's name: what the kernel calls it, or Arm's cores by their part numbers, and the board where it says."""
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    said = [(key.strip(), value.strip()) for key, colon, value in (line.partition(":") for line in lines) if colon]
    if name := next((value for key, value in said if key == "model name"), None):
        return name
    parts = [ARM.get(value, f"Arm part {value}") for key, value in said if key == "CPU part"]
    cores = " + ".join(f"{parts.count(part)} x {part}" for part in dict.fromkeys(parts))
    board = _read(Path("/proc/device-tree/model")).strip("\0 \n")
    return ", ".join(filter(None, (board, cores))) or platform.machine()


def clocks() -> str | None:
    """Highest clock of each kind of core, in MHz; None where the kernel doesn't tell."""
    files = sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq"))
    highest = [int(text) // 1000 for file in files if (text := _read(file).strip()).isdigit()]
    return ", ".join(f"{highest.count(mhz)} x {mhz} MHz" for mhz in sorted(set(highest), reverse=True)) or None


def lower_peak() -> int:
    """Set the kernel's high-water mark to the present, where it lets us (Linux); return the mark in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        pass  # the mark stays as it is: growth is then counted from the highest so far
    return peak_bytes()


def peak_bytes() -> int:
    """The highest that this process's resident memory has been."""
    line = next((line for line in _read(Path("/proc/self/status")).splitlines() if line.startswith("VmHWM")), None)
    if line is not None:
        return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """Answer line by line until the wire is cut."""
    wire = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a runtime prints goes with the errors: the wire is for answers
    side = OtherSide()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            said: dict[str, Any] = {"answer": getattr(side, asked["question"])(**asked["given"])}
        except Refused as error:
            said = {"refused": str(error)}
        print(json.dumps(said), file=wire, flush=True)


def _batch(said: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(values, np.int32) for name, values in said.items()}


def _said(output: Any) -> dict[str, Any]:
    values = np.ascontiguousarray(output, "<f4")
    return {"shape": values.shape, "float32": base64.b64encode(values.tobytes()).decode("ascii")}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _zones() -> list[Path]:
    return sorted(Path("/sys/class/thermal").glob("thermal_zone*"))


def _celsius(path: Path) -> float | None:
    text = _read(path).strip()
    return int(text) / 1000 if text.lstrip("-").isdigit() else None


def _first_number(path: str) -> int:
    return next((int(word) for word in _read(Path(path)).split() if word.isdigit()), 0)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
