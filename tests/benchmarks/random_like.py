"""Write a Hugging Face folder of the same shape and tokenizer as a torch bundle, its weights drawn at random: a control
for pre-training.

python tests/benchmarks/random_like.py BUNDLE OUT [--seed 0]
palmtop adopt OUT --out random
"""

import argparse
import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel


def main(source: Path, out: Path, seed: int) -> None:
    """Draw weights as the family's own class initialises them."""
    torch.manual_seed(seed)
    out.mkdir(parents=True)
    AutoModel.from_config(AutoConfig.from_pretrained(source)).save_pretrained(out)
    for path in source.glob("tokenizer*"):
        shutil.copyfile(path, out / path.name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.source, given.out, given.seed)
