"""Models whose layers differ in heads and widths: built, written, opened again, refused without palmtop, exported."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import TAKEN_APART, write_model
from transformers import AutoModel, AutoModelForSequenceClassification, PreTrainedModel

from palmtop.errors import UserError
from palmtop.models.family import layer_count
from palmtop.models.linears import layers_of, part_of
from palmtop.models.opening import keep_layers, open_classifier
from palmtop.models.pruned_layers import LayerShape, cut, head_size, shapes_of, write_shapes
from palmtop.models.reshaped import changed, opener, rebuilt, reshaped_class

DIFFERING = sorted(set(TAKEN_APART) - {"albert"})
SHAPES = [LayerShape((1, 3), 16), LayerShape((), 24), LayerShape((0, 1, 2, 3), 0), LayerShape((), 0)]
"""Of four heads of eight, and 64 neurons (MobileBERT: 32)."""


@pytest.fixture(params=DIFFERING)
def full(request: pytest.FixtureRequest, tmp_path: Path) -> PreTrainedModel:
    """A classifier of four layers in its family's full widths."""
    torch.manual_seed(0)
    folder = write_model(tmp_path / "full", request.param, layers=4)
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager", num_labels=3).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))  # biases too, which start at 0
    return model


def reshaped(model: PreTrainedModel, shapes: list[LayerShape] = SHAPES) -> PreTrainedModel:
    """The same weights, cut."""
    cut_down = copy.deepcopy(model)
    for layer, shape in zip(layers_of(cut_down), shapes, strict=True):
        cut(layer, model.config, shape.heads, range(shape.feed_forward))
    config = copy.deepcopy(model.config)
    config.palmtop_shape = write_shapes(shapes)
    smaller = rebuilt(model, config)
    smaller.load_state_dict(cut_down.state_dict())
    return smaller.eval()


def masked(model: PreTrainedModel, shapes: list[LayerShape] = SHAPES) -> PreTrainedModel:
    """The full model with hooks that zero what the shapes leave out, after the value and after the activation."""
    kind, size = model.config.model_type, head_size(model.config)
    for layer, shape in zip(layers_of(model), shapes, strict=True):
        heads = torch.zeros(model.config.num_attention_heads).index_fill_(
            0, torch.tensor(shape.heads, dtype=torch.int64), 1
        )
        neurons = torch.zeros(part_of(layer, "feed_forward_in", kind).out_features)
        neurons[: shape.feed_forward] = 1
        for part, mask in (("attention_output", heads.repeat_interleave(size)), ("feed_forward_out", neurons)):
            part_of(layer, part, kind).register_forward_pre_hook(lambda _, given, mask=mask: (given[0] * mask,))  # type: ignore[arg-type]  # a function with a default is another type
    return model


def answer(model: PreTrainedModel) -> torch.Tensor:
    """Logits of a padded batch."""
    ids = torch.randint(5, 60, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask).logits


def test_the_cut_model_answers_as_the_masked_one_and_survives_the_disk(full: PreTrainedModel, tmp_path: Path) -> None:
    smaller = reshaped(full)
    assert smaller.num_parameters() < full.num_parameters()
    found = answer(smaller)
    assert (found - answer(masked(full))).abs().max() < 1e-5
    smaller.save_pretrained(tmp_path / "smaller")
    again = open_classifier(tmp_path / "smaller")
    assert torch.equal(answer(again), found)
    assert shapes_of(again) == SHAPES
    assert again.config.architectures == [type(full).__name__]
    assert type(again).__name__ == type(full).__name__


def test_without_palmtop_the_folder_does_not_open(full: PreTrainedModel, tmp_path: Path) -> None:
    for number, shape in enumerate([LayerShape((), 32), LayerShape((0, 1, 2, 3), 0), LayerShape((0, 2, 3), 32)]):
        full_shape = shapes_of(full)[0]
        reshaped(full, [shape, full_shape, full_shape, full_shape]).save_pretrained(tmp_path / str(number))
        assert changed(json.loads((tmp_path / str(number) / "config.json").read_text())) == ["palmtop_shape"]
        with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
            AutoModelForSequenceClassification.from_pretrained(tmp_path / str(number))


def test_layers_are_kept_with_their_shapes(full: PreTrainedModel) -> None:
    smaller = reshaped(full)
    fewer = keep_layers(smaller, [0, 3]).eval()
    assert shapes_of(fewer) == [SHAPES[0], SHAPES[3]]
    assert layer_count(fewer.config.to_dict()) == 2
    assert (answer(fewer) - answer(reshaped(keep_layers(full, [0, 3]), [SHAPES[0], SHAPES[3]]))).abs().max() < 1e-6
    assert torch.equal(answer(keep_layers(smaller, [0, 1, 2, 3]).eval()), answer(smaller))


def test_a_reshaped_model_trains_and_every_weight_left_learns(full: PreTrainedModel) -> None:
    smaller = reshaped(full).train()
    loss: Any = smaller(input_ids=torch.randint(5, 60, (4, 7)), labels=torch.tensor([0, 1, 2, 0])).loss
    loss.backward()
    layers = layers_of(smaller)
    # without heads nothing reads MobileBERT's bottleneck before them
    used = [
        parameter
        for layer in layers
        for name, parameter in layer.named_parameters()
        if parameter.numel() and "bottleneck." not in name
    ]
    assert all(parameter.grad is not None for parameter in used)


def test_it_is_cut_again(full: PreTrainedModel) -> None:
    once = reshaped(full)
    again = [LayerShape((3,), 8), *SHAPES[1:]]
    cut_down = copy.deepcopy(once)
    for layer, heads, width in zip(layers_of(cut_down), ([1], [], [0, 1, 2, 3], []), (8, 24, 0, 0), strict=True):
        cut(layer, once.config, heads, range(width))
    config = copy.deepcopy(once.config)
    config.palmtop_shape = write_shapes(again)
    twice = rebuilt(once, config)
    twice.load_state_dict(cut_down.state_dict())
    assert torch.equal(answer(twice.eval()), answer(reshaped(full, again)))


def test_the_body_alone_opens_too(tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(write_model(tmp_path / "full", "bert", layers=4))
    reshaped(model).save_pretrained(tmp_path / "smaller")
    body = opener(tmp_path / "smaller", AutoModel).from_pretrained(tmp_path / "smaller")
    assert shapes_of(body) == SHAPES
    assert opener(tmp_path / "full", AutoModel) is AutoModel
    assert reshaped_class(type(body)) is type(body)


def test_shapes_that_are_not_the_models_are_refused(tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(write_model(tmp_path / "full", "bert"))
    for shapes, told in (
        ([LayerShape((0,), 8)], "palmtop_shape for 1 layers, but 2 layers: the folder is damaged"),
        ([LayerShape((0, 4), 8), LayerShape((), 8)], r"heads \[0, 4\] and 8 neurons for layer 0, which has 4 heads"),
        ([LayerShape((0,), 8), LayerShape((), 65)], r"heads \[\] and 65 neurons for layer 1"),
    ):
        config = copy.deepcopy(model.config)
        config.palmtop_shape = write_shapes(shapes)
        with pytest.raises(UserError, match=told):
            rebuilt(model, config)


def test_albert_is_refused_by_name(tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(write_model(tmp_path / "full", "albert"))
    config = copy.deepcopy(model.config)
    config.palmtop_shape = write_shapes([LayerShape((0,), 8)] * 2)
    with pytest.raises(UserError, match="the family 'albert' has one set of weights for all its layers"):
        rebuilt(model, config)
