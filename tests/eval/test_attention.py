"""palmtop attention: maps against their formulas and against transformers, beside a teacher, drawn, and refused."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import told
from tiny_bundles import Taught, adopted

from palmtop.cli.main import main
from palmtop.data.encoding import pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.explaining.attention import Attention, attention_of, divergence
from palmtop.eval.explaining.attention_picture import draw
from palmtop.models.opening import open_classifier, open_with_head


def _model(maps: Any, special: tuple[bool, ...] = (True, False, True)) -> Attention:
    return Attention("model", ("[CLS]", "rain", "[SEP]")[: len(special)], special, (np.asarray(maps, np.float32),))


def test_what_a_head_looks_at_is_as_its_formula_says() -> None:
    even, own = np.full((3, 3), 1 / 3), np.eye(3)
    heads = _model([even, own]).heads(0)
    assert heads.entropy == pytest.approx([math.log2(3), 0], abs=1e-6)
    assert heads.special == pytest.approx([2 / 3, 2 / 3])
    assert heads.itself == pytest.approx([1 / 3, 1])
    assert heads.neighbours == pytest.approx([(1 / 3 + 2 / 3 + 1 / 3) / 3, 0])


def test_the_divergence_is_jensen_and_shannons() -> None:
    one, other = np.asarray([[1.0, 0.0]]), np.asarray([[0.0, 1.0]])
    assert divergence(one, one) == 0
    assert divergence(one, other) == pytest.approx(1)
    half = np.asarray([[0.5, 0.5]])
    expected = 0.5 * math.log2(1 / 0.75) + 0.5 * (0.5 * math.log2(0.5 / 0.75) + 0.5 * math.log2(0.5 / 0.25))
    assert divergence(one, half) == pytest.approx(expected)
    assert _model([one.repeat(2, 0)], (True, False)).nearest(_model([one.repeat(2, 0)], (True, False)), 0) == (0, 0.0)


def test_maps_are_those_of_transformers(taught_bert: Taught) -> None:
    bundle = taught_bert.teacher
    found = attention_of(bundle, ("rain or snow tomorrow",))
    assert (found.tokens[0], found.tokens[-1]) == ("[CLS]", "[SEP]")
    assert (found.special[0], any(found.special[1:-1]), found.special[-1]) == (True, False, True)
    model = open_with_head(bundle.path)
    from transformers import AutoTokenizer

    inputs = AutoTokenizer.from_pretrained(bundle.path)("rain or snow tomorrow", return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs, output_attentions=True).attentions
    assert len(found.layers) == len(expected) == model.config.num_hidden_layers
    assert all(np.allclose(mine, theirs[0], atol=1e-6) for mine, theirs in zip(found.layers, expected, strict=True))
    assert all(np.allclose(layer.sum(-1), 1, atol=1e-5) for layer in found.layers)


def test_a_model_that_is_run_at_one_length_is_asked_at_it_and_shows_its_real_tokens(tmp_path: Path) -> None:
    bundle = adopted(tmp_path, "convbert")
    found = attention_of(bundle, ("rain",))
    (encoding,) = HostTokenizer.of(bundle.path, bundle.signature).encode([("rain",)])
    padded = pad([encoding], bundle.signature.only_length or 0, bundle.signature.pad_id)
    given = {name: torch.from_numpy(padded[name]).long() for name in bundle.signature.inputs}
    with torch.no_grad():
        whole = open_classifier(bundle.path)(**given, output_attentions=True).attentions
    assert len(found.tokens) == len(encoding) < whole[0].shape[-1]
    for mine, theirs in zip(found.layers, whole, strict=True):
        assert np.allclose(mine, theirs[0, :, : len(encoding), : len(encoding)], atol=1e-6)


def test_the_command_compares_draws_and_writes_numbers(
    taught_bert: Taught, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = str(taught_bert.teacher.path)
    words = ["attention", teacher, "rain", "--beside", teacher, "--picture", str(tmp_path / "a.svg")]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code in (0, None)
    out = capsys.readouterr().out
    assert "teacher, beside teacher" in out and out.count(" 0.000 ") == 2
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn.count("layer 1, mean") == 2 and "[CLS]" in drawn
    with pytest.raises(SystemExit):
        main(["attention", teacher, "rain", "--json"])
    (model,) = json.loads(capsys.readouterr().out)
    assert np.asarray(model["layers"]).shape == (2, 4, 3, 3)


def test_what_has_no_attention_is_refused(
    taught_bert: Taught, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = str(taught_bert.teacher.path)
    assert "reads 1 text at a time (text), not 2: leave out --second" in told(
        capsys, "attention", teacher, "rain", "--second", "snow"
    )
    assert "has to end in .svg or .png" in told(capsys, "attention", "nowhere", "rain", "--picture", "a.jpg")
    for family, why in (("longformer", "by windows or chunks"), ("fnet", "a model without attention")):
        with pytest.raises(UserError, match=why):
            attention_of(adopted(tmp_path / family, family), ("rain",))
    with pytest.raises(UserError, match="has to end in"):
        draw([_model([np.eye(3)])], tmp_path / "a.jpg")
