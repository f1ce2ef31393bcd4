"""Tokenizer parity: token ids of a bundle's client against Hugging Face's on 2,000 hard strings, and which answers
change."""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError, raise_all
from palmtop.eval.measuring.ledger import Ledger
from palmtop.eval.measuring.plan import Say, Subject, task_id
from palmtop.eval.tokenizers import mediapipe
from palmtop.eval.tokenizers.hard_strings import VERSION, HardString, hard_strings
from palmtop.metrics import Score
from palmtop.parity import PLAIN
from palmtop.target import Runner

CLIENTS = {"tfjs": "browser", "tflite": "mediapipe"}
"""Who tokenizes for a format in its client: the page's own tokenizer, and MediaPipe's tasks in an app."""
VECTOR_CHANGES = 0.99
"""A vector is another where its cosine with the first is less."""
NUMBER_CHANGES = 1e-3
"""From this difference on a regression's answer counts as another one."""


@dataclass(frozen=True)
class Difference:
    """A string whose token ids differ."""

    string: HardString
    expected: tuple[int, ...]
    """Hugging Face's ids, as a model of the bundle's length takes them."""
    found: tuple[int, ...]
    answers: tuple[str, str] | None
    """What the model answers to the one and to the other, where that differs."""


@dataclass(frozen=True)
class TokenParity:
    """What a bundle's client does to the hard strings."""

    name: str
    client: str
    max_length: int
    strings: str
    """Digest of the strings."""
    counts: dict[str, int]
    """Strings by category."""
    differences: tuple[Difference, ...]
    own: int
    """Ordinary texts: the task's own, as they are; some plain ones where the bundle has no task."""
    own_other: int
    """How many of those get other ids."""

    @property
    def headline(self) -> str:
        """The counts in a line."""
        return (
            f"tokenizer: {sum(self.counts.values()):,} hard strings, {len(self.differences):,} differ in "
            f"{self.client}, {len(self.changed):,} with another answer; {self.own:,} ordinary texts, "
            f"{self.own_other:,} differ"
        )

    @property
    def by_category(self) -> dict[str, int]:
        """Strings with other ids, by category, zeros included."""
        found = Counter(difference.string.category for difference in self.differences)
        return {category: found[category] for category in self.counts}

    @property
    def changed(self) -> tuple[Difference, ...]:
        """The differences that change the answer."""
        return tuple(difference for difference in self.differences if difference.answers)


def client_of(bundle: Bundle) -> str:
    """Who tokenizes for the bundle in its client.

    Raises:
        UserError: it has no client with a tokenizer of its own, or this machine lacks what asks it; told before work.
    """
    made = bundle.model_format
    client = CLIENTS.get(made)
    if client is None:
        raise UserError(
            f"{bundle.name}: a {made} bundle has no client with a tokenizer of its own; name tfjs or tflite bundles"
        )
    if task_kinds.by_output(bundle.signature.output).task_client == "question_answerer":
        raise UserError(
            f"{bundle.name}: it answers questions on a context, and single texts are compared here; name a classifier"
        )
    if client == "mediapipe":
        mediapipe.vocabulary(bundle.path)
    lack = mediapipe.missing() if client == "mediapipe" else None
    if lack := lack or target.for_format(made).missing():
        raise UserError(f"{bundle.name}: {lack}")
    return client


def token_parity(bundle: Bundle, client: str) -> TokenParity:
    """Tokenize the hard strings twice, and let the bundle's own runtime answer where the ids differ."""
    own, length = texts_of(bundle), bundle.signature.max_length
    strings = hard_strings(own)
    texts: list[Text] = [(text,) for text in (*(string.text for string in strings), *own)]
    expected = HostTokenizer(bundle.path, length).encode(texts)
    with target.for_format(bundle.model_format).open(bundle.path) as runner:
        found = runner.tokenize(texts) if client == "browser" else mediapipe.tokenize(bundle.path, length, texts)
        differing = [
            index
            for index, (ours, theirs) in enumerate(zip(expected, found, strict=True))
            if not np.array_equal(ours.input_ids, theirs.input_ids)
        ]
        hard = [index for index in differing if index < len(strings)]
        pairs = [(expected[index], found[index]) for index in hard]
        named = task_kinds.by_output(bundle.signature.output).names_outputs
        answers = _answers(runner, pairs, _labels(bundle) if named else None) if pairs else []
    said = tuple(
        _difference(strings[index], pair, answer) for index, pair, answer in zip(hard, pairs, answers, strict=True)
    )
    return TokenParity(
        bundle.name,
        _version(client),
        length,
        _digest(strings),
        dict(Counter(string.category for string in strings)),
        said,
        len(own),
        len(differing) - len(hard),
    )


def measure_tokens(bundles: Sequence[Bundle], out: Path, say: Say) -> list[TokenParity]:
    """Compare each bundle's client, and append the counts to measurements.jsonl in `out`.

    Raises:
        UserError: what can't be compared, all of it, before any work.
    """
    faults: list[str] = []
    clients: dict[Path, str] = {}
    for bundle in bundles:
        try:
            clients[bundle.path] = client_of(bundle)
        except UserError as error:
            faults += error.faults
    raise_all(faults)
    out.mkdir(parents=True, exist_ok=True)
    found = []
    for bundle in bundles:
        parity = token_parity(bundle, clients[bundle.path])
        _write(parity, bundle, out, say)
        say(f"{bundle.name}: {parity.headline}")
        found.append(parity)
    return found


def texts_of(bundle: Bundle) -> list[str]:
    """Texts of the bundle's task that hard pieces are put into; plain ones where it has none."""
    task = bundle.task
    texts = task.load("evaluation").texts if task else list(PLAIN)
    return sorted({part for text in texts for part in text if part.strip()})


def _labels(bundle: Bundle) -> list[str]:
    path = bundle.path / "labels.txt"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _answers(
    runner: Runner, pairs: Sequence[tuple[Encoding, Encoding]], labels: Sequence[str] | None
) -> list[tuple[str, str] | None]:
    """For each pair of encodings what the model says to both, None where that is the same.

    Args:
        labels: names of the outputs; None where these are the numbers of a vector.
    """
    rows = zip(*(runner.predict([pair[side] for pair in pairs]) for side in (0, 1)), strict=True)
    if labels is None:
        cosines = [float(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)) for ours, theirs in rows]
        return [("cosine 1", f"cosine {cosine:.3f}") if cosine < VECTOR_CHANGES else None for cosine in cosines]
    return [(_said(ours, labels), _said(theirs, labels)) if _other(ours, theirs) else None for ours, theirs in rows]


def _other(ours: Float32[ndarray, " outputs"], theirs: Float32[ndarray, " outputs"]) -> bool:
    return bool(abs(ours[0] - theirs[0]) > NUMBER_CHANGES if len(ours) == 1 else ours.argmax() != theirs.argmax())


def _said(row: Float32[ndarray, " outputs"], labels: Sequence[str]) -> str:
    """The label of a class; the number of a regression."""
    place = int(row.argmax())
    return f"{row[0]:.4f}" if len(row) == 1 else labels[place] if labels else str(place)


def _difference(string: HardString, pair: tuple[Encoding, Encoding], answers: tuple[str, str] | None) -> Difference:
    ours, theirs = (tuple(int(token) for token in encoding.input_ids) for encoding in pair)
    return Difference(string, ours, theirs, answers)


def _write(parity: TokenParity, bundle: Bundle, out: Path, say: Say) -> None:
    runtime = target.for_format(bundle.model_format)
    task = bundle.task
    subject = Subject(bundle.name, bundle, runtime, runtime.machine().as_dict())
    ledger = Ledger(out, task_id(task) if task else "no task", uuid.uuid4().hex[:12], say)
    conditions = {"tokenizer": parity.client, "strings": parity.strings, "max_length": parity.max_length}
    ledger.write(
        subject,
        {
            "hard_strings_other_ids": Score(len(parity.differences), "strings", n=sum(parity.counts.values())),
            "hard_strings_other_answers": Score(len(parity.changed), "strings", n=sum(parity.counts.values())),
            "ordinary_texts_other_ids": Score(parity.own_other, "texts", n=parity.own),
        },
        conditions,
    )
    for category, count in parity.by_category.items():
        ledger.write(
            subject,
            {"hard_strings_other_ids_of_category": Score(count, "strings", n=parity.counts[category])},
            conditions | {"category": category},
        )


def _version(client: str) -> str:
    if client == "mediapipe":
        return mediapipe.name()
    versions = target.find(client).machine().versions
    return f"the browser (tokenizers.js {versions['tokenizers.js']})"


def _digest(strings: Sequence[HardString]) -> str:
    content = json.dumps([VERSION, [(string.text, string.category) for string in strings]])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
