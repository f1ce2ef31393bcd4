"""The phone's tokenizers against Hugging Face's: 2,000 hard strings, alone and in pairs, token by token."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from kotlin_jvm import Jvm
from token_goldens import GOLDEN, TOKENIZERS, wordpiece_uncased, write_goldens
from token_steps import RARER
from tokenizers import Tokenizer

STRINGS = 2000
MADE: dict[str, Callable[[], Tokenizer]] = TOKENIZERS | RARER

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MADE)
def test_hard_strings_have_the_same_tokens_alone_and_in_pairs(name: str, jvm: Jvm, tmp_path: Path) -> None:
    write_goldens(MADE[name](), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / GOLDEN).read_text(encoding="utf-8").split("\n") if line]
    assert [len(row["text"]) for row in rows] == [1] * STRINGS + [2] * STRINGS
    assert sum(row["truncated"] for row in rows) > 300  # what is cut, and where, is compared too
    found = jvm.ask("tokens", tmp_path / "tokenizer.json", rows)
    told = [
        {"text": row["text"], "max_length": row["max_length"]} | answer for row, answer in zip(rows, found, strict=True)
    ]
    assert [row for row, answer in zip(rows, told, strict=True) if row != answer] == []


@pytest.mark.parametrize(
    ("part", "changed", "named"),
    [
        ("normalizer", {"type": "Nmt"}, "normalizer 'Nmt'"),
        ("normalizer", {"type": "Replace", "pattern": {"Regex": "a+"}, "content": ""}, "the expression 'a+'"),
        ("pre_tokenizer", {"type": "UnicodeScripts"}, "pre-tokenizer 'UnicodeScripts'"),
        ("pre_tokenizer", {"type": "Punctuation", "behavior": "Removed"}, "behavior 'Removed'"),
        ("post_processor", {"type": "Invented"}, "post-processor 'Invented'"),
        ("model", {"type": "WordLevel", "vocab": {}, "unk_token": "?"}, "model 'WordLevel'"),
        ("model", {"type": "BPE", "vocab": {}, "merges": [], "dropout": 0.1}, "BPE with 'dropout'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    part: str, changed: dict[str, object], named: str, jvm: Jvm, tmp_path: Path
) -> None:
    settings = json.loads(wordpiece_uncased().to_str()) | {part: changed}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    (found,) = jvm.ask("tokens", tmp_path / "tokenizer.json")
    assert found["by"] == "UnknownTokenizer" and named in found["refused"]


def test_a_question_is_never_cut_for_its_context(jvm: Jvm, tmp_path: Path) -> None:
    tokenizer = wordpiece_uncased()
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=24, strategy="only_second")
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    pairs = [("what is the weather like", "rain " * count) for count in range(60)]
    asked = [{"text": list(pair), "max_length": 24, "only_second": True} for pair in pairs]
    found = jvm.ask("tokens", tmp_path / "tokenizer.json", asked)
    rows = tokenizer.encode_batch(pairs)
    assert [row["input_ids"] for row in found] == [row.ids for row in rows]
    assert [row["truncated"] for row in found] == [bool(row.overflowing) for row in rows]
