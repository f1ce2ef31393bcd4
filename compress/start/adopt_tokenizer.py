"""A stranger's tokenizer: taken as tokenizer.json, which gives the ids that transformers' AutoTokenizer gives, or
refused."""

import json
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.compress.start.adopt_files import TOKENIZER
from palmtop.data.tokenization import FILE
from palmtop.errors import UserError
from palmtop.models.family import family_named, kind_of
from palmtop.models.opening import UNBUILDABLE, in_one_line
from palmtop.models.whole_weights import quiet

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig

SETTINGS = (
    "tokenizer_class",
    "do_lower_case",
    "strip_accents",
    "tokenize_chinese_chars",
    "add_prefix_space",
    "trim_offsets",
    "keep_accents",
    "remove_space",
    "split_by_punct",
    "truncation_side",
    "unk_token",
    "added_tokens_decoder",
)
"""Words of tokenizer_config.json by which ids become others than tokenizer.json's."""
PHRASES = (
    "Please transfer $250.75 from savings to checking!",
    "what is the weather like in lisbon tomorrow morning?",
    "The film is slow; and yet it's never boring (a small wonder).",
    "Crème brûlée à la carte — déjà vu, naïve café",
    "Straße, Ärger, Übermut und Öl",
    "¿Dónde está el niño? ¡Mañana!",
    "Przyjdź jutro, łódź płynie",
    "İstanbul'da güneşli bir gün",
    "Привет, как дела сегодня?",
    "Καλημέρα κόσμε, τι κάνεις;",
    "今天天气怎么样?我想去公园。",
    "東京タワーへ行きたいです",
    "안녕하세요 반갑습니다",
    "مرحبا كيف حالك اليوم",
    "नमस्ते दुनिया",
    "สวัสดีชาวโลก",
    "e\u0301 is not é, nor ﬁ a ligature of fi, nor Ⅷ eight",
    "3.14159 1,000,000 007 2024-02-29 10:45 +41 79 000 00 00",
    "user@example.com https://example.com/a?b=c#d #tag @name",
    "so good 👍🏽 🤷\u200d♀️ 🎉🎉 :-)",
    "def f(x): return x**2  # squared",
    "don't can't we'll I'm o'clock rock'n'roll",
)
"""What is asked in many forms: cases, accents, scripts, digits, marks, emoji."""
KEPT_TOKENS = 16
"""Tokens beside the vocabulary that are asked, at most."""
SHOWN = 60
"""Characters of a setting in a message, at most."""
CUT = 12
"""Tokens at which long texts are cut."""
LEAST_SHARE = 0.5
"""A tokenizer that knows a smaller share of the model's tokens isn't the model's."""


@dataclass(frozen=True)
class Taken:
    """What is known of a tokenizer that was copied."""

    pad_id: int | None
    """The id of its padding token; None where it has none."""
    remade: str | None
    """Why tokenizer.json is another than the folder's; None where it is that."""


def copy_tokenizer(folder: Path, out: Path, config: "PreTrainedConfig", model: str, trusted: bool) -> Taken:
    """Copy a tokenizer's files; write tokenizer.json of what AutoTokenizer makes of them, where there is none, or one
    that gives other ids.

    Raises:
        UserError: it can't be read, has no words, isn't this model's, or its ids can't be had from a tokenizer.json.
    """
    for path in folder.iterdir():
        if path.name in TOKENIZER:
            shutil.copyfile(path, out / path.name)
    _check_class(out, config.model_type, model)
    given = _read(folder / FILE) if (folder / FILE).is_file() else None
    auto = _auto(folder if trusted else out, model, trusted)
    said, odd = _settings(out), None
    if given is None:
        auto.save_pretrained(out)
    elif odd := _first_difference(given, auto, config.vocab_size, None):
        _plain(auto.backend_tokenizer).save(str(out / FILE))
    taken = _read(out / FILE)
    _check_vocabulary(taken, auto, config.vocab_size, model)
    for limit in (CUT,) if given is not None and odd is None else (None, CUT):
        if differing := _first_difference(taken, auto, config.vocab_size, limit):
            raise UserError(
                f"{model}: AutoTokenizer gives other ids than a tokenizer.json can for {differing!r}"
                f"{f', cut at {limit} tokens' if limit else ''} (tokenizer_config.json says {said}): every client of "
                "a bundle reads tokenizer.json and cuts texts at their end; save the tokenizer without these "
                "settings, or take a model that was trained so"
            )
    return Taken(
        auto.pad_token_id,
        f"AutoTokenizer's (tokenizer_config.json says {said}); the model's own tokenizer.json gives other ids for "
        f"{odd!r}"
        if odd
        else None,
    )


def pad_id(config: "PreTrainedConfig", taken: Taken, model: str, say: Callable[[str], None]) -> int:
    """The id of padding. Where positions are counted by it, tokenizer and config must agree; elsewhere padding is
    masked, whatever its id, and another of the tokenizer's is only told.

    Raises:
        UserError: there is none, it is no token of the model's, or the two don't agree.
    """
    decoder = kind_of(config.model_type) == "decoder"
    found = getattr(config, "pad_token_id", None)
    if found is None and decoder:  # often trained without padding; what stands there is never looked at
        found = getattr(config, "eos_token_id", None)
    if found is None:
        raise UserError(
            f"{model} has no pad_token_id in config.json: set it to the id of the tokenizer's padding token"
        )
    if taken.pad_id is not None and taken.pad_id >= config.vocab_size and not decoder:
        raise UserError(
            f"{model} has a tokenizer whose padding token (pad_token) is none of the model's {config.vocab_size} "
            f"tokens: name the one of the id {found} in tokenizer_config.json"
        )
    if taken.pad_id not in (None, found) and not decoder:
        told = (
            f"{model} is padded with the id {found} by its config.json (pad_token_id), and with {taken.pad_id} by its "
            "tokenizer"
        )
        family = family_named(config.model_type)
        if family.positions_after_pad or family.padding_counts:
            why = "this family counts positions by it" if family.positions_after_pad else "padding changes its answers"
            raise UserError(
                f"{told}: they must agree, since {why}; set pad_token_id to {taken.pad_id} if the model was trained "
                "with this tokenizer"
            )
        say(f"{told}: {found} is taken; padding is masked, so the answers are the same")
    return int(found)


@contextmanager
def _reading(what: str | Path) -> Iterator[None]:
    """Raises: UserError: whatever the libraries raise of files that they can't read."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception and not isinstance(error, (*UNBUILDABLE, OSError)):
            raise  # the tokenizers library raises the bare class, and nothing narrower
        raise UserError(
            f"{what} can't be read ({in_one_line(error)}): fetch it again; if it is whole, a newer release of "
            "'tokenizers' may know it"
        ) from None


def _read(path: Path) -> "Tokenizer":
    """A tokenizer.json, which neither pads nor cuts."""
    from tokenizers import Tokenizer

    with _reading(path):
        return _plain(Tokenizer.from_file(str(path)))


def _plain(tokenizer: "Tokenizer") -> "Tokenizer":
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _auto(folder: Path, model: str, trusted: bool) -> Any:
    """transformers' own tokenizer of a folder."""
    from transformers import AutoTokenizer

    with _reading(f"the tokenizer of {model}"), quiet():
        auto = AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True, trust_remote_code=trusted)
    if not auto.is_fast:
        raise UserError(
            f"{model} has a tokenizer of Python code ({type(auto).__name__}), which no tokenizer.json can stand for: "
            "take a model whose tokenizer has one"
        )
    return auto


def _check_class(folder: Path, model_type: str, model: str) -> None:
    """Raises: UserError: the folder's tokenizer is the family's own, whose ids no tokenizer.json gives; it is that
    where tokenizer_config.json names none."""
    unsaid, path = family_named(model_type).unsaid_tokenizer, folder / "tokenizer_config.json"
    if unsaid is None:
        return
    with _reading(path):
        written = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        named = str(written.get("tokenizer_class") or unsaid[0])
    if named.removesuffix("Fast") == unsaid[0]:
        raise UserError(
            f"{model} has the tokenizer {unsaid[0]}, which {unsaid[1]}, and every client of a bundle reads "
            "tokenizer.json, which can't say that: fine-tune it with a tokenizer that has one (tokenizer_class: "
            "PreTrainedTokenizerFast), or take a model of another family, such as xlm-roberta"
        )


def _first_difference(tokenizer: "Tokenizer", auto: Any, size: int, limit: int | None) -> str | None:
    """The first text, alone or in a pair, of which AutoTokenizer makes other ids or token types.

    Args:
        size: of the model's vocabulary.
        limit: tokens at which texts are cut; None: whole ones.
    """
    texts = _texts(tokenizer, auto, size)
    others = [*texts[7:], *texts[:7]]
    if limit is None:
        tokenizer.no_truncation()
    else:
        tokenizer.enable_truncation(max_length=limit)
    for pairs in ([(text,) for text in texts], list(zip(texts, others, strict=True))):
        ours = tokenizer.encode_batch([pair[0] if pair[1:] == () else pair for pair in pairs])
        with quiet():
            theirs = auto(*map(list, zip(*pairs, strict=True)), truncation=limit is not None, max_length=limit)
        for number, (pair, mine) in enumerate(zip(pairs, ours, strict=True)):
            types = theirs["token_type_ids"][number] if "token_type_ids" in theirs else mine.type_ids
            if mine.ids != theirs["input_ids"][number] or mine.type_ids != types:
                return " | ".join(pair)
    return None


def _texts(tokenizer: "Tokenizer", auto: Any, size: int) -> list[str]:
    """Some 200 texts, and a few with each of the tokens that stand beside the vocabulary."""
    added = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
    beside = [token for token, number in (auto.get_added_vocab() | added).items() if number < size]
    forms = [
        form
        for text in PHRASES
        for form in (
            text,
            text.upper(),
            text.lower(),
            text.title(),
            f" {text}",
            f"{text}\n\t{text}  ",
            unicodedata.normalize("NFD", text),
            text.replace(" ", "\u00a0"),
            f"{text} " * 20,
        )
    ]
    return [
        *forms,
        *(form for token in beside[:KEPT_TOKENS] for form in (f"now {token} then", f"now{token}then", token.lower())),
    ]


def _check_vocabulary(tokenizer: "Tokenizer", auto: Any, size: int, model: str) -> None:
    """Raises: UserError: the tokenizer knows no words, or its tokens aren't those of the model's vocabulary."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    words = vocabulary.keys() - set(auto.all_special_tokens)
    if not words:
        raise UserError(
            f"{model}: its tokenizer knows special tokens only ({', '.join(sorted(vocabulary)) or 'not even these'}), "
            "so every word would be unknown: its vocabulary is empty or absent; fetch it again"
        )
    if len(vocabulary) > size or len(vocabulary) < LEAST_SHARE * size:
        raise UserError(
            f"{model}: the tokenizer knows {len(vocabulary)} tokens, the model {size}: they don't belong together"
        )
    if (highest := max(vocabulary.values())) >= size:
        raise UserError(
            f"{model}: the tokenizer gives ids up to {highest}, the model knows {size} tokens: they don't belong "
            "together"
        )


def _settings(folder: Path) -> str:
    """What tokenizer_config.json says that bears on ids: 'do_lower_case: false'."""
    path = folder / "tokenizer_config.json"
    with _reading(path):
        written = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        said = [f"{word}: {json.dumps(written[word])[:SHOWN]}" for word in SETTINGS if word in written]
    return ", ".join(said) or "nothing of it"
