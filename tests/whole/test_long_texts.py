"""Texts longer than 512 tokens: encoded, learnt from, exported and measured whole, or cut and counted."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tiny import FILLERS, WORDS, write_model

from palmtop import target
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.making import make_by_name

pytestmark = pytest.mark.slow

WHOLE, CUT = 1024, 512
SPREAD = 1e-4


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Documents of 500 to 600 words, of which the last are of a topic."""
    folder = tmp_path_factory.mktemp("documents")
    for name, count, seed in (("train", 24, 1), ("evaluation", 6, 2)):
        rows = [_document(random.Random(100 * seed + number), number) for number in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {name: str(folder / f"{name}.jsonl") for name in ("train", "evaluation")}
    return {"name": "documents", "text": "text", "label": "label"} | files


def _document(chosen: random.Random, number: int) -> dict[str, str]:
    topic = sorted(WORDS)[number % len(WORDS)]
    words = [chosen.choice(FILLERS) for _ in range(chosen.randint(500, 600))] + chosen.sample(WORDS[topic], 3)
    return {"text": " ".join(words), "label": topic}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A Longformer of one layer with positions for 2,048 tokens; each sees 32 others to each side."""
    folder = tmp_path_factory.mktemp("longformer")
    model = write_model(folder / "model", "longformer", layers=1, max_position_embeddings=2050, attention_window=64)
    return _made("adopt", {"model": str(model)}, None, folder / "base")


def test_a_document_is_read_to_its_end_or_its_end_is_counted_as_cut(
    base: Bundle, task: dict[str, Any], tmp_path: Path
) -> None:
    assert base.signature.max_length == 2048
    short: dict[str, Any] = {"task": task, "epochs": 1, "learning_rate": 1e-3, "batch_size": 4}
    whole = _made("finetune", short | {"max_length": WHOLE}, base, tmp_path / "whole")
    cut = _made("finetune", short | {"max_length": CUT, "layers": 1}, base, tmp_path / "cut")
    assert (whole.card.facts["truncated"], cut.card.facts["truncated"]) == (0, 24)
    file = _made("to_tflite", {}, whole, tmp_path / "file")
    assert file.card.facts["lengths"] == [768]
    assert file.card.facts["parity_difference"] < SPREAD
    assert file.card.facts["tokens"]["longest"] > CUT
    assert whole.task is not None
    texts = whole.task.load("evaluation").texts
    with target.for_format("tflite").open(file.path) as runner:
        assert len(runner.predict(HostTokenizer.of(file.path, file.signature).encode(texts))) == len(texts)


def _made(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make_by_name(use, settings, source, out, lambda _: None)
