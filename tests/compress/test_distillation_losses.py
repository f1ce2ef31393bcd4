"""The distillation losses against their formulas, and what must not change them."""

import numpy as np
import pytest
import torch
from tiny import write_task

from palmtop import stage
from palmtop.compress.distillation.answer_losses import cosine_loss
from palmtop.compress.distillation.distill import Distill
from palmtop.compress.distillation.guards import check_labels
from palmtop.compress.distillation.minilm import Minilm
from palmtop.compress.distillation.tinybert import Tinybert
from palmtop.compress.distillation.transfer import Transfer
from palmtop.compress.learning.layer_choice import explicit_layers, spread_layers
from palmtop.errors import UserError
from palmtop.stage import Outline
from palmtop.task import Task
from palmtop.task_kinds.losses import soft_loss


def test_soft_loss_equals_the_formula_for_three_classes() -> None:
    student, teacher, temperature = np.array([0.2, -1.0, 0.5]), np.array([1.5, 0.1, -0.7]), 2.0
    p = np.exp(teacher / temperature) / np.exp(teacher / temperature).sum()
    q = np.exp(student / temperature) / np.exp(student / temperature).sum()
    expected = temperature**2 * float((p * (np.log(p) - np.log(q))).sum())
    found = soft_loss(torch.tensor(student)[None], torch.tensor(teacher)[None], temperature)
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_soft_loss_of_equal_logits_is_zero() -> None:
    logits = torch.randn(4, 150, generator=torch.Generator().manual_seed(0))
    assert soft_loss(logits, logits, 3.0).abs().max() < 1e-6


def test_temperature_squared_keeps_the_size_of_the_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(64, 20, generator=generator)
    norms = []
    for temperature in (1.0, 2.0, 4.0):
        student = torch.randn(64, 20, generator=torch.Generator().manual_seed(1)).requires_grad_()
        soft_loss(student, teacher, temperature).sum().backward()
        assert student.grad is not None
        norms.append(float(student.grad.norm()))
    assert max(norms) / min(norms) < 4  # without T^2 the ratio of T = 1 to T = 4 is over 16 times this


def test_cosine_loss_equals_the_formula_and_ignores_padding() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(1, 5, 8, generator=generator), torch.randn(1, 5, 8, generator=generator)
    mask = torch.tensor([[1, 1, 1, 0, 0]])
    pairs = [(student[0, place].double().numpy(), teacher[0, place].double().numpy()) for place in range(3)]
    cosines = [float(np.dot(ours, theirs) / np.linalg.norm(ours) / np.linalg.norm(theirs)) for ours, theirs in pairs]
    assert float(cosine_loss(student, teacher, mask)) == pytest.approx(1 - np.mean(cosines), rel=1e-5)
    student[0, 3:] = 99.0
    assert float(cosine_loss(student, teacher, mask)) == pytest.approx(1 - np.mean(cosines), rel=1e-5)


@pytest.mark.parametrize(
    ("teacher", "student", "layers"),
    [
        (12, 6, [0, 2, 4, 7, 9, 11]),
        (12, 3, [0, 6, 11]),
        (6, 3, [0, 2, 5]),
        (6, 2, [0, 5]),
        (16, 4, [0, 5, 10, 15]),
        (6, 6, [0, 1, 2, 3, 4, 5]),
        (6, 1, [0]),
    ],
)
def test_spread_layers_are_those_of_distilbert_and_of_shleifer_and_rush(
    teacher: int, student: int, layers: list[int]
) -> None:
    assert spread_layers(teacher, student) == layers


@pytest.mark.parametrize(
    ("student", "layers"),
    [
        (Tinybert(layers=3), [1, 3, 5]),
        (Tinybert(), [1, 3, 5]),
        (Tinybert(layers=2, layer_map=(1, 6)), [0, 5]),
        (Transfer(layers=2), [2, 5]),
        (Transfer(layers=3, matches="minilm"), [0, 2, 5]),
        (Minilm(layers=3), [0, 2, 5]),
        (Tinybert(layers=3, choose="spread"), [0, 2, 5]),
        (Tinybert(layers=3, choose="lower"), [0, 1, 2]),
        (Tinybert(layers=(0, 1, 4)), [0, 1, 4]),
        (Tinybert(layers=2, layer_map=(6, 6)), [0, 5]),
    ],
)
def test_a_student_starts_from_the_layers_that_it_imitates(
    student: Tinybert | Transfer | Minilm, layers: list[int]
) -> None:
    assert student.chosen_layers(6) == layers


def test_layers_out_of_range_or_order_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"layers is \[0, 6\]: give layers of the teacher in ascending order, each once, from 0 to 5"
    ):
        explicit_layers((0, 6), 6)
    with pytest.raises(UserError, match=r"layers is \[3, 1\]"):
        explicit_layers((3, 1), 6)
    teacher = Outline("torch", "bert", 6, ("a", "b"))
    with pytest.raises(UserError, match="layers is 7, but there are 6: choose 1 to 6"):
        Distill(layers=7).outline(teacher)
    assert Distill().outline(teacher).layers == 3


def test_a_teacher_without_a_head_is_refused() -> None:
    with pytest.raises(UserError, match="distill needs a teacher that was fine-tuned: put a 'finetune' step before it"):
        Distill().outline(Outline("torch", "bert", 6, None))


def test_all_weights_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing would be learnt"):
        stage.find("distill")(soft_weight=0, label_weight=0, cosine_weight=0)


def test_labels_are_compared_by_name_and_order(tmp_path: "pytest.TempPathFactory") -> None:
    task = Task.find(write_task(tmp_path))  # type: ignore[arg-type]  # tmp_path is a Path
    check_labels({0: "money", 1: "music", 2: "weather"}, task)
    with pytest.raises(UserError, match=r"in another order \(output 0 is 'music', the task has 'money'\)"):
        check_labels({0: "music", 1: "money", 2: "weather"}, task)
    with pytest.raises(UserError, match=r"the teacher has 2 labels \(a, b, ...\), the task 'tiny' 3"):
        check_labels({0: "a", 1: "b"}, task)
