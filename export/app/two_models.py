"""What an app's folder of two models has besides: golden texts that don't stand on the edge, lines of its README."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from palmtop import cascade, parity
from palmtop import format as file_format
from palmtop.app_manifest import GOLDEN, LABELS, MANIFEST
from palmtop.bundle import Bundle
from palmtop.data.encoding import Encoding
from palmtop.signature import Signature

EDGE = 0.03
"""So near the threshold a confidence isn't asked about: 8-bit activations, rounded otherwise on another machine, may
turn it, and then the other model's answer would be taken for a fault."""
NO_TASK_CLIENT = "no: they open one file, and these are two; the folder 'second' alone is an app's of its own"
"""Of Google's Task clients."""
CLIENTS: Final = ("MediaPipe", "tflite-support")
FILES = f"""\
Two models: `first/` is asked every text, `second/` those of which the first isn't sure. Each is an app's folder of its
own, with its model, tokenizer.json, {LABELS}, signature.json, {GOLDEN} and {MANIFEST}. Here are signature.json with the
rule, {LABELS}, {GOLDEN} (texts with the answers that both have to give together) and {MANIFEST} (sha256 of every file,
licences, how it was made)."""
RULE = """\
## The rule

`cascade` in signature.json: divide the first model's logits by `temperature` (of a file that answers probabilities,
their logarithms), and take the softmax in double precision. If the largest is at least `threshold`, these are the
answer; else tokenize the text with the second's tokenizer, and the answer is the second's own softmax (or its own
probabilities). Check it with golden.jsonl, whose token ids are the first's.
"""


def is_clear(source: Bundle, folder: Path, encodings: Sequence[Encoding]) -> list[bool]:
    """Which texts the first model of a cascade's folder is surer of than the threshold, or less sure, by `EDGE` or
    more; where most are nearer, the farther half.

    Args:
        source: the cascade that the folder is made of.
    """
    rule, form = Signature.read(folder).cascade, file_format.find(source.format).parts
    assert rule is not None and form is not None  # it is a cascade's
    first = folder / rule.first
    outputs = parity.answers((form, first), list(encodings))
    logits = cascade.logits_of(outputs, Signature.read(first).output)
    confidence = cascade.probabilities(logits, rule.temperature).max(axis=1)
    distance = np.abs(confidence - rule.threshold)
    return list(map(bool, distance >= min(EDGE, float(np.median(distance)))))
