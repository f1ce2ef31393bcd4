"""The training loop: the same result from one process or two, killed or not; batches, teacher signals, what is
refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import write_model, write_task
from tiny_bundles import Taught, taught

from palmtop import stage
from palmtop.bundle import Bundle, is_sealed
from palmtop.compress.distillation.teacher_signals import Wanted, folder_of, signals
from palmtop.compress.learning.encoded import Encoded
from palmtop.compress.learning.training_loop import GroupedByLength
from palmtop.compress.learning.used_rows import only_used_rows
from palmtop.errors import UserError
from palmtop.format import called
from palmtop.making import make
from palmtop.models.family import FAMILIES
from palmtop.models.opening import open_classifier
from palmtop.signature import Signature
from palmtop.task import Task

QUIET = {"classifier_dropout": 0.0, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
"""Dropout draws from another stream in each process; without it two processes must give what one gives."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    """A tiny task, a pretrained model without dropout, and a fine-tuned teacher."""
    folder = tmp_path_factory.mktemp("training")
    model = write_model(folder / "model", "bert")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | QUIET))
    return taught(folder, model)


def test_finetune_learns_and_says_what_happened(made: Taught) -> None:
    facts = made.teacher.card.facts
    assert facts["rows"] == 96
    assert facts["steps"] == 120
    assert facts["loss"]["labels"] < 0.1 < np.log(3)
    assert facts["new_weights"] == ["classifier.bias", "classifier.weight"]
    assert list((made.teacher.path / "logs").iterdir())


def test_a_trial_tells_seconds_of_a_text_through_a_layer_and_leaves_the_bundle_alone(made: Taught) -> None:
    found = stage.find("finetune")(task=made.task, batch_size=16).pace(made.base)
    assert found is not None and 0 < found < 1
    made.base.verify()


def test_finetune_can_drop_layers_first(made: Taught, tmp_path: Path) -> None:
    student = _make(
        "finetune",
        {"task": made.task, "layers": [1], "epochs": 0.2, "batch_size": 16, "learning_rate": 1e-9},
        made.base,
        tmp_path / "student",
    )
    kept, whole = (load_file(bundle.path / "model.safetensors") for bundle in (student, made.base))
    assert open_classifier(student.path).config.num_hidden_layers == 1
    name = "encoder.layer.{}.output.dense.weight"
    assert torch.allclose(kept[f"bert.{name.format(0)}"], whole[name.format(1)], atol=1e-6)
    assert stage.find("finetune")(task=made.task, layers=1).outline(stage.outline_of(made.base)).layers == 1
    with pytest.raises(UserError, match="layers is 3, but there are 2: choose 1 to 2"):
        stage.find("finetune")(task=made.task, layers=3).outline(stage.outline_of(made.base))


def test_batches_hold_similar_lengths_and_every_row_once_in_each_epoch() -> None:
    lengths = np.random.default_rng(0).integers(3, 40, 1000)
    sampler = GroupedByLength(lengths, 16, seed=1)
    first = list(sampler)
    sampler.epoch = 1
    second = list(sampler)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert first != second
    padded = sum(int(lengths[first[start : start + 16]].max()) * 16 for start in range(0, 992, 16))
    assert padded / lengths.sum() < 1.05
    sampler.epoch = 0
    assert list(sampler) == first


def test_training_the_rows_that_are_read_is_training_the_whole_table(made: Taught, tmp_path: Path) -> None:
    """Without weight decay to the rounding; rows that no text reads stay as they were."""
    from palmtop.compress.learning.batches import model_inputs
    from palmtop.compress.learning.fit import fit
    from palmtop.compress.learning.special import Special

    task = Task.of(made.teacher.path)
    assert task is not None
    data = Encoded.of(task.load("train"), made.teacher.path, Signature.read(made.teacher.path))
    settings = stage.find("finetune")(epochs=2, learning_rate=1e-3, batch_size=16, weight_decay=0)
    models = []
    for whole in (True, False):
        model = open_classifier(made.teacher.path)
        fit(
            model,
            data,
            lambda student, batch: {
                "labels": task.of_kind.label_loss(student(**model_inputs(batch)).logits, batch["labels"])
            },
            settings,
            tmp_path / str(whole),
            special=Special(whole_table=whole),
        )
        models.append(model.state_dict())
    for name, weight in models[0].items():
        if not name.endswith(
            "key.bias"
        ):  # its gradient is 0 but for rounding (softmax ignores a shift), which Adam blows up
            assert torch.allclose(weight, models[1][name], atol=2e-5), name
    table = "bert.embeddings.word_embeddings.weight"
    unread = torch.ones(len(models[0][table]), dtype=torch.bool)
    unread[torch.from_numpy(np.unique(data.ids)).long()] = False
    assert unread.sum() > 30
    assert torch.equal(models[1][table][unread], open_classifier(made.teacher.path).state_dict()[table][unread])


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_table_of_the_used_rows_answers_as_the_whole_one(tmp_path: Path, family: str) -> None:
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(
        write_model(tmp_path / "model", family), attn_implementation="eager"
    ).eval()
    if FAMILIES[family].mended_by:
        called(FAMILIES[family].mended_by)(model)
    pad, ids = int(model.config.pad_token_id), np.asarray([7, 30, 9, 11, 9, 30, 12], np.int32)
    data = Encoded(ids, np.zeros_like(ids), np.asarray([0, 4, 7]), np.zeros(2), ("input_ids", "attention_mask"), pad, 0)
    table, before = model.get_input_embeddings(), model(**data.batch([0, 1])).logits
    with only_used_rows(model, data) as used:
        assert model.get_input_embeddings().num_embeddings == len({7, 30, 9, 11, 12} | set(range(pad + 1)))
        assert torch.equal(model(**used.data.batch([0, 1])).logits, before)
        model.get_input_embeddings().weight.data += 1
        with used.whole():  # trained rows in it, for texts of any ids
            assert model.get_input_embeddings() is table
            assert not torch.equal(model(**data.batch([0, 1])).logits, before)
    assert model.get_input_embeddings() is table
    assert not torch.equal(model(**data.batch([0, 1])).logits, before)


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(made: Taught, tmp_path: Path) -> None:
    settings = ["--layers", "1", "--epochs", "2", "--learning-rate", "1e-3", "--batch-size", "16"]
    command = ["distill", str(made.teacher.path), *settings, "--out"]
    _palmtop([sys.executable, "-m", "palmtop", *command, str(tmp_path / "one")])
    port = str(20_000 + os.getpid() % 20_000)
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-port",
        port,
        "-m",
        "palmtop",
    ]
    _palmtop([*torchrun, *command, str(tmp_path / "two")], OMP_NUM_THREADS="1")
    one, two = (load_file(Bundle.open(tmp_path / name).path / "model.safetensors") for name in ("one", "two"))
    assert Bundle.open(tmp_path / "two").card.facts["processes"] == 2
    for name, weight in one.items():
        if not name.endswith(
            "key.bias"
        ):  # its gradient is 0 but for rounding (softmax ignores a shift), which Adam blows up
            assert torch.allclose(weight, two[name], atol=2e-5), name  # float32 sums in another order


def test_accumulated_batches_give_the_result_of_whole_ones(made: Taught, tmp_path: Path) -> None:
    common = {"layers": 1, "epochs": 1, "learning_rate": 1e-3, "batch_size": 16}
    whole = _make("distill", common, made.teacher, tmp_path / "whole")
    parts = _make("distill", common | {"accumulation": 4}, made.teacher, tmp_path / "parts")
    first, second = (load_file(bundle.path / "model.safetensors") for bundle in (whole, parts))
    # the batches of four are grouped anew, so only the size of the steps is the same, not the order of the texts
    change = float(
        (first["classifier.weight"] - second["classifier.weight"]).norm() / first["classifier.weight"].norm()
    )
    assert parts.card.facts["steps"] == whole.card.facts["steps"]
    assert change < 0.1


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_weights(made: Taught, tmp_path: Path) -> None:
    options = [
        "--task",
        json.dumps(made.task),
        "--epochs",
        "20",
        "--learning-rate",
        "1e-3",
        "--batch-size",
        "16",
        "--checkpoint-every",
        "10",
    ]
    start = [sys.executable, "-m", "palmtop", "finetune", str(made.base.path), *options, "--out"]
    _palmtop([*start, str(tmp_path / "whole")])
    out = tmp_path / "killed"
    command = [*start, str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = tmp_path / ".killed.partial" / "scratch" / "checkpoints"
    _wait_for(lambda: len(list(checkpoints.glob("*/complete"))) >= 1, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_sealed(out)
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "continuing what was cut short" in finished.stdout + finished.stderr
    first, second = (load_file(path / "model.safetensors") for path in (tmp_path / "whole", out))
    for name, weight in first.items():
        assert torch.allclose(weight, second[name], atol=1e-6), name


def test_teacher_signals_are_the_teachers_own_and_are_computed_once(made: Taught) -> None:
    teacher: Bundle = made.teacher
    task = Task.of(teacher.path)
    assert task is not None
    data = Encoded.of(task.load("train"), teacher.path, Signature.read(teacher.path))
    said = signals(teacher, data, Wanted((0, 2), "float32"), print)
    again = signals(teacher, data, Wanted((0, 2), "float32"), print)
    assert again.reused
    rows = [3, 11, 40]
    batch, model = data.batch(rows), open_classifier(teacher.path)
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True)
    given = said.batch(rows)
    assert torch.allclose(given["teacher_logits"], output.logits, atol=1e-5)
    for layer in (0, 2):
        real = output.hidden_states[layer] * batch["attention_mask"][..., None]
        assert torch.allclose(given[f"teacher_hidden_{layer}"], real, atol=1e-5)
    assert said.size_bytes >= 4 * (len(data) * 3 + 2 * len(data.ids) * 32)


def test_a_teachers_signals_that_were_changed_or_cut_are_asked_for_again(
    made: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path))
    task = Task.of(made.teacher.path)
    assert task is not None
    data = Encoded.of(task.load("evaluation"), made.teacher.path, Signature.read(made.teacher.path))
    first = np.array(signals(made.teacher, data, Wanted(), print).logits)
    kept = folder_of(made.teacher, data, Wanted()) / "logits.npy"
    for harmed in (kept.read_bytes()[:-4] + bytes(4), kept.read_bytes()[:100]):
        kept.write_bytes(harmed)
        said: list[str] = []
        again = signals(made.teacher, data, Wanted(), said.append)
        assert said[0] == f"{kept.parent} isn't as it was sealed, or has no seal: it is made again"
        assert np.array_equal(again.logits, first) and not again.reused


def test_token_types_reach_the_model_of_a_pair(made: Taught, tmp_path: Path) -> None:
    task = Task.find(write_task(tmp_path, pair=True))
    data = Encoded.of(task.load("train"), made.base.path, Signature.read(made.base.path))
    types = data.batch([0])["token_type_ids"][0]
    assert types.tolist() == sorted(types.tolist())
    assert set(types.tolist()) == {0, 1}


def test_regression_goes_the_same_way(made: Taught, tmp_path: Path) -> None:
    task = write_task(tmp_path / "data", kind="regression", pair=True)
    short: dict[str, Any] = {"task": task, "epochs": 8, "learning_rate": 2e-3, "batch_size": 16}
    teacher = _make("finetune", short, made.base, tmp_path / "teacher")
    student = _make(
        "distill", {"layers": 1, "epochs": 8, "learning_rate": 2e-3, "batch_size": 16}, teacher, tmp_path / "student"
    )
    split = Task.find(task).load("evaluation")
    from palmtop import target

    with target.find("host_torch").open(student.path) as runner:
        found = runner.predict(runner.tokenize(split.texts))[:, 0]
    assert np.corrcoef(found, split.labels.astype(float))[0, 1] > 0.5


def test_a_diverging_training_is_told(made: Taught, tmp_path: Path) -> None:
    settings = {"task": made.task, "epochs": 10, "learning_rate": 1e30, "batch_size": 16, "warmup": 0.0}
    with pytest.raises(
        UserError, match=r"the loss is (nan|inf) at step \d+: training has diverged; lower learning_rate"
    ):
        _make("finetune", settings, made.base, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_batch_that_cannot_be_shared_out_is_refused(made: Taught, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"batch_size 10 can't be shared out evenly among 1 process\(es\) x 4 accumulated"
    ):
        _make("finetune", {"task": made.task, "batch_size": 10, "accumulation": 4}, made.base, tmp_path / "out")


def _make(use: str, settings: dict[str, Any], source: Bundle | None, out: Path) -> Bundle:
    return make(use, stage.find(use)(**settings), source, out, print)


def _palmtop(command: list[str], **environment: str) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def _wait_for(condition: Any, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, "the training ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
