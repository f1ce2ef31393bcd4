"""A process that holds one file in its runtime and answers lines of JSON: open, time, predict. One thread, one
processor core."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Batch = dict[str, np.ndarray[Any, np.dtype[np.int32]]]
Answer = Callable[[Batch], np.ndarray[Any, np.dtype[np.float32]]]


def main() -> None:
    """Read questions, write answers, until the input ends."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # runtimes print on their own
    kind, files = sys.argv[1], {int(length): tuple(file) for length, file in json.loads(sys.argv[2]).items()}
    load = OPENERS[kind]()  # brings the runtime, before the clock starts
    answer: Answer | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "open":
            before, start = _peak_mb(), time.perf_counter()
            answer = load(files)
            answer(_batch(asked["batch"]))
            said: Any = {"load_ms": 1e3 * (time.perf_counter() - start), "memory_mb": _peak_mb() - before}
        elif asked["do"] == "time":
            assert answer is not None
            said = _times(answer, _batch(asked["batch"]), asked["runs"])
        else:
            assert answer is not None
            said = [answer(_batch(batch)).ravel().tolist() for batch in asked["batches"]]
        print(json.dumps(said), file=channel, flush=True)


def _litert() -> Callable[[dict[int, tuple[str, str | None]]], Answer]:
    from ai_edge_litert.interpreter import Interpreter

    def load(files: dict[int, tuple[str, str | None]]) -> Answer:
        opened: dict[str, Any] = {}
        runners: dict[int, Any] = {}

        def answer(batch: Batch) -> Any:
            length = batch["input_ids"].shape[1]
            if length not in runners:  # an app opens what it uses
                path, signature = files[length]
                opened[path] = opened.get(path) or Interpreter(path, num_threads=1)
                runners[length] = opened[path].get_signature_runner(signature)
            runner = runners[length]
            return next(
                iter(
                    runner(
                        **{
                            name: batch[name].astype(tensor["dtype"], copy=False)
                            for name, tensor in runner.get_input_details().items()
                        }
                    ).values()
                )
            )

        return answer

    return load


def _ort() -> Callable[[dict[int, tuple[str, str | None]]], Answer]:
    import onnxruntime

    def load(files: dict[int, tuple[str, str | None]]) -> Answer:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            next(iter(files.values()))[0], options, providers=["CPUExecutionProvider"]
        )
        types = {entry.name: np.int64 if "int64" in entry.type else np.int32 for entry in session.get_inputs()}
        return lambda batch: session.run(
            None, {name: batch[name].astype(kind, copy=False) for name, kind in types.items()}
        )[0]

    return load


def _executorch() -> Callable[[dict[int, tuple[str, str | None]]], Answer]:
    import torch
    from executorch.runtime import Runtime

    torch.set_num_threads(1)
    runtime = Runtime.get()

    def load(files: dict[int, tuple[str, str | None]]) -> Answer:
        methods: dict[int, Any] = {}
        programs: list[Any] = []  # a method does not keep its program alive

        def answer(batch: Batch) -> Any:
            length = batch["input_ids"].shape[1]
            if length not in methods:
                programs.append(runtime.load_program(Path(files[length][0])))
                methods[length] = programs[-1].load_method("forward")
            kind = np.dtype(files[length][1] or "int64")
            return (
                methods[length].execute([torch.from_numpy(values.astype(kind)) for values in batch.values()])[0].numpy()
            )

        return answer

    return load


OPENERS = {"litert": _litert, "ort": _ort, "executorch": _executorch}


def _batch(inputs: dict[str, list[int]]) -> Batch:
    return {name: np.asarray(values, np.int32)[None] for name, values in inputs.items()}


def _times(answer: Answer, batch: Batch, runs: int) -> list[float]:
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        answer(batch)
        taken.append(1e3 * (time.perf_counter() - start))
    return taken


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    os.sched_setaffinity(
        0, {min(os.sched_getaffinity(0))}
    )  # ExecuTorch's thread pool goes by the processors it may use
    main()
