"""More training texts: words replaced by what a masked language model finds likely in their place (TinyBERT,
1909.10351, 4.2).

Words of one piece only: for those of several the paper takes neighbours among GloVe vectors, which are not here, so
they stay.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from palmtop.bundle import Bundle, is_sealed, sha256_of
from palmtop.data.encoding import Text
from palmtop.data.special_tokens import Vocabulary
from palmtop.data.tokenization import FILE
from palmtop.durably import write_durably
from palmtop.errors import UserError
from palmtop.models.family import family_named, inputs_of, longest_input
from palmtop.models.language_model import Asked, open_language_model
from palmtop.processes import made_by_first
from palmtop.progress import followed
from palmtop.task import Split

BATCH = 64
KEPT = "augmented.json"
STOP_WORDS = frozenset(
    """
a about after all also am an and any are as at be because been before being but by can could did do does doing down
during each few for from had has have having he her here hers him his how i if in into is it its itself just me more
most my no nor not now of off on once only or other our out over own same she should so some such than that the their
them then there these they this those through to too under until up very was we were what when where which while who
whom why will with would you your""".split()
)
"""English function words; ours, as the paper's list isn't printed. In another language every word is eligible."""


@dataclass(frozen=True)
class Augmentation:
    """How texts are made of texts."""

    copies: int
    """N: tries for each text; one that comes out as it was, or as another one, is left out."""
    candidates: int
    """K: most likely words that one is replaced from."""
    probability: float
    """p: of replacing a word."""
    seed: int


class Place(NamedTuple):
    """A word of a text that may be replaced, by characters, and by what."""

    start: int
    end: int
    words: tuple[str, ...]


def augment(texts: Sequence[Text], model: "WordModel", how: Augmentation) -> tuple[list[Text], list[int]]:
    """The texts, each followed by those made of it, and for each the number of the text it was made of (whose label it
    takes).

    Of a pair both texts are changed, starting from the original each time; the reference code, which changes a row in
    place, leaves the first at its last form while it changes the second.
    """
    parts = [part for text in texts for part in text]
    places = iter(model.places(parts, how.candidates))
    made: list[Text] = []
    origins: list[int] = []
    for row, text in enumerate(texts):
        random, own = np.random.default_rng((how.seed, row)), [next(places) for _ in text]
        tries = [
            tuple(_replaced(part, where, how.probability, random) for part, where in zip(text, own, strict=True))
            for _ in range(how.copies)
        ]
        different = list(dict.fromkeys([text, *tries]))
        made += different
        origins += [row] * len(different)
    return made, origins


def augmented_once(split: Split, folder: Path, how: Augmentation, scratch: Path, say: Callable[[str], None]) -> Split:
    """A split with the texts made of its own, kept in scratch; the first process of a distributed run makes them, the
    others wait."""
    kept = scratch / KEPT

    def make() -> None:
        say(f"more texts: {how.copies} tries for each of {len(split):,}, words by {folder}")
        texts, origins = augment(split.texts, WordModel(folder), how)
        write_durably(kept, json.dumps({"texts": texts, "origins": origins}))

    made_by_first(kept, make)
    made = json.loads(kept.read_text(encoding="utf-8"))
    digest = hashlib.sha256(f"{split.digest} {sha256_of(kept)}".encode()).hexdigest()
    return Split([tuple(text) for text in made["texts"]], split.labels[np.asarray(made["origins"])], digest)


def weights_in(folder: Path) -> str:
    """sha256 of the model that makes texts: its bundle's, or that of its weights and tokenizer."""
    if is_sealed(folder):
        return Bundle.open(folder).digest
    lacking = [name for name in ("config.json", "model.safetensors", FILE) if not (folder / name).is_file()]
    if lacking:
        raise UserError(
            f"augment_with is {folder}, which has no {' and no '.join(lacking)}: give the folder of a masked language "
            "model"
        )
    return hashlib.sha256((sha256_of(folder / "model.safetensors") + sha256_of(folder / FILE)).encode()).hexdigest()


class WordModel:
    """A masked language model that says which words are likely at a place of a text."""

    def __init__(self, folder: Path) -> None:
        """Raises: UserError: no trained head over the vocabulary, or no mask token."""
        from tokenizers import Tokenizer

        self._model = open_language_model(folder).model
        config = self._model.config.to_dict()
        if why := family_named(config["model_type"]).padding_counts:
            raise UserError(f"augment_with is {folder}, a model that {why}: give one that doesn't, such as a BERT")
        self._asked, self._inputs, self._pad = (
            Asked(self._model),
            inputs_of(config),
            int(config.get("pad_token_id") or 0),
        )
        self._vocabulary, self._written = Vocabulary.of(folder), json.loads((folder / FILE).read_text(encoding="utf-8"))
        if self._vocabulary.mask is None:
            raise UserError(
                f"the tokenizer of {folder} has no mask token, so no word can be masked: give a masked language model"
            )
        self._tokenizer = Tokenizer.from_file(str(folder / FILE))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=longest_input(config))

    def places(self, texts: Sequence[str], candidates: int) -> list[list[Place]]:
        """For each text its words of one piece, alphabetic and no stop words, with the most likely words in their
        places.

        The model reads the text with the word masked, and after it the text as it is.
        """
        jobs = [(row, *job) for row, text in enumerate(texts) for job in self._jobs(text)]
        found: list[list[Place]] = [[] for _ in texts]
        said = self._likely([(ids, types, place) for _, ids, types, place, _ in jobs], candidates)
        for (row, *_, span), words in zip(jobs, said, strict=True):
            found[row].append(Place(*span, words))
        return found

    def _jobs(self, text: str) -> list[tuple[list[int], list[int], int, tuple[int, int]]]:
        """(ids with the mask in, types, the mask's place, the word's span) for each eligible word of a text."""
        if not text.strip():
            return []
        both = self._tokenizer.encode(text, text)
        pieces: dict[int, list[int]] = {}
        for place, (word, sequence) in enumerate(zip(both.word_ids, both.sequence_ids, strict=True)):
            if word is not None and sequence == 0:
                pieces.setdefault(word, []).append(place)
        jobs = []
        for places in pieces.values():
            start, end = both.offsets[places[0]]
            start += len(text[start:end]) - len(text[start:end].lstrip())
            if self._eligible(text[start:end], [both.ids[place] for place in places]):
                ids = list(both.ids)
                ids[places[0]] = int(self._vocabulary.mask or 0)
                jobs.append((ids, both.type_ids, places[0], (start, end)))
        return jobs

    def _eligible(self, word: str, pieces: list[int]) -> bool:
        return (
            len(pieces) == 1
            and pieces[0] not in self._vocabulary.special
            and word.isalpha()
            and word.lower() not in STOP_WORDS
        )

    def _likely(self, jobs: list[tuple[list[int], list[int], int]], candidates: int) -> list[tuple[str, ...]]:
        import torch

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(device)
        barred = torch.from_numpy(~self._whole_words).to(device)
        order = np.argsort([len(ids) for ids, _, _ in jobs], kind="stable")
        said: list[tuple[str, ...]] = [()] * len(jobs)
        for start in followed(range(0, len(order), BATCH), "likely words", "batch"):
            rows = order[start : start + BATCH].tolist()
            batch, chosen = self._batch([jobs[row] for row in rows])
            self._asked.chosen = chosen.to(device)
            with torch.inference_mode():
                logits = self._model(**{name: batch[name].to(device) for name in self._inputs})[0].float()
            logits = logits[:, : len(barred)].masked_fill(barred[: logits.shape[1]], -torch.inf)
            likely = logits.topk(min(candidates, int((~barred).sum())), dim=-1).indices
            for row, ids in zip(rows, likely.tolist(), strict=True):
                said[row] = tuple(self._words[index] for index in ids)
        return said

    def _batch(self, jobs: list[tuple[list[int], list[int], int]]) -> tuple[dict[str, Any], Any]:
        """Inputs [jobs, tokens], padded, and which token is asked for."""
        import torch

        shape = (len(jobs), max(len(ids) for ids, _, _ in jobs))
        ids, chosen = torch.full(shape, self._pad), torch.zeros(shape, dtype=torch.bool)
        mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
        for row, (own, kinds, place) in enumerate(jobs):
            ids[row, : len(own)], types[row, : len(own)], mask[row, : len(own)] = (
                torch.tensor(own),
                torch.tensor(kinds),
                1,
            )
            chosen[row, place] = True
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}, chosen

    @cached_property
    def _words(self) -> list[str]:
        """The word that each id writes; empty where it writes no whole one: special tokens, pieces that go on a word,
        numbers."""
        tokens = [self._tokenizer.id_to_token(index) or "" for index in range(self._vocabulary.size)]
        if self._written["model"]["type"] == "WordPiece":
            more = self._written["model"]["continuing_subword_prefix"]
            words = ["" if token.startswith(more) else token for token in tokens]
        else:
            begins = ("Ġ", "▁")
            words = [token[1:] if token.startswith(begins) else "" for token in tokens]
        return [
            "" if index in self._vocabulary.special or not word.isalpha() else word for index, word in enumerate(words)
        ]

    @cached_property
    def _whole_words(self) -> Bool[ndarray, " vocabulary"]:
        return np.array([bool(word) for word in self._words])


def _replaced(text: str, places: Sequence[Place], probability: float, random: np.random.Generator) -> str:
    for place in reversed(places):
        word = place.words[random.integers(len(place.words))] if place.words else text[place.start : place.end]
        if random.random() < probability:
            text = text[: place.start] + word + text[place.end :]
    return text
