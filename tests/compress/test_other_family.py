"""A student of another family: what it takes of its teacher's weights, what it learns from it, also across tokenizers,
and what is refused by name."""

import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from any_kind import headed
from safetensors.torch import load_file
from tiny import sentences, write_model, write_tags, write_task, write_tokenizer
from tiny_bundles import Taught, accuracy, adopted, logits_and_labels

from palmtop import stage, target, task_kinds
from palmtop.bundle import Bundle
from palmtop.compress.distillation.across import HEARD, Across, Readings
from palmtop.compress.distillation.alignment import SPECIAL, Alignment, Places, places_of
from palmtop.compress.distillation.answer_losses import cosine_loss, heard
from palmtop.compress.distillation.feature_losses import state_loss
from palmtop.compress.distillation.windows import AskedByWindows, Windows
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.other_family.bodies import StudentFamily
from palmtop.compress.other_family.token_sources import Words, sources_of_tokens
from palmtop.errors import UserError
from palmtop.families.family import Family
from palmtop.making import make_by_name
from palmtop.models.family import FAMILIES
from palmtop.models.layer_weights import HALVES, places_in_layer
from palmtop.models.linears import PARTS
from palmtop.recipe.recipe import Recipe
from palmtop.signature import Signature
from palmtop.stage import Outline, check_fit
from palmtop.task import Task

LENGTH = 24
FAST: dict[str, Any] = {"epochs": 4, "learning_rate": 3e-3, "batch_size": 16, "max_length": LENGTH}
TEACHER = Outline("torch", "bert", 2, ("a", "b"), 32, 32, task="classification")


def _made(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make_by_name(use, settings, source, out, lambda _: None)


@pytest.fixture(scope="module")
def other_tokens(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A RoBERTa, for its tokenizer over bytes."""
    folder = tmp_path_factory.mktemp("other")
    return _made("adopt", {"model": str(write_model(folder / "model", "roberta"))}, None, folder / "adopted")


@pytest.fixture(scope="module")
def across(taught_bert: Taught, other_tokens: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A DistilBERT after the taught BERT, with the RoBERTa's tokens."""
    settings = {"family": "distilbert", "layers": 2, "tokenizer": other_tokens, "max_length": LENGTH}
    return _made("new_student", settings, taught_bert.teacher, tmp_path_factory.mktemp("across") / "student")


def _read(*lengths: int) -> Encoded:
    """As many sequences with so many tokens each."""
    tokens = sum(lengths)
    offsets = np.cumsum([0, *lengths])
    nothing = np.zeros(tokens, np.int32)
    return Encoded(nothing, nothing, offsets, np.zeros(len(lengths)), ("input_ids",), 0, 0)


def test_a_token_takes_the_mean_of_those_that_cover_its_characters() -> None:
    none = (SPECIAL, SPECIAL, SPECIAL)
    # "playing now": [CLS] play ing now [SEP] | [CLS] playing n ow [SEP]; then "ab", of which the teacher saw "a" alone
    ours: Places = np.array([none, (0, 0, 4), (0, 4, 7), (0, 8, 11), none, none, (0, 0, 1), (0, 1, 2), none])
    theirs: Places = np.array([none, (0, 0, 7), (0, 8, 9), (0, 9, 11), none, none, (0, 0, 1), none])
    found = Alignment.of(_read(5, 4), ours, _read(5, 3), theirs)
    first, second = found.matrices([0, 1], 6, 5)
    assert first.tolist() == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 0, 0.5, 0.5, 0],
        [0, 0, 0, 0, 0],  # what ends a text covers none of its characters
        [0, 0, 0, 0, 0],
    ]
    assert second.tolist() == [[1, 0, 0, 0, 0], [0, 1, 0, 0, 0], *[[0] * 5] * 4]
    assert found.share(ours) == 4 / 5
    backwards = Alignment.of(_read(5, 3), theirs, _read(5, 4), ours).matrices([0], 5, 5)[0]
    assert backwards[1].tolist() == [0, 0.5, 0.5, 0, 0] and backwards[2].tolist() == [0, 0, 0, 1, 0]


def test_texts_of_a_pair_are_kept_apart_and_bytes_of_a_character_together() -> None:
    none = (SPECIAL, SPECIAL, SPECIAL)
    ours: Places = np.array([(0, 0, 2), none, (1, 0, 1), (1, 1, 2)])
    theirs: Places = np.array([(0, 0, 1), (0, 1, 2), (0, 1, 2), none, (1, 0, 2), (1, 2, 2)])  # a sign of two bytes
    found = Alignment.of(_read(4), ours, _read(6), theirs).matrices([0], 4, 6)[0]
    assert np.allclose(found[0], [1 / 3, 1 / 3, 1 / 3, 0, 0, 0])
    assert found[2].tolist() == found[3].tolist() == [0, 0, 0, 0, 1, 0]


@pytest.mark.parametrize(("one", "other"), [("bert", "roberta"), ("xlm-roberta", "bert"), ("roberta", "albert")])
def test_tokens_of_two_tokenizers_meet_where_they_share_characters(one: str, other: str, tmp_path: Path) -> None:
    texts = [(f"{text}, Ünïcode {number}",) for number, (text, _) in enumerate(sentences(12, 5))]
    kind, signature = task_kinds.find("classification"), Signature(inputs=("input_ids",), max_length=16, pad_id=0)
    read: list[tuple[Encoded, Places]] = []
    for family in (one, other):
        folder = tmp_path / family
        folder.mkdir()
        write_tokenizer(folder, family)
        places = places_of(folder, signature, kind, texts)
        lengths = [len(row) for row in _encoded(folder, texts, 16)]
        assert sum(lengths) == len(places)
        read.append((_read(*lengths), places))
    (ours, our_places), (theirs, their_places) = read
    found = Alignment.of(ours, our_places, theirs, their_places)
    for row in range(len(texts)):
        a = our_places[ours.offsets[row] : ours.offsets[row + 1]]
        b = their_places[theirs.offsets[row] : theirs.offsets[row + 1]]
        expected = np.array(
            [[x[0] == y[0] != SPECIAL and max(x[1], y[1]) < min(x[2], y[2]) for y in b] for x in a], np.float32
        )
        expected[0, 0] = 1  # what heads read
        share = expected / expected.sum(1, keepdims=True).clip(min=1)
        assert np.allclose(found.matrices([row], len(a), len(b))[0], share)


def _encoded(folder: Path, texts: list[tuple[str]], length: int) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(length)
    return [row.ids for row in tokenizer.encode_batch([text for (text,) in texts])]


def test_a_token_of_which_the_teacher_says_nothing_takes_no_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 4, generator=generator) for _ in range(2))
    batch = {"attention_mask": torch.ones(2, 3, dtype=torch.long), HEARD: torch.tensor([[1, 0, 1], [0, 0, 0]])}
    assert torch.equal(heard(batch), batch[HEARD])
    assert torch.equal(heard({"attention_mask": batch["attention_mask"]}), batch["attention_mask"])
    squares = (student - teacher).square().mean(-1)
    assert torch.allclose(state_loss(student, teacher, heard(batch))[0], (squares[0, 0] + squares[0, 2]) / 2)
    kind = task_kinds.find("token_classification")
    for loss in (
        state_loss(student, teacher, heard(batch)),
        cosine_loss(student, teacher, heard(batch)),
        kind.soft_loss(student, teacher, 2.0, heard(batch)),
    ):
        assert loss[0] > 0 and loss[1] == 0


def test_rows_of_another_tokenizer_are_those_of_the_same_piece_or_the_mean_of_several(tmp_path: Path) -> None:
    words = []
    for family in ("bert", "roberta"):
        (tmp_path / family).mkdir()
        write_tokenizer(tmp_path / family, family)
        words.append(Words.of(tmp_path / family))
    theirs, ours = words
    found = sources_of_tokens(ours, theirs)
    assert found[ours.ids["<s>"]] == (theirs.ids["[CLS]"],) and found[ours.ids["</s>"]] == (theirs.ids["[SEP]"],)
    assert found[ours.ids["<mask>"]] == (theirs.ids["[MASK]"],)
    same = [(ours.ids[f"Ġ{word}"], theirs.ids[word]) for word in theirs.ids if f"Ġ{word}" in ours.ids]
    inside = [
        (ours.ids[word[2:]], theirs.ids[word]) for word in theirs.ids if word[:2] == "##" and word[2:] in ours.ids
    ]
    assert len(same) > 10 and len(inside) > 10
    assert all(found[here] == (there,) for here, there in (*same, *inside))
    several = [number for number, source in enumerate(found) if len(source) > 1]
    assert several and not any(ours.tokenizer.id_to_token(number) in theirs.ids for number in several)


@pytest.mark.parametrize("settings", [{"family": "bert"}, {"family": "albert", "groups": 2, "embedding_size": 32}])
def test_a_student_that_can_say_all_that_its_teacher_says_answers_as_it(
    settings: dict[str, Any], taught_bert: Taught, tmp_path: Path
) -> None:
    made = _made("new_student", {"layers": 2, "max_length": 70, **settings}, taught_bert.teacher, tmp_path / "made")
    ours, theirs = (logits_and_labels(bundle, "evaluation")[0] for bundle in (made, taught_bert.teacher))
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert sum(made.card.facts["random"].values()) == 0 and made.card.facts["new_head"] == []


def test_narrow_embeddings_of_a_teacher_are_widened_with_their_positions(tmp_path: Path) -> None:
    teacher = adopted(tmp_path / "teacher", "electra")
    made = _made("new_student", {"family": "bert", "layers": 2, "max_length": 70}, teacher, tmp_path / "made")
    assert made.card.facts["random"]["layers"] == 0
    ours, theirs = load_file(made.path / "model.safetensors"), load_file(teacher.path / "model.safetensors")
    widened = theirs["electra.embeddings_project.weight"]
    for name, bias in (("word_embeddings", theirs["electra.embeddings_project.bias"]), ("position_embeddings", 0)):
        expected = theirs[f"electra.embeddings.{name}.weight"] @ widened.T + bias
        assert torch.allclose(ours[f"bert.embeddings.{name}.weight"], expected, atol=1e-5)


def test_what_means_the_same_is_taken_and_the_rest_is_random_and_counted(taught_bert: Taught, tmp_path: Path) -> None:
    settings = {"family": "fnet", "layers": 1, "max_length": 16}
    made = _made("new_student", settings, taught_bert.teacher, tmp_path / "made")
    ours = load_file(made.path / "model.safetensors")
    theirs = load_file(taught_bert.teacher.path / "model.safetensors")
    assert torch.equal(
        ours["fnet.encoder.layer.0.intermediate.dense.weight"],
        theirs["bert.encoder.layer.0.intermediate.dense.weight"],
    )
    assert torch.equal(
        ours["fnet.encoder.layer.0.fourier.output.LayerNorm.bias"],
        theirs["bert.encoder.layer.0.attention.output.LayerNorm.bias"],
    )
    assert (made.signature.lengths, made.signature.inputs) == ((16,), ("input_ids", "token_type_ids"))
    narrow = _made("new_student", settings | {"width": 16}, taught_bert.teacher, tmp_path / "narrow")
    facts, state = narrow.card.facts, load_file(narrow.path / "model.safetensors")
    whole = sum(weight.numel() for name, weight in state.items() if "position_ids" not in name)
    assert sum(facts["taken"].values()) + sum(facts["random"].values()) == whole
    assert facts["taken"]["layers"] == 0 and facts["new_head"] == ["classifier"]
    table, wide = state["fnet.embeddings.word_embeddings.weight"], theirs["bert.embeddings.word_embeddings.weight"]
    components = (wide - wide.mean(0)) @ torch.linalg.svd(wide - wide.mean(0)).Vh[:16].T
    assert torch.allclose(torch.cdist(table, table), torch.cdist(components, components), atol=1e-3)
    again = _made("new_student", settings | {"width": 16}, taught_bert.teacher, tmp_path / "again")
    assert again.digest == narrow.digest


def test_a_student_with_other_tokens_learns_from_answers_and_aligned_states(
    taught_bert: Taught, across: Bundle, tmp_path: Path
) -> None:
    facts = across.card.facts
    assert facts["tokens"]["one"] > 50 and sum(facts["tokens"].values()) == 320
    assert across.card.effect == "cuts" and "token_type_ids" not in across.signature.inputs
    settings = {**FAST, "teacher": taught_bert.teacher, "head_rate": 2}
    student = _made("distill", settings, across, tmp_path / "student")
    assert accuracy(student) > 0.75
    assert student.card.facts["tokens_aligned"] == 1.0
    assert student.card.facts["teacher"] == taught_bert.teacher.digest and "layers_copied" not in student.card.facts
    assert (student.path / "tokenizer.json").read_bytes() == (across.path / "tokenizer.json").read_bytes()
    assert student.card.origin.inputs["teacher"] == taught_bert.teacher.digest
    with pytest.raises(
        UserError, match="query_relation, key_relation, value_relation can't be compared: the teacher has"
    ):
        _made("minilm", {**FAST, "teacher": taught_bert.teacher, "relation_heads": 4}, across, tmp_path / "relations")


def test_signals_of_the_same_tokens_are_only_padded_as_the_student_is(taught_bert: Taught, tmp_path: Path) -> None:
    teacher, task = taught_bert.teacher, Task.find(taught_bert.task)
    student = _made("new_student", {"family": "fnet", "max_length": 70}, teacher, tmp_path / "made")
    readings = Readings.of(task.load("evaluation"), student, student.signature, teacher)
    assert readings.alignment is None and readings.ours.length == 70
    longest = int(readings.theirs.lengths[:3].max())
    said = {"teacher_logits": torch.zeros(3, 3), "teacher_hidden_1": torch.randn(3, longest, 4)}
    asked: Any = type("Asked", (), {"batch": staticmethod(lambda rows: dict(said))})
    given = Across(asked, readings).batch([0, 1, 2])
    assert given["teacher_hidden_1"].shape == (3, 70, 4) and HEARD not in given
    assert torch.equal(given["teacher_hidden_1"][:, :longest], said["teacher_hidden_1"])


REFUSED: list[tuple[str, dict[str, Any], Outline, str]] = [
    (
        "minilm",
        {},
        replace(TEACHER, family="fnet"),
        "value_relation of the family 'fnet' can't be compared: its tokens",
    ),
    ("tinybert", {}, replace(TEACHER, family="fnet"), "attention_scores of the family 'fnet' can't be compared"),
    ("distill", {}, replace(TEACHER, width=16), "the teacher is 32 wide, the source 16: .* set cosine_weight: 0"),
    ("distill", {}, replace(TEACHER, labels=("b", "a")), "the teacher was trained for classification with 2 outputs"),
    ("distill", {}, replace(TEACHER, labels=None), "the source has no head for a task: put 'new_student'"),
    ("transfer", {}, replace(TEACHER, family="albert", layers=3), "3 layers can't imitate 2 in equal blocks"),
]


@pytest.mark.parametrize(("use", "settings", "student", "why"), REFUSED)
def test_what_a_teacher_cannot_teach_is_told_before_work(
    use: str, settings: dict[str, Any], student: Outline, why: str
) -> None:
    made = stage.find(use)(teacher="teacher", **settings)
    told = made.beside_faults(student, {"teacher": TEACHER})
    assert re.search(why, "\n".join(told)), told


def test_relations_that_hold_positions_elsewhere_are_refused_and_values_alone_are_not() -> None:
    teacher, student = replace(TEACHER, family="deberta-v2"), replace(TEACHER, family="distilbert")
    told = stage.find("minilm")(teacher="t").beside_faults(student, {"teacher": teacher})
    assert len(told) == 2 and "query_relation of the family 'deberta-v2' means another thing" in told[0]
    alone = stage.find("minilm")(teacher="t", query_weight=0, key_weight=0)
    assert alone.beside_faults(student, {"teacher": teacher}) == []
    both = stage.find("minilm")(teacher="t").beside_faults(replace(teacher), {"teacher": teacher})
    assert both == [], "two of one family have the same terms"
    fused = stage.find("minilm")(teacher="t").beside_faults(student, {"teacher": replace(TEACHER, family="xlnet")})
    assert "of the family 'xlnet' can't be compared: its queries, keys and values are tensors by head" in fused[0]


def test_settings_that_say_two_things_and_bodies_that_cannot_be_are_refused() -> None:
    for use, settings, why in (
        (
            "distill",
            {"teacher": "t", "layers": 2},
            "with a teacher the source is the student, whose layers are all kept",
        ),
        ("tinybert", {"teacher": "t", "width": 8}, "with a teacher the source is the student, and has its sizes"),
        ("new_student", {"family": "fnet", "heads": 4}, "a model of the family 'fnet' has no heads: leave it out"),
        ("new_student", {"family": "bert", "groups": 2}, "groups is no size of the family 'bert': leave it out"),
    ):
        with pytest.raises(ValueError, match=why):
            stage.find(use)(**settings)
    for settings, source, why in (
        ({"family": "bert"}, replace(TEACHER, family="xlnet"), "puts no token before a text"),
        ({"family": "bert", "heads": 5}, TEACHER, "5 heads don't divide the width 32"),
        ({"family": "albert", "layers": 3, "groups": 2}, TEACHER, "groups is 2, which doesn't divide 3 layers"),
        ({"family": "bert"}, replace(TEACHER, labels=None, task=None), "new_student needs a task, for its head"),
        ({"family": "fnet"}, replace(TEACHER, task="sentence_embedding"), "takes no mask and mixes padding"),
    ):
        with pytest.raises(UserError, match=why):
            stage.find("new_student")(**settings).outline(source)
    with pytest.raises(UserError, match="new_student isn't for question answering yet"):
        check_fit("new_student", stage.find("new_student")(family="bert"), replace(TEACHER, task="question_answering"))


def test_a_bundle_that_was_made_without_the_setting_is_as_it_was() -> None:
    for use in ("distill", "tinybert", "minilm", "transfer"):
        assert "teacher" not in stage.find(use)().model_dump(mode="json")
        assert stage.find(use)(teacher="there").model_dump(mode="json")["teacher"] == "there"


def test_parts_that_are_alike_are_where_a_family_says() -> None:
    known = {*PARTS, *(f"{half}_norm" for half in HALVES)}
    families: list[Family] = list(FAMILIES.values())
    for family in families:
        places = places_in_layer(family.model_type)
        assert places.keys() == known if family.plan else places.keys() <= known
        assert family.plan is None or not family.parts_alike
    assert {*get_args(StudentFamily)} == {family.model_type for family in families if family.new_body is not None}


@pytest.mark.slow
def test_a_student_without_attention_goes_the_whole_way(taught_bert: Taught, tmp_path: Path) -> None:
    body = _made(
        "new_student", {"family": "fnet", "layers": 2, "max_length": LENGTH}, taught_bert.teacher, tmp_path / "b"
    )
    settings = {**FAST, "teacher": taught_bert.teacher, "epochs": 8}
    student = _made("distill", settings, body, tmp_path / "student")
    assert accuracy(student) > 0.75
    exported = _made("to_tflite", {}, student, tmp_path / "tflite")
    assert exported.signature.lengths == (LENGTH,) and exported.card.facts["parity_agreement"] == 1.0
    rounded = _made("quantize", {}, exported, tmp_path / "int8")
    assert json.loads((rounded.path / "palmtop.json").read_text())["format"] == "tflite"
    imitating = {**FAST, "teacher": taught_bert.teacher, "epochs": 1, "prediction_epochs": 1}
    imitated = _made("transfer", imitating, body, tmp_path / "imitated")
    assert set(imitated.card.facts["phases"]["layers"]["loss"]) == {"hidden"}


def test_a_teacher_reads_long_texts_in_windows_and_answers_by_their_mean(taught_bert: Taught, tmp_path: Path) -> None:
    teacher = _made("finetune", {**FAST, "epochs": 1, "max_length": 8}, taught_bert.teacher, tmp_path / "teacher")
    texts = Task.find(taught_bert.task).load("evaluation")
    windows = Windows.of(texts, teacher, 2)
    whole = Encoded.of(texts, teacher.path, teacher.signature.model_copy(update={"max_length": 70}))
    assert (windows.read.lengths <= 8).all() and (np.diff(windows.first) > 1).any()
    for row in (0, int(np.diff(windows.first).argmax())):
        parts = [
            windows.read.ids[windows.read.offsets[one] : windows.read.offsets[one + 1]][1:-1].tolist()
            for one in range(windows.first[row], windows.first[row + 1])
        ]
        joined = [*parts[0], *(token for part in parts[1:] for token in part[2:])]
        assert joined == whole.ids[whole.offsets[row] : whole.offsets[row + 1]][1:-1].tolist()
        assert all(one[-2:] == two[:2] for one, two in pairwise(parts))
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(len(windows.read), 3, generator=generator)
    asked: Any = type("Asked", (), {"batch": staticmethod(lambda rows: {"teacher_logits": logits[list(rows)]})})
    long = int(np.diff(windows.first).argmax())
    said = AskedByWindows(asked, windows).batch([0, long])["teacher_logits"][1]
    own = range(windows.first[long], windows.first[long + 1])
    weights = torch.from_numpy(windows.read.lengths[list(own)].astype(np.float32))
    assert torch.allclose(said, (logits[list(own)] * weights[:, None]).sum(0) / weights.sum())
    body = _made("new_student", {"family": "distilbert", "layers": 1, "max_length": LENGTH}, teacher, tmp_path / "body")
    settings = {**FAST, "epochs": 1, "teacher": teacher, "teacher_overlap": 2, "cosine_weight": 0}
    student = _made("distill", settings, body, tmp_path / "student")
    assert student.card.facts["texts_in_windows"] > 0
    with pytest.raises(UserError, match="a window holds 6 tokens of a text: give up to 5"):
        Windows.of(texts, teacher, 6)
    with pytest.raises(ValueError, match="teacher_overlap is for a teacher that is named"):
        stage.find("distill")(teacher_overlap=2)


def test_a_teacher_may_read_further_than_its_student(taught_bert: Taught, tmp_path: Path) -> None:
    teacher, texts = taught_bert.teacher, Task.find(taught_bert.task).load("evaluation")
    made = _made("new_student", {"family": "bert", "max_length": 9}, teacher, tmp_path / "made")
    readings = Readings.of(texts, made, made.signature, teacher)
    assert readings.alike and readings.alignment is not None and readings.share == 1.0
    assert readings.facts() == {"teacher_truncated": 0, "tokens_aligned": 1.0}
    ours, theirs = (int(np.diff(side.offsets)[0]) for side in (readings.ours, readings.theirs))
    shares = readings.alignment.matrices([0], ours, theirs)[0]
    assert (shares[: ours - 1, : ours - 1] == np.eye(ours - 1)).all(), "all but what ends the cut text stand alike"


@pytest.mark.slow
def test_tags_are_learnt_from_a_teacher_with_other_tokens(other_tokens: Bundle, tmp_path: Path) -> None:
    task = write_tags(tmp_path / "data")
    base = _made("adopt", {"model": str(write_model(tmp_path / "model", "bert"))}, None, tmp_path / "base")
    tuned = {"task": task, "epochs": 6, "learning_rate": 5e-3, "batch_size": 16, "max_length": LENGTH}
    teacher = _made("finetune", tuned, base, tmp_path / "teacher")
    settings = {"family": "distilbert", "layers": 2, "tokenizer": other_tokens, "max_length": LENGTH}
    body = _made("new_student", settings, teacher, tmp_path / "body")
    soft = {**FAST, "teacher": teacher, "epochs": 8, "label_weight": 0, "temperature": 1}
    student = _made("distill", soft, body, tmp_path / "student")
    split, found = Task.find(task).load("evaluation"), []
    for bundle in (body, student):
        with target.find("host_torch").open(bundle.path) as runner:
            encodings = runner.tokenize(split.texts)
            kind, names = Task.find(task).of_kind, Task.find(task).label_names
            answers = kind.answers(runner.predict(encodings), encodings, bundle.signature)
        found.append(kind.scores(kind.graded(answers, split.labels, split.texts, names), split.labels, names))
    untaught, taught = (scores["word_accuracy"].value for scores in found)
    assert untaught is not None and taught is not None and taught > max(0.8, untaught)


@pytest.mark.long
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_any_family_teaches_a_distilbert(family: str, tmp_path: Path) -> None:
    teacher = headed(tmp_path / "teacher", family, write_task(tmp_path / "data", train=64))
    lends = {"tokenizer": headed(tmp_path / "lender", "bert", write_task(tmp_path / "other", train=64))}
    settings = {"family": "distilbert", "layers": 2, "max_length": LENGTH}
    if FAMILIES[family].last_speaks:
        with pytest.raises(UserError, match="puts no token before a text"):
            _made("new_student", settings, teacher, tmp_path / "refused")
        settings |= lends
    body = _made("new_student", settings, teacher, tmp_path / "body")
    student = _made("distill", {**FAST, "epochs": 1, "teacher": teacher}, body, tmp_path / "student")
    assert set(student.card.facts["loss"]) == {"soft", "labels", "cosine"}
    assert student.card.facts["tokens_aligned"] == 1.0
    assert _made("to_onnx", {}, student, tmp_path / "onnx").card.facts["parity_agreement"] == 1.0


def test_a_recipe_is_told_of_it_before_any_work(tmp_path: Path) -> None:
    steps = [
        {"name": "base", "use": "adopt", "settings": {"model": str(write_model(tmp_path / "model", "bert"))}},
        {"name": "teacher", "use": "finetune"},
        {"name": "body", "use": "new_student", "settings": {"family": "fnet", "layers": 2}},
        {"name": "taught", "use": "minilm", "from": "body", "with": {"teacher": "teacher"}},
    ]
    (tmp_path / "r.yaml").write_text(json.dumps({"task": write_task(tmp_path / "data"), "steps": steps}))
    with pytest.raises(UserError) as refused:
        Recipe.read(str(tmp_path / "r.yaml"))
    told = "step 'taught': {} of the family 'fnet' can't be compared: its tokens are mixed by a Fourier transform"
    assert len(refused.value.faults) == 3
    for fault, feature in zip(refused.value.faults, ("query_relation", "key_relation", "value_relation"), strict=True):
        assert fault.startswith(told.format(feature))
