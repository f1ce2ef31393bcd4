"""trim_vocabulary by language: the rows of chosen languages alone are covered, and what that costs the others is on the
card; recipes say beforehand which clients can't take such a tokenizer."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import WORDS, _config
from tiny_bundles import adopted, write_task
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification

from palmtop.bundle import Bundle
from palmtop.data.encoding import pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.opening import open_classifier
from palmtop.recipe.recipe import Recipe
from palmtop.settings import build
from palmtop.signature import Signature
from palmtop.stage import find

SAID = {
    "english": ["play a loud song", "the rain is cold", "pay the bill now"],
    "russian": ["сыграй громкую песню", "дождь сегодня холодный", "оплати этот счёт"],
    "chinese": ["播放一首歌", "今天的雨很冷", "现在付账单"],
}
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def _unigram() -> Tokenizer:
    """Every letter of all three languages, and their whole words."""
    words = sorted({f"▁{word}" for texts in SAID.values() for text in texts for word in text.split()})
    letters = sorted({letter for word in words for letter in word})
    pieces = [(letter, math.log(0.001)) for letter in letters] + [(word, math.log(0.01)) for word in words]
    tokenizer = Tokenizer(models.Unigram([*((token, 0.0) for token in SPECIAL), *pieces], unk_id=3))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("languages")
    for split in ("train", "evaluation"):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            written = csv.writer(file)
            written.writerow(["text", "label", "language"])
            for language, texts in SAID.items():
                written.writerows([text, label, language] for text, label in zip(texts, sorted(WORDS), strict=True))
    files = {split: str(folder / f"{split}.csv") for split in ("train", "evaluation")}
    return {"name": "spoken", "kind": "classification", "text": "text", "label": "label", **files}


@pytest.fixture(scope="module")
def source(task: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A random XLM-RoBERTa of two layers that knows the three languages."""
    folder = tmp_path_factory.mktemp("xlmr") / "model"
    folder.mkdir()
    tokenizer, labels = _unigram(), sorted(WORDS)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **named}))
    config = _config("xlm-roberta", tokenizer.get_vocab_size(), 2)
    config.update({"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}})
    torch.manual_seed(1)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return _made("adopt", {"model": str(folder), "task": task}, None, folder.parent / "adopted")


def _made(stage: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(stage, build(find(stage), settings, stage), source, out, lambda _: None)


def _logits(bundle: Bundle, texts: list[str]) -> torch.Tensor:
    signature = Signature.read(bundle.path)
    batch = pad(HostTokenizer(bundle.path, 24).encode([(text,) for text in texts]), 24, signature.pad_id)
    with torch.no_grad():
        given = {name: torch.from_numpy(batch[name]).long() for name in signature.inputs}
        logits: torch.Tensor = open_classifier(bundle.path)(**given).logits
    return logits


@pytest.mark.parametrize("characters", ["all", "covered"])
def test_chosen_languages_answer_as_before_and_the_others_are_told(
    source: Bundle, task: dict[str, Any], characters: str, tmp_path: Path
) -> None:
    chosen = {"language": "language", "languages": ["english", "russian"], "characters": characters}
    trimmed = _made("trim_vocabulary", {"task": task, **chosen}, source, tmp_path / "trimmed")
    for language in ("english", "russian"):
        assert torch.equal(_logits(source, SAID[language]), _logits(trimmed, SAID[language]))
        facts = trimmed.card.facts[f"evaluation, {language}"]
        assert facts["texts_unchanged"] == facts["texts"] == 3
        assert facts["embedding_bytes_used_before"] == facts["embedding_bytes_used_after"]
    other = trimmed.card.facts["evaluation, chinese"]
    assert other["texts_unchanged"] == 0 == other["unknown_rate_before"]
    assert (other["unknown_rate_after"] > 0) == (characters == "covered")


def test_bytes_by_language_are_its_rows_of_the_embedding(source: Bundle, task: dict[str, Any], tmp_path: Path) -> None:
    trimmed = _made("trim_vocabulary", {"task": task, "language": "language"}, source, tmp_path / "trimmed")
    tokenizer = Tokenizer.from_file(str(source.path / "tokenizer.json"))
    for language, texts in SAID.items():
        ids = {number for text in texts for number in tokenizer.encode(text, add_special_tokens=False).ids}
        assert trimmed.card.facts[f"evaluation, {language}"]["embedding_bytes_used_before"] == len(ids) * 32 * 4


def test_languages_that_are_not_there_and_a_column_that_is_not_named(
    source: Bundle, task: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"languages: greek stands nowhere in column 'language' of .*train.csv; there"):
        settings = {"task": task, "language": "language", "languages": ["greek"]}
        _made("trim_vocabulary", settings, source, tmp_path / "greek")
    with pytest.raises(UserError, match="no column says which row is in which: name it with 'language'"):
        build(find("trim_vocabulary"), {"languages": ["greek"]}, "trim_vocabulary")


def test_characters_stay_where_nothing_would_say_that_they_are_gone(task: dict[str, Any], tmp_path: Path) -> None:
    roberta = adopted(tmp_path / "bytes", "roberta")  # byte-level: every character can be written
    tiny = write_task(tmp_path / "tiny", train=8)
    trimmed = _made("trim_vocabulary", {"task": tiny, "characters": "covered"}, roberta, tmp_path / "trimmed")
    known = Tokenizer.from_file(str(trimmed.path / "tokenizer.json"))
    assert known.decode(known.encode("日本 дождь").ids) == "日本 дождь"
    written = json.loads((roberta.path / "tokenizer.json").read_text())
    written["pre_tokenizer"], written["decoder"], written["model"]["unk_token"] = {"type": "Whitespace"}, None, None
    (roberta.path / "tokenizer.json").write_text(json.dumps(written))
    with pytest.raises(UserError, match="this BPE tokenizer has no token for what it doesn't know"):
        stage = build(find("trim_vocabulary"), {"task": tiny, "characters": "covered"}, "trim_vocabulary")
        stage.run(roberta, None)  # type: ignore[arg-type]  # refused before any work


def test_a_recipe_says_beforehand_what_mediapipe_can_not_take(
    source: Bundle, task: dict[str, Any], tmp_path: Path
) -> None:
    recipe = {
        "task": task,
        "steps": [
            {"name": "model", "use": "adopt", "settings": {"model": str(source.path.parent / "model"), "task": task}},
            {"name": "file", "use": "to_tflite"},
            {"name": "app", "use": "to_app"},
        ],
        "measure": {"on": ["host_litert", "host_mediapipe"], "baseline": "file", "length": 24},
    }
    path = tmp_path / "app.yaml"
    path.write_text(json.dumps(recipe))
    (said,) = [note for note in Recipe.read(str(path)).notes if "mediapipe" in note]
    assert "host_mediapipe will answer with none of the models: its tokenizer is Unigram" in said
    recipe["steps"][2]["settings"] = {"task_clients": "required"}  # type: ignore[index]  # a list of steps, as written above
    path.write_text(json.dumps(recipe))
    with pytest.raises(UserError, match=r"step 'app': task_clients: required, but .* its tokenizer is Unigram"):
        Recipe.read(str(path))
