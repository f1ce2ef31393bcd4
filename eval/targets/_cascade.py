"""A cascade on any target that runs its two models: a runner made of two runners, by the rule of palmtop.cascade."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64
from numpy import ndarray

from palmtop import cascade
from palmtop.data.encoding import Encoding, Text
from palmtop.errors import UserError
from palmtop.signature import NOT_PADDED, Cascade, Signature
from palmtop.target import Runner, State


def opened(folder: Path, open_one: Callable[[Path], Runner]) -> Runner:
    """The model in a folder, or both of a cascade.

    Args:
        open_one: loads one model.
    """
    signature = Signature.read(folder)
    if signature.cascade is None:
        return open_one(folder)
    parts = signature.parts(folder)
    with ExitStack() as stack:
        first, second = (stack.enter_context(open_one(part)) for part in parts)
        runner = CascadeRunner((first, second), [Signature.read(part).output for part in parts], signature.cascade)
        stack.pop_all()
    return runner


def refused(folder: Path, refuses_one: Callable[[Path], str | None]) -> str | None:
    """Why a target can't run what is in a folder: of a cascade, one of its two models.

    Args:
        refuses_one: says it of one model.
    """
    signature = Signature.read(folder)
    if signature.cascade is None:
        return refuses_one(folder)
    told = {part.name: refuses_one(part) for part in signature.parts(folder)}
    return next((f"of the cascade's {name} model: {why}" for name, why in told.items() if why), None)


def cost_of_both(folder: Path, cost_of_one: Callable[[Path], tuple[float, float]]) -> tuple[float, float]:
    """Milliseconds and MB of loading what is in a folder; of a cascade the sums of both models, each loaded alone."""
    signature = Signature.read(folder)
    if signature.cascade is None:
        return cost_of_one(folder)
    first, second = (cost_of_one(part) for part in signature.parts(folder))
    return first[0] + second[0], first[1] + second[1]


class CascadeRunner(Runner):
    """Two models that share the texts. Encodings are the first's; what goes on to the second is tokenized anew, by the
    second's own tokenizer."""

    def __init__(self, runners: tuple[Runner, Runner], outputs: Sequence[str], rule: Cascade) -> None:
        """Two open runners.

        Args:
            outputs: signature.json's words for what each gives.
        """
        self._first, self._second = runners
        self._outputs, self._rule = outputs, rule
        self._handed_on: dict[Text, Encoding | None] = {}

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """With the first's tokenizer."""
        return self._first.tokenize(texts)

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts labels"]:
        """Probabilities: the first's, calibrated, where it is sure, elsewhere the second's own."""
        shares = self._calibrated(encodings)
        asked = np.flatnonzero(~cascade.sure(shares, self._rule.threshold)).tolist()
        if asked:
            given = self._second.predict(self._second.tokenize([encodings[row].text for row in asked]))
            shares[asked] = cascade.probabilities(cascade.logits_of(given, self._outputs[1]))
        return shares.astype(np.float32)

    def answered_first(self, encodings: Sequence[Encoding]) -> Bool[ndarray, " texts"]:
        """By asking the first alone."""
        return cascade.sure(self._calibrated(encodings), self._rule.threshold)

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """Time single answers, each text at its own length: the first's, and where it isn't sure the second's after it.
        Which texts are handed on is found before the clock starts.

        Raises:
            UserError: they are to be padded to one length.
        """
        if length is not None:
            raise UserError(NOT_PADDED)
        self._look(encodings)
        return [self._one_ms(encodings[number % len(encodings)]) for number in range(runs)]

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """The first's tokenizer, and the second's after it for those texts that are handed on."""
        self._look(self.tokenize(texts))
        times = []
        for number in range(runs):
            text = texts[number % len(texts)]
            times.append(sum(self._first.tokenize_latencies_ms([text], 1)))
            if self._handed_on[text] is not None:
                times[-1] += sum(self._second.tokenize_latencies_ms([text], 1))
        return times

    def state(self) -> State:
        """Both run on one machine."""
        return self._first.state()

    def close(self) -> None:
        """Free both."""
        self._first.close()
        self._second.close()

    def _calibrated(self, encodings: Sequence[Encoding]) -> Float64[ndarray, "texts labels"]:
        logits = cascade.logits_of(self._first.predict(encodings), self._outputs[0])
        return cascade.probabilities(logits, self._rule.temperature)

    def _look(self, encodings: Sequence[Encoding]) -> None:
        """Note of each text that is new what the second is given, or that it is given nothing."""
        new = [encoding for encoding in encodings if encoding.text not in self._handed_on]
        if not new:
            return
        for encoding, stands in zip(new, self.answered_first(new), strict=True):
            self._handed_on[encoding.text] = None if stands else self._second.tokenize([encoding.text])[0]

    def _one_ms(self, encoding: Encoding) -> float:
        handed_on = self._handed_on[encoding.text]
        (taken,) = self._first.latencies_ms([encoding], None, 1)
        return taken if handed_on is None else taken + self._second.latencies_ms([handed_on], None, 1)[0]
