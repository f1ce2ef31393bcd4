"""The phone's tokenizers against Hugging Face's: 2,000 hard strings, alone and in pairs, token by token."""

import json
from pathlib import Path

import pytest
from kotlin_jvm import Jvm
from token_goldens import GOLDEN, TOKENIZERS, wordpiece_uncased, write_goldens

STRINGS = 2000


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_hard_strings_have_the_same_tokens_alone_and_in_pairs(name: str, jvm: Jvm, tmp_path: Path) -> None:
    write_goldens(TOKENIZERS[name](), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / GOLDEN).read_text(encoding="utf-8").split("\n") if line]
    assert [len(row["text"]) for row in rows] == [1] * STRINGS + [2] * STRINGS
    assert 500 < sum(row["truncated"] for row in rows)  # what is cut, and where, is compared too
    found = jvm.ask("tokens", tmp_path / "tokenizer.json", rows)
    told = [
        {"text": row["text"], "max_length": row["max_length"]} | answer for row, answer in zip(rows, found, strict=True)
    ]
    assert [row for row, answer in zip(rows, told, strict=True) if row != answer] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "changed", "named"),
    [
        ("normalizer", {"type": "Precompiled", "precompiled_charsmap": ""}, "normalizer 'Precompiled'"),
        ("pre_tokenizer", {"type": "UnicodeScripts"}, "pre-tokenizer 'UnicodeScripts'"),
        ("post_processor", {"type": "Invented"}, "post-processor 'Invented'"),
        ("model", {"type": "WordLevel", "vocab": {}, "unk_token": "?"}, "model 'WordLevel'"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    part: str, changed: dict[str, object], named: str, jvm: Jvm, tmp_path: Path
) -> None:
    settings = json.loads(wordpiece_uncased().to_str()) | {part: changed}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    (found,) = jvm.ask("tokens", tmp_path / "tokenizer.json")
    assert found["by"] == "UnknownTokenizer" and named in found["refused"]
