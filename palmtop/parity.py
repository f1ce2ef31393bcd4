"""Parity: does the exported file answer as torch does? Run in the file's own runtime, on real texts, padded ones among
them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.bundle import Format
from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import MissingFile, UserError
from palmtop.signature import Signature
from palmtop.task import Task

TEXTS = 48

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
    instead: str | None = None
    """Why plain texts were asked in place of the task's."""

    def facts(self) -> dict[str, Any]:
        """As a bundle's card holds it."""
        return {
            "parity_texts": self.texts,
            "parity_difference": float(f"{self.difference:.3g}"),
            "parity_typical": float(f"{self.typical:.3g}"),
            "parity_agreement": self.agreement,
        } | ({"parity_on": f"plain texts, not the task's ({self.instead})"} if self.instead else {})


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
    texts, instead = _texts_or_plain(artefact[1], signature)
    encodings = HostTokenizer.of(reference[1], signature).encode(texts)
    expected = answers(reference, encodings)
    kind, theirs = task_kinds.by_output(signature.output), Signature.read(reference[1])
    if signature.output == kind.probabilities and theirs.output != signature.output:
        expected = kind.made_probabilities(expected)
    asked = [encoding.text for encoding in encodings]
    found = compare(expected, answers(artefact, encodings), asked, signature.output)
    if not found.difference <= tolerance:  # a NaN is no parity
        raise UserError(
            f"the {artefact[0]} file answers otherwise than the {reference[0]} model: they differ by "
            f"{found.difference:.3g} of the outputs' spread (tolerance {tolerance:g}; {found.agreement:.1%} of "
            f"{found.texts} answers agree); worst text: {found.worst!r}. The export is not kept. Raise 'tolerance' "
            "only if you know why they differ"
        )
    return replace(found, instead=instead)


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
    output: str = "logits",
) -> Parity:
    """How far outputs are from those that are right, as the kind of task says that answers with such outputs."""
    apart = task_kinds.by_output(output).differences(expected, found, output)
    worst = int(np.argmax(np.nan_to_num(apart.by_text, nan=np.inf)))
    return Parity(len(texts), float(apart.by_text.max()), apart.typical, apart.agreement, texts[worst])


def _texts_or_plain(folder: Path, signature: Signature) -> tuple[list[Text], str | None]:
    """As `texts_for`; plain texts, and why, where the task's data no longer lie where they were when it was trained."""
    try:
        return texts_for(folder, signature), None
    except MissingFile as error:
        task = Task.of(folder)
        assert task is not None  # only a task's data can be missing
        return [text * task.texts_at_a_time for text in PLAIN], str(error)


def texts_for(folder: Path, signature: Signature) -> list[Text]:
    """Texts of the model's own task, from the shortest to the longest it takes whole; plain ones where it has no
    task."""
    task = Task.of(folder)
    if task is None:
        return list(PLAIN)
    rows = HostTokenizer.of(folder, signature).encode(task.load("evaluation").texts)
    order = np.argsort([len(row) for row in rows], kind="stable")
    return [
        rows[index].text
        for index in dict.fromkeys(order[np.linspace(0, len(order) - 1, min(TEXTS, len(order))).round().astype(int)])
    ]
