"""Families whose forward pass is written anew for a graph: there it answers as transformers' own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_model

from palmtop.export.graph.fourier import FourierProducts
from palmtop.format import called
from palmtop.models.family import FAMILIES, inputs_of

REWRITTEN = sorted(name for name, family in FAMILIES.items() if family.traced_by)
CHANGED: dict[str, dict[str, Any]] = {"deberta": {"max_relative_positions": 12}}
"""Of their configs: fewer distances than tokens."""
FLOAT32 = 1e-5
"""Of the spread: sums in another order."""


@pytest.mark.parametrize("family", REWRITTEN)
def test_what_is_traced_answers_as_the_model_itself(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    write_model(tmp_path / "model", family, **CHANGED.get(family, {}))
    auto: Any = AutoModelForSequenceClassification
    own, traced = (auto.from_pretrained(tmp_path / "model", attn_implementation="eager").eval() for _ in range(2))
    traced.load_state_dict(own.state_dict())  # their heads are new
    rewrite = FAMILIES[family].traced_by
    assert rewrite is not None
    called(rewrite)(traced)
    for tokens in (9, 33):
        given = _batch(tokens, own.config)
        with torch.no_grad():
            expected, found = own(**given).logits, traced(**given).logits
        assert (found - expected).abs().max() / expected.std(0).mean() < FLOAT32


@pytest.mark.parametrize(("tokens", "width"), [(5, 8), (128, 96)])
def test_two_products_are_the_real_part_of_the_fourier_transform(tokens: int, width: int) -> None:
    hidden, products = torch.randn(3, tokens, width), FourierProducts()
    products.prepare(tokens, width)
    expected = torch.fft.fftn(hidden.double(), dim=(1, 2)).real
    assert (products(hidden)[0] - expected).abs().max() / expected.std() < FLOAT32


def _batch(tokens: int, config: Any) -> dict[str, torch.Tensor]:
    """Three texts, two of them padded."""
    mask = (torch.arange(tokens)[None] < torch.tensor([tokens, tokens - 3, 4])[:, None]).long()
    ids = torch.randint(5, 60, (3, tokens), generator=torch.Generator().manual_seed(1))
    every = {
        "input_ids": ids * mask + (1 - mask) * config.pad_token_id,
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(ids),
    }
    return {name: every[name] for name in inputs_of(config.to_dict())}
