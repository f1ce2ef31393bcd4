"""ExecuTorch: the .pte answers as torch, in its own runtime; int8 too; what it can't do is refused by name."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import sentences
from tiny_bundles import sealed

from palmtop import parity, stage, target
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.explaining.explain import explain
from palmtop.eval.measuring.size import model_bytes
from palmtop.eval.verify import verify
from palmtop.export import stored_once
from palmtop.export.executorch_file import write
from palmtop.making import make
from palmtop.signature import Signature
from palmtop.stage import Outline

pytest.importorskip("executorch", reason="executorch isn't installed: pip install 'palmtop[executorch]'")


@pytest.fixture(scope="module")
def exported(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The teacher as .pte."""
    return _make("to_executorch", {}, teacher, tmp_path_factory.mktemp("executorch") / "file")


@pytest.fixture(scope="module")
def int8(exported: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same in int8."""
    return _make("quantize", {}, exported, tmp_path_factory.mktemp("executorch") / "int8")


def test_it_answers_as_torch_at_every_length(teacher: Bundle, exported: Bundle) -> None:
    assert exported.card.facts["parity_difference"] < 1e-4 and exported.card.facts["parity_agreement"] == 1
    longest = Signature.read(exported.path).max_length
    texts = [(text,) for text, _ in sentences(12, 4)] + [("word " * 200,), ("a",)]
    encodings = HostTokenizer(teacher.path, longest).encode(texts)
    assert max(map(len, encodings)) == longest
    expected = parity.answers(("torch", teacher.path), encodings)
    assert np.abs(parity.answers(("executorch", exported.path), encodings) - expected).max() < 1e-4


class _Halves(torch.nn.Module):
    """Two linear layers whose weights are halves of one tensor, the second read from its middle."""

    def __init__(self) -> None:
        super().__init__()
        both = torch.randn(8, 4)
        self.register_buffer("first", both[:4])
        self.register_buffer("second", both[4:])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(torch.nn.functional.linear(x, self.first), self.second)


def test_a_constant_that_is_a_part_of_a_larger_one_keeps_its_own_values(tmp_path: Path) -> None:
    from executorch.runtime import Runtime

    module, x = _Halves().eval(), torch.randn(1, 4)
    write(torch.export.export(module, (x,)), tmp_path / "halves.pte")
    method = Runtime.get().load_program(tmp_path / "halves.pte").load_method("forward")
    assert method is not None
    torch.testing.assert_close(method.execute([x])[0], module(x))


def test_int8_is_a_quarter_of_the_weights_and_agrees(exported: Bundle, int8: Bundle) -> None:
    facts = int8.card.facts
    assert (facts["precision"], facts["parity_agreement"]) == ("dynamic_int8", 1)
    assert 0 < facts["parity_difference"] < 0.3
    table = 150 * 32
    assert model_bytes(exported) - model_bytes(int8) > 3 * table
    kinds = {matrix.dtype for matrix in stored_once.matrices("executorch", int8.path) if min(matrix.shape) > 3}
    assert "int8" in kinds
    assert not (int8.path / "program.pt2").exists()  # it is the float file's
    with pytest.raises(UserError, match="int8 is dynamic_int8 already: quantize the float32 file"):
        _make("quantize", {}, int8, int8.path.parent / "again")


@pytest.mark.slow
def test_kept_modules_stay_as_they_were(exported: Bundle, tmp_path: Path) -> None:
    made = _make("quantize", {"kept_modules": ["classifier", "embeddings"]}, exported, tmp_path / "kept")
    floats = {matrix.shape for matrix in stored_once.matrices("executorch", made.path) if matrix.dtype == "float32"}
    assert (3, 32) in floats and any(rows > 100 for rows, _ in floats)
    assert [layer.split()[0].rsplit(".", 1)[-1] for layer in made.card.facts["kept_layers"]] == [
        "word_embeddings",
        "classifier",
    ]


def test_what_it_has_not_is_refused_by_name(exported: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="static_int8 isn't for executorch; for that there is dynamic_int8"):
        stage.find("quantize")(scheme="static_int8").outline(Outline("executorch", "bert", 2, ("a", "b")))
    with pytest.raises(UserError, match="file is executorch: explain reads onnx, tfjs, tflite, torch bundles"):
        explain(exported)
    folder = shutil.copytree(exported.path, tmp_path / "bare")
    (folder / "program.pt2").unlink()
    (folder / "palmtop.json").unlink()
    bare = sealed(folder, "executorch", "to_executorch", None, {"precision": "float32"})
    with pytest.raises(UserError, match=r"bare has no program\.pt2, from which the int8 file is made: export"):
        _make("quantize", {}, bare, tmp_path / "q")


def test_files_that_are_open_share_one_pool_of_threads(exported: Bundle) -> None:
    runtime = target.find("host_executorch")
    with runtime.open(exported.path, 1), pytest.raises(UserError, match="one pool of threads for all files"):
        runtime.open(exported.path, 2)
    with runtime.open(exported.path, 2) as runner:
        assert np.isfinite(runner.predict(runner.tokenize([("play a song",)]))).all()
    with runtime.open(exported.path, 1) as runner:
        assert len(runner.latencies_ms(runner.tokenize([("play a song",)]), 12, 5)) == 5


@pytest.mark.slow
def test_loading_it_costs_something_in_a_process_of_its_own(exported: Bundle) -> None:
    load_ms, memory_mb = target.find("host_executorch").cost_of_loading(exported.path, ("play a song",))
    assert load_ms > 0 and memory_mb > 0


def test_its_bundle_and_its_app_are_verified(exported: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    verify(exported.path, said.append)
    assert any("plain texts in host_executorch: 3 finite outputs each" in line for line in said)
    app = _make("to_app", {}, exported, tmp_path / "app")
    assert app.card.facts["clients"] == "ExecuTorch"
    assert app.model_format == "executorch" and not (app.path / "program.pt2").exists()
    said.clear()
    verify(app.path, said.append)
    assert any("answers of host_executorch" in line for line in said)


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)
