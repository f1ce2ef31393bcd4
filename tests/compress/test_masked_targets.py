"""Masked and causal targets: shares on a million tokens, the same draw for every process, means over a step."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from palmtop.compress.language_models.masked_targets import Masks, Rule, choose, token_weights
from palmtop.compress.language_models.next_token_targets import NextWords
from palmtop.compress.language_models.sequences import INPUTS
from palmtop.compress.language_models.step_means import IGNORED, per_text, step_shares
from palmtop.compress.learning.encoded import Encoded
from palmtop.data.special_tokens import Vocabulary
from palmtop.errors import UserError

VOCABULARY = Vocabulary(1000, (0, 1, 2, 3, 4), mask=4, unknown=1)


def _data(rows: int, seed: int = 0) -> Encoded:
    """Rows of 12 to 60 tokens, [CLS] and [SEP] around words of very different frequency."""
    random = np.random.default_rng(seed)
    lengths = random.integers(12, 61, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = (5 + 995 * random.random(offsets[-1]) ** 3).astype(np.int32)
    ids[offsets[:-1]], ids[offsets[1:] - 1] = 2, 3
    return Encoded(ids, np.zeros_like(ids), offsets, np.zeros(rows, np.int64), INPUTS, 0, 0)


@pytest.mark.parametrize(
    "rule", [Rule(), Rule(smoothing=0.0), Rule(smoothing=0.0, longest_span=3)], ids=["smoothed", "uniform", "spans"]
)
def test_a_million_tokens_are_masked_as_the_paper_says(rule: Rule) -> None:
    data = _data(28_000 if rule.longest_span == 1 else 6_000)
    masks = Masks(data, rule, VOCABULARY, 64, seed=0, fixed=True)
    tokens, chosen = len(data.ids), masks.positions
    assert tokens > (1_000_000 if rule.longest_span == 1 else 200_000)
    # ceil adds half a token to each batch of 64 * 36
    assert abs(chosen.sum() / tokens - 0.15) < 0.001
    assert not np.isin(data.ids[chosen], VOCABULARY.special).any()
    seen, were = masks.asked.ids[chosen], data.ids[chosen]
    assert np.array_equal(masks.asked.ids[~chosen], data.ids[~chosen])
    assert abs((seen == VOCABULARY.mask).mean() - (0.8 + 0.1 / 1000)) < 0.005
    assert abs((seen == were).mean() - 0.1) < 0.005
    strange = seen[(seen != VOCABULARY.mask) & (seen != were)]
    assert abs(len(strange) / len(seen) - 0.1) < 0.005
    assert {0, 2, 3} <= set(strange.tolist())  # of the whole vocabulary, specials too


def test_rare_words_are_chosen_in_proportion_to_their_weight() -> None:
    data = _data(20_000)
    weights = token_weights(data.ids, VOCABULARY, 0.7)
    counts = np.bincount(data.ids, minlength=1000)
    assert np.allclose(weights[10:20], np.maximum(counts[10:20], 1) ** -0.7)
    assert not weights[list(VOCABULARY.special)].any()
    masked = np.bincount(data.ids[Masks(data, Rule(share=0.01), VOCABULARY, 64, 0, True).positions], minlength=1000)
    common, rare = counts > 4000, (counts > 0) & (counts < 500) & (np.arange(1000) > 4)
    ratio = (masked[rare].sum() / counts[rare].sum()) / (masked[common].sum() / counts[common].sum())
    expected = (np.average(weights[rare], weights=counts[rare])) / np.average(weights[common], weights=counts[common])
    assert abs(ratio / expected - 1) < 0.1  # drawn without replacement, so a little less than in proportion


def test_drawing_without_replacement_follows_the_weights() -> None:
    random = np.random.default_rng(0)
    weights = np.array([1.0, 2.0, 4.0, 0.0])
    first = np.bincount(
        [int(choose(weights, np.zeros(4, int), Rule(share=0.25), random)[0]) for _ in range(20_000)], minlength=4
    )
    assert np.abs(first / 20_000 - weights / 7).max() < 0.015
    assert sorted(choose(weights, np.zeros(4, int), Rule(share=0.9), random)) == [0, 1, 2]  # no more than there are
    assert len(choose(np.zeros(4), np.zeros(4, int), Rule(), random)) == 0


def test_spans_have_lengths_of_one_over_n_and_stay_in_their_row() -> None:
    data = _data(4_000)
    rows = np.repeat(np.arange(len(data)), data.lengths)
    weights = token_weights(data.ids, VOCABULARY, 0.0)[data.ids]
    chosen = np.zeros(len(data.ids), bool)
    chosen[choose(weights, rows, Rule(share=0.01, smoothing=0.0, longest_span=3), np.random.default_rng(0))] = True
    lengths = np.array([len(run) for run in _runs(chosen, rows)])
    shares = np.bincount(lengths, minlength=4)[1:4] / len(lengths)
    assert np.abs(shares - np.array([6, 3, 2]) / 11).max() < 0.03  # 1 : 1/2 : 1/3; few spans touch at this share
    assert chosen.sum() == np.ceil(0.01 * len(data.ids))


def test_each_batch_has_its_share_and_every_process_draws_the_same() -> None:
    data = _data(200)
    first, second = (Masks(data, Rule(), VOCABULARY, 16, seed=3, fixed=False) for _ in range(2))
    order = np.random.default_rng(1).permutation(200).tolist()
    for masks in (first, second):
        masks.begin(4, order)
    step = order[32:48]
    whole = first.batch(step)
    parts = [second.batch(step[:8]), second.batch(step[8:])]
    chosen = whole["token_labels"] != IGNORED
    assert int(chosen.sum()) == int(np.ceil(0.15 * data.lengths[step].sum()))
    for part, rows in zip(parts, (slice(0, 8), slice(8, 16)), strict=True):
        longest = part["input_ids"].shape[1]
        assert torch.equal(part["input_ids"], whole["input_ids"][rows, :longest])
        assert torch.equal(part["position_share"], whole["position_share"][rows])
    real = data.batch(step)["input_ids"]
    assert torch.equal(whole["token_labels"][chosen], real[chosen])
    earlier = first.positions.copy()
    first.begin(5, order)
    assert not np.array_equal(earlier, first.positions)
    first.begin(4, order)  # a run that is continued in this epoch
    assert np.array_equal(earlier, first.positions)


def test_fixed_masks_stay_while_their_weight_in_the_mean_follows_the_step() -> None:
    data = _data(64)
    masks = Masks(data, Rule(), VOCABULARY, 16, seed=3, fixed=True)
    before = masks.asked.digest
    order = np.random.default_rng(1).permutation(64).tolist()
    masks.begin(2, order)
    assert masks.asked.digest == before
    step = masks.batch(order[:16])
    assert float((step["position_share"] * (step["token_labels"] != IGNORED).sum(1)).mean()) == pytest.approx(1)


def test_shares_make_the_mean_over_all_positions_of_a_step_of_sums_by_text() -> None:
    counts, order = np.array([3, 1, 4, 2]), np.array([2, 0, 3, 1])
    shares = step_shares(counts, order, 2)
    assert shares.tolist() == pytest.approx([2 / 7, 2 / 3, 2 / 7, 2 / 3])
    chosen = torch.tensor([[True, False, True], [False, True, True]])
    values = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert per_text(values, chosen).tolist() == [3.0, 7.0]


def test_each_position_is_asked_for_the_next_token() -> None:
    data = _data(5)
    targets = NextWords(data, 2)
    batch, ids = targets.batch([0, 3]), data.batch([0, 3])["input_ids"]
    for row, number in enumerate((0, 3)):
        length = int(data.lengths[number])
        assert torch.equal(batch["token_labels"][row, : length - 1], ids[row, 1:length])
        assert (batch["token_labels"][row, length - 1 :] == IGNORED).all()
    assert "input_ids" not in batch


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    with pytest.raises(UserError, match="the tokenizer has no mask token, so words can't be hidden"):
        Masks(_data(3), Rule(), Vocabulary(1000, (0,), None, None), 2, 0, False)


def _runs(chosen: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    places = np.flatnonzero(chosen)
    breaks = np.flatnonzero((np.diff(places) > 1) | (np.diff(rows[places]) > 0)) + 1
    yield from np.split(places, breaks)
