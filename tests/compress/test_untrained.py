"""What learns nothing has the shapes of what does, and is taken for no result."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_bundles import adopted

from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.measure import by_name
from palmtop.making import make
from palmtop.stage import find

TRAINED = {
    "finetune": {"epochs": 1},
    "distill": {"epochs": 1, "layers": 1},
    "static": {"epochs": 1, "width": 16},
    "convolution": {"epochs": 1, "embedding_size": 8, "width": 16, "vocabulary": 100},
    "factorize": {"epochs": 1, "embedding_size": 8, "form": "keep_norm"},
    "magnitude": {"epochs": 1, "keep": 0.5},
    "quantize_aware": {"epochs": 1, "linear_bits": 8},
    "minilm": {"epochs": 1, "layers": 1, "prediction_epochs": 1, "relation_heads": 4},
}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return adopted(tmp_path_factory.mktemp("untrained"), "bert")


def made(use: str, settings: dict[str, Any], source: Bundle, out: Path, learns: bool = True) -> Bundle:
    stage = find(use)(**settings)
    return make(use, stage if learns else stage.untrained(), source, out, lambda _: None)


def shapes(bundle: Bundle) -> dict[str, Any]:
    content = (bundle.path / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    return {name: (entry["dtype"], entry["shape"]) for name, entry in header.items() if name != "__metadata__"}


@pytest.mark.parametrize("use", TRAINED)
def test_it_has_the_shapes_of_what_learnt(
    use: str, teacher: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    priced = made(use, TRAINED[use], teacher, tmp_path / "priced", learns=False)
    trained = made(use, TRAINED[use], teacher, tmp_path / "trained")
    assert shapes(priced) == shapes(trained)
    assert priced.card.facts.get("steps", 0) == 0 and trained.card.facts["steps"] > 0
    assert priced.card.origin.untrained and not trained.card.origin.untrained
    card = json.loads((trained.path / "palmtop.json").read_text())
    assert "untrained" not in card["origin"], "a card of what learnt is as it always was"


def test_no_two_of_its_weights_are_equal_by_how_they_start(
    teacher: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Norms of ones and biases of zeros: a file would hold them once."""
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    priced = made("finetune", {"epochs": 1}, teacher, tmp_path / "priced", learns=False)
    weights = load_file(priced.path / "model.safetensors")
    assert all(np.unique(values).size > 1 for values in weights.values())
    assert len({values.tobytes() for values in weights.values()}) == len(weights)


def test_it_is_never_taken_for_a_result(teacher: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    priced = made("finetune", {"epochs": 1}, teacher, tmp_path / "student", learns=False)
    assert made("finetune", {"epochs": 1}, teacher, tmp_path / "student").digest != priced.digest, "it was kept"
    left = made("finetune", {"epochs": 1}, teacher, tmp_path / "left", learns=False)
    with pytest.raises(UserError, match="has learnt nothing: it was made for a price alone, so make the model itself"):
        made("distill", {"layers": 1}, left, tmp_path / "further")
    with pytest.raises(UserError, match="has learnt nothing: it was made for a price alone"):
        by_name([left])


def test_pruning_by_trained_weights_is_priced_about(teacher: Bundle, tmp_path: Path) -> None:
    stage = find("prune_structures")(keep=0.5, rows=32)
    assert stage.about() is not None and find("finetune")().about() is None
    priced = make("prune_structures", stage.untrained(), teacher, tmp_path / "priced", lambda _: None)
    trained = make("prune_structures", stage, teacher, tmp_path / "trained", lambda _: None)
    sizes = [sum(path.stat().st_size for path in one.path.glob("*.safetensors")) for one in (priced, trained)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)  # about: which heads go, and so of which layers, may differ
