"""The files of a stranger's model: found, and refused by name where they are broken, absent, or lie elsewhere."""

import importlib.util
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

from palmtop.errors import UserError
from palmtop.models.opening import UNBUILDABLE, in_one_line
from palmtop.models.whole_weights import check_shards

PACKAGE = "package:"
"""A model reference that starts so names an installed Python package with a model folder in it."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "added_tokens.json",
)
VOCABULARIES = (
    {"tokenizer.json"},
    {"vocab.txt"},
    {"vocab.json", "merges.txt"},
    {"spiece.model"},
    {"spm.model"},
    {"sentencepiece.bpe.model"},
)
"""What holds a tokenizer's vocabulary: the files of any one of these."""
POINTER = b"version https://git-lfs.github.com/spec/"
"""How the text begins that stands for a file in a Git repository until git-lfs fetches it."""


def is_local(model: str) -> bool:
    """Whether a model reference names a folder or a package, not the hub."""
    return model.startswith((PACKAGE, ".", "/", "~")) or Path(model).exists() or model.count("/") != 1


def local(model: str) -> Path:
    """The folder of a model on this machine.

    Raises:
        UserError: there is none, or it holds links that lead elsewhere.
    """
    if model.startswith(PACKAGE):
        return _in_package(model.removeprefix(PACKAGE))  # its code is trusted already; some installers link each file
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no model folder {folder} (a hub id is written owner/name, a package package:NAME)")
    _check_own(folder)
    return folder


def from_hub(model: str, revision: str | None, patterns: list[str]) -> Path:
    """The folder into which the hub's files are fetched.

    Raises:
        UserError: the hub doesn't give them.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"the model '{model}' can't be had from the hub: {_first_line(error)}; check the name and the network, or "
            "give a local folder"
        ) from None


def check_files(folder: Path, model: str, read_pickle: bool) -> None:
    """Raises: UserError: weights or the tokenizer's vocabulary are absent, broken, or may not be read."""
    for path in folder.iterdir():
        if path.name in TOKENIZER:
            _check_fetched(path)
    if any((folder / name).is_file() for name in WEIGHTS):
        check_shards(folder, *WEIGHTS)
        for path in folder.glob("*.safetensors"):
            _check_fetched(path)
            _check_safetensors(path)
    else:
        _check_pickles(folder, model, read_pickle)
    if not any(all((folder / name).is_file() for name in names) for names in VOCABULARIES):
        raise UserError(
            f"{model} has no tokenizer: there is no tokenizer.json in {folder}, and no other file with a vocabulary "
            "(vocab.txt, vocab.json with merges.txt, spiece.model, spm.model, sentencepiece.bpe.model): fetch it again"
        )


def copy_weights(folder: Path, out: Path, read_pickle: bool) -> None:
    """Copy the safetensors; write one of the pickled weights where there are none.

    Raises:
        UserError: a pickle holds something else than weights by name.
    """
    found = [path for path in folder.iterdir() if path.suffix == ".safetensors" or path.name == WEIGHTS[1]]
    for path in found:
        shutil.copyfile(path, out / path.name)
    if not found and read_pickle:
        from safetensors.torch import save_file

        merged: dict[str, Any] = {}
        for path in sorted(folder.glob("pytorch_model*.bin")):
            merged |= _unpickled(path)
        save_file(
            {name: weight.contiguous().clone() for name, weight in merged.items()},
            out / WEIGHTS[0],
            metadata={"format": "pt"},
        )


def _in_package(name: str) -> Path:
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    if found is None or not found.submodule_search_locations:
        raise UserError(f"no Python package '{name}' is installed: pip install {name.replace('_', '-')}")
    folders = [
        path.parent
        for root in found.submodule_search_locations
        for path in Path(root).rglob("config.json")
        if "model_type" in path.read_text(encoding="utf-8")
    ]
    if len(folders) != 1:
        raise UserError(
            f"the package '{name}' holds {len(folders)} model folders; name one: "
            f"{', '.join(map(str, folders)) or 'there is none'}"
        )
    return folders[0]


def _check_own(folder: Path) -> None:
    """Raises: UserError: what would be read of a folder isn't a file in it."""
    root = Path(os.path.realpath(folder))
    homes = (root, root.parent.parent / "blobs") if root.parent.name == "snapshots" else (root,)  # the hub's own cache
    for path in sorted(folder.iterdir()):
        if path.name not in (*TOKENIZER, "config.json", WEIGHTS[1], PICKLES[1]) and path.suffix not in (
            ".safetensors",
            ".bin",
        ):
            continue
        if not path.exists():
            raise UserError(f"{path} is a link to {os.readlink(path)}, where nothing is: fetch it again, or remove it")
        if not any(Path(os.path.realpath(path)).is_relative_to(home) for home in homes):
            raise UserError(
                f"{path} is a link to {os.path.realpath(path)}, outside of the model's folder, and isn't followed: "
                "copy the file into the folder if it belongs to the model"
            )
        if not path.is_file():
            raise UserError(f"{path} isn't an ordinary file: remove it, or fetch the model again")


def _check_fetched(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise UserError(
                f"{path} is a pointer of Git LFS in place of the file itself: fetch it again (git lfs pull, or "
                "download it from the model's page)"
            )


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is broken ({_first_line(error)}): fetch it again") from None


def _check_pickles(folder: Path, model: str, read_pickle: bool) -> None:
    pickles = [name for name in PICKLES if (folder / name).is_file()]
    if not pickles:
        raise UserError(f"{model} has no weights: there is no model.safetensors in {folder}")
    if not read_pickle:
        raise UserError(
            f"{model} has pickled weights only ({pickles[0]}), which can run code when they are read: convert "
            "them to safetensors, or set read_pickle: true if you trust their maker"
        )
    check_shards(folder, *PICKLES)
    for path in folder.glob("pytorch_model*.bin"):
        _check_fetched(path)


def _unpickled(path: Path) -> dict[str, Any]:
    """The weights in a pickle, by name."""
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, EOFError, *UNBUILDABLE) as error:
        raise UserError(f"{path} can't be read ({in_one_line(error)}): fetch it again") from None
    if isinstance(found, torch.nn.Module):
        raise UserError(
            f"{path} holds a whole {type(found).__name__} in place of its weights: save those with its "
            "save_pretrained(folder)"
        )
    if not isinstance(found, dict):
        raise UserError(f"{path} holds a {type(found).__name__} in place of weights by name: save a state_dict")
    odd = [str(name) for name, value in found.items() if not (isinstance(name, str) and torch.is_tensor(value))]
    if odd:
        nested = next((name for name in odd if isinstance(found.get(name), dict)), None)
        raise UserError(
            f"{path} holds more than weights by name ({', '.join(odd[:4])}): save those alone, such as with "
            f"torch.save({f'loaded[{nested!r}]' if nested else 'model.state_dict()'}, 'pytorch_model.bin')"
        )
    return found


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
