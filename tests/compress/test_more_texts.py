"""What stages that distil learn from besides the task's rows: no label is learnt of it, the teacher's answers are; what
was made is kept; what can't be is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import sentences, write_task
from tiny_bundles import Taught

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.compress.distillation.answer_losses import answer_terms
from palmtop.compress.distillation.more_texts import tries_of
from palmtop.compress.learning import copies_trial
from palmtop.compress.learning.chosen import Chosen
from palmtop.compress.learning.encoded import Encoded, take
from palmtop.data.encoding import plain
from palmtop.errors import UserError
from palmtop.making import make, origin_of
from palmtop.stage import Work
from palmtop.task import Task
from palmtop.unlabelled import known_texts

AUGMENT: dict[str, Any] = {"augment": ["mask", "swap", "ngrams"], "augment_copies": 3}


@pytest.fixture(scope="module")
def task(taught_bert: Taught, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tiny task with 60 texts without labels, of which some are its own, and 40 are words that it never saw."""
    own = Task.find(taught_bert.task)
    leaks = [own.load("evaluation").texts[0][0].upper(), own.load("train").texts[0][0]]
    texts = [text for text, _ in sentences(20, 77)] + [f"zz {number} zz" for number in range(40)]
    file = tmp_path_factory.mktemp("unlabelled") / "texts.txt"
    file.write_text("\n".join([*leaks, *texts]) + "\n")
    return taught_bert.task | {"unlabelled": str(file)}


def data_of(use: str, settings: dict[str, Any], teacher: Bundle, folder: Path) -> tuple[Encoded, list[str]]:
    """What a stage would train on, and what it says."""
    made: Any = stage.find(use)(**settings)
    said: list[str] = []
    (folder / "scratch").mkdir(parents=True)
    work = Work(folder / "out", folder / "scratch", said.append)
    task = Task.find(settings["task"])
    return made.training_data(task.load("train"), teacher, teacher.signature, work), said


def test_made_texts_follow_the_rows_and_have_no_label(taught_bert: Taught, tmp_path: Path) -> None:
    settings = AUGMENT | {"task": taught_bert.task}
    data, said = data_of("distill", settings, taught_bert.teacher, tmp_path / "a")
    assert data.labelled is not None
    made = data.besides["augmented"]
    assert data.labelled[:96].all() and not data.labelled[96:].any()
    assert len(data) == 96 + made["made"] and made["of"] == 96
    assert made["made"] + sum(made["dropped"].values()) == 3 * 96
    assert data.facts()["rows_labelled"] == 96
    assert any(line.startswith(f"augment: {made['made']:,} texts made of 96 (mask, swap, ngrams)") for line in said)
    again, said = data_of("recover", settings | {"teacher": "x"}, taught_bert.teacher, tmp_path / "b")
    assert again.digest == data.digest
    assert not any(line.startswith("more texts") for line in said)  # from the cache
    mask = taught_bert.teacher.path.joinpath("tokenizer.json").read_text().count("[MASK]")
    assert mask and (data.ids[data.offsets[96] :] == 4).any()  # the mask's id, read from the text


def test_texts_without_labels_are_drawn_by_their_share(
    taught_bert: Taught, task: dict[str, Any], tmp_path: Path
) -> None:
    data, said = data_of("distill", {"task": task, "unlabelled_share": 0.25}, taught_bert.teacher, tmp_path / "a")
    assert data.besides == {
        "unlabelled": {"read": 62, "dropped": {"evaluation": 1, "train": 1}, "unsure": 0, "learnt": 32}
    }
    assert len(data) == 96 + 32
    assert "unlabelled: 32 texts are learnt from" in said
    whole, _ = data_of("distill", {"task": task, "unlabelled_share": 0.9}, taught_bert.teacher, tmp_path / "b")
    assert whole.besides["unlabelled"]["learnt"] == 60
    none, _ = data_of("distill", {"task": task, "unlabelled_share": 0}, taught_bert.teacher, tmp_path / "c")
    assert none.labelled is None and len(none) == 96
    both, _ = data_of("distill", AUGMENT | {"task": task}, taught_bert.teacher, tmp_path / "d")
    assert list(both.besides) == ["augmented", "unlabelled"]
    unasked, said = data_of("static", {"task": task, "soft_weight": 0}, taught_bert.teacher, tmp_path / "e")
    assert unasked.labelled is None
    assert said == ["the task's texts without labels are left out: soft_weight is 0, so nobody would label them"]


def test_what_the_teacher_is_not_sure_of_is_left_out(taught_bert: Taught, task: dict[str, Any], tmp_path: Path) -> None:
    settings = {"task": task, "unlabelled_share": 0.9, "unlabelled_confidence": 0.9}
    data, _ = data_of("distill", settings, taught_bert.teacher, tmp_path / "a")
    counted = data.besides["unlabelled"]
    assert counted["unsure"] + counted["learnt"] == 60
    assert counted["learnt"] >= 15  # of 20 that are like the training texts
    with pytest.raises(UserError, match=r"of none of 60 texts without labels is the teacher 0\.9999999 sure"):
        data_of("distill", settings | {"unlabelled_confidence": 0.9999999}, taught_bert.teacher, tmp_path / "b")


def test_a_row_without_a_label_has_no_loss_by_it(taught_bert: Taught) -> None:
    weights: Any = stage.find("distill")(soft_weight=1, label_weight=0.5, cosine_weight=0)
    terms = answer_terms(weights, Task.find(taught_bert.task))
    generator = torch.Generator().manual_seed(0)
    logits, taught = torch.randn(2, 4, 3, generator=generator)
    batch = {"teacher_logits": taught, "labels": torch.zeros(4, dtype=torch.int64), "attention_mask": torch.ones(4, 5)}
    whole, half = terms(logits, batch), terms(logits, batch | {"labelled": torch.tensor([1.0, 0, 1, 0])})
    assert torch.equal(half["soft"], whole["soft"])
    assert torch.equal(half["labels"], whole["labels"] * torch.tensor([1.0, 0, 1, 0]))
    assert (whole["labels"] > 0).all()


def test_rows_taken_out_keep_which_are_labelled(taught_bert: Taught, tmp_path: Path) -> None:
    data, _ = data_of("distill", AUGMENT | {"task": taught_bert.task}, taught_bert.teacher, tmp_path)
    some = take(data, [0, 100, 5])
    assert some.labelled is not None and some.labelled.tolist() == [True, False, True]
    assert data.labels_of([0, 100])["labelled"].tolist() == [1, 0]


def test_no_text_of_the_evaluation_is_learnt_from(taught_bert: Taught, task: dict[str, Any], tmp_path: Path) -> None:
    found = Task.find(task)
    data, _ = data_of("distill", AUGMENT | {"task": task}, taught_bert.teacher, tmp_path)
    from palmtop.data.tokenization import HostTokenizer

    tokenizer = HostTokenizer.of(taught_bert.teacher.path, taught_bert.teacher.signature)
    measured = {tuple(row.input_ids.tolist()) for row in tokenizer.encode(found.load("evaluation").texts)}
    trained = {tuple(row.input_ids.tolist()) for row in tokenizer.encode(found.load("train").texts)}
    learnt = {tuple(data.ids[data.offsets[row] : data.offsets[row + 1]].tolist()) for row in range(96, len(data))}
    assert not learnt & (measured | trained)
    assert {known_texts(found)[plain(text)] for text in found.load("evaluation").texts} == {"evaluation"}


@pytest.mark.parametrize(
    ("use", "settings"),
    [
        ("distill", {"layers": 1, "epochs": 1, "learning_rate": 1e-3}),
        pytest.param("minilm", {"layers": 1, "relation_heads": 8, "epochs": 1}, marks=pytest.mark.slow),
        ("recover", {"epochs": 0.5, "learning_rate": 1e-4}),
        ("static", {"width": 16, "epochs": 1}),
        pytest.param("quantize_aware", {"epochs": 0.5, "learning_rate": 1e-4}, marks=pytest.mark.slow),
        pytest.param("magnitude", {"keep": 0.5, "epochs": 0.5}, marks=pytest.mark.slow),
        pytest.param(
            "mobilebert",
            {"epochs": 0.5, "transfer_epochs": 0.5, "layers": 1, "embedding_size": 16},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_stage_that_distils_learns_from_them(
    use: str, settings: dict[str, Any], taught_bert: Taught, task: dict[str, Any], tmp_path: Path
) -> None:
    given = (
        settings | AUGMENT | {"task": task} | ({"teacher": str(taught_bert.teacher.path)} if use == "recover" else {})
    )
    made = stage.find(use)(**given)
    made.outline(stage.outline_of(taught_bert.teacher))
    bundle = make(use, made, taught_bert.teacher, tmp_path / "student", lambda _: None)
    facts = bundle.card.facts
    assert facts["rows_labelled"] == 96
    assert facts["rows"] == 96 + facts["augmented"]["made"] + facts["unlabelled"]["learnt"]
    assert facts["unlabelled"]["dropped"] == {"evaluation": 1, "train": 1}
    assert set(bundle.card.origin.inputs) >= {"task", "source", "unlabelled"}
    assert bundle.task is not None and bundle.task.unlabelled == Task.find(task).unlabelled


def test_likely_words_are_those_of_the_model_that_is_named(taught_bert: Taught, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="augment: likely replaces words by those of a masked language model: name its"):
        stage.find("distill")(augment=["likely"]).inputs()
    with pytest.raises(UserError, match="augment_with names the model of augment: likely, which augment doesn't name"):
        stage.find("static")(augment_with="x").inputs()
    with pytest.raises(UserError, match="augment_with names the model of augment: likely, which augment doesn't name"):
        stage.find("distill")(augment=["mask"], augment_with="x").inputs()
    assert stage.find("distill")(augment_with=str(taught_bert.teacher.path)).inputs() == {
        "augment_with": taught_bert.teacher.digest
    }


def test_what_can_not_be_made_is_refused(taught_bert: Taught) -> None:
    with pytest.raises(ValueError, match="augment makes texts that the teacher alone labels, but soft_weight is 0"):
        stage.find("distill")(augment=["mask"], soft_weight=0)
    with pytest.raises(ValueError, match="are more than 1 together: one word has one fate; lower them"):
        stage.find("distill")(augment=["mask", "swap"], augment_mask=0.6, augment_swap=0.6)
    known = stage.outline_of(taught_bert.teacher)
    tags: Any = stage.find("recover")(augment=["mask"], teacher="x")
    with pytest.raises(UserError, match="augment makes texts with other words, in which the tags of words would be"):
        tags.check_more("token_classification")
    assert stage.find("recover")(augment=["mask"], teacher="x").outline(known) == known


def test_settings_that_came_later_are_written_only_where_they_are_set(taught_bert: Taught) -> None:
    for use, given in (("distill", {}), ("static", {}), ("recover", {"teacher": "x"}), ("movement", {"keep": 0.5})):
        made = stage.find(use)(**given)
        assert not {"augment", "unlabelled_share", "augment_mask"} & set(made.model_dump(mode="json"))
        asked = stage.find(use)(**given, augment=["mask"], unlabelled_share=0.2)
        assert made.model_dump(mode="json") | {"augment": ["mask"], "unlabelled_share": 0.2} == asked.model_dump(
            mode="json"
        )
    origin = origin_of("distill", stage.find("distill")(task=taught_bert.task), taught_bert.teacher)
    assert set(origin.inputs) == {"task", "source"}


def test_more_texts_are_more_work(taught_bert: Taught, task: dict[str, Any]) -> None:
    known = stage.outline_of(taught_bert.teacher)
    alone: Any = stage.find("distill")(task=taught_bert.task, epochs=2)
    more: Any = stage.find("distill")(task=task, epochs=2, **AUGMENT)
    once, often = alone.effort(known, 96), more.effort(known, 96)
    assert once is not None and often is not None
    assert often.training == pytest.approx(8 * once.training)  # 3 made of each, and as many without labels
    assert often.answering == pytest.approx(8 * once.answering)
    assert np.isclose(more.times, 8)


def test_of_texts_without_labels_as_many_are_learnt_from_as_are_their_share() -> None:
    tries = tries_of(10, [0, 1, 0, 2, 0, 1], 16, 3, 0.5)
    assert tries[:10].tolist() == [-1] * 10
    for copies, others in enumerate((10, 13, 15, 16)):
        kept = tries < copies
        assert kept[:16].sum() == others
        assert kept[16:].sum() == others
    few = tries_of(10, [0, 1], 5, 2, 0.5)
    assert (few[12:] == -1).all()


def test_how_many_are_made_of_each_is_chosen_by_the_best_trial_and_not_tried_twice(tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def train(copies: int, steps: int) -> float:
        asked.append((copies, steps))
        return {0: 0.5, 2: 0.7, 8: 0.7, 20: float("-inf")}[copies]

    best, tried = copies_trial.choose(1000, train, tmp_path)
    assert best == 2 and asked == [(0, 60), (2, 60), (8, 60), (20, 60)]
    assert sum(one.steps for one in tried) <= 0.25 * 1000
    assert copies_trial.choose(1000, train, tmp_path) == (best, tried)
    assert len(asked) == 4
    chosen = Chosen("accuracy", 40, 1e-4, [], [], tried)
    assert chosen.facts()["augment_copies"] == 2
    assert chosen.lines() == [
        "augment_copies 2, by accuracy on 40 validation texts after 60 steps (0: 0.500, 2: 0.700, 8: 0.700, "
        "20: undefined)"
    ]


@pytest.mark.slow
def test_a_student_chooses_how_many_are_made_of_each(taught_bert: Taught, tmp_path: Path) -> None:
    judged = write_task(tmp_path / "more", evaluation=40)["evaluation"]
    (tmp_path / "more" / "judged.csv").write_text(Path(judged).read_text().replace("please", "now"))
    task = taught_bert.task | {"validation": str(tmp_path / "more" / "judged.csv")}
    settings = {"task": task, "augment": ["mask", "ngrams"], "augment_copies": "auto", "layers": 1}
    made = stage.find("distill")(**settings, epochs=2, learning_rate=1e-3, batch_size=8)
    facts = make("distill", made, taught_bert.teacher, tmp_path / "student", lambda _: None).card.facts
    assert [one["copies"] for one in facts["copies_trials"]] == [0, 2, 8, 20]
    grades = {one["copies"]: one["accuracy"] for one in facts["copies_trials"]}
    assert facts["augment_copies"] == max(grades, key=lambda copies: (grades[copies], -copies))
    per_epoch = facts["steps"] / 2
    assert per_epoch >= 96 / 8 and (facts["augment_copies"] > 0) == (per_epoch > 96 / 8)


def test_stages_that_look_at_no_validation_split_want_a_number() -> None:
    with pytest.raises(ValueError, match="augment_copies: auto is chosen on a validation split, which this stage"):
        stage.find("tinybert")(augment=["mask"], augment_copies="auto")
    with pytest.raises(ValueError, match="in the ways that augment names: name some"):
        stage.find("distill")(augment_copies="auto")
