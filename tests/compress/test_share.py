"""Shared layers: what starts them, the classes that hold them, gradients, corrections, and what is refused before any
work."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tiny import TAKEN_APART
from tiny_bundles import adopted
from transformers import AlbertConfig, AlbertModel, AutoModelForSequenceClassification

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.albert.alignment import aligned
from palmtop.compress.albert.shared_weights import Layers, low_rank, picked, sets_of
from palmtop.compress.albert.sharing_model import in_groups, in_own_class, ungrouped
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.layer_weights import LayerWeights, read_layer, write_half
from palmtop.models.linears import layers_of
from palmtop.models.opening import keep_layers, open_classifier
from palmtop.settings import build
from palmtop.stage import Outline, outline_of

IDS = torch.tensor([[2, 7, 9, 30, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
LABELS = ("money", "music", "weather")
SHAREABLE = sorted(set(TAKEN_APART) - {"mobilebert", "roformer"})


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A random BERT of four layers."""
    return adopted(tmp_path_factory.mktemp("bert"), "bert", num_hidden_layers=4)


@pytest.fixture(scope="module")
def albert(bert: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same in ALBERT's class, a narrow table, every layer its own group."""
    return _make(
        "factorize", {"embedding_size": 16, "fit_output": False}, bert, tmp_path_factory.mktemp("albert") / "made"
    )


def test_parameters_are_the_papers() -> None:
    """Lan et al. 2019, tables 1 and 4, as transformers counts them (it always has the mapping behind the
    embeddings)."""
    base = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    for changed, millions in (
        ({"embedding_size": 64}, 9.68),
        ({"embedding_size": 128}, 11.68),
        ({"embedding_size": 256}, 15.69),
        ({"embedding_size": 768}, 31.71),
    ):
        assert _millions(AlbertConfig(vocab_size=30_000, **{**base, **changed})) == millions
    for groups, millions in ((1, 11.75), (2, 18.84), (3, 25.93), (6, 47.19), (12, 89.72)):
        assert _millions(AlbertConfig(vocab_size=30_522, num_hidden_groups=groups, **base)) == millions
    assert round(_millions(AlbertConfig(vocab_size=30_000, **large))) == 18


def test_layers_are_shared_out_in_sequence_or_in_a_cycle() -> None:
    assert sets_of(6, 2, "sequence") == [0, 0, 0, 1, 1, 1]
    assert sets_of(6, 3, "cycle") == [0, 1, 2, 0, 1, 2]
    sets = sets_of(6, 2, "sequence")
    assert (picked(sets, "first"), picked(sets, "middle"), picked(sets, "stepwise")) == ([0, 3], [1, 4], [0, 5])
    assert picked(sets_of(12, 4, "sequence"), "middle") == [1, 4, 7, 10]
    assert picked(sets_of(4, 1, "sequence"), "stepwise") == [0]


@pytest.mark.slow
@pytest.mark.parametrize("family", SHAREABLE)
def test_a_layer_in_another_order_computes_the_same_and_is_found_again(family: str, tmp_path: Path) -> None:
    model = open_classifier(adopted(tmp_path / family, family).path)
    heads, free = model.config.num_attention_heads, family != "mpnet"
    own = read_layer(layers_of(model)[0], family)
    mixed = _mixed_up(own, heads, free)
    expected = _logits(model)
    for half in ("attention", "feed_forward"):
        write_half(layers_of(model)[0], half, family, mixed)
    assert torch.allclose(_logits(model), expected, atol=1e-5 * float(expected.std()) + 1e-6)
    back = aligned(mixed, own, heads, free)
    assert all(torch.allclose(back[name], own[name], atol=1e-4) for name in own)


def test_the_average_of_a_layer_and_its_mixed_up_self_is_the_layer(bert: Bundle) -> None:
    model = open_classifier(bert.path)
    own = read_layer(layers_of(model)[0], "bert")
    average = Layers([own, _mixed_up(own, 4, True)], 4, True).average([0, 1])
    assert all(torch.allclose(average[name], own[name], atol=1e-4) for name in own)


def test_low_rank_is_numpys_truncated_svd() -> None:
    residual = torch.randn(12, 7, generator=torch.Generator().manual_seed(0))
    left, values, right = np.linalg.svd(residual.numpy())
    up, down = low_rank(residual, 3)
    assert np.allclose((up @ down).numpy(), (left[:, :3] * values[:3]) @ right[:3], atol=1e-5)


def test_a_shared_weights_gradient_is_the_sum_over_its_uses(albert: Bundle) -> None:
    unshared = ungrouped(open_classifier(albert.path))
    weights = Layers.of(unshared).weights
    shared = in_groups(unshared, [weights[0], weights[2]])
    apart = in_groups(
        unshared, [weights[0], weights[0], weights[2], weights[2]]
    )  # the same numbers, a copy for each use
    for model in (shared, apart):
        model(input_ids=IDS, attention_mask=MASK).logits.square().sum().backward()
    uses, groups = layers_of(apart), layers_of(shared)
    for first in (0, 2):
        copies = [dict(layer.named_parameters()) for layer in uses[first : first + 2]]
        for name, parameter in groups[first].named_parameters():
            total = copies[0][name].grad + copies[1][name].grad
            assert torch.allclose(parameter.grad, total, rtol=1e-4, atol=1e-5 * float(total.abs().max()))


def test_a_half_shared_by_modules_has_the_sum_of_gradients_too(bert: Bundle) -> None:
    model = open_classifier(bert.path)
    weights = Layers.of(model).weights
    sets = {"feed_forward": [0, 0, 1, 1]}
    shared = in_own_class(model, sets, [weights[1], weights[2]], 0)
    for place, source in ((0, 1), (1, 1), (2, 2), (3, 2)):
        write_half(layers_of(model)[place], "feed_forward", "bert", weights[source])
    for one in (shared, model):
        one(input_ids=IDS, attention_mask=MASK).logits.square().sum().backward()
    uses = [layer.intermediate.dense.weight.grad for layer in layers_of(model)]
    for first in (0, 2):
        assert torch.allclose(
            layers_of(shared)[first].intermediate.dense.weight.grad, uses[first] + uses[first + 1], rtol=1e-4, atol=1e-5
        )
    assert layers_of(shared)[0].attention is not layers_of(shared)[1].attention


@pytest.mark.parametrize("start", ["middle", "first", "stepwise", "average", "best"])
def test_a_shared_bert_is_an_ordinary_albert(start: str, bert: Bundle, tmp_path: Path) -> None:
    made = _make("share", {"groups": 2, "start": start}, bert, tmp_path / "made")
    model = AutoModelForSequenceClassification.from_pretrained(made.path, attn_implementation="eager").eval()
    assert (model.config.model_type, model.config.num_hidden_groups, model.config.num_hidden_layers) == ("albert", 2, 4)
    assert made.card.facts["class"] == "AlbertForSequenceClassification"
    stored = load_file(made.path / "model.safetensors")
    assert sum(value.size for value in stored.values()) == made.card.facts["parameters"]
    assert len([name for name in stored if name.endswith("ffn.weight")]) == 2
    assert (made.path / "tokenizer.json").read_bytes() == (bert.path / "tokenizer.json").read_bytes()
    originals = [read_layer(layer, "bert") for layer in layers_of(open_classifier(bert.path))]
    if start != "average":
        for number, layer in enumerate(made.card.facts["started_from"]):
            found = read_layer(layers_of(model)[2 * number], "albert")
            assert all(torch.equal(found[name], originals[layer][name]) for name in found)


def test_best_is_no_worse_than_the_middle_and_says_how_near_it_is(bert: Bundle, tmp_path: Path) -> None:
    errors = {
        start: sum(_make("share", {"groups": 2, "start": start}, bert, tmp_path / start).card.facts["hidden_errors"])
        for start in ("middle", "best")
    }
    assert errors["best"] <= errors["middle"] * (1 + 1e-5)


def test_groups_of_an_albert_are_made_fewer(albert: Bundle, tmp_path: Path) -> None:
    two = _make("share", {"groups": 2}, albert, tmp_path / "two")
    one = _make("share", {"groups": 1}, two, tmp_path / "one")
    assert [open_classifier(made.path).config.num_hidden_groups for made in (albert, two, one)] == [4, 2, 1]
    with pytest.raises(
        UserError,
        match="groups is 1, but the source has 1 sets of layer weights: nothing would be shared; choose fewer",
    ):
        _stage({}).outline(outline_of(one))


@pytest.mark.parametrize(
    "settings",
    [
        {"what": "attention"},
        {"what": "feed_forward", "groups": 2, "order": "cycle"},
        {"groups": 2, "rank": 3, "start": "average"},
        {"what": "attention", "rank": 2},
    ],
)
def test_what_albert_can_not_express_round_trips_in_a_class_of_ours(
    settings: dict[str, Any], bert: Bundle, tmp_path: Path
) -> None:
    made = _make("share", settings, bert, tmp_path / "made")
    model = open_classifier(made.path)
    model.save_pretrained(tmp_path / "again")
    again = open_classifier(tmp_path / "again")
    assert torch.equal(_logits(model), _logits(again))
    assert made.card.facts["parameters"] == sum(parameter.numel() for parameter in again.parameters())
    stored = load_file(made.path / "model.safetensors")
    assert sum(value.size for value in stored.values()) == made.card.facts["parameters"]
    with pytest.raises(RuntimeError):  # transformers alone doesn't open it, rather than answer wrongly
        AutoModelForSequenceClassification.from_pretrained(made.path)


@pytest.mark.slow
@pytest.mark.parametrize("family", SHAREABLE)
def test_with_the_full_rank_and_without_sharing_nothing_is_lost(family: str, tmp_path: Path) -> None:
    changed = {"num_hidden_groups": 2} if family == "albert" else {}
    source = adopted(tmp_path / family, family, **changed)
    made = _make("share", {"rank": 32, "start": "average"}, source, tmp_path / "made")
    expected = _logits(open_classifier(source.path))
    assert torch.allclose(_logits(open_classifier(made.path)), expected, atol=1e-4 * float(expected.std()))
    assert max(made.card.facts["hidden_errors"]) < 1e-6
    strict = _make("share", {"what": "feed_forward"}, source, tmp_path / "strict")
    first, second = layers_of(open_classifier(strict.path))
    own = {
        name: value
        for name, value in read_layer(second, strict_type(strict)).items()
        if name.startswith("feed_forward")
    }
    assert all(torch.equal(read_layer(first, strict_type(strict))[name], value) for name, value in own.items())


def test_some_layers_of_a_shared_model_can_be_kept(bert: Bundle, albert: Bundle, tmp_path: Path) -> None:
    grouped = open_classifier(_make("share", {"groups": 2}, albert, tmp_path / "grouped").path)
    kept = keep_layers(grouped, [0, 3]).eval()
    assert (kept.config.num_hidden_layers, kept.config.num_hidden_groups) == (2, 2)
    assert torch.equal(layers_of(kept)[1].ffn.weight, layers_of(grouped)[3].ffn.weight)
    assert keep_layers(grouped, [0, 1]).config.num_hidden_groups == 1
    assert torch.equal(_logits(keep_layers(grouped, [0, 1, 2, 3]).eval()), _logits(grouped))
    with pytest.raises(
        UserError,
        match=r"layers \[0, 2, 3\] are of the groups \[0, 1, 1\] of shared weights, which an ALBERT of 3 layers",
    ):
        keep_layers(grouped, [0, 2, 3])
    own = open_classifier(_make("share", {"what": "attention", "groups": 2}, bert, tmp_path / "own").path)
    kept = keep_layers(own, [1, 2, 3]).eval()
    assert kept.config.palmtop_sharing["attention"] == [0, 1, 1]
    assert layers_of(kept)[1].attention is layers_of(kept)[2].attention
    assert torch.equal(layers_of(kept)[0].attention.self.query.weight, layers_of(own)[0].attention.self.query.weight)


def test_both_changes_at_once(bert: Bundle, tmp_path: Path) -> None:
    narrow = _make(
        "factorize", {"form": "keep_norm", "embedding_size": 8, "fit_output": False}, bert, tmp_path / "narrow"
    )
    made = _make("share", {"groups": 2}, narrow, tmp_path / "made")
    config = json.loads((made.path / "config.json").read_text())
    assert (config["model_type"], config["palmtop_embedding_size"], config["palmtop_sharing"]["attention"]) == (
        "bert",
        8,
        [0, 0, 1, 1],
    )
    stored = load_file(made.path / "model.safetensors")
    assert (
        sum(value.size for value in stored.values()) == made.card.facts["parameters"] < narrow.card.facts["parameters"]
    )


def test_a_distillation_after_it_trains_the_shared_weights_and_leaves_them_shared(bert: Bundle, tmp_path: Path) -> None:
    made = _make("share", {"groups": 2, "rank": 2}, bert, tmp_path / "made")
    taught = {"teacher": str(bert.path), "epochs": 2, "batch_size": 32, "learning_rate": 1e-3}
    recovered = _make("recover", taught, made, tmp_path / "recovered")
    before, after = (load_file(folder.path / "model.safetensors") for folder in (made, recovered))
    assert {name: value.shape for name, value in before.items()} == {name: value.shape for name, value in after.items()}
    name = "bert.encoder.layer.0.attention.self.query.shared.0.weight"
    assert not np.array_equal(before[name], after[name])
    first, second, *_ = layers_of(open_classifier(recovered.path))
    assert first.attention.self.query.shared is second.attention.self.query.shared
    assert first.attention.self.query.down is not second.attention.self.query.down


def test_what_can_not_be_is_told_before_any_work(bert: Bundle) -> None:
    known = outline_of(bert)
    with pytest.raises(UserError, match="groups is 3, which doesn't divide the 4 layers: choose 1, 2"):
        _stage({"groups": 3}).outline(known)
    with pytest.raises(
        UserError, match="groups is 4, but the source has 4 sets of layer weights: nothing would be shared"
    ):
        _stage({"groups": 4}).outline(known)
    with pytest.raises(
        UserError, match="rank is 64, but the model is 32 wide, and no matrix of it has a higher rank: choose less"
    ):
        _stage({"rank": 64}).outline(known)
    with pytest.raises(UserError, match="share isn't for the family 'mobilebert': its layers have bottlenecks"):
        _stage({}).outline(Outline("torch", "mobilebert", 4, LABELS))
    with pytest.raises(UserError, match="share needs a model with a task's head"):
        _stage({}).outline(Outline("torch", "bert", 4, None))
    with pytest.raises(
        UserError, match=r"the source can't share \(palmtop_shape in its config.json\): its layers have different heads"
    ):
        _stage({}).outline(Outline("torch", "bert", 4, LABELS, changes=("palmtop_shape",)))
    with pytest.raises(UserError, match=r"\(palmtop_sharing in its config.json\): its layers share weights already"):
        _stage({}).outline(_stage({"what": "attention"}).outline(known))
    with pytest.raises(
        UserError, match="form albert can't have what: attention, rank: 2: ALBERT's class has groups of whole layers"
    ):
        _stage({"form": "albert", "what": "attention", "rank": 2})
    with pytest.raises(
        UserError, match=r"form albert isn't for this electra model \(its head is a GELU layer, ALBERT's is tanh\)"
    ):
        _stage({"form": "albert"}).outline(Outline("torch", "electra", 4, LABELS))


def test_projections_of_positions_are_refused(tmp_path: Path) -> None:
    source = adopted(tmp_path / "deberta", "deberta-v2", share_att_key=False)
    with pytest.raises(
        UserError, match="share isn't for deberta-v2 with share_att_key: false: its layers have projections of relative"
    ):
        _make("share", {}, source, tmp_path / "made")


def strict_type(bundle: Bundle) -> str:
    return str(json.loads((bundle.path / "config.json").read_text())["model_type"])


def _mixed_up(own: LayerWeights, heads: int, free: bool) -> LayerWeights:
    """The same layer with heads and neurons in another order, and each head's axes turned."""
    random = torch.Generator().manual_seed(3)
    order = torch.randperm(heads, generator=random) if free else torch.arange(heads)
    mixed = dict(own)
    for pair in (("query", "key"), ("value", "attention_output")):
        turn = torch.linalg.qr(torch.randn(heads, 32 // heads, 32 // heads, generator=random))[0]
        for name in pair:
            if name == "attention_output":
                mixed[f"{name}.weight"] = (
                    (turn @ own[f"{name}.weight"].T.unflatten(0, (heads, -1))[order]).flatten(0, 1).T.contiguous()
                )
            else:
                mixed[f"{name}.weight"] = (turn @ own[f"{name}.weight"].unflatten(0, (heads, -1))[order]).flatten(0, 1)
                mixed[f"{name}.bias"] = (
                    turn @ own[f"{name}.bias"].unflatten(0, (heads, -1))[order][..., None]
                ).flatten()
    neurons = torch.randperm(len(own["feed_forward_in.bias"]), generator=random)
    rows = {name: own[name][neurons] for name in ("feed_forward_in.weight", "feed_forward_in.bias")}
    return mixed | rows | {"feed_forward_out.weight": own["feed_forward_out.weight"][:, neurons]}


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=IDS, attention_mask=MASK).logits
    return logits


def _millions(config: AlbertConfig) -> float:
    with torch.device("meta"):
        model = AlbertModel(config)
    return round(sum(parameter.numel() for parameter in model.parameters()) / 1e6, 2)


def _stage(settings: dict[str, Any]) -> Any:
    return build(stage.find("share"), settings, "share")


def _make(use: str, settings: dict[str, Any], source: Bundle, out: Path) -> Bundle:
    return make(use, build(stage.find(use), settings, use), source, out, lambda _: None)
