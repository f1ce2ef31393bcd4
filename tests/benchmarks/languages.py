"""What trimming a multilingual model's vocabulary to chosen languages keeps and costs.

Usage: python tests/benchmarks/languages.py DATA OUT

DATA: a folder for each language with train.tsv and test.tsv (columns category, text), as SIB-200 has them. The models
are random and small (two layers, 64 wide, XLM-RoBERTa's form): what is shown is equality and bytes, and no accuracy.
Two tokenizers are trained on all languages' training texts, a Unigram and a byte-level BPE one of 16,000 tokens.
"""

import csv
import json
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForSequenceClassification, XLMRobertaConfig

from palmtop.bundle import Bundle
from palmtop.data.encoding import pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.making import make
from palmtop.models.opening import open_classifier
from palmtop.settings import build
from palmtop.signature import Signature
from palmtop.stage import find

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
CHOSEN: tuple[tuple[str, ...], ...] = (
    ("eng_Latn",),
    ("eng_Latn", "deu_Latn", "fra_Latn"),
    ("hin_Deva",),
    ("zho_Hans", "jpn_Jpan"),
)
TOKENS = 16_000


def main(data: Path, out: Path) -> None:
    """Make each model, trim it to each set of languages, and print a row for each."""
    out.mkdir(parents=True)
    texts, task = _joined(data, out)
    head = ("tokenizer", "languages", "characters", "tokens", "embedding kB", "equal")
    print("|", " | ".join((*head, "test texts cut as before", "unknown there")), "|")
    print("| --- | --- | --- | ---: | ---: | --- | ---: | ---: |")
    for kind, tokenizer in (("Unigram", _unigram(texts)), ("byte-level BPE", _bytes(texts))):
        source = _model(tokenizer, task, out / kind.replace(" ", "-"))
        size = tokenizer.get_vocab_size()
        print(f"| {kind} | all 15 | all | {size} | {size * 64 * 4 // 1000} | | | |")
        for chosen in CHOSEN:
            for characters in ("all", "covered"):
                print(_row(kind, source, task, chosen, characters, out), flush=True)


def _joined(data: Path, out: Path) -> tuple[list[str], dict[str, Any]]:
    """All training texts, and the task whose files have every language's rows."""
    texts = []
    for split, name in (("train", "train"), ("test", "evaluation")):
        with (out / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file)
            written.writerow(["text", "label", "language"])
            for folder in sorted(path for path in data.iterdir() if path.is_dir()):
                with (folder / f"{split}.tsv").open(newline="", encoding="utf-8") as rows:
                    read = list(csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE))
                written.writerows([row["text"], row["category"], folder.name] for row in read)
                texts += [row["text"] for row in read if split == "train"]
    files = {name: str(out / f"{name}.csv") for name in ("train", "evaluation")}
    return texts, {"name": "topics", "kind": "classification", "text": "text", "label": "label", **files}


def _unigram(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=TOKENS, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return _with_specials(tokenizer)


def _bytes(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _with_specials(tokenizer)


def _with_specials(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


def _model(tokenizer: Tokenizer, task: dict[str, Any], folder: Path) -> Bundle:
    (folder / "model").mkdir(parents=True)
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    named = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    (folder / "model" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **named})
    )
    with Path(task["train"]).open(newline="", encoding="utf-8") as rows:
        labels = sorted({row["label"] for row in csv.DictReader(rows)})
    config = XLMRobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=132,
        initializer_range=0.2,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
    )
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / "model")
    return _made("adopt", {"model": str(folder / "model"), "task": task}, None, folder / "adopted")


def _made(stage: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(stage, build(find(stage), settings, stage), source, out, lambda _: None)


def _row(kind: str, source: Bundle, task: dict[str, Any], chosen: tuple[str, ...], characters: str, out: Path) -> str:
    name = f"{kind.replace(' ', '-')}-{'-'.join(chosen)}-{characters}"
    settings = {"task": task, "language": "language", "languages": chosen, "characters": characters}
    trimmed = _made("trim_vocabulary", settings, source, out / name)
    facts = trimmed.card.facts
    with Path(task["train"]).open(newline="", encoding="utf-8") as rows:
        covered = [row["text"] for row in csv.DictReader(rows) if row["language"] in chosen]
    equal = torch.equal(_logits(source, covered), _logits(trimmed, covered))
    own = [facts[f"evaluation, {language}"] for language in chosen]
    others = [
        told["unknown_rate_after"]
        for group, told in facts.items()
        if group.startswith("evaluation, ") and group.removeprefix("evaluation, ") not in chosen
    ]
    kept = sum(told["texts_unchanged"] for told in own) / sum(told["texts"] for told in own)
    unknown = max(told["unknown_rate_after"] for told in own)
    return (
        f"| {kind} | {', '.join(language[:3] for language in chosen)} | {characters} | {facts['tokens_after']} | "
        f"{facts['embedding_bytes_after'] // 1000} | {'bit for bit' if equal else 'NOT EQUAL'} | {kept:.0%} | "
        f"{unknown:.2%}, elsewhere {min(others):.0%} to {max(others):.0%} |"
    )


def _logits(bundle: Bundle, texts: list[str]) -> torch.Tensor:
    """Answers of all texts, padded to one length."""
    signature, model, found = Signature.read(bundle.path), open_classifier(bundle.path), []
    encodings = HostTokenizer(bundle.path, 128).encode([(text,) for text in texts])
    for start in range(0, len(texts), 128):
        batch = pad(encodings[start : start + 128], 128, signature.pad_id)
        with torch.no_grad():
            given = {name: torch.from_numpy(batch[name]).long() for name in signature.inputs}
            found.append(model(**given).logits)
    return torch.cat(found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
