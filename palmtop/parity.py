"""Parity: does the exported file answer as torch does? Run in the file's own runtime, on real texts, padded ones among
them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target
from palmtop.bundle import Format
from palmtop.data.tokenization import Encoding, HostTokenizer, Text
from palmtop.errors import UserError
from palmtop.signature import Signature
from palmtop.task import Task
from palmtop.task_kinds import spans

TEXTS = 48

LEAST_PROBABILITY = 1e-12
"""What is less counts as this much where probabilities are compared: a runtime may end it in 0."""

PLAIN: tuple[Text, ...] = tuple(
    (text,)
    for text in (
        "hi",
        "what is the weather like in lisbon tomorrow morning?",
        "Transfer $250.75 from savings to checking, please.",
        "The film is slow, and yet it never bores: a small wonder.",
        "naïve café — “quoted” text, 3 * 4 = 12",
        "how do you say cat in japanese",
        "i would like to book a table for four people at an italian restaurant near the central station on friday "
        "evening at eight",
    )
)
"""What is asked where a model has no task whose texts could be used."""


@dataclass(frozen=True)
class Parity:
    """How far an artefact's answers are from torch's."""

    texts: int
    difference: float
    """Largest absolute difference of an output, divided by the spread: the standard deviation of torch's outputs over
    texts. Of probabilities, the logarithms are compared. Of start and end logits, of which a text has hundreds: the
    largest root mean square of a text's differences, divided by the standard deviation over all tokens of the
    contexts."""
    typical: float
    """Root mean square of the differences, divided by the spread."""
    agreement: float
    """Share of texts with the same first answer."""
    worst: Text

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return {
            "parity_texts": self.texts,
            "parity_difference": float(f"{self.difference:.3g}"),
            "parity_typical": float(f"{self.typical:.3g}"),
            "parity_agreement": self.agreement,
        }


def check(reference: tuple[Format, Path], artefact: tuple[Format, Path], tolerance: float) -> Parity:
    """Compare an artefact with the model it was made of: for an export torch, as transformers runs it, unpatched.

    Args:
        reference: format and folder of the model that is right.
        artefact: format and folder of the file in question.
        tolerance: the largest difference allowed, as a share of the spread.

    Raises:
        UserError: they differ by more, with the worst text.
    """
    signature = Signature.read(artefact[1])
    texts = texts_for(artefact[1], signature)
    encodings = HostTokenizer.of(reference[1], signature).encode(texts)
    expected = answers(reference, encodings)
    if signature.output == "probabilities" and Signature.read(reference[1]).output == "logits":
        expected = _softmax(expected)
    found = compare(expected, answers(artefact, encodings), texts, signature.output)
    if not found.difference <= tolerance:  # a NaN is no parity
        raise UserError(
            f"the {artefact[0]} file answers otherwise than the {reference[0]} model: they differ by "
            f"{found.difference:.3g} of the outputs' spread (tolerance {tolerance:g}; {found.agreement:.1%} of "
            f"{found.texts} answers agree); worst text: {found.worst!r}. The export is not kept. Raise 'tolerance' "
            "only if you know why they differ"
        )
    return found


def answers(artefact: tuple[Format, Path], encodings: list[Encoding]) -> Float32[ndarray, "texts ..."]:
    """What a model answers in its own runtime on this machine.

    Raises:
        UserError: the machine lacks the runtime.
    """
    runtime = target.for_format(artefact[0])
    if lack := runtime.missing():
        raise UserError(f"a {artefact[0]} file is checked in its own runtime, but {lack}")
    with runtime.open(artefact[1], threads=1) as runner:
        return runner.predict(encodings)


def compare(
    expected: Float32[ndarray, "texts ..."],
    found: Float32[ndarray, "texts ..."],
    texts: list[Text],
    output: Literal["logits", "probabilities", "spans"] = "logits",
) -> Parity:
    """Differences as a share of the spread of the expected outputs; of probabilities, of their logarithms.

    Of start and end logits [texts, 2, tokens] an answer is the best span.
    A confident model's probabilities are nearly all 0, so their spread is tiny, and where it doubts, a logit that is
    off by a tenth of its own spread moves a probability by several of theirs. Their logarithms are the logits but for
    one number a text, so a tolerance means the same for both.
    """
    if output == "spans":
        return _compare_spans(expected, found, texts)
    given, answered = (expected, found) if output == "logits" else (_logarithms(expected), _logarithms(found))
    spread = float(given.std(axis=0).mean()) or 1.0
    distance = np.abs(given - answered)
    worst = int(np.argmax(np.nan_to_num(distance, nan=np.inf).max(axis=1)))
    agreement = float((expected.argmax(axis=1) == found.argmax(axis=1)).mean())
    return Parity(
        len(texts),
        float(distance.max()) / spread,
        float(np.sqrt((distance**2).mean())) / spread,
        agreement,
        texts[worst],
    )


def texts_for(folder: Path, signature: Signature) -> list[Text]:
    """Texts of the model's own task, from the shortest to the longest it takes whole; plain ones where it has no
    task."""
    task = Task.of(folder)
    if task is None:
        return list(PLAIN)
    texts = task.load("evaluation").texts
    lengths = np.array([len(row) for row in HostTokenizer.of(folder, signature).encode(texts)])
    order = np.argsort(lengths, kind="stable")
    return [
        texts[index]
        for index in dict.fromkeys(order[np.linspace(0, len(order) - 1, min(TEXTS, len(order))).round().astype(int)])
    ]


def _compare_spans(
    expected: Float32[ndarray, "texts 2 tokens"], found: Float32[ndarray, "texts 2 tokens"], texts: list[Text]
) -> Parity:
    inside = expected != spans.OUTSIDE
    spread = float(expected[inside].std()) or 1.0
    squares = (expected - found) ** 2
    by_text = np.sqrt(squares.sum(axis=(1, 2)) / inside.sum(axis=(1, 2)).clip(min=1))
    worst = int(np.argmax(np.nan_to_num(by_text, nan=np.inf)))
    agreement = float((spans.best_tokens(expected) == spans.best_tokens(found)).all(axis=1).mean())
    return Parity(
        len(texts),
        float(by_text.max()) / spread,
        float(np.sqrt(squares[inside].mean())) / spread,
        agreement,
        texts[worst],
    )


def _logarithms(probabilities: Float32[ndarray, "texts outputs"]) -> Float32[ndarray, "texts outputs"]:
    logarithms: Float32[ndarray, "texts outputs"] = np.log(
        np.maximum(probabilities, LEAST_PROBABILITY)
    )  # a NaN stays one
    return logarithms


def _softmax(logits: Float32[ndarray, "texts outputs"]) -> Float32[ndarray, "texts outputs"]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Float32[ndarray, "texts outputs"] = powers / powers.sum(axis=1, keepdims=True)
    return shares
