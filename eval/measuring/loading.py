"""What loading costs: a fresh process, its runtime imported, from the model file to the first answer.

Milliseconds: tokenizer and model read, prepared, one text tokenized and answered; files lie in the disk cache.
Megabytes: how far the process's resident memory rose above where it stood before, at its highest.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

from palmtop import target
from palmtop.data.encoding import Text
from palmtop.eval.targets._runner_there import lower_peak, peak_bytes


def cost_of_loading(name: str, folder: Path, text: Text, threads: int) -> tuple[float, float]:
    """Milliseconds and MB (10^6 bytes) for the target `name`, whose file lists its imports as RUNTIME."""
    # -P: or Python files lying in the folder one stands in, which may be a bundle's, would be imported before the real
    # ones, and run
    command = [
        sys.executable,
        "-P",
        "-m",
        "palmtop.eval.measuring.loading",
        name,
        str(folder),
        "--threads",
        str(threads),
    ]
    done = subprocess.run(command, input=json.dumps(text), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["load_ms"], found["memory_mb"]


def main() -> None:
    """Load, answer the text on stdin (JSON), print the cost."""
    parser = argparse.ArgumentParser(prog="python -m palmtop.eval.measuring.loading")
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    text = tuple(json.load(sys.stdin))
    for module in importlib.import_module(f"{target.ROOM}.{given.target}").RUNTIME:
        importlib.import_module(module)
    print(json.dumps(_measure(target.find(given.target), given.folder, text, given.threads)))


def _measure(chosen: target.Target, folder: Path, text: Text, threads: int) -> dict[str, float]:
    before = lower_peak()
    started = time.perf_counter()
    with chosen.open(folder, threads) as runner:
        runner.predict(runner.tokenize([text]))
        return {"load_ms": (time.perf_counter() - started) * 1000, "memory_mb": (peak_bytes() - before) / 1e6}


if __name__ == "__main__":
    main()
