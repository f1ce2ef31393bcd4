"""Google's Task clients on apps' files, as a Markdown table: PYTHONPATH=tests/helpers python
tests/benchmarks/app_clients.py APP...

Each app's model answers the whole evaluation split of its task in LiteRT, in MediaPipe's TextClassifier and in
tflite-support's BertNLClassifier, which runs in an environment of its own. Told are the accuracy in LiteRT, and of each
client the largest difference of a probability from LiteRT's and the texts whose first answer is another; those whose
tokens are others stand in both.
"""

import argparse
from pathlib import Path

import numpy as np
from task_clients import Scores, mediapipe_answers, tflite_support

from palmtop import target
from palmtop.app_manifest import Manifest
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.signature import Signature
from palmtop.task import Split, Task


def main(apps: list[Path], task: str) -> None:
    """Ask, compare, print."""
    found = Task.find(task)
    split = found.load("evaluation")
    print(
        f"| precision | bytes of the file | {found.main_metric} | MediaPipe TextClassifier | tflite-support "
        "BertNLClassifier |"
    )
    print("|---|---:|---:|---|---|", flush=True)
    for folder in apps:
        print(row(Bundle.open(folder), found, split), flush=True)


def row(app: Bundle, task: Task, split: Split) -> str:
    """A line of the table."""
    model, texts = app.path / "model.tflite", [text for (text,) in split.texts]
    with target.find("host_litert").open(app.path) as runner:
        answers = runner.predict(HostTokenizer(app.path, Signature.read(app.path).max_length).encode(split.texts))
    asked = tflite_support(model, texts)
    cells = (
        Manifest.read(app.path).precision,
        f"{model.stat().st_size:,}",
        f"{(answers.argmax(axis=1) == split.labels).mean():.4f}",
        compared(mediapipe_answers(model, texts), answers, task),
        f"refuses the file: {asked['refused'][:60]}"
        if "refused" in asked
        else compared(asked["answers"], answers, task),
    )
    return f"| {' | '.join(cells)} |"


def compared(scores: list[Scores], answers: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", task: Task) -> str:
    """How far a client's probabilities are from LiteRT's, and how many of its first answers are others."""
    theirs = np.array([[found[label] for label in task.label_names] for found in scores])
    return (
        f"largest difference {np.abs(theirs - answers).max():.1e}; "
        f"{(theirs.argmax(axis=1) != answers.argmax(axis=1)).sum()} of {len(theirs)} differ"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("apps", type=Path, nargs="+")
    parser.add_argument("--task", default="clinc150")
    given = parser.parse_args()
    main(given.apps, given.task)
