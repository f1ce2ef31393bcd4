"""WordPiece as BERT's clients do it: the vocabulary of a tokenizer.json as lines, and what keeps a tokenizer from being
one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palmtop.data.tokenization import FILE as TOKENIZER

NEEDED = ("[UNK]", "[CLS]", "[SEP]")
"""What Google's BERT tokenizers look up by these very names."""


def vocabulary(folder: Path) -> tuple[str, ...]:
    """The tokens of the tokenizer in `folder`, each at the place of its id; only where `why_not` finds nothing."""
    return tuple(sorted(ids := _read(folder)["model"]["vocab"], key=ids.__getitem__))


def why_not(folder: Path) -> str | None:
    """Why a client with a vocab.txt and BERT's own rules can't stand in for the tokenizer in `folder`; None when it
    can."""
    known = _read(folder)
    model, normalizer = known["model"], known.get("normalizer") or {}
    if model["type"] != "WordPiece":
        return f"its tokenizer is {model['type']}, they know WordPiece only"
    if (
        model.get("continuing_subword_prefix", "##") != "##"
        or (known.get("pre_tokenizer") or {}).get("type") != "BertPreTokenizer"
    ):
        return "its tokenizer splits words in another way than BERT's"
    if normalizer.get("type") != "BertNormalizer" or not normalizer.get("lowercase"):
        return "its tokenizer keeps capitals, they lower-case every text"
    return _why_not_words(known, model["vocab"])


def _why_not_words(known: Mapping[str, Any], ids: Mapping[str, int]) -> str | None:
    if gone := [token for token in NEEDED if token not in ids]:
        return f"its vocabulary has no {', '.join(gone)}"
    if sorted(ids.values()) != list(range(len(ids))):
        return "its vocabulary has gaps between the ids, which a vocab.txt can't have"
    if extra := [token["content"] for token in known.get("added_tokens") or () if token["content"] not in ids]:
        return f"its tokenizer has added tokens ({', '.join(extra[:3])}), which they would split"
    if odd := [token for token in ids if not token or "\n" in token or "\r" in token]:
        return f"its vocabulary has tokens that are no line of a vocab.txt ({', '.join(map(repr, odd[:3]))})"
    return None


def _read(folder: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads((folder / TOKENIZER).read_text(encoding="utf-8"))
    return known
