"""Every family's layers and their parts are found, and are what they are called."""

from pathlib import Path

import pytest
import torch
from tiny import TAKEN_APART, write_model

from palmtop.errors import UserError
from palmtop.models.family import FAMILIES
from palmtop.models.linears import PARTS, layers_of, part_of


@pytest.mark.parametrize("family", TAKEN_APART)
def test_the_parts_of_a_layer_have_the_widths_of_their_names(tmp_path: Path, family: str) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(write_model(tmp_path / "model", family), attn_implementation="eager")
    assert len(layers_of(model)) == 2
    narrow = 16 if family == "mobilebert" else 32
    for layer in layers_of(model):
        parts = {part: part_of(layer, part, family) for part in PARTS}
        assert all(isinstance(part, torch.nn.Linear) for part in parts.values())
        assert {
            part.out_features for name, part in parts.items() if name in ("query", "key", "value", "attention_output")
        } == {narrow}
        assert parts["feed_forward_in"].out_features == parts["feed_forward_out"].in_features
        assert parts["feed_forward_out"].out_features == narrow


@pytest.mark.parametrize("family", TAKEN_APART)
def test_without_values_the_attention_hands_on_nothing(tmp_path: Path, family: str) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(write_model(tmp_path / "model", family), attn_implementation="eager").eval()
    context = []
    for layer in layers_of(model):
        value, output = part_of(layer, "value", family), part_of(layer, "attention_output", family)
        torch.nn.init.zeros_(value.weight), torch.nn.init.zeros_(value.bias)
        output.register_forward_hook(lambda _, given, __: context.append(given[0].detach()))
    model(input_ids=torch.tensor([[1, 5, 6, 7, 2]]))
    assert context
    assert all(float(given.abs().max()) == 0 for given in context)


@pytest.mark.parametrize("family", sorted({*FAMILIES} - {*TAKEN_APART}))
def test_layers_that_are_built_otherwise_are_found_whole_and_not_taken_apart(tmp_path: Path, family: str) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(write_model(tmp_path / "model", family), attn_implementation="eager")
    first, last = layers_of(model)
    assert type(first) is type(last)
    with pytest.raises(UserError, match=f"the layers of the family '{family}' can't be taken apart: its .*; distil it"):
        part_of(first, "query", family)
