"""What a phone's GPU or NPU really takes of a .tflite: by Google's `benchmark_model`, which whoever asks brings, and by
what its log says happened, not by what was asked for."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from palmtop.errors import UserError, did_you_mean
from palmtop.signature import Signature

TOOL = "PALMTOP_BENCHMARK_MODEL"
"""The environment variable with the program for the phone, Google's android_aarch64_benchmark_model."""
RUNS = 60
REPLACED = re.compile(
    r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(([^)]*)\) node, yielding (\d+) partition"
)
ACCELERATORS = re.compile(r"NNAPI accelerators available: \[([^\]]*)\]")
REFERENCE = "nnapi-reference"
"""NNAPI's own slow kernels for the processor: what has no other has no accelerator."""
COUNT = re.compile(r"count=(\d+) .*?avg=([0-9.e+]+)(?:.*?median=([0-9.e+]+))?")


@dataclass(frozen=True)
class Delegate:
    """A delegate: what the tool calls it, the switch that asks for it, and the names of its kernels in the log."""

    called: str
    switch: str
    kernels: re.Pattern[str]


DELEGATES = {
    "gpu": Delegate("GPU", "--use_gpu=true", re.compile("gpu|_cl", re.IGNORECASE)),
    "nnapi": Delegate("NNAPI", "--use_nnapi=true --disable_nnapi_cpu=true", re.compile("nnapi", re.IGNORECASE)),
}


@dataclass(frozen=True)
class Delegated:
    """What a delegate took, and how long an answer takes with it."""

    delegate: str
    nodes: int
    of: int
    parts: int
    """Pieces that it runs; between them the processor does the rest."""
    median_ms: float
    runs: int

    def __str__(self) -> str:
        rest = "" if self.nodes == self.of else f" in {self.parts} part(s), the rest on the processor"
        return (
            f"{self.nodes} of {self.of} nodes delegated to {self.delegate}{rest}; {self.median_ms:.2f} ms an answer, "
            f"{self.runs} runs"
        )


def find(name: str) -> Delegate:
    """The delegate called `name`.

    Raises:
        UserError: there is none.
    """
    if name not in DELEGATES:
        raise UserError(f"no delegate '{name}'; {did_you_mean(name, DELEGATES)}")
    return DELEGATES[name]


def tool() -> Path:
    """The program that was brought.

    Raises:
        UserError: none was.
    """
    path = Path(os.environ.get(TOOL) or "")
    if not path.is_file():
        raise UserError(
            f"delegates are asked by Google's benchmark_model, which doesn't come with palmtop: name the file of "
            f"android_aarch64_benchmark_model with {TOOL}"
        )
    return path


def command(
    tool_there: str, model_there: str, delegate: Delegate, signature: Signature, length: int, threads: int
) -> str:
    """The line that times a file of fixed lengths on the phone.

    Raises:
        UserError: the file takes any length, which no delegate does; or not this one.
    """
    if signature.lengths is None:
        raise UserError(
            "delegates take no file whose sizes are open: export it with fixed lengths, --lengths 32 for instance"
        )
    held = signature.accepted(length)
    chosen = f" --signature_to_run_for=length_{held}" if len(signature.lengths) > 1 else ""
    return (
        f"{quote(tool_there)} --graph={quote(model_there)} --num_threads={threads} --num_runs={RUNS} {delegate.switch}"
        f"{chosen} 2>&1"
    )


def read(log: str, delegate: Delegate) -> Delegated:
    """What the tool's log says that really happened.

    A line that nodes were replaced is no proof: it is printed also where the delegate then fails. The tool says at the
    end by whom the graph is executed, and that alone counts.

    Raises:
        UserError: the processor did it all, in silence, or it can't be told: no number is given then.
    """
    called = delegate.called
    if f"Though {called} delegate is explicitly applied" in log:
        raise UserError(_fallen_back(called, "it took none of the nodes"))
    available = ACCELERATORS.search(log)
    if called == "NNAPI" and available is not None and set(available[1].split(",")) <= {REFERENCE, ""}:
        raise UserError(
            _fallen_back(called, "the phone offers no accelerator to it but its reference on the processor")
        )
    if f"Failed to apply {called} delegate" in log or f"Explicitly applied {called} delegate" not in log:
        raise UserError(_fallen_back(called, "the log doesn't say that it runs anything"))
    taken = [found for found in REPLACED.finditer(log) if delegate.kernels.search(found[3])]
    timed = list(COUNT.finditer(log))
    if not taken or not timed or not int(taken[-1][1]):
        raise UserError(f"benchmark_model's log can't be understood: {log.strip()[-300:]!r}")
    nodes, of, parts = (int(taken[-1][place]) for place in (1, 2, 4))
    runs, average, median = timed[-1].groups()
    return Delegated(called, nodes, of, parts, float(median or average) / 1000, int(runs))


def _fallen_back(called: str, why: str) -> str:
    return f"{called} doesn't run this file on this phone: {why}. What was timed is the processor, so no time is told"
