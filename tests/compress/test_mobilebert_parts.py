"""MobileBERT's parts: blocks against their equations, parameter counts, IB-BERT, principal maps, losses against their
formulas."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import sentences, write_model
from tiny_bundles import adopted
from transformers import (
    AutoModelForSequenceClassification,
    MobileBertConfig,
    MobileBertForPreTraining,
    MobileBertForSequenceClassification,
    MobileBertModel,
    PreTrainedModel,
)

from palmtop.compress.distillation.feature_losses import log_relations, relation_loss
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.mobilebert import ib_weights
from palmtop.compress.mobilebert.ib_weights import ib_bert_from
from palmtop.compress.mobilebert.inverted_bottleneck import ORDINARY, sample_of
from palmtop.compress.mobilebert.layer_maps import Watched, normalised
from palmtop.compress.mobilebert.map_losses import map_loss
from palmtop.compress.mobilebert.map_transfer import common_heads, facing_layers, learned_projections
from palmtop.compress.mobilebert.mobilebert_body import PRESETS, mobilebert_config
from palmtop.compress.mobilebert.narrow_embeddings import embedding_sizes, settle_norm, token_counts, write_embeddings
from palmtop.compress.mobilebert.principal_maps import Survey, aligned_bases, linear_head, scales, survey
from palmtop.models.ib_bert import ib_bert_config, is_ib_bert
from palmtop.models.opening import keep_layers, open_classifier
from palmtop.models.reshaped import reshaped_class
from palmtop.signature import Signature
from palmtop.task import Split

Array = np.ndarray[Any, np.dtype[np.float64]]

BODY = {"vocab_size": 30522}
SMALL = {
    "vocab_size": 50,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 32,
    "embedding_size": 12,
    "initializer_range": 0.3,
    "classifier_activation": False,
}


def counted(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_papers_sizes_have_the_parameters_that_were_counted() -> None:
    with torch.device("meta"):
        body = MobileBertModel(mobilebert_config(PRESETS["mobilebert"], 0.1, BODY))
        small = MobileBertModel(mobilebert_config(PRESETS["mobilebert_tiny"], 0.1, BODY))
        pretraining = MobileBertForPreTraining(mobilebert_config(PRESETS["mobilebert"], 0.1, BODY))
    assert counted(body) == 24_581_888
    assert counted(body.embeddings) == 4_368_128
    assert counted(body.encoder.layer[0]) == 842_240
    assert counted(small) == 15_485_696
    assert counted(pretraining) == 36_597_564


def test_the_ib_bert_of_the_papers_sizes_has_294_million_parameters() -> None:
    with torch.device("meta"):
        model = reshaped_class(MobileBertModel)(ib_bert_config(classifier_activation=True))
    assert counted(model) == 294_467_840
    assert model.encoder.layer[3].attention.self.query.in_features == 512


@pytest.mark.parametrize("form", ["shared", "bottleneck", "inverted"])
def test_a_forward_pass_is_that_of_the_equations(form: str) -> None:
    model = small_model(form)
    ids, mask = torch.tensor([[3, 9, 17, 4, 30, 2]]), torch.ones(1, 6, dtype=torch.int64)
    with torch.no_grad():
        found = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[0].double().numpy()
    expected = reference(model, ids[0].numpy(), form)
    assert np.abs(found - expected).max() < 1e-5 * max(1.0, float(np.abs(expected).max()))


def small_model(form: str) -> PreTrainedModel:
    """A random one with scales and shifts that are not 1 and 0."""
    torch.manual_seed(0)
    if form == "inverted":
        config: Any = ib_bert_config(**SMALL | {"intra_bottleneck_size": 40, "layer_norm_eps": 1e-12})
        kind = reshaped_class(MobileBertForSequenceClassification)
    else:
        config = MobileBertConfig(
            **SMALL,
            intra_bottleneck_size=16,
            num_feedforward_networks=3,
            use_bottleneck_attention=form != "shared",
            key_query_shared_bottleneck=form == "shared",
        )
        kind = MobileBertForSequenceClassification
    model = kind._from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.base_model.embeddings.word_embeddings.weight[0] = 0
    return model  # type: ignore[no-any-return]  # transformers is untyped


def reference(model: PreTrainedModel, ids: Array, form: str) -> Array:
    """MobileBERT in numpy: e = [E[t+1], E[t], E[t-1]] W + ..., then blocks of bottleneck, attention, feed-forward stack
    (2004.02984)."""
    weights = {name: value.double().numpy() for name, value in model.base_model.state_dict().items()}

    def linear(x: Array, name: str) -> Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x: Array, name: str) -> Array:
        if form == "inverted":
            eps = (
                1e-5
                if name in ("embeddings.LayerNorm",) or (name.endswith("output.LayerNorm") and "attention" not in name)
                else 1e-12
            )
            x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def act(x: Array) -> Array:
        from scipy.special import erf

        return np.asarray(x * 0.5 * (1 + erf(x / np.sqrt(2)))) if form == "inverted" else np.maximum(x, 0)

    table = weights["embeddings.word_embeddings.weight"][ids]
    zero = np.zeros_like(table[:1])
    trigram = np.concatenate([np.concatenate([table[1:], zero]), table, np.concatenate([zero, table[:-1]])], -1)
    x = (
        linear(trigram, "embeddings.embedding_transformation")
        + weights["embeddings.position_embeddings.weight"][: len(ids)]
    )
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    heads = model.config.num_attention_heads
    for number in range(model.config.num_hidden_layers):
        at = f"encoder.layer.{number}."
        r = norm(linear(x, at + "bottleneck.input.dense"), at + "bottleneck.input.LayerNorm")
        s = (
            norm(linear(x, at + "bottleneck.attention.dense"), at + "bottleneck.attention.LayerNorm")
            if form == "shared"
            else None
        )
        asks, values = (s, x) if s is not None else (r, r) if form == "bottleneck" else (x, x)
        q, k, v = (
            linear(given, f"{at}attention.self.{name}").reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for name, given in (("query", asks), ("key", asks), ("value", values))
        )
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        context = (shares / shares.sum(-1, keepdims=True) @ v).transpose(1, 0, 2).reshape(len(ids), -1)
        a = norm(linear(context, at + "attention.output.dense") + r, at + "attention.output.LayerNorm")
        for further in range(model.config.num_feedforward_networks - 1):
            ffn = f"{at}ffn.{further}."
            a = norm(
                linear(act(linear(a, ffn + "intermediate.dense")), ffn + "output.dense") + a, ffn + "output.LayerNorm"
            )
        a = norm(linear(act(linear(a, at + "intermediate.dense")), at + "output.dense") + a, at + "output.LayerNorm")
        x = norm(linear(a, at + "output.bottleneck.dense") + x, at + "output.bottleneck.LayerNorm")
    return x


def test_an_ib_bert_is_written_and_opened_again_and_refused_without_palmtop(tmp_path: Path) -> None:
    model = small_model("inverted")
    model.save_pretrained(tmp_path)
    again = open_classifier(tmp_path)
    ids = torch.tensor([[3, 9, 17, 4]])
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, again(input_ids=ids).logits)
        one = keep_layers(again, [0, 1])
        assert torch.equal(one.eval()(input_ids=ids).logits, again(input_ids=ids).logits)
    assert is_ib_bert(again.config)
    with pytest.raises(RuntimeError, match="size"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path)


@pytest.fixture(scope="module", params=ORDINARY)
def teacher(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PreTrainedModel, Encoded]:
    """A random teacher of each family that is taken, with large weights, and texts."""
    bundle = adopted(tmp_path_factory.mktemp(request.param), request.param)
    return open_classifier(bundle.path), encoded(bundle.path)


def encoded(folder: Path) -> Encoded:
    rows = sentences(60, 4)
    split = Split([(text,) for text, _ in rows], np.arange(60) % 3, "")
    return Encoded.of(split, folder, Signature.read(folder))


def test_an_ib_bert_as_wide_as_its_teacher_says_in_each_layer_what_it_says(
    teacher: tuple[PreTrainedModel, Encoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = teacher
    monkeypatch.setattr(ib_weights, "LOUDNESS", 1e4)  # nothing is left of the residual connection past a block
    watched = Watched(model, normalised=True, attention=False)
    found = survey(watched, data, range(60))
    made = ib_bert_from(model, found, token_counts(data, model.config.vocab_size), 32, 32, 4, 0.0)
    bases, batch = aligned_bases(found, 32), data.batch([3, 4, 5, 6])
    with torch.no_grad():
        ours, theirs = Watched(made, normalised=False, attention=False)(batch), watched(batch)
    real = batch["attention_mask"].bool()
    for own, old, basis in zip(ours.maps, theirs.maps, bases, strict=True):
        assert torch.allclose((own @ basis)[real], old[real], atol=5e-3)


def test_a_narrower_ib_bert_still_answers_much_like_its_teacher(teacher: tuple[PreTrainedModel, Encoded]) -> None:
    model, data = teacher
    found = survey(Watched(model, normalised=True, attention=False), data, range(60))
    made = ib_bert_from(model, found, token_counts(data, model.config.vocab_size), 28, 28, 4, 0.0)
    batch = data.batch(range(60))
    with torch.no_grad():
        both = torch.stack([kind(**batch).logits.flatten() for kind in (model, made)])
    assert float(torch.corrcoef(both)[0, 1]) > 0.5  # a random teacher's maps have no directions to leave out


def test_principal_bases_keep_zero_sums_and_most_of_what_varies() -> None:
    values = normalised(
        torch.randn(3, 400, 20, generator=torch.Generator().manual_seed(0)).double() * torch.linspace(0.1, 3, 20)
    )
    moments = torch.stack([one.T @ one / 400 for one in values])
    crossed = torch.stack([above.T @ below / 400 for below, above in ((values[0], values[1]), (values[1], values[2]))])
    found = Survey(moments, crossed, torch.zeros(1, 20), torch.zeros(1, 2))
    for width in (8, 20, 32):
        bases = aligned_bases(found, width)
        for basis, one, moment, size in zip(bases, values, moments, scales(found, bases), strict=True):
            narrow = one @ basis.double().T
            assert float(narrow.sum(-1).abs().max()) < 1e-4
            assert size == pytest.approx(float(narrow.square().mean().sqrt()), rel=1e-5)
            lost = float((narrow @ basis.double() - one).square().sum(-1).mean())
            assert lost == pytest.approx(
                float(torch.linalg.eigvalsh(moment)[: -(width - 1)].sum()) if width < 20 else 0.0, abs=1e-5
            )
        if width == 20:
            assert torch.allclose(normalised(values[1] @ bases[1].double().T) @ bases[1].double(), values[1], atol=1e-5)


def test_bases_of_layers_are_turned_towards_those_below() -> None:
    below = normalised(torch.randn(500, 16, generator=torch.Generator().manual_seed(1)).double())
    above = normalised(below + 0.3 * torch.randn(500, 16, generator=torch.Generator().manual_seed(2)).double())
    found = Survey(
        torch.stack([below.T @ below, above.T @ above]) / 500,
        (above.T @ below)[None] / 500,
        torch.zeros(1, 16),
        torch.zeros(1, 2),
    )
    first, second = (basis.double() for basis in aligned_bases(found, 16))
    gap = (above @ second.T - below @ first.T).square().mean() / (below @ first.T).square().mean()
    assert float(gap) < 0.15  # 2 where the two have nothing to do with each other


def test_the_linear_head_is_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    features, truth = torch.randn(200, 6, generator=generator), torch.randn(3, 6, generator=generator)
    weight, bias = linear_head(features, features @ truth.T + 2.0)
    assert torch.allclose(weight, truth, atol=1e-2)
    assert torch.allclose(bias, torch.full((3,), 2.0), atol=1e-2)


def test_embeddings_sum_up_to_the_teachers_in_the_narrow_basis(teacher: tuple[PreTrainedModel, Encoded]) -> None:
    model, data = teacher
    found = survey(Watched(model, normalised=True, attention=False), data, range(60))
    [basis, *_] = aligned_bases(found, 16)
    student = MobileBertForSequenceClassification(
        MobileBertConfig(**SMALL | {"hidden_size": 16, "embedding_size": 32} | embedding_sizes(model.config))
    )
    write_embeddings(student, model, basis, token_counts(data, model.config.vocab_size))
    batch, sums = data.batch([5, 6, 7]), {}
    hook = model.base_model.embeddings.LayerNorm.register_forward_hook(
        lambda _, given, __: sums.update(theirs=given[0])
    )
    with torch.no_grad():
        model(**batch)
        own = student.base_model.embeddings(batch["input_ids"])
    hook.remove()
    assert torch.allclose(
        own[batch["attention_mask"].bool()], (sums["theirs"] @ basis.T)[batch["attention_mask"].bool()], atol=1e-4
    )
    assert not student.base_model.embeddings.word_embeddings.weight[model.config.pad_token_id].any()
    settle_norm(student.base_model.embeddings, data, list(range(60)), torch.tensor(1.0), torch.tensor(0.0))
    with torch.no_grad():
        batch = data.batch(range(60))
        settled = student.base_model.embeddings(batch["input_ids"])[batch["attention_mask"].bool()]
    assert float(settled.var(-1, correction=0).mean()) == pytest.approx(1.0, abs=1e-3)


def test_map_loss_equals_its_formula_and_ignores_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 5, 8, generator=generator), 2 * torch.randn(2, 5, 8, generator=generator) + 1
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    found = map_loss(student, teacher, mask)
    for text, tokens in enumerate((3, 5)):
        ours, theirs = (side[text, :tokens].double().numpy() for side in (student, teacher))
        plain = [(side - side.mean(-1, keepdims=True)) / side.std(-1, keepdims=True) for side in (ours, theirs)]
        assert float(found.shape[text]) == pytest.approx(((plain[0] - plain[1]) ** 2).mean(), rel=1e-5)
        assert float(found.mean[text]) == pytest.approx(((ours.mean(-1) - theirs.mean(-1)) ** 2).mean(), rel=1e-5)
        assert float(found.variance[text]) == pytest.approx(np.abs(ours.var(-1) - theirs.var(-1)).mean(), rel=1e-5)
    student[0, 3:], teacher[0, 3:] = float("nan"), 1e9
    again = map_loss(student, teacher, mask)
    for before, after in zip(found, again, strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("family", ["bert", "mobilebert"])
def test_relations_of_queries_and_keys_are_the_models_attention(tmp_path: Path, family: str) -> None:
    folder = write_model(tmp_path / "model", family)
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    batch = {
        "input_ids": torch.tensor([[3, 9, 17, 4, 0, 0], [3, 8, 7, 6, 5, 4]]),
        "attention_mask": torch.tensor([[1] * 4 + [0] * 2, [1] * 6]),
    }
    with torch.no_grad():
        seen = Watched(model, normalised=family == "bert", attention=True)(batch)
        expected = model(**batch, output_attentions=True).attentions
    for found, attention in zip(seen.projections, expected, strict=True):
        assert torch.allclose(
            log_relations(found["query"], found["key"], 4, batch["attention_mask"]).exp(), attention, atol=1e-6
        )


def test_relation_loss_equals_its_formula_and_ignores_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(1, 5, 12, generator=generator), torch.randn(1, 5, 24, generator=generator)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    found = relation_loss(log_relations(student, student, 3, mask), log_relations(teacher, teacher, 3, mask), mask)
    total = 0.0
    for head in range(3):
        rows = []
        for side in (student, teacher):
            part = side[0, :3].double().numpy().reshape(3, 3, -1)[:, head]
            scores = np.exp(part @ part.T / np.sqrt(part.shape[-1]))
            rows.append(scores / scores.sum(-1, keepdims=True))
        total += float((rows[1] * np.log(rows[1] / rows[0])).sum(-1).mean()) / 3
    assert float(found) == pytest.approx(total, rel=1e-4)
    same = log_relations(teacher, teacher, 3, mask)
    assert float(relation_loss(same, same, mask)) == 0.0


def test_which_layers_face_each_other() -> None:
    assert facing_layers(24, 6) == tuple(layer for layer in range(1, 7) for _ in range(4))
    assert facing_layers(6, 24) == (4, 8, 12, 16, 20, 24)
    assert facing_layers(4, 6) == (2, 3, 5, 6)
    assert facing_layers(3, 3) == (1, 2, 3)


@pytest.mark.parametrize(
    ("student", "teacher", "heads"), [(128, 768, 16), (96, 384, 12), (16, 32, 2), (10, 27, 1), (128, 1024, 16)]
)
def test_as_many_relation_heads_as_divide_both(student: int, teacher: int, heads: int) -> None:
    assert common_heads(student, teacher) == heads


def test_learned_projections_start_as_the_way_back_from_the_principal_components() -> None:
    bases = [torch.randn(4, 6) for _ in range(3)]
    made = learned_projections(bases, (1, 2))
    assert torch.allclose(made[1](torch.ones(4)), torch.ones(4) @ bases[2])


def test_a_sample_is_drawn_without_repetition_and_always_the_same() -> None:
    assert sample_of(100, 10, 3) == sample_of(100, 10, 3)
    assert len(set(sample_of(100, 10, 3))) == 10
    assert sample_of(5, 10, 0) == [0, 1, 2, 3, 4]
