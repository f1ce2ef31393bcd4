"""What adopting tells of a model's files."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adopting import adopt, outline
from safetensors.torch import load_file
from tiny import write_model

from palmtop.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder of a tiny BERT without a head."""
    return write_model(tmp_path / "model", "bert")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("tokenizer.json", "", r"model/tokenizer.json can't be read \(EOF .*\): fetch it again"),
        ("tokenizer.json", '{"version": "1.0", "model": {"type": "Other"}}', r"tokenizer.json can't be read .*newer"),
        (
            "tokenizer.json",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n",
            r"tokenizer.json is a pointer of Git LFS in place of the file itself: fetch it again \(git lfs pull",
        ),
        (
            "model.safetensors",
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n",
            r"model.safetensors is a pointer of Git LFS",
        ),
        ("tokenizer_config.json", "[1]", r"(can't be read|tokenizer_config.json)"),
    ],
)
def test_files_that_were_fetched_by_half_are_told(
    name: str, text: str, told: str, folder: Path, tmp_path: Path
) -> None:
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=told):
        adopt(tmp_path, model=str(folder))


def test_links_that_leave_the_folder_are_not_followed(folder: Path, tmp_path: Path) -> None:
    link = folder / "vocab.txt"
    link.symlink_to("nowhere/blob")
    with pytest.raises(UserError, match=r"vocab.txt is a link to nowhere/blob, where nothing is: fetch it again"):
        outline(model=str(folder))
    link.unlink()
    (tmp_path / "secret").write_text("words")
    link.symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"vocab.txt is a link to .*secret, outside of the model's folder, and isn't"):
        outline(model=str(folder))
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(UserError, match=r"vocab.txt isn't an ordinary file"):
        outline(model=str(folder))


def test_links_of_the_hubs_own_cache_are_its_files(folder: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "0a1b", tmp_path / "models--a--b" / "blobs"
    shutil.copytree(folder, blobs)
    snapshot.mkdir(parents=True)
    for path in blobs.iterdir():
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    assert outline(model=str(snapshot)).layers == 2


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (
            lambda state: {"state_dict": state, "epoch": 3},
            r"more than weights by name \(state_dict, epoch\): .*loaded\['s",
        ),
        (lambda state: state | {"step": 3}, r"holds more than weights by name \(step\): save those alone"),
        (list, r"holds a list in place of weights by name: save a state_dict"),
        (lambda _: torch.nn.Linear(2, 2), r"holds a whole Linear in place of its weights: save those with"),
        (lambda _: None, r"holds a NoneType in place of weights by name"),
    ],
)
def test_pickles_of_something_else_are_told(
    held: Callable[[dict[str, torch.Tensor]], Any], told: str, folder: Path, tmp_path: Path
) -> None:
    torch.save(held(load_file(folder / "model.safetensors")), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=told):
        adopt(tmp_path, model=str(folder), read_pickle=True)


def test_a_pickle_cut_short_is_told(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"pytorch_model.bin can't be read \(.*\): fetch it again"):
        adopt(tmp_path, model=str(folder), read_pickle=True)
