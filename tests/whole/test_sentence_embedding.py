"""Sentence embeddings: data as they come, every loss and metric against its formula, and the kind the whole way."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import pearsonr, spearmanr
from tiny import VOCABULARIES, WORDS, write_model, write_pairs
from tiny_bundles import sealed

from palmtop import task_kinds
from palmtop.bundle import Bundle
from palmtop.cli.main import main
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.loaded import load
from palmtop.making import make_by_name
from palmtop.models.family import FAMILIES
from palmtop.parity import answers
from palmtop.task import Task
from palmtop.task_kinds import embedding_losses as losses
from palmtop.task_kinds import embedding_ranks

KIND = task_kinds.find("sentence_embedding")
FLOAT = 1e-4
"""Of the outputs' spread: rounding of two layers in other orders."""


def _task(folder: Path, rows: list[dict[str, Any]], **settings: Any) -> Task:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"name": "t", "kind": "sentence_embedding", "text": ["a", "b"], "train": "rows.jsonl"}
    return Task.find(given | {"evaluation": "rows.jsonl"} | settings, folder)


def _pairs(*labels: Any) -> list[dict[str, Any]]:
    return [{"a": f"one {place}", "b": f"other {place}", "y": label} for place, label in enumerate(labels)]


# -- data --


def test_the_loss_is_what_the_data_have(tmp_path: Path) -> None:
    for labels, loss, taken in (
        ((1, 3.5, 5), "cosine", [0, 0.625, 1]),
        ((1, 0, 1), "contrastive", [True, False, True]),
        ((None, "", None), "multiple_negatives", [np.nan] * 3),
    ):
        task = _task(tmp_path, _pairs(*labels), label="y")
        made = task.of_kind.trained([], task.load("train").labels)[1]
        assert_array_equal(made, taken)
        assert task.of_kind.learnt_by(made) == loss
    task = _task(tmp_path, _pairs("x", "y", "x"), text="a", label="y")
    labels = task.load("train").labels
    assert (labels.tolist(), task.of_kind.learnt_by(labels), task.main_metric) == (
        [0, 1, 0],
        "semi_hard",
        "recall_at_1",
    )
    assert _task(tmp_path, _pairs(1, 2), label="y").main_metric == "spearman"
    assert _task(tmp_path, _pairs(1, 2)).main_metric == "ndcg_at_10"


@pytest.mark.parametrize(
    ("labels", "settings", "told"),
    [
        ((1, None, 2), {"label": "y"}, r"1 row \(2\) has nothing in column 'y': remove them, or name no label"),
        ((1, "x", 2), {"label": "y"}, r"1 row \(2\) has no finite number in column 'y' \(the first: 'x'\)"),
        (
            (2, 2, 2),
            {"label": "y"},
            "all 3 pairs have the rating 2: name no label, and each text learns to find its own",
        ),
        (("x", "y", "z"), {"label": "y", "text": "a"}, "all 3 rows have the same class, or each has one of its own"),
        (
            (1, 2, 3),
            {"label": "y", "options": {"loss": "multiple_negatives"}},
            "has pairs with a rating, and the loss multiple_negatives learns from pairs that belong together",
        ),
        (
            (1, 0, 1),
            {"label": "y", "options": {"loss": "hardest"}},
            "has pairs with 0 or 1, and the loss hardest learns from texts with a class",
        ),
    ],
)
def test_what_nothing_can_be_learnt_from_is_refused(
    labels: tuple[Any, ...], settings: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        _task(tmp_path, _pairs(*labels), **settings).load("train")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"text": "a"}, "sentence_embedding learns from pairs"),
        ({"labels": ["a"]}, "sentence_embedding has no labels; remove 'labels'"),
        ({"options": {"pool": "cls"}}, "options: no setting 'pool'; did you mean 'pooling'?"),
        ({"options": {"loss": "cosine", "margin": 1}}, "margin is for contrastive and triplets, and loss is cosine"),
        ({"kind": "regression", "label": "y", "options": {}}, "regression has no options; remove 'options'"),
        ({"kind": "regression"}, "the setting 'label' is missing"),
    ],
)
def test_a_task_that_no_such_task_is_is_refused(settings: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        _task(tmp_path, _pairs(1, 2), **settings)
    assert told in str(refused.value)


def test_a_task_without_options_is_written_and_digested_as_before_there_were_any(tmp_path: Path) -> None:
    task = _task(tmp_path, _pairs(1, 2), label="y")
    task.write(tmp_path)
    assert "options" not in json.loads((tmp_path / "task.json").read_text())
    other = _task(tmp_path, _pairs(1, 2), label="y", options={"pooling": "cls"})
    assert task.digest != other.digest
    other.write(tmp_path)
    assert Task.of(tmp_path) == other


# -- losses --

U, V = torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), torch.randn(5, 8)
CLASSES = torch.tensor([0, 1, 0, 1, 2])


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(one @ other / one.norm() / other.norm())


def test_the_losses_of_pairs_are_their_formulas() -> None:
    cosines = [_cosine(one, other) for one, other in zip(U, V, strict=True)]
    ratings = torch.rand(5)
    by_hand = [(cosine - float(rating)) ** 2 for cosine, rating in zip(cosines, ratings, strict=True)]
    assert_allclose(losses.cosine_loss(U, V, ratings), by_hand, rtol=1e-4, atol=1e-7)
    same = torch.tensor([True, False, True, False, False])
    by_hand = [
        (1 - cosine) ** 2 / 2 if alike else max(0, 0.5 - (1 - cosine)) ** 2 / 2
        for cosine, alike in zip(cosines, same, strict=True)
    ]
    assert_allclose(losses.contrastive_loss(U, V, same, 0.5), by_hand, rtol=1e-4, atol=1e-7)
    powers = np.exp(20 * np.array([[_cosine(one, other) for other in V] for one in U]))
    assert_allclose(
        losses.multiple_negatives_loss(U, V, 20.0), -np.log(np.diagonal(powers) / powers.sum(1)), rtol=1e-4, atol=1e-5
    )


def test_the_triplets_are_chosen_and_weighed_as_the_formulas_say() -> None:
    distances = [[2 - 2 * _cosine(one, other) for other in U] for one in U]
    semi, hard = [], []
    for anchor in range(5):
        positives = [at for at in range(5) if at != anchor and CLASSES[at] == CLASSES[anchor]]
        negatives = [at for at in range(5) if CLASSES[at] != CLASSES[anchor]]
        each = []
        for positive in positives:
            farther = [distances[anchor][at] for at in negatives if distances[anchor][at] > distances[anchor][positive]]
            chosen = min(farther) if farther else max(distances[anchor][at] for at in negatives)
            each.append(max(0, distances[anchor][positive] - chosen + 0.9))
        semi.append(sum(each) / len(each) if each else 0)
        far = max((distances[anchor][at] for at in positives), default=0)
        hard.append(max(0, far - min(distances[anchor][at] for at in negatives) + 0.9) if positives else 0)
    assert_allclose(losses.semi_hard_triplet_loss(U, CLASSES, 0.9), semi, rtol=1e-4, atol=1e-6)
    assert_allclose(losses.hardest_triplet_loss(U, CLASSES, 0.9), hard, rtol=1e-4, atol=1e-6)
    alone = torch.zeros(5, dtype=torch.int64)
    for loss in (losses.semi_hard_triplet_loss, losses.hardest_triplet_loss):
        vectors = U.clone().requires_grad_()
        without = loss(vectors, alone, 0.2)
        without.sum().backward()
        assert vectors.grad is not None and not without.any() and vectors.grad.isfinite().all()


def test_a_student_learns_its_teachers_vectors_and_their_cosines() -> None:
    wide, mask = torch.randn(5, 12), torch.ones(5, 3)
    ours, theirs = (np.array([[_cosine(one, other) for other in side] for one in side]) for side in (U, wide))
    similarities = ((ours - theirs) ** 2).mean(1)
    assert_allclose(KIND.soft_loss(U, wide, 1.0, mask), similarities, rtol=1e-4, atol=1e-6)
    unit = torch.nn.functional.normalize
    halved = (unit(U) - unit(V)).square().sum(-1) / 2
    assert_allclose(losses.embedding_loss(U, V), halved, rtol=1e-4, atol=1e-6)
    assert_allclose(KIND.soft_loss(U, V, 1.0, mask), halved + losses.similarity_loss(U, V), rtol=1e-5)
    for taught, wanted in (("embeddings", halved), ("similarities", losses.similarity_loss(U, V))):
        made = KIND.settled_by({"taught": taught}).soft_loss(U, V, 1.0, mask)
        assert_allclose(made, wanted, rtol=1e-4, atol=1e-6)
    assert KIND.soft_loss(U, 3 * U, 1.0, mask).abs().max() < 1e-6


def test_a_rows_loss_is_that_of_its_two_vectors_and_matryoshka_counts_each_width() -> None:
    both, ratings = torch.stack([U, V], dim=1).flatten(0, 1), torch.rand(5)
    assert_allclose(KIND.label_loss(both, ratings), losses.cosine_loss(U, V, ratings))
    assert_allclose(
        KIND.label_loss(both, torch.full((5,), torch.nan)), losses.multiple_negatives_loss(U, V, 20.0), rtol=1e-5
    )
    parts = [losses.cosine_loss(U[:, :width], V[:, :width], ratings) for width in (8, 4, 2)]
    assert_allclose(KIND.settled_by({"widths": [4, 2]}).label_loss(both, ratings), sum(parts) / 3, rtol=1e-5)
    kept = KIND.settled_by({"loss": "multiple_negatives"}).label_loss(both, torch.tensor([True, False] * 2 + [True]))
    assert kept[1] == kept[3] == 0 < kept[0]
    hard = KIND.settled_by({"loss": "hardest", "margin": 0.9}).label_loss(U, CLASSES)
    assert_allclose(hard, losses.hardest_triplet_loss(U, CLASSES, 0.9))


def test_a_batch_of_triplets_has_four_of_a_class_and_an_epoch_each_row_once() -> None:
    from palmtop.compress.learning.by_class import GroupedByClass

    classes = np.random.default_rng(1).integers(0, 40, 640)
    order = GroupedByClass(classes, 7)
    rows = list(order)
    assert sorted(rows) == list(range(640)) and rows == list(GroupedByClass(classes, 7))
    batches = [classes[rows[start : start + 32]] for start in range(0, 640, 32)]
    lonely = sum(int((np.unique(batch, return_counts=True)[1] == 1).sum()) for batch in batches)
    assert lonely < 40  # what is left of a class after its fours
    order.epoch = 1
    assert list(order) != rows
    assert_array_equal(KIND.compared_in_batch(classes), classes)
    assert KIND.compared_in_batch(np.array([0.5, 1], np.float32)) is None


# -- metrics --


def test_correlations_are_scipys_of_the_cosines() -> None:
    random = np.random.default_rng(4)
    kept, ratings = random.normal(size=(40, 16)).astype(np.float32), random.integers(0, 6, 40).astype(np.float32)
    graded = KIND.graded(kept, ratings, [("a", "b")] * 40, ("embedding",))
    cosines = [_cosine(*torch.from_numpy(row).split(8)) for row in kept]
    assert_allclose(graded[:, 0], cosines, atol=1e-6)
    found = KIND.scores(graded, ratings, ("embedding",))
    assert found["spearman"].value == pytest.approx(spearmanr(cosines, ratings).statistic)
    assert found["pearson"].value == pytest.approx(pearsonr(cosines, ratings).statistic)
    assert set(found) == {"spearman", "pearson"}
    assert "pairs without a rating" in str(KIND.score("recall_at_1", graded, ratings).why)


def test_what_is_found_is_counted_among_all_different_second_texts() -> None:
    first = np.eye(4, dtype=np.float32)
    second = np.array([[1, 0, 0, 0], [0.9, 0.1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0]], np.float32)
    texts = [("q", text) for text in ("w", "x", "y", "y")]
    graded = KIND.graded(np.hstack([first, second]), np.full(4, np.nan, np.float32), texts, ("embedding",))
    # the fourth finds nothing by a vector whose cosine is 0 with all: its own comes last of the three there are
    assert graded[:, 1].tolist() == [1, 1, 1, 3]
    found = KIND.scores(graded, np.full(4, np.nan, np.float32), ("embedding",))
    assert (found["recall_at_1"].value, found["recall_at_10"].value) == (0.75, 1)
    assert found["ndcg_at_10"].value == pytest.approx((3 + 1 / np.log2(4)) / 4)
    assert "spearman" not in found
    same = embedding_ranks.of_pairs(
        np.ones((20, 3), np.float32), np.ones((20, 3), np.float32), list(map(str, range(20)))
    )
    assert_array_equal(same, [[20, 0]] * 20)


def test_the_neighbours_of_a_class_are_counted_without_the_text_itself() -> None:
    from sklearn.metrics import ndcg_score

    random = np.random.default_rng(2)
    vectors, classes = random.normal(size=(30, 4)).astype(np.float32), random.integers(0, 3, 30)
    found = embedding_ranks.of_classes(vectors, classes)
    cosines = embedding_ranks.unit(vectors) @ embedding_ranks.unit(vectors).T
    for row in range(30):
        others = [at for at in np.argsort(-cosines[row]) if at != row]
        right = [classes[at] == classes[row] for at in others]
        assert found[row, 0] == 1 + right.index(True)
        assert found[row, 1] == pytest.approx(ndcg_score([right], [list(range(29, 0, -1))], k=10))
    assert embedding_ranks.of_classes(vectors, np.arange(30))[:, 1].max() == 0


def test_pooling_and_length_are_their_formulas_padded_or_not() -> None:
    from palmtop.models.embedder import of_length_one, pooled

    states, real = torch.randn(2, 4, 6), torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]])
    assert_allclose(pooled(states, real, "mean")[0], states[0, :3].mean(0), rtol=1e-5, atol=1e-6)
    assert_allclose(pooled(states, real, "max")[0], states[0, :3].amax(0))
    assert_allclose(pooled(states, real, "cls"), states[:, 0])
    assert_allclose(pooled(states, real, "max")[1], states[1, 0])
    assert_allclose(of_length_one(states[0]).norm(dim=-1), 1, rtol=1e-6)


# -- the whole way --

SHORT = {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A BERT of two layers that has learnt which texts are alike."""
    folder = tmp_path_factory.mktemp("embedding")
    base = _made("adopt", {"model": str(write_model(folder / "model", "bert"))}, None, folder / "base")
    return _made("finetune", SHORT | {"task": write_pairs(folder / "data")}, base, folder / "teacher")


def _made(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make_by_name(use, settings, source, out, lambda _: None)


def _task_of(bundle: Bundle) -> Task:
    task = bundle.task
    assert task is not None
    return task


def _vectors(bundle: Bundle) -> np.ndarray:
    rows = HostTokenizer.of(bundle.path, bundle.signature).encode(_task_of(bundle).load("evaluation").texts)
    return answers((bundle.format, bundle.path), rows)


def _spearman(bundle: Bundle) -> float:
    task = _task_of(bundle)
    split = task.load("evaluation")
    kept = _vectors(bundle).reshape(len(split), -1)
    return task.of_kind.of_outputs("spearman", task.of_kind.graded(kept, split.labels, split.texts, ()), split.labels)


def test_it_learns_and_its_student_learns_of_it(tuned: Bundle, tmp_path: Path) -> None:
    assert tuned.signature.output == "embedding" and tuned.card.facts["learnt_by"] == "cosine"
    vectors = _vectors(tuned)
    assert vectors.shape == (96, 32)
    assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert _spearman(tuned) > 0.8
    student = _made("distill", SHORT | {"layers": 1}, tuned, tmp_path / "student")
    assert _spearman(student) > 0.75
    config = json.loads((student.path / "config.json").read_text())
    assert config["architectures"] == ["BertForSentenceEmbedding"]
    assert config["palmtop_embedding"] == {"pooling": "mean", "normalize": True, "width": None}


def test_a_batch_has_both_texts_of_each_row_one_after_the_other(tuned: Bundle) -> None:
    from palmtop.compress.learning.encoded import Encoded, take

    split = _task_of(tuned).load("evaluation")
    data = Encoded.of(split, tuned.path, tuned.signature)
    assert (len(data), data.each, len(data.lengths)) == (48, 2, 48)
    rows = HostTokenizer.of(tuned.path, tuned.signature).encode([split.texts[place] for place in (5, 2)])
    assert [row.text for row in rows] == [(text,) for place in (5, 2) for text in split.texts[place]]
    for chosen, of in (([5, 2], data), ([1, 0], take(data, [2, 5]))):
        batch = of.batch(chosen)
        found = [ids[mask == 1].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
        assert found == [row.input_ids.tolist() for row in rows]
        assert_array_equal(of.label_batch(chosen), data.labels[[5, 2]])


def test_what_a_teacher_said_lies_beside_the_texts_it_was_said_of(tuned: Bundle, tmp_path: Path) -> None:
    from palmtop.compress.distillation.keep_or_recompute import Recomputed
    from palmtop.compress.distillation.teacher_signals import Wanted, fill, open_signals
    from palmtop.compress.learning.encoded import Encoded
    from palmtop.models.opening import open_with_head

    split, wanted = _task_of(tuned).load("evaluation"), Wanted((2,), "float32")
    data = Encoded.of(split, tuned.path, tuned.signature)
    model = open_with_head(tuned.path)
    fill(model, data, wanted, tmp_path)
    kept = open_signals(tmp_path, data, wanted, 0.0, False).batch([5, 2])
    anew = Recomputed(model, data, wanted).batch([5, 2])
    vectors = _vectors(tuned).reshape(48, 2, -1)[[5, 2]].reshape(4, -1)
    for said in (kept, anew):
        assert_allclose(said["teacher_logits"], vectors, atol=1e-5)
    assert_allclose(kept["teacher_hidden_2"], anew["teacher_hidden_2"], atol=1e-5)


def test_vectors_are_cut_to_their_first_numbers_and_brought_to_length_1_anew(tuned: Bundle, tmp_path: Path) -> None:
    made = _made("cut_embedding", {"width": 8}, tuned, tmp_path / "cut")
    first = _vectors(tuned)[:, :8]
    assert_allclose(_vectors(made), first / np.linalg.norm(first, axis=1, keepdims=True), atol=1e-5)
    with pytest.raises(UserError, match="width is 8, and the source's vectors have 8 numbers: give fewer"):
        _made("cut_embedding", {"width": 8}, made, tmp_path / "again")


def test_it_is_asked_for_a_vector_or_a_cosine(tuned: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    from palmtop.cli.main import main

    with load(tuned) as model:
        one, other, both = model("rain and snow"), model("play the song"), model(("rain and snow", "play the song"))
    vectors = [np.array(answer.as_dict()["vector"]) for answer in (one, other)]
    assert both.as_dict()["similarity"] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-5)
    for words, head in (((), "vector"), (("--second", "play the song"), "similarity")):
        with pytest.raises(SystemExit) as ended:
            main(["predict", str(tuned.path), "rain and snow", *words])
        assert not ended.value.code
        assert head in capsys.readouterr().out.splitlines()[0]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize(
    ("use", "settings"),
    [("to_tflite", {"lengths": [24]}), ("to_tflite", {"lengths": "any"}), ("to_onnx", {}), ("to_tfjs", {})],
    ids=["tflite", "any", "onnx", "tfjs"],
)
def test_an_exported_file_gives_torchs_vectors_whatever_the_pooling(
    tuned: Bundle, use: str, settings: dict[str, Any], pooling: str, tmp_path: Path
) -> None:
    source = _pooled_by(tuned, pooling, tmp_path / "source")
    made = _made(use, settings, source, tmp_path / use)
    assert made.card.facts["parity_difference"] < FLOAT
    found, expected = _vectors(made), _vectors(source)
    assert (found * expected).sum(axis=1).min() > 0.9999


def _pooled_by(bundle: Bundle, pooling: str, out: Path) -> Bundle:
    """The same weights under another head."""
    shutil.copytree(bundle.path, out)
    config = json.loads((out / "config.json").read_text())
    config["palmtop_embedding"]["pooling"] = pooling
    (out / "config.json").write_text(json.dumps(config))
    (out / "palmtop.json").unlink()
    return sealed(out, "torch", "finetune", None)


@pytest.mark.slow
def test_it_is_quantized_measured_made_an_app_of_and_opened_by_mediapipe(tuned: Bundle, tmp_path: Path) -> None:
    from palmtop.eval.measure import MeasureOptions, measure
    from palmtop.eval.verify import verify
    from palmtop.measurement import FILE, read

    file = _made("to_tflite", {"lengths": "any"}, tuned, tmp_path / "file")
    small = _made("quantize", {}, file, tmp_path / "int8")
    app = _made("to_app", {"task_clients": "required"}, file, tmp_path / "app")
    assert app.card.facts["clients"] == "LiteRT; MediaPipe TextEmbedder 1.2.2"
    assert app.card.facts["page"] == "the page can't show the answers of sentence_embedding"
    said: list[str] = []
    verify(app.path, said.append)
    verify(file.path, said.append)
    with load(app) as model:
        assert model(("rain", "rain")).as_dict()["similarity"] == pytest.approx(1)
    given = {"teacher": tuned, "file": file, "int8": small, "app": app}
    on = ("host_litert", "host_torch", "host_mediapipe")
    measure(given, MeasureOptions(on=on, runs=50), tmp_path / "run", lambda _: None)
    taken = {(one.name, one.target, one.metric): one.value for one in read(tmp_path / "run" / FILE)}
    expected = taken["teacher", "host_torch", "spearman"]
    assert expected == pytest.approx(_spearman(tuned), abs=1e-3)
    assert taken["file", "host_litert", "spearman"] == pytest.approx(expected, abs=1e-3)
    assert taken["app", "host_mediapipe", "spearman"] == pytest.approx(expected, abs=1e-3)
    assert taken["app", "host_mediapipe", "tokenizer_mismatches"] == 0
    assert (taken["file", "host_litert", "agreement_torch"] or 0) > 0.9999
    assert (taken["int8", "host_litert", "agreement_torch"] or 0) > 0.99


def test_clients_that_do_not_know_it_are_named_with_a_reason(tuned: Bundle, tmp_path: Path) -> None:
    from palmtop.export.app import android_project, page, react_native_project

    file, model = (Bundle(tuned.path, tuned.card.model_copy(update={"format": made})) for made in ("tflite", "tfjs"))
    with pytest.raises(UserError, match="the Android app doesn't know sentence embedding: put the folder that to_app"):
        android_project.check(file, tmp_path / "android")
    with pytest.raises(UserError, match="the React Native code doesn't know sentence embedding: add it in export"):
        react_native_project.check(model, tmp_path / "native")
    assert page.why_none("tflite", _task_of(tuned)) == "the page can't show the answers of sentence_embedding"


@pytest.mark.parametrize(
    ("written", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"embedding_dimension": 32, "pooling_mode": "max"}, "max"),
        (None, "mean"),
    ],
)
def test_a_folder_of_sentence_transformers_is_adopted_as_it_pools(
    written: dict[str, Any] | None, pooling: str, tmp_path: Path
) -> None:
    model = write_model(tmp_path / "model", "bert")
    if written is not None:
        (model / "1_Pooling").mkdir()
        (model / "1_Pooling" / "config.json").write_text(json.dumps(written))
    task = write_pairs(tmp_path / "data", evaluation=8)
    made = _made("adopt", {"model": str(model), "task": task}, None, tmp_path / "made")
    config = json.loads((made.path / "config.json").read_text())
    assert config["palmtop_embedding"] == {"pooling": pooling, "normalize": True, "width": None}
    assert made.signature.output == "embedding" and _vectors(made).shape == (16, 32)


@pytest.mark.parametrize("family", VOCABULARIES)
def test_every_familys_vectors_are_the_means_of_its_own_states_and_an_export_computes_the_same(
    family: str, tmp_path: Path
) -> None:
    from transformers import AutoModel

    from palmtop.data.encoding import pad
    from palmtop.export.graph.edge import edge_classifier
    from palmtop.models.opening import open_with_head

    task = write_pairs(tmp_path / "data", train=8, evaluation=4)
    model = write_model(tmp_path / "model", family)
    if FAMILIES[family].padding_counts:
        with pytest.raises(UserError, match=f"family '{family}' .* a text would have another vector at each length"):
            _made("adopt", {"model": str(model), "task": task}, None, tmp_path / "made")
        return
    made = _made("adopt", {"model": str(model), "task": task}, None, tmp_path / "made")
    rows = HostTokenizer.of(made.path, made.signature).encode(_task_of(made).load("evaluation").texts)
    padded = {name: torch.from_numpy(ids) for name, ids in pad(rows, 24, made.signature.pad_id).items()}
    given = {name: padded[name] for name in made.signature.inputs}
    with torch.no_grad():
        vectors = open_with_head(made.path)(**{name: ids.long() for name, ids in given.items()}).logits
        exported = edge_classifier(made, probabilities=False)(**given)
        plain = AutoModel.from_pretrained(made.path, attn_implementation="eager").eval()
        for row, vector in zip(rows, vectors, strict=True):
            types = {"token_type_ids": row.token_type_ids} if "token_type_ids" in given else {}
            alone = {"input_ids": row.input_ids, "attention_mask": np.ones_like(row.input_ids), **types}
            states = plain(**{name: torch.from_numpy(ids)[None].long() for name, ids in alone.items()})
            mean = states.last_hidden_state[0].mean(0)
            assert_allclose(vector, mean / mean.norm(), atol=1e-4)
    assert_allclose(exported, vectors, atol=1e-5)


def test_a_folder_that_pools_otherwise_is_refused(tmp_path: Path) -> None:
    from palmtop.compress.start.adopt_embedder import with_weightless_head

    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "lasttoken"}')
    with pytest.raises(UserError, match="pools by lasttoken, and palmtop by one of mean, cls, max: adopt it without"):
        with_weightless_head({"model_type": "bert"}, write_pairs(tmp_path / "data", evaluation=2), tmp_path)


STEPS = [
    ("minilm", {"layers": 1, "prediction_epochs": 1, "relation_heads": 4}),
    ("tinybert", {"layers": 1, "prediction_epochs": 1}),
    ("quantize_aware", {}),
    ("magnitude", {"keep": 0.5}),
]
UNTRAINED: list[tuple[str, dict[str, Any]]] = [
    ("prune_structures", {"keep": 0.5, "drop_layers": 1, "rows": 32}),
    ("trim_vocabulary", {}),
    ("factorize", {"embedding_size": 16, "form": "keep_norm"}),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "settings"),
    [
        *((use, settings | {"epochs": 1, "batch_size": 32, "learning_rate": 1e-3}) for use, settings in STEPS),
        *UNTRAINED,
    ],
)
def test_a_stage_gives_a_model_of_vectors_again(
    tuned: Bundle, use: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    made = _made(use, settings, tuned, tmp_path / use)
    assert (made.signature.output, made.task) == ("embedding", tuned.task)
    assert_allclose(np.linalg.norm(_vectors(made), axis=1), 1, rtol=1e-5)


def test_what_makes_a_classifier_is_refused(tuned: Bundle, tmp_path: Path) -> None:
    for use, settings, told in (
        ("share", {}, "share isn't for sentence embedding: the ALBERT class that it makes ends in a classifier"),
        ("factorize", {"embedding_size": 16, "form": "albert"}, "this one is to give a vector of it: take form"),
        ("static", {}, "static isn't for sentence embedding"),
    ):
        with pytest.raises(UserError, match=told):
            _made(use, settings, tuned, tmp_path / use)


def test_texts_are_labelled_by_what_each_label_means(tuned: Bundle, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(
        "labels:\n" + "".join(f"  {topic}: [{', '.join(words[:6])}]\n" for topic, words in WORDS.items())
    )
    asked = {f"{first} {second}": topic for topic, words in WORDS.items() for first in words for second in words[6:9]}
    (tmp_path / "texts.txt").write_text("\n".join(asked) + "\n")
    arguments = ["label", str(tuned.path), str(tmp_path / "texts.txt"), "--table", str(tmp_path / "labels.yaml")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(tmp_path / "rows.jsonl")])
    assert not ended.value.code
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == list(asked)
    right = [row["label"] == asked[row["text"]] for row in rows]
    assert np.mean(right) > 0.8
    sure = [row for row in rows if row["confidence"] >= 0.9]
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path / "sure.jsonl"), "--least", "0.9"])
    assert [json.loads(line) for line in (tmp_path / "sure.jsonl").read_text().splitlines()] == sure
