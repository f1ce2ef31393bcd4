"""Keep the tokens that the user's text needs: a smaller tokenizer, fewer rows in the embedding, the same answers on
that text.

When: first, on the pretrained or fine-tuned model, before a teacher is asked; or last, on the student, before it is
exported. In between, teacher and student would have different vocabularies: a teacher's answers are kept by token ids,
and distilling layers or logits needs the same ids on both sides. A language model's softmax over the tokens that stay
is a renormalised one.

Sources: Abdaoui et al. 2020 (2010.05609) for rows of languages that aren't used; Ushio et al. 2023 (2305.15020) for
before or after fine-tuning. They leave out what a corpus doesn't have; here every single character and byte stays too,
so that no text becomes unreadable.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from palmtop.bundle import Bundle, Format
from palmtop.compress.language_models.corpus import Corpus
from palmtop.compress.vocabulary.segmentation import Pair, compare, counts
from palmtop.compress.vocabulary.token_choice import check_room, chosen, trimmed
from palmtop.compress.vocabulary.tokenizer_files import Renumbered, is_tokenizer_file, write_tokenizer
from palmtop.compress.vocabulary.tokenizer_vocabulary import Vocabulary
from palmtop.compress.vocabulary.weight_rows import INDEX, Cut, cut_config, cut_weights, token_ids, weight_files
from palmtop.data import rows
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.families.family import Family
from palmtop.models.family import family_of
from palmtop.settings import LATER
from palmtop.signature import FILE as SIGNATURE
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage, Work
from palmtop.task import Task, task_input

CONFIG = "config.json"


class TrimVocabulary(Stage):
    """Cut the vocabulary to what the task's training texts need, and the position table to the longest text."""

    accepts: ClassVar[frozenset[Format]] = frozenset({"torch"})
    without_layers: ClassVar[bool] = True
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "cuts"
    packages: ClassVar[tuple[str, ...]] = ("torch", "tokenizers", "safetensors")

    task: str | dict[str, Any] | None = None
    """The task whose training texts and labels are covered; by default the one the source was trained for."""
    text: str | tuple[str, ...] | dict[str, Any] | None = None
    """Plain text that is covered besides, or alone where there is no task: .txt or .txt.gz files or folders of them; or
    written out, as {dataset: NAME, column: text}."""
    min_count: int = Field(default=1, ge=1)
    """Times that a token must occur to stay; from 2 on, rare words of the texts are cut into smaller pieces than
    before."""
    keep: int | None = Field(default=None, ge=1)
    """Tokens of the new vocabulary. More than the texts need: filled up with others, those of the lowest ids first,
    which most vocabularies give to frequent pieces. Fewer: the rarest go. By default as many as the texts need."""
    max_length: int | None = Field(default=None, ge=4, le=8192)
    """Tokens of the longest text, specials included, for which positions are kept; by default what the source takes."""
    language: str | None = None
    """A column of the data with each row's language: facts are given for each of the evaluation data."""
    languages: Annotated[tuple[str, ...] | None, LATER, Field(min_length=1)] = None
    """Languages of that column in the training data: only their rows are covered; by default all are."""
    characters: Annotated[Literal["all", "covered"], LATER] = "all"
    """Single characters that stay: all: every one of the vocabulary; covered: those of the texts alone, so that scripts
    without a text go, and what is written in them becomes unknown. Bytes stay in any case."""

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if self.keep is not None and self.min_count > 1:
            raise ValueError(
                f"min_count is {self.min_count} and keep is {self.keep}: give one of them, both say which tokens are "
                "too rare"
            )
        if self.languages is not None and self.language is None:
            raise ValueError(
                f"languages is {', '.join(self.languages)}, but no column says which row is in which: name it with "
                "'language'"
            )
        return self

    def inputs(self) -> dict[str, str]:
        """The data, where the task is named here, and the plain text."""
        return task_input(self.task) | ({"text": Corpus.find(self.text).digest} if self.text is not None else {})

    def outline(self, source: Outline | None) -> Outline:
        """As the source."""
        if source is None or (self.task is None and source.labels is None and self.text is None):
            raise UserError("trim_vocabulary has no text to go by: name a task, or plain text with 'text'")
        if self.language is not None and self.task is None and source.labels is None:
            raise UserError(
                f"language is '{self.language}', a column of the evaluation data, but there is no task: name one"
            )
        return super().outline(source)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Count, choose, and write a Hugging Face folder that opens as the source does."""
        assert source is not None  # the driver checked `accepts`
        config, signature = json.loads((source.path / CONFIG).read_text(encoding="utf-8")), source.signature
        family, vocabulary = family_of(config, source.name), Vocabulary.read(source.path)
        self._check_characters(vocabulary)
        known = {*vocabulary.tokens, *vocabulary.outside}
        floor = vocabulary.floor(self.characters == "all") | (token_ids(config) & known)
        self._check(vocabulary, floor, signature)
        task = Task.find(self.task) if self.task is not None else source.task
        held_out, texts = _held_out(task, self.language), self._texts(task)
        kept = chosen(vocabulary, floor, counts(vocabulary, texts), self.keep, self.min_count)
        longest = min(self.max_length or signature.max_length, signature.max_length)
        made = trimmed(vocabulary, kept, int(config["pad_token_id"]), longest)
        covered = self._covered(vocabulary, made, texts)
        facts = _write(
            source,
            work.out,
            config,
            family,
            Cut(made.order, _positions(config, family, made.pad, longest)),
            made,
        )
        signature.model_copy(update={"max_length": longest, "pad_id": made.pad}).write(work.out)
        sizes = {
            "tokenizer": vocabulary.kind,
            "tokens_before": len(vocabulary),
            "tokens_after": len(kept),
            "tokens_fixed": len(floor),
        }
        return (
            sizes
            | facts
            | {"covered": covered.facts()}
            | {
                name: _in_bytes(compare(vocabulary, made.vocabulary, made.new, group), facts, len(vocabulary))
                for name, group in held_out.items()
            }
        )

    def _check_characters(self, vocabulary: Vocabulary) -> None:
        """Characters may only go where a token says that they are gone."""
        if self.characters == "covered" and vocabulary.unknown is None and not vocabulary.of_bytes:
            raise UserError(
                f"characters is covered, but this {vocabulary.kind} tokenizer has no token for what it doesn't know: "
                "other characters would be dropped without a trace; leave it out"
            )

    def _check(self, vocabulary: Vocabulary, floor: set[int], signature: Signature) -> None:
        """What the tokenizer and the source's length make impossible."""
        if self.keep is not None:
            check_room("keep", self.keep, floor)
        if self.keep is not None and self.keep >= len(vocabulary):
            raise UserError(
                f"keep is {self.keep}, but the vocabulary has {len(vocabulary)} tokens: give fewer, or leave the "
                "stage out"
            )
        if self.max_length is not None and signature.only_length not in (None, self.max_length):
            raise UserError(
                f"max_length is {self.max_length}, but the source answers texts padded to {signature.only_length} "
                f"tokens, and otherwise at any other length: leave max_length out, or fine-tune at {self.max_length}"
            )
        if self.max_length is not None and self.max_length > signature.max_length:
            raise UserError(
                f"max_length is {self.max_length}, but the source takes {signature.max_length} tokens at most: give "
                "no more"
            )

    def _texts(self, task: Task | None) -> list[str]:
        """All that is covered: training texts, labels, and plain text."""
        found: list[str] = []
        if task:
            found = self._of_languages(task) if self.languages else _parts(task.load("train").texts)
        if task and task.of_kind.has_labels:
            found += task.label_names
        documents = Corpus.find(self.text).documents() if self.text is not None else []
        return found + [text for document in documents for text in document]

    def _of_languages(self, task: Task) -> list[str]:
        """The training texts of `languages`."""
        assert self.languages is not None and self.language is not None  # as checked
        groups = _by_language(task, task.train, self.language)
        if gone := [name for name in self.languages if name not in groups]:
            raise UserError(
                f"languages: {', '.join(gone)} stands nowhere in column '{self.language}' of {task.train.shown}; there "
                f"are {', '.join(sorted(groups)[:20])}"
            )
        return [text for name in dict.fromkeys(self.languages) for text in groups[name]]

    def _covered(self, vocabulary: Vocabulary, trimmed: Renumbered, texts: Sequence[str]) -> Pair:
        """What became of the texts that were to be covered: none is cut otherwise, unless rare tokens were to go."""
        covered = compare(vocabulary, trimmed.vocabulary, trimmed.new, texts)
        changed = covered.texts - covered.unchanged
        if changed and self.keep is None and self.min_count == 1:
            raise RuntimeError(
                f"{changed} of {covered.texts} texts are cut into other tokens, though all of theirs stayed"
            )
        return covered


def _positions(config: dict[str, Any], family: Family, pad: int, longest: int) -> range:
    """The rows of the position table that texts up to `longest` tokens use.

    Where positions are counted from the padding's id on (RoBERTa's way), the rows up to that one stay too, and all move
    with it.
    """
    if not family.positions_after_pad:
        return range(longest)
    moved = int(config["pad_token_id"]) - pad
    return range(moved, moved + pad + 1 + longest)


def _write(
    source: Bundle, out: Path, config: dict[str, Any], family: Family, cut: Cut, trimmed: Renumbered
) -> dict[str, Any]:
    """Weights, config, tokenizer, and whatever else the source has; return what became of them."""
    sizes = cut_weights(source.path, out, config["vocab_size"], cut, family)
    written = cut_config(config, cut, sizes.positions is not None)
    (out / CONFIG).write_text(json.dumps(written, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    left_out = write_tokenizer(source.path, out, trimmed)
    made_here = {CONFIG, SIGNATURE, INDEX, *weight_files(source.path)}
    for name in source.card.files:
        if name not in made_here and not is_tokenizer_file(name):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.path / name, out / name)
    before, after = sizes.token_bytes
    positions = (
        dict(zip(("positions_before", "positions_after"), sizes.positions, strict=True)) if sizes.positions else {}
    )
    return {
        "embedding_bytes_before": before,
        "embedding_bytes_after": after,
        "embedding_share": round(after / before, 4),
        **positions,
        "left_out": left_out,
    }


def _held_out(task: Task | None, language: str | None) -> dict[str, list[str]]:
    """The evaluation texts, as one and by language; in a language those that are empty are left out."""
    if task is None:
        return {}
    found = {"evaluation": _parts(task.load("evaluation").texts)}
    if language is None:
        return found
    by_language = _by_language(task, task.evaluation, language)
    return found | {f"evaluation, {spoken}": texts for spoken, texts in by_language.items()}


def _by_language(task: Task, source: rows.Source, column: str) -> dict[str, list[str]]:
    """The texts of some data by what a column says of their rows; rows without a text are left out."""
    table, found = rows.read(source), dict[str, list[str]]()
    for spoken, *parts in zip(table.column(column), *(table.column(name) for name in task.columns), strict=True):
        if all(part is not None and str(part).strip() for part in parts):
            found.setdefault(str(spoken), []).extend(map(str, parts))
    return found


def _in_bytes(pair: Pair, facts: Mapping[str, Any], tokens: int) -> dict[str, Any]:
    """What became of some texts, and how many bytes of the embedding before and after are rows that they use."""
    row = facts["embedding_bytes_before"] / tokens
    before, after = (round(len(used) * row) for used in pair.used)
    return pair.facts() | {"embedding_bytes_used_before": before, "embedding_bytes_used_after": after}


def _parts(texts: Sequence[tuple[str, ...]]) -> list[str]:
    """Both texts of a pair for themselves: a tokenizer cuts each alone."""
    return [part for text in texts for part in text]
