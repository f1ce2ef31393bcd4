"""The tokenizers of React Native apps against Hugging Face's: 2,000 hard strings, alone and in pairs, each token."""

import base64
import json
import re
import zlib
from pathlib import Path

import pytest
from react_native import Node
from token_goldens import GOLDEN, TOKENIZERS, wordpiece_uncased, write_goldens

from palmtop.export.app.android_project import PROJECT
from palmtop.export.app.react_native_project import CODE

STRINGS = 2000


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_hard_strings_have_the_same_tokens_alone_and_in_pairs(name: str, node: Node, tmp_path: Path) -> None:
    write_goldens(TOKENIZERS[name](), tmp_path)
    rows = [json.loads(line) for line in (tmp_path / GOLDEN).read_text(encoding="utf-8").split("\n") if line]
    assert [len(row["text"]) for row in rows] == [1] * STRINGS + [2] * STRINGS
    assert 300 < sum(row["truncated"] for row in rows)  # what is cut, and where, is compared too
    found = node.ask("tokens", tmp_path / "tokenizer.json", rows)
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
        ("added_tokens", {"id": 1}, "'added_tokens' isn't a list"),
    ],
)
def test_what_is_not_known_is_refused_by_name(
    part: str, changed: dict[str, object], named: str, node: Node, tmp_path: Path
) -> None:
    settings = json.loads(wordpiece_uncased().to_str()) | {part: changed}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    (found,) = node.ask("tokens", tmp_path / "tokenizer.json", [])
    assert found["by"] == "Refused" and named in found["refused"]


@pytest.mark.slow
def test_a_token_called_as_a_property_of_every_object_is_a_token(node: Node, tmp_path: Path) -> None:
    vocabulary = {"[UNK]": 0, "__proto__": 1, "constructor": 2}
    tokenizer = {"model": {"type": "WordPiece", "vocab": vocabulary, "unk_token": "[UNK]"}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    rows = [{"text": [text], "max_length": 9} for text in ("__proto__", "constructor", "toString")]
    assert [row["input_ids"] for row in node.ask("tokens", tmp_path / "tokenizer.json", rows)] == [[1], [2], [0]]


def test_the_table_is_that_of_the_android_app() -> None:
    kotlin = (PROJECT / "core/src/main/kotlin/app/palmtop/core/UnicodeTable.kt").read_text()
    typescript = (CODE / "palmtop/core/unicode_table.ts").read_text()
    [deflated], [plain] = re.findall(r'"""\n(.+?)\n"""', kotlin, re.DOTALL), re.findall(r"'(.+)';", typescript)
    assert zlib.decompress(base64.b64decode(deflated)) == base64.b64decode(plain)
