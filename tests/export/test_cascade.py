"""Two models in one bundle: the temperature, the threshold, the rule in the runner, what is refused, what is told."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import write_task
from tiny_bundles import reseal
from word_models import with_validation, word_model

import palmtop
from palmtop import cascade, parity, target
from palmtop.app_manifest import Manifest, read_golden
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.verify import verify
from palmtop.export.app.android_project import ANDROID
from palmtop.export.app.two_models import is_clear
from palmtop.export.cascades.temperature import best_temperature, slope
from palmtop.export.cascades.threshold import by_drop, by_share
from palmtop.making import make_by_name
from palmtop.signature import NOT_PADDED, Cascade, Signature
from palmtop.stage import Outline, check_task, find


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return with_validation(write_task(tmp_path_factory.mktemp("cascade_task"), train=240, evaluation=120))


@pytest.fixture(scope="module")
def parts(task: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    folder = tmp_path_factory.mktemp("cascade_parts")
    return word_model(folder / "small", task, noise=0.7), word_model(folder / "large", task, noise=0.1, seed=1)


@pytest.fixture(scope="module")
def made(parts: tuple[Bundle, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return _made(parts, tmp_path_factory.mktemp("cascade") / "both", max_drop=2)


def _made(parts: tuple[Bundle, Bundle], out: Path, **settings: Any) -> Bundle:
    return make_by_name("cascade", {"first": parts[0], **settings}, parts[1], out, lambda _: None)


def _texts(bundle: Bundle) -> list[tuple[str, ...]]:
    assert bundle.task is not None
    return bundle.task.load("evaluation").texts


def _loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    shares = cascade.probabilities(logits, temperature)
    return float(-np.log(shares[np.arange(len(labels)), labels]).mean())


def test_the_temperature_is_where_the_labels_are_likeliest() -> None:
    random = np.random.default_rng(0)
    logits = 4 * random.normal(size=(400, 5))
    labels = np.array([random.choice(5, p=share) for share in cascade.probabilities(logits, 2.5)])
    found = best_temperature(logits, labels)
    grid = np.linspace(1, 5, 4001)
    assert found == pytest.approx(grid[np.argmin([_loss(logits, labels, one) for one in grid])], abs=1e-3)
    assert found == pytest.approx(2.5, rel=0.15)  # labels were drawn at that temperature, 400 of them
    assert slope(logits, labels, 1 / found) == pytest.approx(0, abs=1e-9)


def test_the_slope_is_the_derivative_of_the_loss() -> None:
    random = np.random.default_rng(1)
    logits, labels = random.normal(size=(50, 3)), random.integers(0, 3, 50)
    step = 1e-5
    rise = _loss(logits, labels, 1 / (0.7 + step)) - _loss(logits, labels, 1 / (0.7 - step))
    assert slope(logits, labels, 0.7) == pytest.approx(rise / (2 * step), rel=1e-6)


def test_a_model_that_is_always_right_has_the_coldest_temperature() -> None:
    assert best_temperature(np.eye(3) * 2, np.arange(3)) == pytest.approx(0.05)


def _case(seed: int, texts: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, some of them equal, and which texts either model gets right."""
    random = np.random.default_rng(seed)
    confidence = np.round(random.random(texts), 1 if seed % 2 else 3)
    return confidence, random.random(texts) < confidence, random.random(texts) < 0.9


@pytest.mark.parametrize(("seed", "max_drop"), itertools.product(range(6), (0.0, 2.0, 10.0)))
def test_of_all_thresholds_that_lose_little_enough_the_one_for_most_texts(seed: int, max_drop: float) -> None:
    confidence, right, other = _case(seed)

    def metric(answered: np.ndarray) -> float:
        return float(np.where(answered, right, other).mean())

    allowed = [
        int(answered.sum())
        for threshold in (0.0, *confidence)
        if (answered := confidence >= threshold).any()
        and round(100 * (metric(np.zeros(60, bool)) - metric(answered)), 6) <= max_drop
    ]
    if not allowed:
        with pytest.raises(UserError, match=f"sure of no text so that the cascade loses at most {max_drop:g} points"):
            by_drop(confidence, metric, max_drop)
        return
    found = by_drop(confidence, metric, max_drop)
    assert (confidence >= found.threshold).sum() == max(allowed) == round(60 * found.share)
    assert found.drop == round(100 * (metric(np.zeros(60, bool)) - metric(confidence >= found.threshold)), 6)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.93])
def test_a_share_is_reached_with_the_fewest_texts(share: float) -> None:
    confidence, right, other = _case(1)
    found = by_share(confidence, lambda answered: float(np.where(answered, right, other).mean()), share)
    counts = sorted(int((confidence >= one).sum()) for one in confidence)
    assert (confidence >= found.threshold).sum() == next(count for count in counts if count >= share * 60)


def test_the_bundle_answers_by_the_rule_of_its_two_models(parts: tuple[Bundle, Bundle], made: Bundle) -> None:
    texts, rule = _texts(made), made.signature.cascade
    assert rule is not None
    outputs = []
    for part in parts:
        with target.find("host_onnx").open(part.path) as runner:
            outputs.append(runner.predict(runner.tokenize(texts)).astype(np.float64))
    powers = np.exp(outputs[0] / rule.temperature)
    calibrated = powers / powers.sum(axis=1, keepdims=True)
    stands = calibrated.max(axis=1) >= rule.threshold
    own = np.exp(outputs[1]) / np.exp(outputs[1]).sum(axis=1, keepdims=True)
    with target.find("host_onnx").open(made.path) as runner:
        encodings = runner.tokenize(texts)
        assert np.array_equal(runner.answered_first(encodings), stands)
        found = runner.predict(encodings)
    assert 0.2 < stands.mean() < 0.98
    np.testing.assert_allclose(found, np.where(stands[:, None], calibrated, own), atol=1e-6)
    np.testing.assert_array_equal(found, parity.answers((made.format, made.path), encodings))


def test_what_is_chosen_is_told_of_the_validation_texts(parts: tuple[Bundle, Bundle], made: Bundle) -> None:
    facts, rule = made.card.facts, made.signature.cascade
    assert rule is not None and (made.format, facts["first"], facts["precision"]) == (
        "onnx_cascade",
        "small",
        "float32",
    )
    assert facts["drop"] <= 2 and facts["drop_texts"] == 240 and facts["drop_metric"] == "accuracy"
    assert facts["metric_of_first"] < facts["metric_of_second"] and 0 < facts["share_of_first"] < 1
    assert facts["latency_ms_first"] > 0 and facts["latency_ms_second"] > 0
    assert made.card.origin.inputs["first"] == parts[0].digest
    assert [part.digest for part in made.parts] == [part.digest for part in parts]
    for part in made.parts:
        part.verify()


def test_probabilities_of_a_file_are_calibrated_as_their_logarithms(task: dict[str, Any], tmp_path: Path) -> None:
    parts = [
        (word_model(tmp_path / f"{word}-small", task, 0.9, word), word_model(tmp_path / word, task, 0.1, word, seed=1))
        for word in ("logits", "probabilities")
    ]
    plain, probable = (_made(pair, tmp_path / f"both-{number}", share=0.6) for number, pair in enumerate(parts))
    ours, theirs = plain.signature.cascade, probable.signature.cascade
    assert ours is not None and theirs is not None
    assert ours.temperature == pytest.approx(theirs.temperature, rel=1e-4)
    assert ours.threshold == pytest.approx(theirs.threshold, rel=1e-4)
    assert plain.card.facts["share_of_first"] == pytest.approx(0.6, abs=0.05)  # equal confidences go together


def test_a_cascade_is_asked_as_any_bundle_is(made: Bundle) -> None:
    with palmtop.load(made) as model:
        answers = model(["rain and snow tomorrow", "play the loud song"])
    assert [answer.label for answer in answers] == ["weather", "music"]
    assert all(sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5) for answer in answers)


def test_a_cascade_is_timed_text_by_text_and_padded_to_nothing(made: Bundle) -> None:
    with target.find("host_onnx").open(made.path) as runner:
        every = runner.tokenize(_texts(made))
        first = runner.answered_first(every)
        assert first is not None
        encodings = [every[first.argmax()], every[first.argmin()]]
        assert len(runner.latencies_ms(encodings, None, 5)) == 5
        sure, unsure = (runner.tokenize_latencies_ms([encoding.text], 20) for encoding in encodings)
        assert min(sure) < min(unsure)  # which is tokenized twice
        with pytest.raises(UserError, match="see its expected milliseconds"):
            runner.latencies_ms(encodings, 16, 5)
    assert target.find("host_onnx").padded_to(made.path, 16) is None
    with pytest.raises(UserError) as refused:
        made.signature.accepted(16)
    assert str(refused.value) == NOT_PADDED


def test_what_makes_no_cascade_is_refused_by_name(
    task: dict[str, Any], parts: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="large and large are the same file: put a smaller one first"):
        _made((parts[1], parts[1]), tmp_path / "same")
    labels = sorted(("weather", "music", "money"), reverse=True)
    turned = word_model(tmp_path / "turned", task | {"labels": labels}, 0.5)
    with pytest.raises(UserError, match="turned and large have other labels, or in another order"):
        _made((turned, parts[1]), tmp_path / "labels")
    without = {name: value for name, value in task.items() if name != "validation"}
    bare = word_model(tmp_path / "bare", without, 0.5), word_model(tmp_path / "bare-large", without, 0.1)
    with pytest.raises(UserError, match="the task tiny has no validation split, and a threshold isn't chosen on"):
        _made(bare, tmp_path / "split")
    assert _made(bare, tmp_path / "named", task=task, max_drop=50).card.facts["drop_texts"] == 240
    with pytest.raises(UserError, match="the task tiny has other labels than large: name the task that it was made"):
        _made(parts, tmp_path / "other", task=task | {"labels": labels})
    with pytest.raises(UserError, match="share and max_drop both choose the threshold"):
        _made(parts, tmp_path / "two", share=0.5, max_drop=1)
    with pytest.raises(UserError, match="quantize needs a executorch or onnx or tfjs or tflite bundle, but"):
        make_by_name("quantize", {}, _made(parts, tmp_path / "both"), tmp_path / "int8", lambda _: None)


def test_the_smaller_bundle_has_the_format_of_the_source() -> None:
    stage = find("cascade").model_construct(first="x")
    assert {form: stage.besides(Outline(form)) for form in ("onnx", "tflite")} == {"onnx": "onnx", "tflite": "tflite"}
    assert stage.outline(Outline("onnx", task="classification")).format == "onnx_cascade"


@pytest.mark.parametrize(
    "kind", ["multi_label", "regression", "question_answering", "token_classification", "sentence_embedding"]
)
def test_kinds_without_one_confidence_a_text_are_refused(kind: str) -> None:
    stage = find("cascade").model_construct(first="x")
    with pytest.raises(UserError, match=f"^cascade isn't for {kind.replace('_', ' ')}: "):
        check_task("cascade", stage, Outline("onnx", task=kind))


def test_a_cascade_of_files_for_any_length_is_refused_in_a_browser(tmp_path: Path) -> None:
    """What it refuses stands in the signatures."""
    rule = Cascade(temperature=1, threshold=0.9)
    for name, lengths in ((".", None), ("first", (8, 24)), ("second", None)):
        (tmp_path / name).mkdir(exist_ok=True)
        said = {"inputs": (), "cascade": rule} if name == "." else {"inputs": ("input_ids",)}
        Signature(**said, lengths=lengths, max_length=24, pad_id=0).write(tmp_path / name)
    assert target.find("browser_litert").refuses(tmp_path) == (
        "of the cascade's second model: LiteRT.js takes fixed lengths only, and this file takes any"
    )


def test_signatures_of_one_model_are_written_as_before(tmp_path: Path) -> None:
    Signature(inputs=("input_ids",), max_length=8, pad_id=0).write(tmp_path)
    assert "cascade" not in (tmp_path / "signature.json").read_text()
    both = Signature(inputs=(), max_length=8, pad_id=0, cascade=Cascade(temperature=1.5, threshold=0.8))
    both.write(tmp_path)
    assert Signature.read(tmp_path) == both and not both.graphs


def test_an_apps_folder_has_an_app_of_each_and_golden_answers_of_both(made: Bundle, tmp_path: Path) -> None:
    app = make_by_name("to_app", {}, made, tmp_path / "app", lambda _: None)
    manifest, rows = Manifest.read(app.path), read_golden(app.path)
    assert (manifest.format, app.model_format, app.is_cascade) == ("onnx_cascade", "onnx_cascade", True)
    assert {
        "first/manifest.json",
        "second/model.onnx",
        "second/golden.jsonl",
        "signature.json",
    } <= manifest.files.keys()
    said: list[str] = []
    verify(app.path, said.append)
    assert sum("the same token ids for all" in line for line in said) == 3  # of each model, and of both
    with target.find("host_onnx").open(app.path) as runner:
        encodings = runner.tokenize([row.text for row in rows])
        stands = runner.answered_first(encodings)
        found = runner.predict(encodings)
    assert stands is not None and 0 < stands.sum() < len(rows)
    np.testing.assert_allclose(found, [row.outputs for row in rows], atol=1e-6)
    assert all(is_clear(made, app.path, encodings))
    with palmtop.load(app) as model, palmtop.load(made) as before:
        assert model("rain and snow tomorrow") == before("rain and snow tomorrow")
    text = (app.path / "README.md").read_text()
    assert "at least `threshold`" in text and "MediaPipe: no: they open one file, and these are two" in text


def test_the_demo_app_asks_one_model_and_says_what_asks_two(made: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"asks one model, .* is two: hand over the larger, or .* CascadeModel of"):
        ANDROID.check(made, tmp_path / "project")


@pytest.mark.parametrize("damaged", ["first/labels.txt", "second/golden.jsonl", "signature.json"])
def test_a_damaged_app_of_two_is_named(damaged: str, made: Bundle, tmp_path: Path) -> None:
    app = make_by_name("to_app", {"golden": "plain"}, made, tmp_path / "app", lambda _: None)
    (app.path / damaged).write_text((app.path / damaged).read_text() + " ")
    with pytest.raises(UserError, match=f"{damaged} has .* bytes, sealed with"):
        verify(app.path, lambda _: None)


def test_an_app_that_answers_by_another_rule_is_found_out(made: Bundle, tmp_path: Path) -> None:
    app = make_by_name("to_app", {}, made, tmp_path / "app", lambda _: None)
    rule = app.signature.cascade
    assert rule is not None
    hotter = rule.model_copy(update={"temperature": 4 * rule.temperature})
    app.signature.model_copy(update={"cascade": hotter}).write(app.path)
    reseal(app.path, restate=True)
    with pytest.raises(UserError, match="answers the golden texts otherwise than stated"):
        verify(app.path, lambda _: None)
