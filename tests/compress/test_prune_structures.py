"""Structured pruning as stages: on every family, within budgets, cut again, recovered, exported; and what is
refused."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from biased import answers, texts_of, with_biases, written
from tiny import write_task
from tiny_bundles import adopted

from palmtop import stage, target
from palmtop.bundle import Bundle
from palmtop.compress.pruning.latency_probes import Widths
from palmtop.compress.pruning.latency_table import Curve, LatencyTable, latency_table, table_file
from palmtop.compress.pruning.slicing import sliced
from palmtop.compress.pruning.sublayers import kept_of, silence, sublayers_of
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.linears import layers_of, part_of
from palmtop.models.opening import open_classifier
from palmtop.models.pruned_layers import shapes_of
from palmtop.recipe.recipe import Recipe
from palmtop.stage import Outline, outline_of

DIFFERING = ["bert", "deberta-v2", "distilbert", "electra", "mobilebert", "mpnet", "roberta", "xlm-roberta"]
HALF = {"keep": 0.5, "rows": 48}


@pytest.mark.slow
@pytest.mark.parametrize("family", DIFFERING)
def test_shrink_cuts_out_what_is_zero_and_answers_the_same(tmp_path: Path, family: str) -> None:
    source = with_biases(adopted(tmp_path / "source", family), tmp_path / "biases")
    model = open_classifier(source.path)
    kept = [(1, 3), tuple(range(3, 13)), (), tuple(range(8))]
    sublayers = sublayers_of(model)
    silence(model, sublayers[::2], kept[::2], constants=family in ("bert", "mpnet"))
    silence(model, sublayers[1::2], kept[1::2], constants=family in ("bert", "distilbert"))
    pruned = written(model, source, tmp_path / "pruned")
    made = _make("shrink", {}, pruned, tmp_path / "made")
    assert made.card.facts["heads"] == [2, 0]
    assert made.card.facts["feed_forward"] == [16, 8]
    assert made.card.facts["difference_from_masked"] < 1e-5
    smaller = open_classifier(made.path)
    assert shapes_of(smaller)[0].heads == (1, 3)
    expected = answers(model, texts_of(source, 96))
    rounding = 1e-4 if family == "mobilebert" else 1e-5  # without layer norms its numbers are large before the head
    assert (answers(smaller, texts_of(source, 96)) - expected).abs().max() < rounding * max(
        1, float(expected.abs().max())
    )
    with target.find("host_torch").open(made.path) as runner:
        assert runner.predict(runner.tokenize([("play some music",)])).shape == (1, 3)


def test_shrink_refuses_a_model_in_which_nothing_is_zero(biased_bert: Bundle, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="has no head and no 8 feed-forward neurons of a layer whose weights are all 0: prune heads"
    ):
        _make("shrink", {}, biased_bert, tmp_path / "made")


@pytest.mark.slow
@pytest.mark.parametrize("family", DIFFERING)
def test_every_family_is_pruned_within_its_budget(tmp_path: Path, family: str) -> None:
    source = adopted(tmp_path / "source", family)
    made = _make(
        "prune_structures",
        HALF | {"criterion": "second_order" if family != "electra" else "fisher"},
        source,
        tmp_path / "made",
    )
    facts = made.card.facts
    assert facts["operations_kept"] <= 0.5
    assert facts["operations_kept"] > 0.4
    assert facts["difference_from_masked"] < 1e-5
    assert all(width % 8 == 0 for width in facts["feed_forward"])
    smaller = open_classifier(made.path)
    assert [len(shape.heads) for shape in shapes_of(smaller)] == facts["heads"]
    assert smaller.num_parameters() < open_classifier(source.path).num_parameters()


@pytest.mark.parametrize(
    "settings",
    [
        {"criterion": "magnitude"},
        {"criterion": "fisher", "labels": "task"},
        {"criterion": "fisher", "rearrange": False, "rescale": False},
    ],
    ids=str,
)
def test_every_criterion_keeps_the_budget(biased_bert: Bundle, tmp_path: Path, settings: dict[str, Any]) -> None:
    made = _make("prune_structures", HALF | settings, biased_bert, tmp_path / "made")
    assert 0.4 < made.card.facts["operations_kept"] <= 0.5
    again = _make("prune_structures", HALF | settings | {"keep": 0.25}, made, tmp_path / "again")
    assert 0.15 < again.card.facts["operations_kept"] <= 0.25  # of the full widths, not of what had been left
    assert set(shapes_of(open_classifier(again.path))[0].heads) <= set(shapes_of(open_classifier(made.path))[0].heads)
    with pytest.raises(
        UserError, match=r"keep 0.8 is met already: the source is \d+% of all heads and neurons; ask for more"
    ):
        _make("prune_structures", HALF | {"keep": 0.8}, made, tmp_path / "more")


def test_whole_layers_are_dropped_first(biased_bert: Bundle, tmp_path: Path) -> None:
    model = open_classifier(biased_bert.path)
    with torch.no_grad():
        for part in ("attention_output", "feed_forward_out"):  # a layer that says nothing
            (
                part_of(layers_of(model)[0], part, "bert").weight.zero_(),
                part_of(layers_of(model)[0], part, "bert").bias.zero_(),
            )
    source = written(model, biased_bert, tmp_path / "source")
    made = _make("prune_structures", HALF | {"drop_layers": 1, "criterion": "magnitude"}, source, tmp_path / "made")
    assert made.card.facts["layers_kept"] == [1]
    assert made.card.facts["operations_kept"] <= 0.5
    assert stage.find("prune_structures")(keep=0.5, drop_layers=1).outline(outline_of(source)).layers == 1


def test_a_speedup_is_reached_by_the_table_of_this_machine(
    biased_bert: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    heads, neurons = Curve((0, 4), (0.1, 1.1)), Curve((0, 64), (0.1, 2.1))
    table = LatencyTable(
        32, 1, {"processor": "a test's"}, heads, neurons, Curve((0, 4), (0.1, 0.4)), Curve((0, 64), (0.1, 0.2)), 0.5
    )
    table_file(Widths(32, 4, 8, 64), 32, 1).write_text(json.dumps(asdict(table)))
    made = _make("prune_structures", {"speedup": 1.6, "rows": 48}, biased_bert, tmp_path / "made")
    facts = made.card.facts
    assert facts["table_ms_full"] == pytest.approx(0.5 + 1.1 + 2.1 + 0.4 + 0.2)
    left = 0.5 + float(
        heads.at([facts["heads"][0]])[0]
        + neurons.at([facts["feed_forward"][0]])[0]
        + table.attention_ms([facts["heads"][1]], True)[0]
        + table.feed_forward_ms([facts["feed_forward"][1]], True)[0]
    )
    assert facts["table_ms_left"] == pytest.approx(left, abs=1e-3)
    assert facts["speedup_by_table"] == pytest.approx(4.3 / left, abs=1e-2)
    assert 1.6 <= facts["speedup_by_table"] < 1.8
    assert facts["table_machine"] == {"processor": "a test's"}
    with pytest.raises(UserError, match="not even without any heads and feed-forward neurons is the budget met"):
        _make("prune_structures", {"speedup": 9, "rows": 48}, biased_bert, tmp_path / "faster")


@pytest.mark.slow
def test_the_latency_table_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path))
    said: list[str] = []
    first = latency_table(Widths(16, 1, 16, 0), 8, 1, said.append)
    assert said == ["measuring what heads and feed-forward neurons cost in LiteRT at 8 tokens, 1 thread(s)"]
    assert latency_table(Widths(16, 1, 16, 0), 8, 1, said.append) == first
    assert len(said) == 1
    assert first.attention.sizes == (0, 1)
    assert first.ends_ms > 0
    assert set(first.machine["versions"]) >= {"ai-edge-litert"}
    assert (np.diff(first.attention_ms(range(2), last=False)) >= 0).all()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "give one of speedup"),
        ({"keep": 0.5, "speedup": 2}, "give one of speedup"),
        ({"keep": 0}, "greater than 0"),
        ({"keep": 1.5}, "less than or equal to 1"),
        ({"speedup": 0.5}, "greater than or equal to 1"),
    ],
)
def test_budgets_that_are_none_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        stage.find("prune_structures")(**settings)


def test_what_cannot_be_pruned_is_refused_before_work() -> None:
    prune, shrink = stage.find("prune_structures"), stage.find("shrink")
    albert = Outline("torch", "albert", 4, ("a", "b"))
    for found in (prune(keep=0.5), shrink()):
        with pytest.raises(UserError, match="the family 'albert' has one set of weights for all its layers"):
            found.outline(albert)
        with pytest.raises(UserError, match="layers of this model share weights"):
            found.outline(Outline("torch", "bert", 4, ("a", "b"), changes=("palmtop_sharing",)))
    with pytest.raises(UserError, match="drop_layers is 4, but the source has 4 layers: at least one must stay"):
        prune(keep=0.5, drop_layers=4).outline(Outline("torch", "bert", 4, ("a", "b")))
    for family in ("deberta-v2", "mobilebert"):
        with pytest.raises(
            UserError, match=f"layers of the family '{family}' have more parts than the latency table knows"
        ):
            prune(speedup=2).outline(Outline("torch", family, 4, ("a", "b")))
    for name, found in (("prune_structures", prune(keep=0.5)), ("shrink", shrink())):
        with pytest.raises(UserError, match=f"{name} needs a"):
            found.outline(Outline("torch", "bert", 4, None))


def test_recovering_learns_from_the_unpruned_teacher(teacher: Bundle, tmp_path: Path) -> None:
    pruned = _make("prune_structures", HALF | {"criterion": "magnitude"}, teacher, tmp_path / "pruned")
    settings = {"teacher": str(teacher.path), "epochs": 8, "learning_rate": 5e-3, "batch_size": 16}
    recovered = _make("recover", settings, pruned, tmp_path / "recovered")
    texts = texts_of(teacher, 96)
    distance = {
        bundle.name: float(
            (answers(open_classifier(bundle.path), texts) - answers(open_classifier(teacher.path), texts))
            .square()
            .mean()
        )
        for bundle in (pruned, recovered)
    }
    assert distance["recovered"] < 0.5 * distance["pruned"]
    assert shapes_of(open_classifier(recovered.path)) == shapes_of(open_classifier(pruned.path))
    assert recovered.card.facts["teacher"] == teacher.digest
    with pytest.raises(ValueError, match="soft_weight and cosine_weight are both 0"):
        stage.find("recover")(teacher="x", soft_weight=0, cosine_weight=0)
    with pytest.raises(
        UserError,
        match=r"recover needs a model with a task's head: put a 'finetune' step before it, and what makes the "
        r"model smaller \('prune_structures', 'shrink', 'share', 'factorize'\)",
    ):
        stage.find("recover")(teacher="x").outline(Outline("torch", "bert", 4, None))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "use", "settings"), [("bert", "to_tflite", {"lengths": [24]}), ("mpnet", "to_tfjs", {})]
)
def test_layers_of_different_widths_are_exported(
    tmp_path: Path, family: str, use: str, settings: dict[str, Any]
) -> None:
    source = adopted(tmp_path / "source", family)
    model = open_classifier(source.path)
    sublayers = sublayers_of(model)
    kept: list[tuple[int, ...]] = [
        (1, 2),
        tuple(range(16)),
        (),
        (),
    ]  # the last layer is its biases, residuals and norms
    silence(model, sublayers, kept, constants=False)
    pruned = written(sliced(model, kept_of(sublayers, kept)), source, tmp_path / "pruned")
    made = _make(use, settings, pruned, tmp_path / "made")
    assert made.card.facts["parity_difference"] < 1e-4
    texts = [("play some loud music",), ("what is the weather",)]
    with target.for_format(made.format).open(made.path) as runner, target.find("host_torch").open(pruned.path) as ours:
        assert np.abs(runner.predict(runner.tokenize(texts)) - ours.predict(ours.tokenize(texts))).max() < 1e-3
    if use != "to_tfjs":
        assert _make("quantize", {}, made, tmp_path / "int8").card.facts["parity_agreement"] > 0.8


def test_layers_without_anything_are_trained_on_a_grid(biased_bert: Bundle, tmp_path: Path) -> None:
    model = open_classifier(biased_bert.path)
    kept: list[tuple[int, ...]] = [(1, 2), tuple(range(16)), (), ()]
    pruned = written(sliced(model, kept_of(sublayers_of(model), kept)), biased_bert, tmp_path / "pruned")
    made = _make("quantize_aware", {"epochs": 1, "batch_size": 32}, pruned, tmp_path / "made")
    assert shapes_of(open_classifier(made.path)) == shapes_of(open_classifier(pruned.path))


def test_a_recipe_names_the_teacher_by_its_step(tmp_path: Path) -> None:
    source = adopted(tmp_path / "source", "bert")
    steps: list[dict[str, Any]] = [
        {
            "name": "teacher",
            "use": "adopt",
            "settings": {"model": str(source.path), "task": write_task(tmp_path / "data")},
        },
        {"name": "pruned", "use": "prune_structures", "settings": HALF | {"criterion": "magnitude"}},
        {
            "name": "recovered",
            "use": "recover",
            "with": {"teacher": "teacher"},
            "settings": {"epochs": 1, "batch_size": 32},
        },
    ]

    def read(**changes: Any) -> Recipe:
        file = tmp_path / "recipe.yaml"
        file.write_text(json.dumps({"steps": [*steps[:2], steps[2] | changes], "measure": {"on": []}}))
        return Recipe.read(str(file))

    bundles = read().run(tmp_path / "run", lambda _: None)
    assert bundles["recovered"].card.facts["teacher"] == bundles["teacher"].digest
    for changes, told in (
        ({"with": {"teacher": "techer"}}, "with: teacher is 'techer', which is no step; did you mean 'teacher'?"),
        (
            {"with": {"teacher": "recovered"}},
            "with: teacher is 'recovered', which doesn't come before it; put it first",
        ),
        ({"with": {"techer": "teacher"}}, "with: no setting 'techer'; did you mean 'teacher'?"),
        ({"settings": {"teacher": "x"}}, "teacher stands in 'with' and in 'settings' or 'each': leave it out of one"),
        ({"with": {}}, "the setting 'teacher' is missing"),
    ):
        with pytest.raises(UserError, match=re.escape(told)):
            read(**changes)


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    kind = stage.find(use)(**settings)
    if source is not None:
        kind.outline(outline_of(source))
    return make(use, kind, source, out, lambda _: None)
