"""Losses between layers against their formulas; layer maps; presets against the lists they stand for; matches that are
refused."""

from typing import Any

import numpy as np
import pytest
import torch

from palmtop import stage
from palmtop.cli.stage_command import value_of
from palmtop.compress.distillation.feature_losses import HeadSizes, match_loss
from palmtop.compress.distillation.matches import PRESETS, Match, Pair, check, minilm, tinybert
from palmtop.compress.learning.layer_choice import explicit_map, published_layers, spread_layers, uniform_map
from palmtop.errors import UserError
from palmtop.settings import build
from palmtop.stage import Outline

Array = np.ndarray[Any, np.dtype[np.float64]]
LENGTHS = (6, 3)
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
SAME = HeadSizes(4, 4)


def tensors(width: int, count: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, 6, width, generator=generator) for _ in range(count))


def real(values: torch.Tensor, text: int) -> Array:
    """A text's real tokens, [tokens, width]."""
    found: Array = values[text, : LENGTHS[text]].double().numpy()
    return found


def softmax(scores: Array) -> Array:
    powers: Array = np.exp(scores - scores.max(-1, keepdims=True))
    total: Array = powers / powers.sum(-1, keepdims=True)
    return total


def heads(values: Array, count: int) -> list[Array]:
    """[tokens, width] -> for each head [tokens, width / count]."""
    return np.split(values, count, axis=1)


def kl(theirs: Array, ours: Array) -> float:
    """Mean over tokens of KL(theirs || ours), [tokens, tokens] each."""
    return float((theirs * (np.log(theirs) - np.log(ours))).sum(-1).mean())


def place(feature: str, **more: Any) -> Match:
    return Match.model_validate({"feature": feature, "teacher_layer": 1, "student_layer": 1} | more)


def test_hidden_mse_is_the_mean_over_width_and_real_tokens() -> None:
    ours, theirs = tensors(8, 2)
    expected = [np.mean((real(ours, text) - real(theirs, text)) ** 2) for text in (0, 1)]
    assert match_loss(place("hidden"), (ours,), (theirs,), SAME, MASK).tolist() == pytest.approx(expected, rel=1e-5)


def test_hidden_cosine_is_the_mean_over_real_tokens() -> None:
    ours, theirs = tensors(8, 2)
    pairs = [list(zip(real(ours, text), real(theirs, text), strict=True)) for text in (0, 1)]
    expected = [np.mean([1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in own]) for own in pairs]
    found = match_loss(place("hidden", loss="cosine"), (ours,), (theirs,), SAME, MASK)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_attention_scores_are_compared_before_the_softmax() -> None:
    query, key, their_query, their_key = tensors(8, 4)
    expected = []
    for text in (0, 1):
        ours, theirs = (
            [a @ b.T / 2 for a, b in zip(heads(real(q, text), 2), heads(real(k, text), 2), strict=True)]
            for q, k in ((query, key), (their_query, their_key))
        )
        expected.append(np.mean((np.array(ours) - np.array(theirs)) ** 2))
    found = match_loss(place("attention_scores"), (query, key), (their_query, their_key), SAME, MASK)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_attention_is_compared_after_it(loss: str) -> None:
    query, key, their_query, their_key = tensors(8, 4)
    expected = []
    for text in (0, 1):
        ours, theirs = (
            [softmax(a @ b.T / 2) for a, b in zip(heads(real(q, text), 2), heads(real(k, text), 2), strict=True)]
            for q, k in ((query, key), (their_query, their_key))
        )
        both = list(zip(theirs, ours, strict=True))
        expected.append(
            np.mean([kl(a, b) for a, b in both]) if loss == "kl" else np.mean([(a - b) ** 2 for a, b in both])
        )
    found = match_loss(place("attention", loss=loss), (query, key), (their_query, their_key), SAME, MASK)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("count", [12, 24, 48])
def test_relations_split_each_model_by_its_own_width(count: int) -> None:
    """U8: any R, other widths; each text sliced to its length, as the reference code does it; 0 for the same model."""
    (ours,), (theirs,) = tensors(48, 1), tensors(96, 1, seed=1)
    expected = []
    for text in (0, 1):
        relations = [
            [softmax(head @ head.T / np.sqrt(head.shape[1])) for head in heads(real(values, text), count)]
            for values in (theirs, ours)
        ]
        expected.append(np.mean([kl(a, b) for a, b in zip(*relations, strict=True)]))
    match = place("value_relation", relation_heads=count)
    assert match_loss(match, (ours,), (theirs,), SAME, MASK).tolist() == pytest.approx(expected, rel=1e-4)
    assert match_loss(match, (ours,), (ours,), SAME, MASK).abs().max() < 1e-6
    assert torch.isfinite(match_loss(match, (ours * 30,), (theirs * 30,), SAME, MASK)).all()


@pytest.mark.parametrize(
    "match",
    [
        place("hidden"),
        place("hidden", loss="cosine"),
        place("attention_scores"),
        place("attention"),
        place("attention", loss="mse"),
        place("key_relation", relation_heads=4),
    ],
    ids=str,
)
def test_padding_gives_no_loss_and_no_gradient(match: Match) -> None:
    ours, theirs = ([values.clone().requires_grad_() for values in tensors(8, 2, seed)] for seed in (0, 1))
    count = 2 if match.feature.startswith("attention") else 1
    loss = match_loss(match, tuple(ours[:count]), tuple(theirs[:count]), SAME, MASK)
    loss.sum().backward()
    for values in ours[:count]:
        assert values.grad is not None
        assert torch.isfinite(values.grad).all()
        assert values.grad[1, 3:].abs().max() == 0
        assert values.grad[1, :3].abs().max() > 0
    with torch.no_grad():
        for values in (*ours, *theirs):
            values[1, 3:] = 50.0
        again = match_loss(match, tuple(ours[:count]), tuple(theirs[:count]), SAME, MASK)
    assert torch.allclose(loss, again, rtol=1e-5)


@pytest.mark.parametrize(
    ("theirs", "ours", "layers"),
    [
        (12, 4, [3, 6, 9, 12]),
        (12, 6, [2, 4, 6, 8, 10, 12]),
        (24, 6, [4, 8, 12, 16, 20, 24]),
        (12, 3, [4, 8, 12]),
        (6, 3, [2, 4, 6]),
        (24, 12, list(range(2, 25, 2))),
        (16, 8, list(range(2, 17, 2))),
        (2, 1, [2]),
    ],
)
def test_the_uniform_map_takes_the_ends_of_blocks(theirs: int, ours: int, layers: list[int]) -> None:
    assert uniform_map(theirs, ours) == layers


def test_a_map_that_has_no_equal_blocks_is_refused() -> None:
    with pytest.raises(
        UserError,
        match=r"9 layers can't imitate 12 in equal blocks: choose 1, 2, 3, 4, 6, 12 layers, or say in layer_map",
    ):
        uniform_map(12, 9)
    assert explicit_map((1, 3, 6), 6, 3) == [1, 3, 6]
    for wrong in ((1, 3), (0, 3, 6), (1, 3, 7), (3, 1, 6)):
        with pytest.raises(
            UserError, match=r"layer_map is \[.*\]: give 3 layers of the teacher, .* from 1 \(the first\) to 6"
        ):
            explicit_map(wrong, 6, 3)


@pytest.mark.parametrize(
    ("theirs", "ours", "layers"),
    [
        (12, 2, [0, 6]),
        (12, 4, [0, 4, 8, 11]),
        (12, 9, [0, 1, 2, 4, 5, 7, 9, 10, 11]),
        (16, 8, [0, 2, 4, 6, 8, 10, 12, 15]),
        (16, 9, [0, 1, 3, 5, 7, 9, 11, 13, 15]),
        (16, 12, [0, 1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 15]),
        (6, 4, [0, 1, 3, 5]),
    ],
)
def test_published_tables_are_there_where_the_formula_differs(theirs: int, ours: int, layers: list[int]) -> None:
    assert published_layers(theirs, ours) == layers != spread_layers(theirs, ours)


def test_a_table_that_nobody_published_is_refused() -> None:
    with pytest.raises(UserError, match=r"no table of layers was published for 24 to 6 .* choose spread or lower"):
        published_layers(24, 6)
    assert stage.find("distill")(choose="published", layers=2).chosen_layers(12) == [0, 6]
    assert stage.find("distill")(choose="lower", layers=2).chosen_layers(12) == [0, 1]


def test_presets_are_the_lists_they_stand_for() -> None:
    wide, narrow = (Pair("bert", 6, 2, 96, width, 4, 4, (3, 6)) for width in (96, 48))

    def listed(width: str) -> list[Match]:
        layers = [{"teacher_layer": 3, "student_layer": 1}, {"teacher_layer": 6, "student_layer": 2}]
        return [
            Match(feature="embedding", projection=width),  # type: ignore[arg-type]  # one of its words
            place("hidden", projection=width, **layers[0]),
            place("attention_scores", **layers[0]),
            place("hidden", projection=width, **layers[1]),
            place("attention_scores", **layers[1]),
        ]

    assert PRESETS["tinybert"](wide) == listed("none")
    assert PRESETS["tinybert"](narrow) == listed("own")
    assert tinybert(narrow, "shared") == listed("shared")
    last: dict[str, Any] = {"teacher_layer": 6, "student_layer": 2}
    relations = [place(f"{kind}_relation", relation_heads=48, **last) for kind in ("query", "key", "value")]
    assert PRESETS["minilm"](narrow) == relations
    large = minilm(Pair("bert", 24, 2, 1024, 384, 16, 12, ()), 21)
    assert large[0] == place("query_relation", teacher_layer=21, student_layer=2, relation_heads=64)
    assert minilm(narrow, weights=(0, 0, 2.0)) == [place("value_relation", relation_heads=48, weight=2.0, **last)]
    assert PRESETS["minilm_v1"](wide) == [place("attention", **last), place("value_relation", relation_heads=4, **last)]
    assert PRESETS["hidden"](wide) == [place("hidden", teacher_layer=3, student_layer=1), place("hidden", **last)]
    transfer, bert, mini = stage.find("transfer"), stage.find("tinybert"), stage.find("minilm")
    assert bert().chosen_matches(wide) == transfer(matches="tinybert").chosen_matches(wide) == listed("none")
    assert mini().chosen_matches(wide) == transfer(matches="minilm").chosen_matches(wide)
    assert transfer(matches=relations).chosen_matches(wide) == tuple(relations)
    assert [match.feature for match in bert(embedding_weight=0, attention_weight=0).chosen_matches(wide)] == [
        "hidden",
        "hidden",
    ]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"feature": "hidden", "loss": "kl"}, "hidden can't be compared by kl; choose mse or cosine"),
        (
            {"feature": "value_relation", "teacher_layer": 1, "student_layer": 1, "loss": "mse", "relation_heads": 2},
            "value_relation can't be compared by mse; choose kl",
        ),
        (
            {"feature": "embedding", "teacher_layer": 1},
            "embedding is layer 0 on both sides; leave the layers out, or take the feature hidden",
        ),
        (
            {"feature": "attention", "teacher_layer": 1},
            "attention happens within a layer: give teacher_layer and student_layer, from 1 on",
        ),
        (
            {"feature": "attention", "teacher_layer": 1, "student_layer": 1, "projection": "own"},
            "attention needs no projection",
        ),
        (
            {"feature": "hidden", "relation_heads": 4},
            "relation_heads belongs to relations, and must be given for them; the feature is hidden",
        ),
        ({"feature": "key_relation", "teacher_layer": 1, "student_layer": 1}, "relation_heads belongs to relations"),
    ],
)
def test_a_match_that_makes_no_sense_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(stage.find("transfer"), {"matches": [values]}, "transfer")


def test_matches_are_compared_with_the_models() -> None:
    pair = Pair("bert", 6, 2, 96, 48, 12, 6, (3, 6))
    with pytest.raises(UserError) as told:
        check([place("hidden", teacher_layer=7, student_layer=3), place("attention")], pair)
    assert told.value.faults == (
        "the match hidden of the teacher's layer 7 and the student's 3: the teacher has 6 layers",
        "the match hidden of the teacher's layer 7 and the student's 3: the student has 2 layers",
        "the match hidden of the teacher's layer 7 and the student's 3: the teacher is 96 wide, the student 48: give "
        "it a projection",
        "the match attention of the teacher's layer 1 and the student's 1: the teacher has 12 heads, the student 6: "
        "give the student as many, or take relations (minilm), which need not",
    )
    with pytest.raises(UserError, match="no matches: there is nothing to imitate"):
        check([], pair)


@pytest.mark.parametrize(
    ("use", "values", "said"),
    [
        ("transfer", {"matches": []}, "the list is empty: there is nothing to imitate"),
        ("transfer", {"soft_weight": 0, "label_weight": 0}, "are all 0: the student would never learn to answer"),
        ("transfer", {"width": 16, "layers": [0, 1]}, "a student of other widths copies none: give their number"),
        (
            "transfer",
            {"width": 16, "cosine_weight": 1},
            "cosine_weight compares last hidden states, which differ in width",
        ),
        (
            "tinybert",
            {"embedding_weight": 0, "hidden_weight": 0, "attention_weight": 0},
            "there is nothing to imitate; use the stage distill",
        ),
        (
            "minilm",
            {"query_weight": 0, "key_weight": 0, "value_weight": 0},
            "there is nothing to imitate; use the stage distill",
        ),
        (
            "transfer",
            {"layer_map": [1, 2], "matches": "minilm"},
            "layer_map is for the presets hidden and tinybert; other matches say their",
        ),
        ("minilm", {"layer_map": [1, 2]}, "minilm imitates one: give teacher_layer"),
    ],
)
def test_settings_that_make_no_sense_are_refused(use: str, values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(stage.find(use), values, use)


@pytest.mark.parametrize(
    ("use", "values", "family", "said"),
    [
        (
            "tinybert",
            {},
            "deberta-v2",
            "attention_scores of the family 'deberta-v2' can't be compared: its scores hold terms of relative",
        ),
        ("transfer", {"matches": "minilm_v1"}, "mpnet", "attention of the family 'mpnet' can't be compared"),
        ("transfer", {"layers": 4}, "bert", "4 layers can't imitate 6 in equal blocks"),
        ("minilm", {"teacher_layer": 7}, "bert", "the teacher has 6 layers"),
        ("minilm", {"width": 16}, "mobilebert", "don't say enough for the family 'mobilebert'"),
    ],
)
def test_what_cannot_be_is_told_before_work(use: str, values: dict[str, Any], family: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        build(stage.find(use), values, use).outline(Outline("torch", family, 6, ("a", "b"), 32))


def test_outlines_say_what_will_be() -> None:
    teacher = Outline("torch", "bert", 6, ("a", "b"), 32)
    assert stage.find("tinybert")(layers=2, width=16).outline(teacher) == Outline("torch", "bert", 2, ("a", "b"), 16)
    assert stage.find("minilm")().outline(teacher).layers == 3
    for use in ("transfer", "tinybert", "minilm"):
        with pytest.raises(
            UserError, match=f"{use} needs a teacher that was fine-tuned: put a 'finetune' step before it"
        ):
            stage.find(use)().outline(Outline("torch", "bert", 6))
    with pytest.raises(
        UserError, match=r"the teacher was reshaped \(palmtop_shape\), so a student of other widths can't be built"
    ):
        stage.find("minilm")(width=16).outline(Outline("torch", "bert", 6, ("a", "b"), 32, changes=("palmtop_shape",)))


def test_the_command_line_takes_a_list_of_matches() -> None:
    text = "[{feature: hidden, teacher_layer: 6, student_layer: 3}, {feature: embedding}]"
    values = {"matches": value_of(text, stage.find("transfer").model_fields["matches"].annotation)}
    found: Any = build(stage.find("transfer"), values, "transfer")
    assert found.matches == (place("hidden", teacher_layer=6, student_layer=3), Match(feature="embedding"))
