"""Kinds of tasks: data as it comes, losses and metrics against their formulas, and every kind the whole way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import f1_score
from tiny import WORDS, sentences, write_model, write_multi_label, write_tags
from torch.nn import functional

from palmtop import stage, target, task_kinds
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.loaded import load
from palmtop.making import make
from palmtop.signature import Signature
from palmtop.task import Task
from palmtop.task_kinds.token_classification import ABSENT, entities, first_tokens, given_words, words_of

LABELS, TAGS = task_kinds.find("multi_label"), task_kinds.find("token_classification")
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
SPREAD = 1e-4


def test_a_kind_that_is_not_known_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"^no kind of task 'multilabel'; did you mean 'multi_label'\?$"):
        task_kinds.find("multilabel")
    with pytest.raises(UserError, match=r"^signature.json says that the outputs are 'logit'; did you mean 'logits'\?$"):
        task_kinds.by_output("logit")


def _rows(folder: Path, rows: list[dict[str, Any]], kind: str, **settings: Any) -> Task:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"name": "t", "kind": kind, "text": "text", "label": "label", "train": "rows.jsonl"}
    return Task.find(given | {"evaluation": "rows.jsonl"} | settings, folder)


def test_labels_may_be_a_list_or_parted_or_none(tmp_path: Path) -> None:
    given = [["b", "a"], "a; c", "a", "", None, "c|a"]
    task = _rows(tmp_path, [{"text": f"t {place}", "label": label} for place, label in enumerate(given)], "multi_label")
    assert task.label_names == ("a", "b", "c")
    wanted = [[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 1]]
    assert_array_equal(task.load("train").labels, wanted)


def test_a_label_that_the_task_does_not_know_is_named(tmp_path: Path) -> None:
    task = _rows(
        tmp_path, [{"text": "t", "label": "a,x"}, {"text": "u", "label": "b"}], "multi_label", labels=["a", "b"]
    )
    with pytest.raises(UserError, match=r"1 row \(1\) has a label unknown to the task: 'x' in column 'label'"):
        task.load("train")


def test_the_binary_losses_are_their_formulas() -> None:
    ours, theirs = torch.randn(3, 4), torch.randn(3, 4)
    labels = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    p = ours.sigmoid()
    by_hand = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean(-1)
    assert_allclose(LABELS.label_loss(ours, labels), by_hand, rtol=1e-5)
    q, s = (theirs / 2).sigmoid(), (ours / 2).sigmoid()
    kl = q * (q / s).log() + (1 - q) * ((1 - q) / (1 - s)).log()
    assert_allclose(LABELS.soft_loss(ours, theirs, 2.0, MASK), 4 * kl.mean(-1), rtol=1e-4, atol=1e-6)
    assert LABELS.soft_loss(ours, ours, 2.0, MASK).abs().max() < 1e-6


def test_micro_and_macro_f1_are_scikit_learns() -> None:
    random = np.random.default_rng(3)
    labels, margins = (random.random((50, 4)) < 0.3).astype(np.float32), random.normal(size=(50, 4)).astype(np.float32)
    found = LABELS.scores(margins, labels, ("a", "b", "c", "d"))
    for name in ("micro", "macro"):
        assert found[f"{name}_f1"].value == pytest.approx(f1_score(labels, margins >= 0, average=name))


def test_thresholds_are_where_f1_is_best_and_rare_labels_share_one() -> None:
    random = np.random.default_rng(5)
    labels = np.stack([random.random(400) < share for share in (0.4, 0.2, 0.005)], axis=1).astype(np.float32)
    logits = (labels * 2 + random.normal(size=labels.shape) - 2).astype(np.float32)
    signature = LABELS.settled(logits, labels, Signature(inputs=("input_ids",), max_length=8, pad_id=0))
    assert signature.thresholds is not None
    shares = 1 / (1 + np.exp(-logits))
    for place in (0, 1):
        scores = [f1_score(labels[:, place], shares[:, place] >= at) for at in np.linspace(0.01, 0.99, 197)]
        mine = f1_score(labels[:, place], shares[:, place] >= signature.thresholds[place])
        assert mine >= max(scores) - 1e-9
    assert signature.thresholds[2] not in signature.thresholds[:2] and labels[:, 2].sum() < 10
    assert (LABELS.answers(logits, [], signature) >= 0).tolist() == (shares >= signature.thresholds).tolist()


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("O B-PER I-PER O B-LOC", [("PER", 1, 2), ("LOC", 4, 4)]),
        ("B-PER B-PER I-LOC I-LOC", [("PER", 0, 0), ("PER", 1, 1), ("LOC", 2, 3)]),
        ("I-PER I-PER O", [("PER", 0, 1)]),
        ("O O", []),
    ],
)
def test_entities_are_those_of_conlleval(tags: str, wanted: list[tuple[str, int, int]]) -> None:
    assert entities(tags.split()) == wanted


def test_entity_f1_counts_whole_entities_and_what_was_cut_off_is_none() -> None:
    names = ("B-A", "I-A", "O")
    gold = np.array([[0, 1, 2, 0], [2, 0, ABSENT, ABSENT]])
    given = np.array([[0, 1, 2, 2], [0, ABSENT, ABSENT, ABSENT]], np.float32)
    marks = TAGS.graded(given, gold, [], names)
    assert_array_equal(marks, [[1, 1, 2, 3, 4], [0, 1, 1, 0, 2]])
    found = TAGS.scores(marks, gold, names)
    assert found["entity_f1"].value == pytest.approx(2 * 1 / (2 + 3))
    assert found["word_accuracy"].value == pytest.approx(3 / 6)


def test_the_losses_of_tags_are_means_over_a_texts_words() -> None:
    outputs, taught = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    labels = torch.tensor([[-100, 2, 0, -100], [-100, 1, -100, -100]])
    logs = functional.log_softmax(outputs, -1)
    by_hand = [-(logs[0, 1, 2] + logs[0, 2, 0]) / 2, -logs[1, 1, 1]]
    assert_allclose(TAGS.label_loss(outputs, labels), torch.stack(by_hand), rtol=1e-5)
    kl = functional.kl_div(
        functional.log_softmax(outputs / 2, -1),
        functional.log_softmax(taught / 2, -1),
        reduction="none",
        log_target=True,
    ).sum(-1)
    means = [4 * kl[0, :3].mean(), 4 * kl[1, :2].mean()]
    assert_allclose(TAGS.soft_loss(outputs, taught, 2.0, MASK), torch.stack(means), rtol=1e-4)


def test_words_are_found_in_a_text_as_a_person_writes_it() -> None:
    text = 'Ann (from U.S.A) lives in "New York".'
    assert [text[begin:end] for begin, end in words_of(text)] == [
        "Ann", "(", "from", "U.S.A", ")", "lives", "in", '"', "New", "York", '"', ".",
    ]  # fmt: skip


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_a_words_first_token_begins_where_the_word_does(family: str, tmp_path: Path) -> None:
    from tiny import write_tokenizer

    write_tokenizer(tmp_path, family)
    texts = [(text,) for text, _ in sentences(20, 4)]
    for encoding in HostTokenizer(tmp_path, 70, "token_logits").encode(texts):
        words = given_words(encoding.text[0])
        assert encoding.places is not None
        assert [int(encoding.places[token, 0]) for token in first_tokens(encoding, words)] == [b for b, _ in words]


def test_a_conll_file_is_read_with_its_comments_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("# a\nAnn\tB-PER\n#tag O\n\nnow O\nrain O\n")
    (tmp_path / "b.iob2").write_text("# text = x\n1\tAnn\tB-PER\t-\n2\tsang\tO\t-\n\n")
    given = {"name": "t", "kind": "token_classification", "text": "tokens", "label": "tags"}
    one = Task.find(given | {"train": "a.conll", "evaluation": "b.iob2"}, tmp_path)
    assert one.load("train").texts == [("Ann #tag",), ("now rain",)]
    assert one.load("evaluation").texts == [("Ann sang",)]
    assert one.label_names == ("B-PER", "O")
    assert_array_equal(one.load("train").labels, [[0, 1], [1, 1]])


def test_a_text_with_fewer_tags_than_words_is_named(tmp_path: Path) -> None:
    task = _rows(tmp_path, [{"text": ["a", "b"], "label": ["O"]}], "token_classification", labels=["O", "B-X"])
    with pytest.raises(UserError, match=r"1 row \(1\) has not a tag for each word .*1 tags, 2 words"):
        task.load("train")
    task = _rows(tmp_path, [{"text": ["a b", "c"], "label": "O O"}], "token_classification", labels=["O", "B-X"])
    with pytest.raises(UserError, match=r"row 1: the word 'a b' is empty or has a space in it"):
        task.load("train")


@pytest.fixture(scope="module", params=["multi_label", "token_classification"])
def taught(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A BERT of two layers that has learnt the kind's tiny task."""
    folder = tmp_path_factory.mktemp(request.param)
    write = {"multi_label": write_multi_label, "token_classification": write_tags}[request.param]
    settings = {"task": write(folder / "data"), "epochs": 16, "learning_rate": 5e-3, "batch_size": 16}
    base = _make("adopt", {"model": str(write_model(folder / "model", "bert"))}, None, folder / "base")
    return _make("finetune", settings, base, folder / "teacher")


SHORT = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}
STEPS = [
    ("distill", SHORT | {"layers": 1}),
    ("tinybert", SHORT | {"layers": 1, "prediction_epochs": 1}),
    ("minilm", SHORT | {"layers": 1, "prediction_epochs": 1, "relation_heads": 4}),
    ("prune_structures", {"keep": 0.5, "drop_layers": 1, "rows": 32}),
    ("trim_vocabulary", {}),
    ("factorize", {"embedding_size": 16, "form": "keep_norm"}),
    ("quantize_aware", SHORT),
    ("magnitude", SHORT | {"keep": 0.5}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("use", "settings"), STEPS, ids=[use for use, _ in STEPS])
def test_a_stage_gives_a_model_of_the_same_kind(
    taught: Bundle, use: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    made = _make(use, settings, taught, tmp_path / use)
    signature, before = Signature.read(made.path), Signature.read(taught.path)
    assert (signature.output, bool(signature.thresholds)) == (before.output, bool(before.thresholds))
    assert Task.of(made.path) == Task.of(taught.path)
    assert np.isfinite(_answers(made)[0]).all()


def test_it_has_learnt_and_its_score_is_the_metric_of_its_answers(taught: Bundle) -> None:
    task = Task.of(taught.path)
    assert task is not None
    answers, split = _answers(taught)[1], task.load("evaluation")
    graded = task.of_kind.graded(answers, split.labels, split.texts, task.label_names)
    assert task.of_kind.of_outputs(task.main_metric, graded, split.labels) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("use", "settings"),
    [("to_tflite", {"lengths": [24]}), ("to_tflite", {"lengths": "any"}), ("to_onnx", {}), ("to_tfjs", {})],
    ids=["tflite", "any", "onnx", "tfjs"],
)
def test_an_exported_file_answers_as_torch(taught: Bundle, use: str, settings: dict[str, Any], tmp_path: Path) -> None:
    made = _make(use, settings, taught, tmp_path / use)
    assert made.card.facts["parity_difference"] < SPREAD
    assert Signature.read(made.path).thresholds == Signature.read(taught.path).thresholds
    found, given = _answers(made)
    expected, wanted = _answers(taught)
    assert np.abs(found - expected).max() < 1e-3 * expected[expected > -1e3].std()
    assert_array_equal(given >= 0, wanted >= 0)


@pytest.mark.slow
def test_it_is_quantized_and_measured_and_made_an_app_of(taught: Bundle, tmp_path: Path) -> None:
    from palmtop.eval.measure import MeasureOptions, measure
    from palmtop.eval.verify import verify
    from palmtop.measurement import FILE, read

    task = Task.of(taught.path)
    assert task is not None
    file = _make("to_tflite", {"lengths": "any"}, taught, tmp_path / "file")
    small = _make("quantize", {}, file, tmp_path / "int8")
    app = _make("to_app", {}, small, tmp_path / "app")
    verify(app.path, lambda _: None)
    given = {"teacher": taught, "file": file, "int8": small}
    measure(given, MeasureOptions(on=("host_litert", "host_torch"), runs=50), tmp_path / "run", lambda _: None)
    taken = {(one.name, one.metric): one for one in read(tmp_path / "run" / FILE)}
    assert taken["file", task.main_metric].value == taken["teacher", task.main_metric].value
    assert taken["file", "agreement_torch"].value == 1
    assert (taken["int8", task.main_metric].value or 0) > 0.8


def test_it_is_asked_from_python(taught: Bundle) -> None:
    with load(taught) as model:
        said = model("now rain guitar, for me").as_dict()
    task = Task.of(taught.path)
    assert task is not None
    if task.kind == "multi_label":
        assert set(said["labels"]) == {"music", "weather"} and set(said["probabilities"]) == set(WORDS)
        return
    assert said["entities"][0] == {"label": "weather", "text": "rain", "begin": 4, "end": 8}


@pytest.mark.slow
def test_probabilities_are_for_kinds_that_have_some(taught: Bundle, tmp_path: Path) -> None:
    task = Task.of(taught.path)
    assert task is not None
    if task.of_kind.probabilities is None:
        with pytest.raises(UserError, match="of tags the largest logit is wanted"):
            _make("to_onnx", {"probabilities": True}, taught, tmp_path / "file")
        return
    made = _make("to_onnx", {"probabilities": True}, taught, tmp_path / "file")
    assert Signature.read(made.path).output == "label_probabilities"
    assert_array_equal(_answers(made)[1] >= 0, _answers(taught)[1] >= 0)


def _answers(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """What a bundle gives for its task's evaluation texts, and what its kind keeps of that."""
    task, signature = Task.of(bundle.path), Signature.read(bundle.path)
    assert task is not None
    with target.for_format(bundle.format).open(bundle.path) as runner:
        encodings = HostTokenizer.of(bundle.path, signature).encode(task.load("evaluation").texts)
        outputs = runner.predict(encodings)
        return outputs, task.of_kind.answers(outputs, encodings, signature)


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, lambda _: None)
