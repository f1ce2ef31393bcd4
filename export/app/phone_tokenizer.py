"""Which tokenizer.json the Android app reads: the kinds that android_demo/core has, each held to Hugging Face's ids by
its tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palmtop.data.tokenization import FILE as TOKENIZER

KNOWN = "WordPiece, byte-level BPE and Unigram"


def why_not(folder: Path) -> str | None:
    """Why the app can't tokenize as the tokenizer in `folder` does; None when it can. What is finer than the kind, such
    as a normalizer of its own, the app refuses by name when it opens the model."""
    known = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    model = str(known["model"].get("type"))
    if model in ("WordPiece", "Unigram"):
        return None
    if model == "BPE":
        return None if _is_byte_level(known) else f"it is BPE over characters; the app knows {KNOWN}"
    return f"it is {model}; the app knows {KNOWN}"


def _is_byte_level(known: Mapping[str, Any]) -> bool:
    steps = known.get("pre_tokenizer") or {}
    return any(step.get("type") == "ByteLevel" for step in (steps, *(steps.get("pretokenizers") or ())))
