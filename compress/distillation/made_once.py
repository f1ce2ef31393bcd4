"""Texts made of a split's, once: kept in the cache by what they are made of and how."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from palmtop.bundle import sha256_of
from palmtop.compress.distillation.augment import Place, WordModel, weights_in
from palmtop.compress.distillation.made_texts import Made, Maker, Rates, Swaps, made_of
from palmtop.data.encoding import Text
from palmtop.data.special_tokens import Vocabulary, plain_tokenizer
from palmtop.data.tokenization import FILE
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.folders import cache, fill_once
from palmtop.task import Split

KEPT = "made.json"


@dataclass(frozen=True)
class HowMade:
    """How texts are made."""

    rates: Rates
    copies: int
    candidates: int
    seed: int
    folder: Path
    """Of the bundle whose tokenizer reads them."""
    model: str | None
    """Folder of the masked language model, where one is asked."""


def made_once(split: Split, known: Mapping[Text, str], how: HowMade, say: Callable[[str], None]) -> Made:
    """The texts made of a split's, without those that are `known`; from the cache, if the same were ever made.

    Raises:
        UserError: the tokenizer has no mask token, or the model no trained head.
    """
    folder = cache("made") / _key(split, known, how)
    fill_once(folder, lambda into: _fill(split, known, how, into, say), say)
    kept = json.loads((folder / KEPT).read_text(encoding="utf-8"))
    return Made([tuple(text) for text in kept["texts"]], kept["origins"], kept["tries"], kept["dropped"])


def _key(split: Split, known: Mapping[Text, str], how: HowMade) -> str:
    content = [
        1,
        split.digest,
        hashlib.sha256(json.dumps(list(known.items())).encode()).hexdigest(),
        asdict(how.rates),
        [how.copies, how.candidates, how.seed],
        sha256_of(how.folder / FILE),
        weights_in(Path(how.model)) if how.model is not None else None,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _fill(split: Split, known: Mapping[Text, str], how: HowMade, folder: Path, say: Callable[[str], None]) -> None:
    say(f"more texts: {how.copies} tries for each of {len(split):,}")
    maker = Maker(
        how.rates,
        how.copies,
        how.seed,
        _mask_of(how.folder) if how.rates.mask else "",
        Swaps.of(part for text in split.texts for part in text) if how.rates.swap else None,
    )
    likely = _likely(split, Path(how.model), how.candidates) if how.model is not None else None
    write_durably(folder / KEPT, json.dumps(vars(made_of(split.texts, maker, known, likely))))


def _mask_of(folder: Path) -> str:
    """The mask token as it stands in a text.

    Raises:
        UserError: there is none.
    """
    mask = Vocabulary.of(folder).mask
    if mask is None:
        raise UserError(
            f"the tokenizer of {folder.name} has no mask token, so no word can be masked: leave mask out of augment"
        )
    return str(plain_tokenizer(folder).id_to_token(mask))


def _likely(split: Split, model: Path, candidates: int) -> list[list[list[Place]]]:
    """For each part of each text the words that may be replaced, and by what."""
    places = iter(WordModel(model).places([part for text in split.texts for part in text], candidates))
    return [[next(places) for _ in text] for text in split.texts]
