"""The stages mobilebert and inverted_bottleneck: strategies, teachers of both kinds, padding, a killed run, what is
refused, exports."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import write_model, write_task
from tiny_bundles import accuracy
from transformers import AutoModelForSequenceClassification

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.distillation.teacher_signals import TeacherSignals, Wanted, signals
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.special import Fitted
from palmtop.compress.learning.torch_bundles import shortened
from palmtop.compress.mobilebert import mobilebert_phases
from palmtop.compress.mobilebert.mobilebert import Mobilebert
from palmtop.compress.mobilebert.mobilebert_pair import Pair, pair_of
from palmtop.compress.mobilebert.mobilebert_phases import plans, train
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.ib_bert import is_ib_bert
from palmtop.models.opening import open_classifier
from palmtop.signature import Signature
from palmtop.stage import Outline, Work
from palmtop.task import Task

SIZES = {"layers": 2, "inner_width": 16, "heads": 4, "feed_forward": 24, "stack": 2}
SHORT: dict[str, Any] = {
    **SIZES,
    "width": 24,
    "embedding_size": 16,
    "strategy": "progressive",
    "transfer_epochs": 4,
    "epochs": 2,
    "batch_size": 16,
    "learning_rate": 3e-3,
}
FROM_IB = SHORT | {"width": None, "embedding_size": None}
SPREAD = 1e-4
"""Float32 rounding over a few layers is some 1e-6 of the spread of the logits."""


@pytest.fixture(scope="module")
def ib_bert(teacher: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An IB-BERT made of it, 16 wide between the layers."""
    settings = {"epochs": 2, "batch_size": 16, "embedding_size": 16, "learning_rate": 1e-3}
    return made("inverted_bottleneck", settings, teacher, tmp_path_factory.mktemp("ib") / "ib")


@pytest.fixture(scope="module")
def student(ib_bert: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A MobileBERT of the paper's recipe."""
    return made(
        "mobilebert",
        FROM_IB | {"transfer_epochs": 2, "epochs": 6},
        ib_bert,
        tmp_path_factory.mktemp("student") / "student",
    )


def made(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda _: None)


def test_an_ib_bert_is_made_and_keeps_what_its_teacher_knows(teacher: Bundle, ib_bert: Bundle) -> None:
    model = open_classifier(ib_bert.path)
    assert is_ib_bert(model.config)
    assert (model.config.hidden_size, model.config.intra_bottleneck_size, model.config.num_attention_heads) == (
        16,
        32,
        4,
    )
    assert {name: ib_bert.card.facts[name] for name in ("width", "inner_width", "heads", "rows")} == {
        "width": 16,
        "inner_width": 32,
        "heads": 4,
        "rows": 96,
    }
    assert accuracy(ib_bert) > accuracy(teacher) - 0.15


def test_the_papers_recipe_is_called_by_its_name_and_opens_without_palmtop(student: Bundle) -> None:
    facts = student.card.facts
    assert facts["recipe"] == "MobileBERT"
    assert facts["projection"] == "none"
    assert facts["attention"] == "maps, 4 heads"
    assert list(facts["phases"]) == ["layer_01", "layer_02", "prediction"]
    assert facts["steps"] == sum(phase["steps"] for phase in facts["phases"].values()) == 6 + 6 + 36
    model = AutoModelForSequenceClassification.from_pretrained(student.path)
    assert model.config.id2label == {0: "money", 1: "music", 2: "weather"}
    assert (model.config.normalization_type, model.config.hidden_act, model.config.classifier_activation) == (
        "no_norm",
        "relu",
        False,
    )
    assert sorted(path.name for path in (student.path / "logs").iterdir()) == ["layer_01", "layer_02", "prediction"]
    assert accuracy(student) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "recipe", "attention", "phases"),
    [
        (
            {"strategy": "joint", "projection": "learned"},
            "MobileBERT-architecture student, BERT teacher",
            "maps, 4 heads",
            ["transfer", "prediction"],
        ),
        (
            {"strategy": "progressive", "projection": "learned", "heads": 2, "layers": 3},
            "MobileBERT-architecture student, BERT teacher",
            "relations, 2 heads",
            ["layer_01", "layer_02", "layer_03", "prediction"],
        ),
        (
            {"transfer_epochs": 0},
            "MobileBERT-architecture student, BERT teacher, prediction only",
            "none",
            ["prediction"],
        ),
    ],
)
def test_what_was_done_with_a_bert_is_told(
    teacher: Bundle, tmp_path: Path, settings: dict[str, Any], recipe: str, attention: str, phases: list[str]
) -> None:
    bundle = made("mobilebert", SHORT | settings, teacher, tmp_path / "out")
    facts = bundle.card.facts
    assert (facts["recipe"], facts["attention"], list(facts["phases"])) == (recipe, attention, phases)
    assert facts["projection"] == settings.get("projection", "pca")
    assert not [name for name in load_file(bundle.path / "model.safetensors") if "projection" in name]
    assert facts["parameters"] == sum(
        weight.numel() for weight in load_file(bundle.path / "model.safetensors").values()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "kind"), [("auxiliary", "bert"), ("joint", "ib_bert"), ("progressive", "ib_bert")]
)
def test_each_strategy_brings_every_layer_nearer_to_its_teachers(
    teacher: Bundle, ib_bert: Bundle, tmp_path: Path, strategy: str, kind: str
) -> None:
    source, settings = (teacher, SHORT) if kind == "bert" else (ib_bert, FROM_IB)
    settings = settings | {
        "strategy": strategy,
        "transfer_epochs": 20,
        "epochs": 0.1,
        "label_weight": 0.1,
        "learning_rate": 5e-3,
    }
    pair, run = prepared(source, Mobilebert(**settings))
    before = [far(pair, source, layer) for layer in (1, 2)]
    run(tmp_path)
    after = [far(pair, source, layer) for layer in (1, 2)]
    for first, last in zip(before, after, strict=True):
        assert last["maps"] < 0.9 * first["maps"]
        assert sum(last.values()) < 0.9 * sum(
            first.values()
        )  # what is trained; single terms of small weight may give way to others


@pytest.mark.slow
def test_layers_below_stand_still_at_a_lower_rate_of_0_and_learn_otherwise(ib_bert: Bundle, tmp_path: Path) -> None:
    moved = {}
    for rate in (0.0, 0.1):
        pair, run = prepared(
            ib_bert,
            Mobilebert(**FROM_IB | {"lower_rate": rate, "transfer_epochs": 1, "epochs": 0.1, "learning_rate": 1e-3}),
        )
        start = {name: weight.clone() for name, weight in pair.student.state_dict().items()}
        run(tmp_path / str(rate))
        weights = [load_file(tmp_path / str(rate) / f"layer_0{layer}" / "weights.safetensors") for layer in (1, 2)]
        own = "mobilebert.encoder.layer.0.attention.self.query.weight"
        moved[rate] = float((weights[1][own] - weights[0][own]).abs().max())
        table = "mobilebert.embeddings.position_embeddings.weight"
        assert torch.equal(weights[0][table], start[table]) == (rate == 0.0)
        last = "mobilebert.encoder.layer.1.attention.self.query.weight"
        assert torch.equal(weights[0][last], start[last])
        assert torch.equal(weights[1]["classifier.weight"], start["classifier.weight"])
        first_change = float((weights[0][own] - start[own]).abs().max())
        assert moved[rate] < 0.5 * first_change
    assert moved[0.0] == 0.0 < moved[0.1]


def test_a_student_that_is_its_teacher_has_nothing_to_learn_of_it(student: Bundle) -> None:
    pair, _ = prepared(student, Mobilebert(**FROM_IB))
    pair.student.load_state_dict(open_classifier(student.path).state_dict())
    for layer in (1, 2):
        assert all(value == pytest.approx(0.0, abs=1e-6) for value in far(pair, student, layer).values())
    assert pair.recipe == "MobileBERT-architecture student, MobileBERT teacher"


@pytest.mark.parametrize("kind", ["student", "ib_bert"])
def test_padding_changes_no_answer(request: pytest.FixtureRequest, kind: str) -> None:
    bundle: Bundle = request.getfixturevalue(kind)
    model, data = open_classifier(bundle.path), encoded(bundle)
    assert not model.base_model.embeddings.word_embeddings.weight[0].any()
    for row in (0, 7, 20):
        alone = data.batch([row])
        padded = {name: torch.nn.functional.pad(value, (0, 6)) for name, value in alone.items()}
        with torch.no_grad():
            assert torch.allclose(model(**alone).logits, model(**padded).logits, atol=1e-5)


@pytest.mark.slow
def test_a_run_that_was_killed_between_phases_goes_on_with_the_next(
    ib_bert: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def until_the_third(model: Any, data: Any, loss: Any, settings: Any, scratch: Path, *rest: Any) -> Fitted:
        calls.append(scratch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return palmtop_fit(model, data, loss, settings, scratch, *rest)

    palmtop_fit: Callable[..., Fitted] = mobilebert_phases.fit
    settings = FROM_IB | {"transfer_epochs": 0.6, "epochs": 0.5}
    whole = made("mobilebert", settings, ib_bert, tmp_path / "whole")
    monkeypatch.setattr(mobilebert_phases, "fit", until_the_third)
    with pytest.raises(KeyboardInterrupt):
        made("mobilebert", settings, ib_bert, tmp_path / "killed")
    again = made("mobilebert", settings, ib_bert, tmp_path / "killed")
    assert [folder.name for folder in calls] == ["layer_01", "layer_02", "prediction", "prediction"]
    assert again.card.facts["phases"] == whole.card.facts["phases"]
    first, second = (load_file(bundle.path / "model.safetensors") for bundle in (whole, again))
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["distilbert", "roberta"])
def test_other_families_of_its_kind_teach_too(family: str, tmp_path: Path) -> None:
    base = made("adopt", {"model": str(write_model(tmp_path / "model", family))}, None, tmp_path / "base")
    teacher = made(
        "finetune", {"task": write_task(tmp_path / "data"), "epochs": 0.2, "batch_size": 16}, base, tmp_path / "teacher"
    )
    ib = made("inverted_bottleneck", {"epochs": 0.2, "batch_size": 16, "embedding_size": 16}, teacher, tmp_path / "ib")
    for source, recipe in (
        (ib, "MobileBERT"),
        (teacher, {"distilbert": "DistilBERT teacher", "roberta": "RoBERTa teacher"}[family]),
    ):
        settings = FROM_IB | {
            "strategy": "auxiliary",
            "transfer_epochs": 0.1,
            "epochs": 0.1,
            "width": None if source is ib else 24,
        }
        bundle = made(
            "mobilebert",
            settings | ({} if source is ib else {"embedding_size": 16}),
            source,
            tmp_path / f"from_{source.name}",
        )
        assert bundle.card.facts["recipe"].endswith(recipe)
        assert Signature.read(bundle.path).inputs == ("input_ids", "attention_mask")


@pytest.mark.slow
@pytest.mark.parametrize(("use", "settings"), [("to_tflite", {"lengths": [24]}), ("to_onnx", {})])
def test_the_exported_file_answers_as_torch(
    student: Bundle, use: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    bundle = made(use, settings, student, tmp_path / "out")
    assert bundle.card.facts["parity_difference"] < SPREAD


def test_an_ib_bert_is_fine_tuned_further_like_any_model(ib_bert: Bundle, tmp_path: Path) -> None:
    bundle = made("finetune", {"epochs": 1, "batch_size": 16}, ib_bert, tmp_path / "out")
    assert is_ib_bert(open_classifier(bundle.path).config)


@pytest.mark.parametrize("use", ["mobilebert", "inverted_bottleneck"])
def test_teachers_that_cannot_be_taken_are_refused_by_name(use: str) -> None:
    kind = stage.find(use)
    with pytest.raises(UserError, match=f"{use} needs a teacher that was fine-tuned: put a 'finetune' step before it"):
        kind().outline(Outline("torch", "bert", 6))
    families = "bert, camembert, distilbert, .*"
    with pytest.raises(UserError, match=rf"{use} takes a teacher of the families {families} but this one is 'albert'"):
        kind().outline(Outline("torch", "albert", 6, ("a", "b")))
    with pytest.raises(
        UserError, match=r"was made smaller before \(it has palmtop_shape in its config.json\): take the model"
    ):
        kind().outline(Outline("torch", "bert", 6, ("a", "b"), changes=("palmtop_shape",)))
    assert kind().outline(Outline("torch", "bert", 6, ("a", "b"))).family == "mobilebert"


def test_an_ib_bert_is_not_made_of_a_mobilebert() -> None:
    with pytest.raises(UserError, match="but this one is 'mobilebert'"):
        stage.find("inverted_bottleneck")().outline(Outline("torch", "mobilebert", 6, ("a", "b")))


def test_heads_that_do_not_divide_are_refused_before_work() -> None:
    with pytest.raises(UserError, match="heads is 5, which does not divide inner_width 96"):
        Mobilebert(heads=5).outline(Outline("torch", "bert", 6, ("a", "b")))


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (
            "ib_bert",
            {"width": 24},
            "width is 24, but the teacher's is 16, and its maps and embeddings are taken as they are: leave width out",
        ),
        ("ib_bert", {"embedding_size": 8}, "embedding_size is 8, but the teacher's is 16"),
        (
            "ib_bert",
            {"heads": 2, "attention": "maps"},
            "attention is 'maps', but the teacher has 4 heads and the student 2: set heads to",
        ),
        (
            "teacher",
            {"embedding_size": 64},
            "embedding_size is 64, but the teacher's token vectors have 32 values: choose up to 32",
        ),
        (
            "teacher",
            {"attention": "relations", "relation_heads": 3},
            "relation_heads is 3, which must divide inner_width 16 and the teacher's 32: the most that do are 16",
        ),
    ],
)
def test_sizes_that_do_not_fit_the_teacher_are_refused_before_work(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, settings: dict[str, Any], message: str
) -> None:
    base = FROM_IB if kind == "ib_bert" else SHORT
    with pytest.raises(UserError, match=message):
        made("mobilebert", base | settings, request.getfixturevalue(kind), tmp_path / "out")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 40}, "width is 40, more than the teacher's 32, which is the inside of the IB-BERT: choose up to 32"),
        (
            {"embedding_size": 64},
            "embedding_size is 64, but the teacher's token vectors have 32 values: choose up to 32",
        ),
        ({"heads": 3, "embedding_size": 16}, "heads is 3, but the teacher has 4: choose a divisor of that"),
    ],
)
def test_sizes_of_an_ib_bert_that_do_not_fit_are_refused(
    teacher: Bundle, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        made("inverted_bottleneck", settings, teacher, tmp_path / "out")


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="no answer would be learnt"):
        Mobilebert(soft_weight=0, label_weight=0)
    with pytest.raises(ValueError, match="there is nothing to transfer; set transfer_epochs: 0"):
        Mobilebert(map_weight=0, attention="none")
    with pytest.raises(ValueError, match="nothing would be learnt"):
        stage.find("inverted_bottleneck")(map_weight=0, soft_weight=0, label_weight=0)


def test_the_strategies_cost_the_same_passes_over_the_data() -> None:
    for strategy in ("auxiliary", "joint", "progressive"):
        found = plans(Mobilebert(strategy=strategy, transfer_epochs=6, epochs=2), 4)
        assert sum(plan.epochs for plan in found) == pytest.approx(8)


def encoded(source: Bundle) -> Encoded:
    task = Task.of(source.path)
    assert task is not None
    return Encoded.of(task.load("train"), source.path, shortened(source, 128))


def prepared(source: Bundle, settings: Mobilebert) -> tuple[Pair, Callable[[Path], Any]]:
    """A student beside its teacher, and what trains it with a folder as scratch."""
    teacher, data, task = open_classifier(source.path), encoded(source), Task.of(source.path)
    assert task is not None
    pair = pair_of(teacher.requires_grad_(False), settings.sizes(teacher.config), settings, data)

    def run(scratch: Path) -> dict[str, Any]:
        (scratch / "out").mkdir(parents=True)
        return train(
            pair,
            settings,
            task,
            data,
            lambda hidden: said(source, data, hidden).batch,
            Work(scratch / "out", scratch, print),
        )

    return pair, run


def far(pair: Pair, source: Bundle, layer: int) -> dict[str, float]:
    """The terms of one layer, over the first texts."""
    data = encoded(source)
    batch = data.batch(range(48)) | said(source, data, pair.transfer.hidden([layer])).batch(range(48))
    with torch.no_grad():
        terms = pair.transfer.terms(pair.transfer.student(batch), batch, [layer])
    return {name: float(value.mean()) for name, value in terms.items()}


def said(source: Bundle, data: Encoded, hidden: Sequence[int]) -> TeacherSignals:
    return signals(source, data, Wanted(tuple(hidden), "float32"), lambda _: None)
