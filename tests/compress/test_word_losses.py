"""The losses of distilled language models against independent formulas: temperature, padding, buckets and their
bound."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from palmtop.compress.language_models.step_means import IGNORED
from palmtop.compress.language_models.word_buckets import Buckets, bucket_loss, buckets, gap_bound
from palmtop.compress.language_models.word_losses import Weights, cosine_distance, language_loss
from palmtop.models.language_model import Answering, Asked
from palmtop.task_kinds.losses import soft_loss

INPUTS = ("input_ids", "attention_mask")


def _model(seed: int) -> Any:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        initializer_range=0.5,
    )
    return BertForMaskedLM._from_config(config, attn_implementation="eager").eval()


def _batch(padding: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 50, (3, 8), generator=generator)
    mask = torch.ones_like(ids)
    mask[1, 6:] = mask[2, 5:] = 0
    labels = torch.full_like(ids, IGNORED)
    labels[0, 2], labels[0, 5], labels[1, 1], labels[2, 3] = 7, 8, 9, 10
    batch = {
        "input_ids": ids * mask,
        "attention_mask": mask,
        "token_type_ids": torch.zeros_like(ids),
        "token_labels": labels,
    }
    pads = {"input_ids": 0, "attention_mask": 0, "token_type_ids": 0, "token_labels": IGNORED}
    padded = {name: torch.cat([value, torch.full((3, padding), pads[name])], 1) for name, value in batch.items()}
    tokens = float(mask.sum())
    return padded | {"position_share": torch.full((3,), 3 / 4), "token_share": torch.full((3,), 3 / tokens)}


def test_soft_targets_of_equal_logits_cost_nothing_and_meet_a_value_by_hand() -> None:
    logits = torch.randn(5, 9)
    assert soft_loss(logits, logits, 2.0).abs().max() < 1e-6
    teacher, student = torch.tensor([[math.log(0.5), math.log(0.3), math.log(0.2)]]), torch.zeros(1, 3)
    by_hand = 0.5 * math.log(1.5) + 0.3 * math.log(0.9) + 0.2 * math.log(0.6)
    assert float(soft_loss(student, teacher, 1.0)) == pytest.approx(by_hand, abs=1e-6)
    assert float(bucket_loss(student, buckets(teacher, 2, 1.0), 1.0)) == pytest.approx(
        by_hand, abs=1e-6
    )  # a rest of one


@pytest.mark.parametrize("k", [None, 8])
def test_the_square_of_the_temperature_keeps_the_gradients_size(k: int | None) -> None:
    teacher = torch.randn(64, 40, generator=torch.Generator().manual_seed(1))

    def norm(temperature: float, squared: bool) -> float:
        student = torch.randn(64, 40, generator=torch.Generator().manual_seed(2)).requires_grad_()
        kept = buckets(teacher, k, temperature) if k else None
        loss = bucket_loss(student, kept, temperature) if kept else soft_loss(student, teacher, temperature)
        [gradient] = torch.autograd.grad(loss.sum() / (1 if squared else temperature**2), student)
        return float(gradient.norm())

    plain, scaled = (
        [norm(T, False) / norm(1, True) for T in (1, 2, 4)],
        [norm(T, True) / norm(1, True) for T in (1, 2, 4)],
    )
    assert plain[2] < 0.06 < plain[0] == 1
    assert 0.2 < scaled[2] <= scaled[1] <= scaled[0] == 1


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_buckets_bound_the_full_divergence_from_below_and_the_gap_from_above(temperature: float) -> None:
    generator = torch.Generator().manual_seed(3)
    teacher, student = (4 * torch.randn(200, 300, generator=generator) for _ in range(2))
    full = soft_loss(student, teacher, temperature)
    earlier = torch.zeros(200)
    for k in (1, 4, 16, 64, 299):
        kept = buckets(teacher, k, temperature)
        found = bucket_loss(student, kept, temperature)
        assert (found <= full + 1e-4).all()
        assert (found >= earlier - 1e-4).all()  # a finer partition keeps more
        assert (full - found <= gap_bound(student, kept, temperature) + 1e-4).all()
        earlier = found
    assert torch.allclose(earlier, full, atol=1e-4)
    assert bucket_loss(teacher, buckets(teacher, 4, temperature), temperature).abs().max() < 1e-5


def test_what_is_lost_is_the_divergence_within_the_rest_times_its_probability() -> None:
    teacher, student = torch.randn(1, 10), torch.randn(1, 10)
    kept = buckets(teacher, 3, 1.0)
    others = [token for token in range(10) if token not in kept.ids[0].tolist()]
    p, q = teacher.softmax(-1)[0, others], student.softmax(-1)[0, others]
    within = (p / p.sum() * ((p / p.sum()).log() - (q / q.sum()).log())).sum()
    assert float(kept.log_rest.exp()) == pytest.approx(float(p.sum()), abs=1e-6)
    assert float(soft_loss(student, teacher, 1.0) - bucket_loss(student, kept, 1.0)) == pytest.approx(
        float(p.sum() * within), abs=1e-5
    )


def test_a_teacher_that_is_all_but_sure_gives_finite_buckets() -> None:
    teacher = torch.zeros(1, 20)
    teacher[0, 3] = 200.0
    student = torch.randn(1, 20, requires_grad=True)
    found = bucket_loss(student, buckets(teacher, 2, 1.0), 1.0)
    [gradient] = torch.autograd.grad(found.sum(), student)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    assert found.item() == pytest.approx(cross_entropy(student, torch.tensor([3])).item(), abs=1e-4)


@pytest.mark.parametrize("everywhere", [True, False])
def test_the_terms_are_the_means_over_their_positions(everywhere: bool) -> None:
    student, teacher, batch = _model(0), _model(1), _batch()
    loss = language_loss(
        Weights(2.0, 5.0, 1.0, temperature=2.0, everywhere=everywhere), Asked(student), INPUTS, Answering(teacher)
    )
    with torch.no_grad():
        terms = {name: float(values.mean()) for name, values in loss(student, batch).items()}
        ours, theirs = (
            {"logits": output.logits, "hidden": output.hidden_states[-1]}
            for output in (
                model(**{name: batch[name] for name in INPUTS}, output_hidden_states=True)
                for model in (_model(0), _model(1))
            )
        )
    real, targets = batch["attention_mask"].bool(), batch["token_labels"] != IGNORED
    chosen = real if everywhere else targets
    p, q = (side["logits"][chosen].div(2).softmax(-1) for side in (theirs, ours))
    assert terms["soft"] == pytest.approx(5 * 4 * float((p * (p / q).log()).sum(-1).mean()), rel=1e-4)
    words = cross_entropy(ours["logits"].flatten(0, 1), batch["token_labels"].flatten())
    assert terms["words"] == pytest.approx(2 * float(words), rel=1e-5)
    cosine = (ours["hidden"] * theirs["hidden"]).sum(-1) / (ours["hidden"].norm(dim=-1) * theirs["hidden"].norm(dim=-1))
    assert terms["cosine"] == pytest.approx(float((1 - cosine)[real].mean()), rel=1e-4)


def test_padding_changes_no_term() -> None:
    terms = []
    for padding in (0, 10):
        student, teacher = _model(0), _model(1)
        loss = language_loss(
            Weights(2.0, 5.0, 1.0, temperature=2.0, everywhere=True), Asked(student), INPUTS, Answering(teacher)
        )
        terms.append(loss(student, _batch(padding)))
    for name, values in terms[0].items():
        assert torch.allclose(values, terms[1][name], atol=1e-5), name


def test_kept_answers_give_the_same_terms_as_the_teacher_asked_anew() -> None:
    student, teacher, batch = _model(0), _model(1), _batch()
    weights = Weights(2.0, 5.0, 1.0, temperature=2.0, everywhere=True)
    asked_anew = language_loss(weights, Asked(student), INPUTS, Answering(teacher))(student, batch)
    real = batch["attention_mask"].bool()
    with torch.no_grad():
        output = _model(1)(**{name: batch[name] for name in INPUTS}, output_hidden_states=True)
    kept = buckets(output.logits[real], 49, 2.0)
    said = {
        "teacher_ids": kept.ids,
        "teacher_log_probabilities": kept.log_probabilities,
        "teacher_log_rest": kept.log_rest,
        "teacher_hidden": output.hidden_states[-1],
    }
    student = _model(0)
    found = language_loss(weights, Asked(student), INPUTS, None)(student, batch | said)
    for name, values in asked_anew.items():
        assert torch.allclose(values, found[name], atol=1e-4), name


def test_the_order_of_sentences_is_a_value_for_each_text() -> None:
    batch = _batch() | {"labels": torch.tensor([0, 1, 1])}
    orders = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    logits = torch.randn(4, 50)

    class Student:
        def __call__(self, **_: Any) -> Any:
            class Output(SimpleNamespace):
                def __getitem__(self, place: int) -> torch.Tensor:
                    return self.prediction_logits

            return Output(prediction_logits=logits, sop_logits=orders)

    loss = language_loss(Weights(1.0, order=0.5), Asked(_model(0)), INPUTS, None)
    terms = loss(Student(), batch)  # type: ignore[arg-type]  # what the loss reads of a model
    expected = [math.log(1 + math.exp(-2)), math.log(1 + math.exp(-1)), math.log(1 + math.exp(3))]
    assert terms["order"].tolist() == pytest.approx([0.5 * value for value in expected], rel=1e-5)


def test_the_head_answers_where_it_is_asked(tmp_path: Any) -> None:
    model = _model(0)
    ids = torch.randint(5, 50, (2, 7))
    everything = model(input_ids=ids).logits
    asked = Asked(model)
    asked.chosen = torch.zeros(2, 7, dtype=torch.bool)
    asked.chosen[0, 3] = asked.chosen[1, 5] = True
    assert torch.allclose(model(input_ids=ids).logits, everything[asked.chosen], atol=1e-6)
    model.save_pretrained(tmp_path)
    assert torch.equal(
        AutoModelForMaskedLM.from_pretrained(tmp_path, attn_implementation="eager")(input_ids=ids).logits, everything
    )


def test_a_teacher_in_training_mode_is_refused() -> None:
    teacher = Answering(model := _model(1))
    model.train()
    with pytest.raises(RuntimeError, match="the teacher is in training mode: its dropout would be taught"):
        teacher.answer(_batch(), _batch()["attention_mask"].bool(), hidden=False)


def test_cosine_ignores_length() -> None:
    states = torch.randn(4, 8)
    assert cosine_distance(states, 3 * states).abs().max() < 1e-6
    assert torch.allclose(cosine_distance(states, -states), torch.full((4,), 2.0))


def test_buckets_hold_probabilities() -> None:
    kept: Buckets = buckets(torch.randn(6, 30), 5, 2.0)
    assert torch.allclose(kept.log_probabilities.exp().sum(-1) + kept.log_rest.exp(), torch.ones(6), atol=1e-6)
    assert (kept.log_probabilities.diff(dim=-1) <= 0).all()
