"""Every traced program is run in a real browser and compared with torch: families on padded batches, and single
operators."""

import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from palmtop.data.encoding import Encoding, pad
from palmtop.errors import UserError
from palmtop.eval.targets.browser import Target
from palmtop.export.tfjs_model.graph_model import _decompose, write_graph_model
from palmtop.signature import Signature

NAMES = ("input_ids", "attention_mask", "token_type_ids")
WORDS = 200
PAD = 1
ROUNDING = 1e-4
"""Of the logits' spread: float32 in another order; up to 1.1e-5 was measured over these families."""
HALF_ROUNDING = 2e-2
"""Of the logits' spread: eleven bits of mantissa in every weight; 2e-4 to 2e-3 was measured."""
ONE, SMALL, LARGE = 0.1, 3, 200
"""What floats around 0, and their thousandths, are compared with."""
BASE = {"vocab_size": WORDS, "num_labels": 5, "pad_token_id": PAD}
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128, **BASE}
FAMILIES = {
    "bert": lambda: transformers.BertConfig(**SIZES),
    "distilbert": lambda: transformers.DistilBertConfig(dim=64, n_layers=2, n_heads=4, hidden_dim=128, **BASE),
    "roberta": lambda: transformers.RobertaConfig(max_position_embeddings=130, **SIZES),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(max_position_embeddings=130, **SIZES),
    "electra": lambda: transformers.ElectraConfig(embedding_size=32, **SIZES),
    "deberta-v2": lambda: transformers.DebertaV2Config(
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=32,
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        max_relative_positions=-1,
        **SIZES,
    ),
    "albert": lambda: transformers.AlbertConfig(embedding_size=32, **SIZES),
    "mobilebert": lambda: transformers.MobileBertConfig(
        intra_bottleneck_size=32, embedding_size=32, **{**SIZES, "intermediate_size": 64}
    ),
    "mpnet": lambda: transformers.MPNetConfig(max_position_embeddings=130, **SIZES),
}
WITHOUT_TYPES = ("roberta", "xlm-roberta", "mpnet")


class Traced(nn.Module):
    """A classifier with an additive mask made outside it, except for DeBERTa, which takes the mask as it is."""

    def __init__(self, model: nn.Module, additive: bool) -> None:
        super().__init__()
        self.model, self.additive = model, additive

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        if self.additive:
            mask = (1.0 - mask[:, None, None, :].to(torch.float32)) * -1e4
        more = {} if types is None else {"token_type_ids": types}
        return self.model(input_ids=ids, attention_mask=mask, **more).logits


def trace(module: nn.Module, inputs: int, shortest: int = 2) -> ExportedProgram:
    """Traced at [3, 16] with a free batch and length."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, WORDS, (3, 16), generator=generator).int()
    sizes = {0: Dim("batch", min=1, max=64), 1: Dim("length", min=shortest, max=128)}
    arguments = (ids, torch.ones_like(ids), torch.zeros_like(ids))[:inputs]
    return torch.export.export(module.eval(), arguments, dynamic_shapes=(sizes,) * inputs, strict=False)


def write(
    module: nn.Module, out: Path, inputs: int = 2, shortest: int = 2, precision: str = "float32"
) -> dict[str, int]:
    """A folder that the browser target opens."""
    out.mkdir(exist_ok=True)
    facts = write_graph_model(trace(module, inputs, shortest), NAMES[:inputs], ("logits",), out, precision)
    Signature(inputs=NAMES[:inputs], max_length=64, pad_id=PAD).write(out)
    vocabulary = {"type": "WordLevel", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]"}
    empty = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    (out / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", **empty, "added_tokens": [], "model": vocabulary})
    )
    return facts


def encodings(lengths: Sequence[int], types: bool = False) -> list[Encoding]:
    """Random texts."""
    random = np.random.default_rng(2)
    return [
        Encoding(
            ("",),
            random.integers(5, WORDS, length).astype(np.int32),
            (np.arange(length) > length // 2).astype(np.int32) * types,
        )
        for length in lengths
    ]


def by_torch(model: nn.Module, texts: Sequence[Encoding], types: bool) -> Tensor:
    """The unpatched model's logits of one padded batch."""
    batch = {name: torch.tensor(ids).long() for name, ids in pad(texts, max(map(len, texts)), PAD).items()}
    if not types:
        del batch["token_type_ids"]
    with torch.no_grad():
        return model(**batch).logits


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One browser process for the whole module: it lives as long as a runner is open."""
    folder = tmp_path_factory.mktemp("keeper")
    write(nn.Sequential(), folder, inputs=1)
    target = Target()
    with target.open(folder):
        yield target


def model_and_module(family: str) -> tuple[nn.Module, nn.Module, bool]:
    """The unpatched model, the traced one with the same random weights, and whether it takes token types."""
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_config(FAMILIES[family]()).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # biases are zero and norms one in a new model
    eager = transformers.AutoModelForSequenceClassification.from_config(FAMILIES[family](), attn_implementation="eager")
    eager.load_state_dict(model.state_dict())
    types = "token_type_ids" in inspect.signature(model.forward).parameters and family not in WITHOUT_TYPES
    return model, Traced(eager, family != "deberta-v2"), types


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_family_agrees_with_torch(family: str, browser: Target, tmp_path: Path) -> None:
    model, module, types = model_and_module(family)
    several_types = types and getattr(model.config, "type_vocab_size", 0) > 1
    write(module, tmp_path, inputs=2 + types, shortest=4 if family == "mobilebert" else 2)
    with browser.open(tmp_path) as runner:
        for lengths in ((16, 9, 4), (40, 33, 7, 1, 21), (5,)):
            texts = encodings(lengths, several_types)
            expected = by_torch(model, texts, several_types)
            difference = np.abs(runner.predict(texts) - expected.numpy()).max()
            assert difference / by_torch(model, encodings((16, 9, 4)), False).std() < ROUNDING, lengths


OPERATORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    # x: floats [batch, length, 8], around 0; i: their integer thousandths
    "gather": lambda x, i: torch.gather(x, 2, i.abs().clamp(max=7)),
    "gather, one index for all rows": lambda x, i: torch.gather(
        x, 2, torch.arange(x.shape[1]).clamp(max=7)[None, :, None].expand(x.shape[0], -1, 3)
    ),
    "gather, expanded index": lambda x, i: torch.gather(x, 2, i[0].abs().clamp(max=7).expand(x.shape[0], -1, -1)),
    "slice from the end": lambda x, i: x[:, -1:, 2:-1],
    "slice, all but the last": lambda x, i: x[:, :-1],
    "slice with a step": lambda x, i: x[:, :, 1::3],
    "integer slice": lambda x, i: i[:, 1:, :3],
    "select": lambda x, i: x[:, 0],
    "transposed product": lambda x, i: x.transpose(1, 2) @ x,
    "product with a transposed": lambda x, i: x @ x.transpose(1, 2),
    "product over heads": lambda x, i: (
        x.view(x.shape[0], -1, 2, 4).transpose(1, 2) @ x.view(x.shape[0], -1, 2, 4).permute(0, 2, 3, 1)
    ),
    "power": lambda x, i: torch.stack([x**2, x**3, x.abs() ** 1.5, x**0.0], dim=-1),
    "integers and floats": lambda x, i: i * x + 2 - i / 3,
    "alpha": lambda x, i: torch.add(x, i, alpha=3) - torch.rsub(x, 2, alpha=2),
    "compare": lambda x, i: (x > ONE).float() + (i == SMALL) + (x <= i) + (i != 0),
    "logic": lambda x, i: (((x > 0) & ~(i > LARGE)) | (x < -ONE)).float(),
    "number to bool": lambda x, i: x.bool().float() + (i.clamp(0, 1) * 256).bool(),
    "float to integer": lambda x, i: (x * 7).int(),
    "where": lambda x, i: torch.where(x[:, :, :1] > 0, x, -1.5),
    "masked fill": lambda x, i: x.masked_fill(i[:1] > LARGE, torch.finfo(torch.float32).min).softmax(-1),
    "cumsum": lambda x, i: torch.cumsum(i, dim=1),
    "reductions": lambda x, i: torch.cat(
        [x.mean(-1, keepdim=True), x.sum((1, 2), keepdim=True).expand(-1, x.shape[1], -1), x.amax(2, True)], 2
    ),
    "unary": lambda x, i: torch.stack(
        [x.exp(), x.abs().sqrt(), torch.rsqrt(x * x + 1), x.sigmoid(), x.erf(), x.floor(), x.ceil(), x.sign()]
    ),
    "integer unary": lambda x, i: torch.stack([i.abs(), -i, i.sign()]),
    "activations": lambda x, i: torch.stack(
        [nn.functional.gelu(x), nn.functional.gelu(x, approximate="tanh"), nn.functional.silu(x), x.relu()]
    ),
    "clamp": lambda x, i: x.clamp(-0.2, 0.3) + i.clamp(min=-50) + i.clamp(max=7),
    "arange": lambda x, i: torch.arange(x.shape[1]) * 2 + torch.arange(1, x.shape[1] + 1, dtype=torch.float32),
    "repeat": lambda x, i: i.repeat(2, 1, 3),
    "pad": lambda x, i: nn.functional.pad(x, (1, 2, 3, 0), value=0.5),
    "norm without weights": lambda x, i: nn.functional.layer_norm(x, (8,)),
    "full": lambda x, i: x + torch.full((x.shape[1], 8), 2) + torch.full_like(x, 3) + torch.ones_like(i),
    "squeeze": lambda x, i: x[:, :1].squeeze(1) + x[:, 0].unsqueeze(0).squeeze(0),
}


class Operators(nn.Module):
    """All of OPERATORS in one row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(WORDS, 8)

    def parts(self, ids: Tensor) -> list[Tensor]:
        x = self.table(ids)
        i = (x * 1000).to(torch.int64)
        return [operator(x, i).to(torch.float32).reshape(1, -1) for operator in OPERATORS.values()]

    def forward(self, ids: Tensor) -> Tensor:
        return torch.cat(self.parts(ids), dim=1)


@pytest.mark.slow
def test_operators_agree_with_torch(browser: Target, tmp_path: Path) -> None:
    module = Operators()
    write(module, tmp_path, inputs=1, shortest=4)
    text = encodings([11])[0]
    with torch.no_grad():
        parts = module.parts(torch.tensor(text.input_ids)[None])
    with browser.open(tmp_path) as runner:
        row = torch.from_numpy(runner.predict([text])[0])
    found = torch.split(row, [part.shape[1] for part in parts])
    wrong = [
        name
        for name, part, expected in zip(OPERATORS, found, parts, strict=True)
        if not torch.allclose(part, expected[0], rtol=1e-5, atol=1e-5)
    ]
    assert not wrong


class Tied(nn.Module):
    """An embedding that is the output matrix too, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.layer = nn.Embedding(WORDS, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, WORDS, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layer(self.layer(self.table(ids)).relu()))[:, 0]


def _entries(folder: Path) -> list[dict[str, object]]:
    manifest = json.loads((folder / "model.json").read_text())["weightsManifest"]
    return [entry for group in manifest for entry in group["weights"]]


def test_tied_matrix_and_shared_layer_are_stored_once(browser: Target, tmp_path: Path) -> None:
    module = Tied()
    write(module, tmp_path, inputs=1)
    shapes = [tuple(entry["shape"]) for entry in _entries(tmp_path)]
    assert shapes.count((WORDS, 8)) == 1 and (8, WORDS) not in shapes and shapes.count((8, 8)) == 1
    nodes = json.loads((tmp_path / "model.json").read_text())["modelTopology"]["node"]
    assert [node["attr"]["transpose_b"]["b"] for node in nodes if node["op"] == "MatMul"] == [True]
    fused = [node["attr"]["fused_ops"]["list"]["s"] for node in nodes if node["op"] == "_FusedMatMul"]
    assert [len(after) for after in fused] == [2, 1]  # a bias and a relu, a bias
    texts = encodings((6, 3))
    with browser.open(tmp_path) as runner, torch.no_grad():
        expected = torch.cat([module(torch.tensor(text.input_ids)[None]) for text in texts])
        assert np.allclose(runner.predict(texts), expected, atol=1e-5)


def test_albert_stores_its_layer_once(tmp_path: Path) -> None:
    _, module, _ = model_and_module("albert")
    facts = write(module, tmp_path, inputs=3)
    unique = sum(parameter.numel() for parameter in module.parameters())
    # besides the weights there are the position numbers [1, 512], and scalars
    assert facts["weight_bytes"] <= 4 * (unique + 512 + 50)


@pytest.mark.slow
def test_float16_halves_the_file(browser: Target, tmp_path: Path) -> None:
    model, module, _ = model_and_module("bert")
    single = write(module, tmp_path / "single", inputs=3)
    half = write(module, tmp_path / "half", inputs=3, precision="float16")
    # the position numbers are int32 and scalars stay as they are
    assert half["weight_bytes"] / single["weight_bytes"] == pytest.approx(0.5, abs=0.01)
    assert {
        entry["quantization"]["original_dtype"] for entry in _entries(tmp_path / "half") if "quantization" in entry
    } == {"float32"}
    texts = encodings((16, 9, 4))
    expected = by_torch(model, texts, False)
    with browser.open(tmp_path / "half") as runner:
        assert np.abs(runner.predict(texts) - expected.numpy()).max() / expected.std() < HALF_ROUNDING


def test_large_values_stay_float32(tmp_path: Path) -> None:
    class Large(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("large", torch.tensor([1e6, 1.0]))

        def forward(self, ids: Tensor) -> Tensor:
            return ids[:, :1] * self.large

    assert write(Large(), tmp_path, inputs=1, precision="float16")["float16_values"] == 0


def test_at_most_six_shards(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(WORDS, 40_000)

        def forward(self, ids: Tensor) -> Tensor:
            return self.table(ids)[:, 0]

    facts = write(Wide(), tmp_path, inputs=1)
    paths = json.loads((tmp_path / "model.json").read_text())["weightsManifest"][0]["paths"]
    assert paths == [f"group1-shard{shard}of6.bin" for shard in range(1, 7)]
    assert sum((tmp_path / path).stat().st_size for path in paths) == facts["weight_bytes"] >= 4 * WORDS * 40_000


class _Forward(nn.Module):
    def __init__(self, forward: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.forward = forward  # type: ignore[method-assign]  # the shortest way to a module


REFUSED: dict[str, tuple[Callable[[Tensor], object], list[str]]] = {
    "unknown operators, all at once": (
        lambda ids: torch.atan2(ids.float(), torch.sort(ids.float())[0]),
        ["aten.atan2.default", "aten.sort", "ONNX"],
    ),
    "infinity": (lambda ids: ids.float().masked_fill(ids > SMALL, -torch.inf), ["isn't finite", "-1e4"]),
    "large integer": (lambda ids: ids.long() + 2**40, ["int32"]),
    "type": (lambda ids: ids.double() * 2, ["torch.float64", "float32"]),
    "two outputs": (lambda ids: (ids.float(), ids * 2.0), ["2 outputs"]),
    "softmax over another axis": (lambda ids: ids.float().softmax(0), ["aten.softmax.int", "axis"]),
    "integer logic": (lambda ids: (ids & (ids + 1)).float(), ["bitwise_and", "integers"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str, tmp_path: Path) -> None:
    forward, words = REFUSED[case]
    with pytest.raises(UserError) as caught:
        write(_Forward(forward), tmp_path, inputs=1)
    assert [word for word in words if word not in str(caught.value)] == []
    assert not (tmp_path / "model.json").exists()


class _WritesInPlace(nn.Module):
    """What it adds is seen in the tensor alone: nothing uses the call's own result."""

    def forward(self, ids: Tensor) -> Tensor:
        """[batch, tokens] -> [batch, tokens]."""
        answers = ids.to(torch.float32)
        answers.add_(1.0)
        return answers


def test_a_program_is_taken_apart_where_it_writes_in_place_and_only_as_often_as_it_must_be() -> None:
    written = trace(_WritesInPlace(), 1)
    assert any(node.target is torch.ops.aten.add_.Tensor for node in written.graph.nodes)
    apart = _decompose(written)
    assert any(node.target is torch.ops.aten.add.Tensor for node in apart.graph.nodes)
    assert _decompose(apart) is apart
