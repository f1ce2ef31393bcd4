"""Tiny models, tokenizers and tasks for the tests: made in a second, shaped like the real ones."""

import json
import math
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from palmtop.models.family import FAMILIES

WORDS = {
    "weather": "rain snow sun wind storm cloud warm cold umbrella forecast outside tomorrow".split(),
    "music": "play song album loud guitar piano singer volume track band listen radio".split(),
    "money": "pay bank card bill transfer balance account dollars owe credit fee spend".split(),
}
FILLERS = "please the a my what is i want to can you now about for me this some it how".split()

LEAST_TASK = """
task:
  name: t
  text: text
  label: label
  train: train.csv
  evaluation: test.csv
"""
"""The head of a recipe whose data `write_least_data` writes."""


def write_least_data(folder: Path) -> Path:
    """The smallest data there is, beside a recipe that begins with `LEAST_TASK`; returns the folder."""
    (folder / "train.csv").write_text(
        "text,label\nhello there,greet\nbye now,leave\ngood day there,greet\nsee you now,leave\n"
    )
    (folder / "test.csv").write_text("text,label\nhello there,greet\nbye now,leave\n")
    return folder


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) rows of 2 to 14 words, a third of them words of the label; each of these comes first in turn, so
    that none is rare."""
    chosen = random.Random(seed)
    rows = []
    for number in range(count):
        label = sorted(WORDS)[number % len(WORDS)]
        words = [
            chosen.choice(WORDS[label] if chosen.random() < 0.4 else FILLERS) for _ in range(chosen.randint(1, 13))
        ]
        first = WORDS[label][number // len(WORDS) % len(WORDS[label])]
        rows.append((" ".join([first, *words]), label))
    return rows


def write_task(
    folder: Path, kind: str = "classification", pair: bool = False, train: int = 96, evaluation: int = 36
) -> dict[str, Any]:
    """A task written out, with its CSV files in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("evaluation", evaluation, 2)):
        lines = ["text,second,label,number"]
        for row, (text, label) in enumerate(sentences(count, seed)):
            lines.append(
                f"{text},{sentences(count, seed + 5)[row][0]},{label},"
                f"{len(text.split()) / 4 + sorted(WORDS).index(label)}"
            )
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return {
        "name": "tiny",
        "kind": kind,
        "text": ["text", "second"] if pair else "text",
        "label": "label" if kind == "classification" else "number",
        "train": str(folder / "train.csv"),
        "evaluation": str(folder / "evaluation.csv"),
    }


def write_multi_label(folder: Path, train: int = 384, evaluation: int = 36) -> dict[str, Any]:
    """A task of any number of labels, with its JSONL files in `folder`: a text has the labels whose words are in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("validation", train, 3), ("evaluation", evaluation, 2)):
        rows = [_labelled(random.Random(1000 * seed + number)) for number in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = {name: str(folder / f"{name}.jsonl") for name in ("train", "validation", "evaluation")}
    return {"name": "topics", "kind": "multi_label", "text": "text", "label": "labels", **files}


def _labelled(chosen: random.Random) -> dict[str, Any]:
    labels = [label for label in sorted(WORDS) if chosen.random() < 0.5]
    words = [chosen.choice(WORDS[label]) for label in labels] + [chosen.choice(FILLERS) for _ in range(3)]
    chosen.shuffle(words)
    return {"text": " ".join(words), "labels": labels}


def write_tags(folder: Path, train: int = 384, evaluation: int = 36) -> dict[str, Any]:
    """A task of tags, with its CoNLL files in `folder`: one or two words of a topic are an entity of it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("evaluation", evaluation, 2)):
        chosen = random.Random(seed)
        (folder / f"{name}.conll").write_text("\n".join(_tagged(chosen) for _ in range(count)))
    return {
        "name": "tags",
        "kind": "token_classification",
        "text": "tokens",
        "label": "tags",
        "train": str(folder / "train.conll"),
        "evaluation": str(folder / "evaluation.conll"),
    }


def _tagged(chosen: random.Random) -> str:
    lines = []
    for _ in range(chosen.randint(1, 3)):
        topic = chosen.choice(sorted(WORDS))
        first, second = WORDS[topic][:6], WORDS[topic][6:]
        lines += [f"{chosen.choice(FILLERS)}\tO" for _ in range(chosen.randint(1, 2))]
        lines += [f"{chosen.choice(first)}\tB-{topic}", f"{chosen.choice(second)}\tI-{topic}"][: chosen.randint(1, 2)]
    return "\n".join(lines) + "\n"


def write_questions(
    folder: Path, train: int = 256, evaluation: int = 36, unanswerable: bool = False, words: int = 6
) -> dict[str, Any]:
    """A task of questions written out, with its JSONL files in `folder`: the answer is the one or two words of the
    weather.

    Args:
        unanswerable: every third context has none; the task says so.
        words: before the answer, and behind it, at most.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("evaluation", evaluation, 2)):
        rows = [_question(random.Random(1000 * seed + number), words) for number in range(count)]
        for row in rows[::3] if unanswerable else ():
            row["context"] = row["context"].replace(row["answers"]["text"][0], "play")
            row["answers"] = {"text": [], "answer_start": []}
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "questions",
        "kind": "question_answering",
        **({"options": {"unanswerable": True}} if unanswerable else {}),
        "text": ["question", "context"],
        "label": "answers",
        "train": str(folder / "train.jsonl"),
        "evaluation": str(folder / "evaluation.jsonl"),
    }


def _question(chosen: random.Random, words: int) -> dict[str, Any]:
    before, after = ([chosen.choice(FILLERS) for _ in range(chosen.randint(1, words))] for _ in range(2))
    answer = " ".join(chosen.sample(WORDS["weather"], chosen.randint(1, 2)))
    context = " ".join([*before, answer + chosen.choice(("", "", ",")), *after])
    return {
        "question": chosen.choice(("what is it now", "how is it for me")),
        "context": context,
        "answers": {"text": [answer], "answer_start": [context.index(answer)]},
    }


def write_pairs(folder: Path, label: str = "rating", train: int = 1536, evaluation: int = 48) -> dict[str, Any]:
    """A task of sentence embeddings, with its JSONL files in `folder`: texts are alike by how many topics they share.

    Args:
        label: rating (0 to 5), same (0 or 1), none (pairs of one topic), or topic (single
            texts with their class).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("evaluation", evaluation, 2)):
        rows = [_pair(random.Random(1000 * seed + number), label) for number in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "alike",
        "kind": "sentence_embedding",
        "text": "first" if label == "topic" else ["first", "second"],
        **({} if label == "none" else {"label": label}),
        "train": str(folder / "train.jsonl"),
        "evaluation": str(folder / "evaluation.jsonl"),
    }


def _pair(chosen: random.Random, label: str) -> dict[str, Any]:
    topics = [frozenset(chosen.sample(sorted(WORDS), chosen.randint(1, 2))) for _ in range(2)]
    if label in ("none", "topic"):
        topics = [frozenset([chosen.choice(sorted(WORDS))])] * 2
    words = [
        [chosen.choice(WORDS[topic]) for topic in sorted(of) for _ in range(chosen.randint(1, 3))] for of in topics
    ]
    texts = [" ".join([*chosen.sample(FILLERS, chosen.randint(0, 4)), *side]) for side in words]
    shared = len(topics[0] & topics[1]) / len(topics[0] | topics[1])
    return {
        "first": texts[0],
        "second": texts[1],
        "rating": 5 * shared,
        "same": int(shared == 1),
        "topic": min(topics[0]),
    }


END = "<|endoftext|>"
"""The token that ends a text, of the tiny models that write."""


def write_texts(folder: Path, train: int = 256, evaluation: int = 24, prompts: bool = False) -> dict[str, Any]:
    """A task of going on from texts, with its JSONL files in `folder`: words of a topic in their order, round and
    round, and an end.

    Args:
        prompts: whether a row is a prompt and what follows it, not a text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("evaluation", evaluation, 2)):
        rows = [_going_on(random.Random(1000 * seed + number), prompts) for number in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "name": "onward",
        "kind": "causal_lm",
        "text": ["prompt", "text"] if prompts else "text",
        "options": {"end": END, "max_new_tokens": 12},
        "train": str(folder / "train.jsonl"),
        "evaluation": str(folder / "evaluation.jsonl"),
    }


def _going_on(chosen: random.Random, prompts: bool) -> dict[str, str]:
    words = WORDS[chosen.choice(sorted(WORDS))]
    start, count = chosen.randrange(len(words)), chosen.randint(4, 9)
    said = [(words + words)[(start + place) % len(words)] for place in range(count)]
    whole = " ".join(said) + END
    return {"prompt": " ".join(said[:2]), "text": " " + " ".join(said[2:]) + END} if prompts else {"text": whole}


def write_writer(folder: Path, family: str = "gpt2", layers: int = 2, **changed: Any) -> Path:
    """A randomly initialised decoder with a head over its vocabulary, and byte-level BPE: a Hugging Face folder.

    Args:
        changed: entries of its config.
    """
    import torch
    import transformers

    folder.mkdir(parents=True)
    tokenizer = _bpe([END], END)
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": END, "model_max_length": 64}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    config = transformers.AutoConfig.for_model(family, **_WRITERS[family](layers))
    config.update(
        {"vocab_size": tokenizer.get_vocab_size(), "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.2}
        | changed
    )
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


_WRITERS: dict[str, Any] = {
    "gpt2": lambda layers: {"n_embd": 32, "n_layer": layers, "n_head": 4, "n_positions": 64},
    "gpt_neo": lambda layers: {
        "hidden_size": 32,
        "num_layers": layers,
        "num_heads": 4,
        "max_position_embeddings": 64,
        "attention_types": [[["global", "local"][:layers], max(1, layers // 2)]],
        "window_size": 4,  # fewer than a text's tokens, so that a window that is lost is seen
    },
}


@dataclass(frozen=True)
class _Vocabulary:
    special: tuple[str, ...]
    first: str
    last: str
    pad: str
    kind: str
    first_is_last: bool = False
    """XLNet's way: what stands first elsewhere stands behind everything, as a type of its own; padding comes first."""


_BERT = _Vocabulary(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), "[CLS]", "[SEP]", "[PAD]", "wordpiece")
_ROBERTA = _Vocabulary(("<s>", "<pad>", "</s>", "<unk>", "<mask>"), "<s>", "</s>", "<pad>", "bpe")
_XLMR = _Vocabulary(("<s>", "<pad>", "</s>", "<unk>", "<mask>"), "<s>", "</s>", "<pad>", "unigram")
_ALBERT = _Vocabulary(("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), "[CLS]", "[SEP]", "<pad>", "unigram")
_DEBERTA = _Vocabulary(("[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"), "[CLS]", "[SEP]", "[PAD]", "unigram")
_MODERN = _Vocabulary(("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"), "[CLS]", "[SEP]", "[PAD]", "bpe")

_XLM = _Vocabulary(("<s>", "</s>", "<pad>", "<unk>", "<mask>"), "<s>", "</s>", "<pad>", "bpe")

VOCABULARIES = {
    "albert": _ALBERT,
    "bert": _BERT,
    "big_bird": _Vocabulary(
        ("<pad>", "</s>", "<s>", "<unk>", "[CLS]", "[SEP]", "[MASK]"), "[CLS]", "[SEP]", "<pad>", "unigram"
    ),
    "camembert": _XLMR,
    "convbert": _BERT,
    "deberta": _Vocabulary(_DEBERTA.special, "[CLS]", "[SEP]", "[PAD]", "bpe"),
    "deberta-v2": _DEBERTA,
    "distilbert": _BERT,
    "electra": _BERT,
    "fnet": _ALBERT,
    "longformer": _ROBERTA,
    "mobilebert": _BERT,
    "modernbert": _MODERN,
    "mpnet": _Vocabulary(_ROBERTA.special, "<s>", "</s>", "<pad>", "wordpiece"),
    "reformer": _Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "<mask>"), "<s>", "</s>", "<pad>", "bpe"),
    "roberta": _ROBERTA,
    "roformer": _BERT,
    "squeezebert": _BERT,
    "xlm": _XLM,
    "xlm-roberta": _XLMR,
    "xlnet": _Vocabulary(
        ("<unk>", "<s>", "</s>", "<cls>", "<sep>", "<pad>", "<mask>"), "<cls>", "<sep>", "<pad>", "unigram", True
    ),
}

TAKEN_APART = [name for name, family in FAMILIES.items() if family.plan]
"""Families whose layers are six linear layers; what cuts or shares layers refuses the others by name."""


def write_tokenizer(folder: Path, family: str) -> int:
    """A tokenizer of the family's kind, the same in every process; returns the size of its vocabulary."""
    style = VOCABULARIES[family]
    unknown = next(token for token in style.special if "unk" in token.lower())
    tokenizer = _KINDS[style.kind](list(style.special), unknown)
    ids = {token: tokenizer.token_to_id(token) for token in (style.first, style.last)}
    before, behind = ("", f" {style.first}:2") if style.first_is_last else (f"{style.first} ", "")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before}$A {style.last}{behind}",
        pair=f"{before}$A {style.last} $B:1 {style.last}:1{behind}",
        special_tokens=list(ids.items()),
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": style.pad,
        "cls_token": style.first,
        "sep_token": style.last,
        "unk_token": unknown,
    } | ({"padding_side": "left"} if style.first_is_last else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return tokenizer.get_vocab_size()


def _texts() -> list[str]:
    """What the vocabularies are made of."""
    return [text for text, _ in sentences(300, 9)]


def _wordpiece(special: list[str], unknown: str) -> Tokenizer:
    """Trained; with the letters inside a word named first, or they are numbered, and ties broken, at random in each
    process."""
    texts = _texts()
    inside = sorted({f"##{letter}" for text in texts for word in text.split() for letter in word[1:]})
    trained = Tokenizer(models.WordPiece(unk_token=unknown))
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trained.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=150, special_tokens=[*special, *inside], show_progress=False)
    )
    tokenizer = Tokenizer(models.WordPiece(trained.get_vocab(), unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(special)
    return tokenizer


def _bpe(special: list[str], unknown: str) -> Tokenizer:
    """Trained, from bytes; `unknown` is among its special tokens but never needed."""
    assert unknown in special
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _texts(),
        trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def _unigram(special: list[str], unknown: str) -> Tokenizer:
    """Counted: every letter, and the pieces that make up most of the texts; the library's trainer is another in each
    process."""
    words = [f"▁{word}" for text in _texts() for word in text.split()]
    pieces = Counter(
        word[start:end] for word in words for start in range(len(word)) for end in range(start + 1, len(word) + 1)
    )
    letters = sorted(piece for piece in pieces if len(piece) == 1)
    longer = sorted(
        (piece for piece in pieces if len(piece) > 1), key=lambda piece: (-pieces[piece] * len(piece), piece)
    )
    kept = [*letters, *longer[: 120 - len(special) - len(letters)]]
    scores = [(piece, math.log(pieces[piece] / pieces.total())) for piece in kept]
    tokenizer = Tokenizer(
        models.Unigram([*((token, 0.0) for token in special), *scores], unk_id=special.index(unknown))
    )
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(special)
    return tokenizer


_KINDS = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}


def write_model(folder: Path, family: str, layers: int = 2, **changed: Any) -> Path:
    """A randomly initialised 'pretrained' encoder of the family with its tokenizer: a Hugging Face folder.

    Args:
        changed: entries of its config.
    """
    import torch
    from transformers import AutoModel

    folder.mkdir(parents=True)
    config = _config(family, write_tokenizer(folder, family), layers)
    config.update(changed)
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


def _config(family: str, vocabulary: int, layers: int) -> Any:
    import transformers

    style = VOCABULARIES[family]
    common = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 70,
        "pad_token_id": style.special.index(style.pad),
        "initializer_range": 0.1,
    }
    special = {
        "albert": lambda: transformers.AlbertConfig(**common, embedding_size=16),
        "bert": lambda: transformers.BertConfig(**common),
        "big_bird": lambda: transformers.BigBirdConfig(**common, sep_token_id=style.special.index(style.last)),
        "camembert": lambda: transformers.CamembertConfig(**common, type_vocab_size=1),
        "convbert": lambda: transformers.ConvBertConfig(
            **common, embedding_size=16, conv_kernel_size=5, bos_token_id=None, eos_token_id=None
        ),
        "deberta": lambda: transformers.DebertaConfig(
            **common, relative_attention=True, pos_att_type=["c2p", "p2c"], position_biased_input=False
        ),
        "deberta-v2": lambda: transformers.DebertaV2Config(
            **common,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            position_buckets=16,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            position_biased_input=False,
            max_relative_positions=-1,
            type_vocab_size=0,
        ),
        "distilbert": lambda: transformers.DistilBertConfig(
            vocab_size=vocabulary,
            dim=32,
            n_layers=layers,
            n_heads=4,
            hidden_dim=64,
            max_position_embeddings=70,
            pad_token_id=0,
            initializer_range=0.1,
        ),
        "electra": lambda: transformers.ElectraConfig(**common, embedding_size=16),
        "fnet": lambda: transformers.FNetConfig(
            **{word: value for word, value in common.items() if word != "num_attention_heads"},
            bos_token_id=style.special.index(style.first),
            eos_token_id=style.special.index(style.last),
        ),
        "longformer": lambda: transformers.LongformerConfig(
            **common,
            type_vocab_size=1,
            attention_window=8,  # fewer than a text's tokens, so that a window that is lost is seen
            sep_token_id=style.special.index(style.last),
        ),
        "mobilebert": lambda: transformers.MobileBertConfig(
            **common | {"intermediate_size": 32},
            intra_bottleneck_size=16,
            embedding_size=16,
            num_feedforward_networks=2,
        ),
        "modernbert": lambda: transformers.ModernBertConfig(
            **common,
            layer_types=["sliding_attention", *["full_attention"] * (layers - 1)],
            local_attention=8,  # fewer than a text's tokens, so that a window that is lost is seen
            initializer_cutoff_factor=3.0,
            bos_token_id=None,
            eos_token_id=None,
            cls_token_id=style.special.index(style.first),
            sep_token_id=style.special.index(style.last),
        ),
        "mpnet": lambda: transformers.MPNetConfig(**common),
        "reformer": lambda: transformers.ReformerConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            num_attention_heads=4,
            attention_head_size=8,
            attn_layers=[("local", "lsh")[number % 2] for number in range(layers)],
            feed_forward_size=64,
            axial_pos_shape=(8, 16),
            axial_pos_embds_dim=(8, 24),
            axial_norm_std=0.1,  # or positions outweigh words, and all texts have about the same answer
            max_position_embeddings=128,
            pad_token_id=style.special.index(style.pad),
            initializer_range=0.1,
        ),
        "roberta": lambda: transformers.RobertaConfig(**common, type_vocab_size=1),
        "roformer": lambda: transformers.RoFormerConfig(**common, embedding_size=16),
        "squeezebert": lambda: transformers.SqueezeBertConfig(**common, embedding_size=32),
        "xlm": lambda: transformers.XLMConfig(
            vocab_size=vocabulary,
            emb_dim=32,
            n_layers=layers,
            n_heads=4,
            max_position_embeddings=70,
            mask_index=style.special.index("<mask>"),
            embed_init_std=0.1,
            init_std=0.1,
        ),
        "xlm-roberta": lambda: transformers.XLMRobertaConfig(**common, type_vocab_size=1),
        "xlnet": lambda: transformers.XLNetConfig(
            vocab_size=vocabulary,
            d_model=32,
            n_layer=layers,
            n_head=4,
            d_inner=64,
            pad_token_id=style.special.index(style.pad),
            initializer_range=0.1,
        ),
    }
    return special[family]()
