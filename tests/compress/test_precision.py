"""Training in bfloat16: chosen where the hardware has it, the weights float32, every stage near what float32 learns."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import sentences, write_model, write_task
from transformers import BertConfig, BertModel

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.learning.precision import WIDE, multiplies_bfloat16, precision_for
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.settings import build

SHORT: dict[str, Any] = {"epochs": 1, "learning_rate": 2e-4, "batch_size": 16}

MOBILE = {
    "layers": 2,
    "width": 24,
    "embedding_size": 16,
    "inner_width": 16,
    "heads": 4,
    "feed_forward": 24,
    "stack": 2,
    "transfer_epochs": 1,
}
STAGES: dict[str, dict[str, Any]] = {
    "finetune": SHORT,
    "distill": SHORT | {"layers": 1},
    "tinybert": SHORT | {"layers": 1},
    "minilm": SHORT | {"layers": 1, "relation_heads": 4},
    "mobilebert": SHORT | MOBILE,
    "inverted_bottleneck": SHORT | {"embedding_size": 16},
    "static": SHORT | {"width": 16},
    "magnitude": SHORT | {"keep": 0.5},
    "movement": SHORT | {"keep": 0.5},
    "recover": SHORT,
}
"""Every stage that trains for a task, but the one that trains on a grid finer than bfloat16."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A tiny task, a pretrained model, a fine-tuned teacher, and a masked language model with a head."""
    folder = tmp_path_factory.mktemp("precision")
    base = _make("adopt", {"model": str(write_model(folder / "model", "bert"))}, None, folder / "base")
    settings = SHORT | {"epochs": 8, "learning_rate": 3e-3, "task": write_task(folder / "data")}
    text = folder / "lines.txt"
    text.write_text("\n".join(line for line, _ in sentences(120, 3)))
    on_text = SHORT | {"text": str(text), "max_length": 24, "held_out": 20, "dropout": "off"}
    return {
        "base": base,
        "teacher": _make("finetune", settings, base, folder / "teacher"),
        "text": on_text,
        "words": _make("masked_lm", on_text, base, folder / "words"),
    }


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"amx_bf16": True}, True),
        ({"neon": True, "bf16": True}, True),
        ({"neon": True, "bf16": False}, False),
        ({}, False),
    ],
)
def test_hardware_is_asked_for_its_products(capabilities: dict[str, bool], native: bool) -> None:
    assert multiplies_bfloat16(capabilities) == native


def test_auto_is_float32_where_the_model_is_narrow_and_a_wish_is_followed() -> None:
    narrow, wide = (
        BertModel(
            BertConfig(vocab_size=9, hidden_size=width, num_hidden_layers=1, num_attention_heads=4, intermediate_size=8)
        )
        for width in (WIDE - 4, WIDE)
    )
    assert precision_for("bfloat16", narrow) == "bfloat16"
    assert precision_for("float32", wide) == "float32"
    if not torch.cuda.is_available():
        assert precision_for("auto", narrow) == "float32"
        assert precision_for("auto", wide) == (
            "bfloat16" if multiplies_bfloat16(torch.cpu.get_capabilities()) else "float32"
        )


@pytest.mark.slow
@pytest.mark.parametrize("use", [*STAGES, "distill_masked_lm"])
def test_a_stage_learns_in_bfloat16_what_it_learns_in_float32(made: dict[str, Any], use: str, tmp_path: Path) -> None:
    source = made["words" if use == "distill_masked_lm" else "base" if use == "finetune" else "teacher"]
    settings = STAGES.get(use, made["text"] | {"layers": 1})
    if use == "finetune":
        settings = settings | {"task": write_task(tmp_path / "data")}
    if use == "recover":
        settings = settings | {"teacher": str(made["teacher"].path)}
    found = {
        precision: _make(use, settings | {"precision": precision}, source, tmp_path / precision)
        for precision in ("float32", "bfloat16")
    }
    weights = load_file(found["bfloat16"].path / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.float32}
    exact = load_file(found["float32"].path / "model.safetensors")
    assert any(not torch.equal(weight, exact[name]) for name, weight in weights.items())
    terms = {precision: _terms(bundle.card.facts) for precision, bundle in found.items()}
    for name, value in terms["float32"].items():
        assert terms["bfloat16"][name] == pytest.approx(value, rel=0.05, abs=0.01), name


def test_the_grid_of_the_file_is_not_rounded_once_more(made: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="quantize_aware: precision is 'bfloat16'"):
        build(stage.find("quantize_aware"), {"precision": "bfloat16"}, "quantize_aware")
    assert _make("quantize_aware", SHORT, made["teacher"], tmp_path / "out").card.facts["precision"] == "float32"


def _terms(facts: dict[str, Any]) -> dict[str, float]:
    """The means of a training's terms at its end, of all its phases."""
    phases = facts.get("phases", {"": facts})
    return {f"{phase} {name}": value for phase, said in phases.items() for name, value in said["loss"].items()}


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda _: None)
