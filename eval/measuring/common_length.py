"""The one length at which a task's artefacts are timed: chosen from the training texts, where nobody names one."""

from collections.abc import Mapping, Sequence

import numpy as np

from palmtop.bundle import Bundle
from palmtop.data.encoding import Text
from palmtop.data.tokenization import FILE as TOKENIZER
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.signature import FILE as SIGNATURE
from palmtop.target import Target
from palmtop.task import Task

GRAIN = 8
"""The length is a multiple of this: products work on that many rows at once."""
COVERED = 0.95
"""Share of the texts that are no longer."""
LOOKED_AT = 10_000
"""Texts whose tokens are counted, spread evenly over the split."""
WITHOUT_TOKENS = 32
"""Where no artefact has tokens, and none is padded."""


def common_length(
    task: Task, bundles: Mapping[str, Bundle], teacher: str | None, timed: Sequence[tuple[Bundle, Target]]
) -> int:
    """Tokens that 95 % of the training texts don't exceed, rounded up to a multiple of 8, at most what every artefact
    takes; where files of fixed lengths don't have that one, their next, so that all run at one.

    Args:
        teacher: the bundle whose tokenizer counts; by default the first that has one.
        timed: the artefacts and where they run.
    """
    able = [name for name, bundle in bundles.items() if _has_tokens(bundle)]
    if not able:
        return WITHOUT_TOKENS
    counting = bundles[teacher if teacher in able else able[0]]
    rows = HostTokenizer.of(counting.path, counting.signature).encode(_texts(task))
    wanted = _rounded(float(np.quantile([len(row) for row in rows], COVERED, method="inverted_cdf")))
    length = min([wanted, *(bundle.signature.max_length for bundle, _ in timed if _has_tokens(bundle))])
    padded = [target.padded_to(bundle.path, length) for bundle, target in timed]
    return max([length, *(tokens for tokens in padded if isinstance(tokens, int))])


def _rounded(tokens: float) -> int:
    return int(-(-tokens // GRAIN) * GRAIN)


def _has_tokens(bundle: Bundle) -> bool:
    return all((bundle.path / file).is_file() for file in (TOKENIZER, SIGNATURE))


def _texts(task: Task) -> list[Text]:
    """Training texts, or those of the evaluation where a bundle is measured far from what it learnt from."""
    try:
        texts = task.load("train").texts
    except UserError:
        texts = task.load("evaluation").texts
    chosen = np.linspace(0, len(texts) - 1, min(LOOKED_AT, len(texts))).astype(int)
    return [texts[row] for row in chosen]
