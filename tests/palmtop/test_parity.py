"""What parity measures: differences as a share of the spread, of logits and of probabilities."""

from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS, write_model, write_task

from palmtop import stage
from palmtop.making import make
from palmtop.parity import check, compare
from palmtop.task_kinds import find, spans
from palmtop.task_kinds.classification import LEAST_PROBABILITY

COARSE = 2.0
"""What int4 schemes are let through with (palmtop.export.quantize)."""
TEXTS = [(f"text {number}",) for number in range(48)]


def _confident(seed: int = 0) -> np.ndarray:
    """Logits of a classifier of 150 labels that is sure of most texts, and torn between two in one of eight."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1, (48, 150))
    logits[np.arange(48), np.arange(48) * 3] += 12
    logits[::8] += np.where(np.arange(150) == np.arange(0, 48, 8)[:, None] * 3 + 1, 12, 0)
    return logits.astype(np.float32)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return find("classification").made_probabilities(logits)


def test_logits_differ_by_a_share_of_their_spread() -> None:
    expected = np.array([[0, 1], [2, 3], [4, 5]], np.float32)
    found = expected + np.array([[0, 0], [0.5, 0], [0, 0]], np.float32)
    made = compare(expected, found, TEXTS[:3])
    spread = np.std([0, 2, 4])
    assert made.difference == pytest.approx(0.5 / spread)
    assert made.typical == pytest.approx(0.5 / np.sqrt(6) / spread)
    assert made.worst == TEXTS[1]


def test_of_probabilities_the_logarithms_are_compared() -> None:
    expected, found = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32), np.array([[0.5, 0.5], [0.8, 0.2]], np.float32)
    spread = (np.std([np.log(0.5), np.log(0.9)]) + np.std([np.log(0.5), np.log(0.1)])) / 2
    assert compare(expected, found, TEXTS[:2], "probabilities").difference == pytest.approx(
        np.log(2) / spread, rel=1e-5
    )


def test_what_a_runtime_may_end_in_0_is_no_difference() -> None:
    expected, found = np.array([[1, 1e-13], [0.2, 0.8]], np.float32), np.array([[1, 0], [0.2, 0.8]], np.float32)
    assert compare(expected, found, TEXTS[:2], "probabilities").difference == 0
    assert compare(expected + np.float32(LEAST_PROBABILITY * 10), found, TEXTS[:2], "probabilities").difference > 0


def test_a_sound_coarse_file_passes_with_probabilities_as_with_logits() -> None:
    logits = _confident()
    coarse = logits + np.random.default_rng(1).normal(0, 0.4 * logits.std(axis=0).mean(), logits.shape).astype(
        np.float32
    )
    by_logits = compare(logits, coarse, TEXTS)
    sure, shaken = _probabilities(logits), _probabilities(coarse)
    by_probabilities = compare(sure, shaken, TEXTS, "probabilities")
    assert by_logits.difference < COARSE
    assert by_probabilities.difference < COARSE
    assert by_probabilities.typical == pytest.approx(by_logits.typical, rel=0.3)
    assert compare(sure, shaken, TEXTS).difference > COARSE  # their own spread is that of the few texts in doubt


def test_a_file_of_other_answers_fails_with_probabilities_as_with_logits() -> None:
    logits, others = _confident(), _confident()[::-1]
    assert compare(logits, others, TEXTS).difference > COARSE
    assert compare(_probabilities(logits), _probabilities(others), TEXTS, "probabilities").difference > COARSE


def test_a_number_that_is_none_is_no_parity() -> None:
    expected = np.full((2, 2), 0.5, np.float32)
    found = np.array([[0.5, 0.5], [np.nan, 0.5]], np.float32)
    made = compare(expected, found, TEXTS[:2], "probabilities")
    assert not made.difference <= COARSE
    assert made.worst == TEXTS[1]


def test_start_and_end_logits_are_compared_text_by_text() -> None:
    """By hand: two texts of three and two tokens of context; one text is off by 0.25 at one of its four logits."""
    expected = np.full((2, 2, 4), spans.OUTSIDE, np.float32)
    expected[0, :, 1:], expected[1, :, 1:3] = [[2, -1, 0], [-2, 3, 1]], [[1, -1], [-1, 1]]
    found = expected.copy()
    found[1, 0, 1] += 0.25
    made = compare(expected, found, TEXTS[:2], "spans")
    spread = np.std([2, -1, 0, -2, 3, 1, 1, -1, -1, 1])
    # exact but for the order of the sums: pytest's own bound of a millionth, no wider
    assert made.difference == pytest.approx(0.25 / np.sqrt(4) / spread)
    assert made.typical == pytest.approx(0.25 / np.sqrt(10) / spread)
    assert (made.agreement, made.worst) == (1, TEXTS[1])
    found[1, 0] = expected[1, 0, [0, 2, 1, 3]]  # another token is the likeliest start
    assert compare(expected, found, TEXTS[:2], "spans").agreement == 0.5
    found[0, 0, 1] = np.nan
    assert np.isnan((broken := compare(expected, found, TEXTS[:2], "spans")).difference) and broken.worst == TEXTS[0]


def test_data_that_has_moved_since_the_training_leaves_plain_texts(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    folder, data = write_model(tmp_path / "model", "bert"), tmp_path / "data"
    config = BertConfig.from_pretrained(folder, id2label=dict(enumerate(sorted(WORDS))))
    BertForSequenceClassification(config).save_pretrained(folder)
    adopt = stage.find("adopt")(model=str(folder), task=write_task(data, pair=True) | {"labels": sorted(WORDS)})
    made = ("torch", make("adopt", adopt, None, tmp_path / "base", print).path)
    assert "parity_on" not in check(made, made, 1e-6).facts()
    data.rename(tmp_path / "elsewhere")
    facts = check(made, made, 1e-6).facts()
    assert facts["parity_on"] == f"plain texts, not the task's (there is no file {data / 'evaluation.csv'})"
    assert facts["parity_texts"] == 7
