"""Families whose forward pass is rewritten for an export: on padded inputs it answers as transformers' own class."""

import copy
from typing import Any

import pytest
import torch
import transformers
from tiny import VOCABULARIES, _config
from torch import Tensor

from palmtop import task_kinds
from palmtop.compress.start.finetune import check_kind
from palmtop.errors import UserError
from palmtop.export.graph import windows
from palmtop.export.graph.edge import EdgeClassifier
from palmtop.models.family import FAMILIES, inputs_of, longest_input
from palmtop.models.reshaped import reshaped_class
from palmtop.stage import Outline

REWRITTEN = sorted(name for name, family in FAMILIES.items() if family.traced_by)
KINDS = ("classification", "question_answering", "token_classification")
CASES = [
    (family, kind) for family in REWRITTEN for kind in KINDS if getattr(FAMILIES[family], task_kinds.find(kind).head)
]
ROUNDING = 1e-5
"""Of the spread: float32 over two layers, products in another order."""
LENGTHS = (21, 9, 5, 14)
WORDS = 100


def _models(family: str, kind: str, **changed: Any) -> tuple[Any, Any]:
    """A random model of two layers in transformers' own class, and the same as palmtop builds it."""
    torch.manual_seed(0)
    config = _config(family, WORDS, 2)
    config.update({"num_labels": 2 if kind == "question_answering" else 3} | changed)
    kind_of_head = task_kinds.find(kind).architecture
    own = getattr(transformers, f"AutoModel{kind_of_head}")._model_mapping[type(config)]
    plain = own._from_config(copy.deepcopy(config), attn_implementation="eager").eval()
    with torch.no_grad():
        for name, weight in plain.named_parameters():
            if weight.dim() > 1 or "norm" not in name.lower():
                torch.nn.init.normal_(weight, std=0.1)
    ours = reshaped_class(own)._from_config(copy.deepcopy(config), attn_implementation="eager").eval()
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def _batch(family: str, kind: str, config: Any) -> dict[str, Tensor]:
    """Texts padded on the right; of questions two words and a context, with three separators in all."""
    style = VOCABULARIES[family]
    least, separator = len(style.special), style.special.index(style.last)
    ids = torch.randint(least, WORDS, (len(LENGTHS), max(LENGTHS)))
    mask, types = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, length in enumerate(LENGTHS):
        mask[row, :length] = 1
        ids[row, length:] = config.pad_token_id
        ids[row, length - 1] = separator
        if kind == "question_answering":
            ids[row, 2:4] = separator if FAMILIES[family].positions_after_pad else ids[row, 2:4]
            ids[row, 2], types[row, 3:length] = separator, 1
        elif length > max(LENGTHS) // 2:
            types[row, length // 2 : length] = 1
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: given[name] for name in inputs_of(config.to_dict())}


def _padded_first(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same texts behind their padding."""
    away = [max(LENGTHS) - length for length in LENGTHS]
    return {
        name: torch.stack([row.roll(by) for row, by in zip(rows, away, strict=True)]) for name, rows in batch.items()
    }


def _answers(kind: str, given: Any, batch: dict[str, Tensor]) -> Tensor:
    """What counts of a head's answer: logits; of each token that is no padding; of each of a context's."""
    if kind == "classification":
        found: Tensor = given["logits"]
        return found
    real = torch.arange(batch["input_ids"].shape[1]) < torch.tensor(LENGTHS)[:, None]
    if kind == "token_classification":
        return given["logits"][real]  # type: ignore[no-any-return]  # transformers is untyped
    third = torch.arange(real.shape[1]) > 3
    return torch.stack([given[name][real & third] for name in ("start_logits", "end_logits")])


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_what_is_traced_answers_as_transformers_own_class(family: str, kind: str) -> None:
    plain, ours = _models(family, kind)
    batch = _batch(family, kind, plain.config)
    first = kind == "classification" and VOCABULARIES[family].first_is_last
    with torch.no_grad():
        expected = _answers(kind, plain(**_padded_first(batch) if first else batch), batch)
        mended = _answers(kind, ours(**batch), batch)
        edge = EdgeClassifier(ours, tuple(batch), False, task_kinds.find(kind)).eval()
        traced = edge(**{name: rows.int() for name, rows in batch.items()})
    by_name = traced if isinstance(traced, dict) else {"logits": traced}
    if kind == "question_answering":
        by_name = dict(zip(("start_logits", "end_logits"), by_name.values(), strict=True))
    for found in (mended, _answers(kind, by_name, batch)):
        assert float((found - expected).abs().max() / expected.std()) < ROUNDING


@pytest.mark.parametrize("kind", ["classification", "token_classification"])
def test_a_text_of_one_length_sees_its_windows_in_blocks(kind: str) -> None:
    plain, ours = _models("longformer", kind)
    batch = _batch("longformer", kind, plain.config)
    assert windows.pays(max(LENGTHS), 4) and not windows.pays(16, 4)
    edge = EdgeClassifier(ours, tuple(batch), False, task_kinds.find(kind)).eval().at_one_length()
    with torch.no_grad():
        expected = plain(**batch).logits
        found = torch.cat(
            [edge(**{name: rows[row : row + 1].int() for name, rows in batch.items()}) for row in range(len(LENGTHS))]
        )
    apart = _answers(kind, {"logits": found}, batch) - _answers(kind, {"logits": expected}, batch)
    assert float(apart.abs().max() / expected.std()) < ROUNDING


def test_a_text_with_further_separators_is_read_too() -> None:
    """transformers' own reader asks for three in each text."""
    plain, ours = _models("longformer", "question_answering")
    batch = _batch("longformer", "question_answering", plain.config)
    batch["input_ids"][0, 7] = plain.config.sep_token_id
    with pytest.raises(AssertionError, match="exactly three separator tokens"):
        plain(**batch)
    assert ours(**batch).start_logits.isfinite().all()


def test_bigbirds_answer_is_the_same_whatever_came_before() -> None:
    """transformers' own class turns to full attention for good at the first short text."""
    plain, ours = _models("big_bird", "classification", block_size=2, num_random_blocks=1, max_position_embeddings=40)
    assert longest_input(plain.config.to_dict()) == 14
    long = {"input_ids": torch.randint(7, WORDS, (1, 32)), "attention_mask": torch.ones(1, 32, dtype=torch.long)}
    short = {name: rows[:, :9] for name, rows in long.items()}
    with torch.no_grad():
        before = [model(**long).logits for model in (plain, ours)]
        for model in (plain, ours):
            model(**short)
        after = [model(**long).logits for model in (plain, ours)]
    assert not torch.allclose(before[0], after[0], atol=1e-3)
    assert torch.equal(before[1], after[1])
    assert torch.equal(after[0], after[1])


def test_how_long_a_bigbirds_text_may_be_follows_its_attention() -> None:
    said = {"model_type": "big_bird", "max_position_embeddings": 4096}
    assert longest_input(said) == 704
    assert longest_input(said | {"block_size": 16}) == 176
    assert longest_input(said | {"attention_type": "original_full"}) == 4096


def test_a_reformers_training_is_repeated_by_its_seed_and_takes_short_texts() -> None:
    """transformers' own encoder seeds torch from the clock in training, and positions want texts of full length."""
    plain, ours = _models("reformer", "classification", hidden_dropout_prob=0.2)
    batch = _batch("reformer", "classification", plain.config)
    with pytest.raises(ValueError, match="If training, make sure that config"):
        plain.train()(**batch)
    ours.train()
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        losses.append(ours(**batch).logits.square().sum())
    assert torch.equal(*losses)
    losses[0].backward()
    lacking = [name for name, weight in ours.named_parameters() if weight.grad is None]
    assert not lacking


def test_a_reformers_texts_are_one_chunk() -> None:
    config = {"model_type": "reformer", "attn_layers": ["local", "lsh"], "lsh_attn_chunk_length": 48}
    assert longest_input(config | {"max_position_embeddings": 4096}) == 48
    assert longest_input(config | {"attn_layers": ["local"]}) == 64


def test_a_family_without_a_head_for_tags_is_told_before_work() -> None:
    known = Outline("torch", "reformer", 2, ("O", "B-x"), 32, 32, 2, task="token_classification")
    with pytest.raises(UserError, match="transformers has no Reformer with a head that can tag words: take another"):
        check_kind(known, 64)
