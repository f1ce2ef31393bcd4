"""Make a small GPT-2 from a random start learn to write, and measure its students: rows of plain texts, a tokenizer and
random weights in a folder, and the recipe on standard output.

    python tests/benchmarks/writing_recipe.py FOLDER_OF_TEXTS --out writing > writing.yaml
    palmtop run writing.yaml

Nothing in it is pretrained. Each file of texts (.txt or .txt.gz) is a book: every tenth is measured on, the one behind
it chooses, and no paragraph of these is learnt from.
"""

import argparse
import gzip
import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

END = "<|endoftext|>"
LEAST, MOST = 80, 480
"""Characters of a paragraph that makes a row."""
EVERY = 10
MAX_LENGTH = 128


def main(texts: Path, out: Path, rows: int, vocabulary: int, layers: int, width: int, epochs: int) -> None:
    """Write rows, the random model and the recipe."""
    books = sorted(path for path in texts.iterdir() if path.name.endswith((".txt", ".txt.gz")))
    parts = {
        "evaluation": books[::EVERY],
        "validation": books[1::EVERY],
        "train": [book for place, book in enumerate(books) if place % EVERY > 1],
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, chosen in parts.items():
        write_rows(chosen, out / f"{name}.jsonl", rows if name == "train" else 400)
    write_start(out / "start", out / "train.jsonl", vocabulary, layers, width)
    task = {
        "name": "writing",
        "kind": "causal_lm",
        "text": "text",
        "options": {"end": END, "max_new_tokens": 48},
        **{name: str((out / f"{name}.jsonl").resolve()) for name in parts},
    }
    yaml.safe_dump(recipe(task, str((out / "start").resolve()), layers, epochs), sys.stdout, sort_keys=False)


def recipe(task: dict[str, Any], start: str, layers: int, epochs: int) -> dict[str, Any]:
    """A teacher, a student of half its layers and the same without a teacher, and their files."""
    half = layers // 2
    learning = {"epochs": epochs, "learning_rate": 1e-3, "batch_size": 32, "max_length": MAX_LENGTH}
    less = learning | {"epochs": max(1, epochs // 2), "learning_rate": 5e-4, "layers": half}
    steps: list[dict[str, Any]] = [
        {"name": "random", "use": "adopt", "settings": {"model": start}},
        {"name": "teacher", "use": "finetune", "settings": learning},
        # a teacher's logits of every token would be 16 GB on disk
        {"name": "student", "use": "distill", "from": "teacher", "settings": less | {"teacher_signals": "recompute"}},
        {"name": "fine-tuned-alone", "use": "finetune", "from": "teacher", "settings": less},
    ]
    for name in ("teacher", "student"):
        for form, stage in (("tflite", "to_tflite"), ("onnx", "to_onnx")):
            steps.append({"name": f"{name}-{form}", "use": stage, "from": name})
            steps.append({"name": f"{name}-{form}-int8", "use": "quantize", "from": f"{name}-{form}"})
    measure = {"on": ["host_torch", "host_litert", "host_onnx"], "teacher": "teacher", "baseline": "teacher-tflite"}
    return {"task": task, "seed": 0, "steps": steps, "measure": measure}


def write_rows(books: Sequence[Path], file: Path, count: int) -> None:
    """So many paragraphs, drawn evenly, each with the token that ends it."""
    chosen = [paragraph for book in books for paragraph in paragraphs(book)]
    random.Random(0).shuffle(chosen)
    lines = (json.dumps({"text": text + END}) + "\n" for text in chosen[:count])
    file.write_text("".join(lines), encoding="utf-8")


def paragraphs(book: Path) -> Iterator[str]:
    """Lines of middling length."""
    raw = gzip.decompress(book.read_bytes()) if book.suffix == ".gz" else book.read_bytes()
    for line in raw.decode("utf-8").splitlines():
        if LEAST <= len(line.strip()) <= MOST:
            yield line.strip()


def write_start(folder: Path, rows: Path, vocabulary: int, layers: int, width: int) -> None:
    """Byte-level BPE of the training rows, and a GPT-2 with random weights: a Hugging Face folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel

    texts = [json.loads(line)["text"].removesuffix(END) for line in rows.read_text(encoding="utf-8").splitlines()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[END], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(texts, trainer)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=2 * MAX_LENGTH,
        n_embd=width,
        n_layer=layers,
        n_head=width // 64,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    main(given.texts, given.out, given.rows, given.vocabulary, given.layers, given.width, given.epochs)
