"""Which tokenizer.json the Android app reads: the steps that android_demo/core has, each held to Hugging Face's ids by
its tests."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from palmtop.data.tokenization import FILE as TOKENIZER

KNOWN: dict[str, frozenset[str]] = {
    "model": frozenset({"WordPiece", "BPE", "Unigram"}),
    "normalizer": frozenset(
        {
            *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Precompiled"),
            *("Prepend", "Replace", "Strip", "StripAccents"),
        }
    ),
    "pre_tokenizer": frozenset(
        {"BertPreTokenizer", "WhitespaceSplit", "Whitespace", "Punctuation", "Digits", "ByteLevel", "Metaspace"}
    ),
    "post_processor": frozenset({"TemplateProcessing", "BertProcessing", "RobertaProcessing", "ByteLevel"}),
}
"""Of each part of a tokenizer.json the types that Models.kt, Normalizers.kt, PreTokenizers.kt and PostProcessors.kt
tell apart."""
STEPS = ("normalizers", "pretokenizers", "processors")
"""Where a Sequence has its steps."""


def why_not(folder: Path) -> str | None:
    """Why the app can't tokenize as the tokenizer in `folder` does; None when it can. What is finer than a type, such
    as a pattern to split at, the app refuses by name when it opens the model."""
    known = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    unknown = [
        f"the {part.replace('_', '-')} '{step}' (it knows {', '.join(sorted(types))})"
        for part, types in KNOWN.items()
        for step in _types(known.get(part))
        if step not in types
    ]
    return f"it doesn't know {' and '.join(unknown)}" if unknown else None


def _types(part: Mapping[str, Any] | None) -> Iterator[str]:
    """The type of a part, or of each of its steps."""
    if part is None:
        return
    steps = [step for name in STEPS for step in part.get(name) or ()] if part.get("type") == "Sequence" else None
    if steps is None:
        yield str(part.get("type"))
        return
    for step in steps:
        yield from _types(step)
