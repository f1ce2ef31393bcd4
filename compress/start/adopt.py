"""Take a Hugging Face model into a bundle: a local folder, a hub id, or the model inside an installed Python
package."""

import hashlib
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from palmtop import task_kinds
from palmtop.bundle import Bundle, Format, sha256_of
from palmtop.effect import Effect
from palmtop.errors import UserError
from palmtop.models.family import family_of, inputs_of, kind_of, longest_input
from palmtop.models.opening import head_of, open_as_named
from palmtop.models.whole_weights import check_shards
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage, Work, outline_of_config
from palmtop.task import Task

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
HEADS = {
    "multi_label_classification": "answers each label by itself",
    "single_label_classification": "gives one label",
    "regression": "gives a number",
}
"""What a head does by its problem_type."""


class Adopt(Stage):
    """Copy a pretrained or fine-tuned model; nothing in it is changed."""

    accepts: ClassVar[frozenset[Format]] = frozenset()
    produces: ClassVar[Format] = "torch"
    effect: ClassVar[Effect] = "none"
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "safetensors")

    model: str = Field(min_length=1)
    """A folder, a hub id (owner/name), or package:NAME for the model folder inside an installed Python package."""
    revision: str | None = None
    """The hub's branch, tag or commit."""
    task: str | dict[str, Any] | None = None
    """The task a model with a head was fine-tuned for, where it already was; its labels must be the head's."""
    read_pickle: bool = False
    """Read pickled weights (pytorch_model.bin), which can run code, where there are no safetensors."""
    trust_remote_code: bool = False
    """Let the model folder's own Python code run."""

    def inputs(self) -> dict[str, str]:
        """The model's files, or the hub's commit."""
        if not _is_local(self.model):
            return {"model": _hub_commit(self.model, self.revision)}
        folder = _local(self.model)
        hashed = hashlib.sha256()
        for path in sorted(folder.iterdir()):
            if path.name in (*TOKENIZER, "config.json") or path.suffix in (".safetensors", ".bin"):
                hashed.update(f"{path.name} {sha256_of(path)}\n".encode())
        return {"model": hashed.hexdigest()}

    def outline(self, source: Outline | None) -> Outline:
        """Family, layers and labels as config.json has them; what can't be adopted is refused here."""
        folder = _local(self.model) if _is_local(self.model) else _from_hub(self.model, self.revision, ["config.json"])
        config = _config(folder, self.model, self.trust_remote_code)
        family = family_of(config, self.model)
        if _is_local(self.model):
            _check_files(folder, self.model, self.read_pickle)
        labels = _head_labels(config, self.task)
        kind = Task.find(self.task).kind if labels is not None and self.task is not None else None
        return replace(outline_of_config("torch", config | {"model_type": family.model_type}, labels), task=kind)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Copy weights, config and tokenizer; add signature.json and, with a head, task.json."""
        outline = self.outline(None)
        patterns = [*TOKENIZER, "config.json", "*.safetensors", "*.index.json", *(PICKLES if self.read_pickle else ())]
        folder = _local(self.model) if _is_local(self.model) else _from_hub(self.model, self.revision, patterns)
        _check_files(folder, self.model, self.read_pickle)
        config = _config(folder, self.model, self.trust_remote_code)
        _copy_weights(folder, work.out, self.read_pickle)
        _copy_tokenizer(folder, work.out, self.trust_remote_code)
        pad_id = _pad_id(work.out, config, self.model)
        open_as_named(work.out, self.model)
        output = task_kinds.find(outline.task).output if outline.task is not None else "logits"
        Signature(inputs=inputs_of(config), output=output, max_length=longest_input(config), pad_id=pad_id).write(
            work.out
        )
        if outline.labels is not None and self.task is not None:
            Task.find(self.task).write(work.out)
        return {
            "model": self.model,
            "family": outline.family,
            "layers": outline.layers,
            "head": list(outline.labels or ()) or "none",
        }


def _is_local(model: str) -> bool:
    return model.startswith((PACKAGE, ".", "/", "~")) or Path(model).exists() or model.count("/") != 1


def _local(model: str) -> Path:
    if model.startswith(PACKAGE):
        return _in_package(model.removeprefix(PACKAGE))
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise UserError(f"there is no model folder {folder} (a hub id is written owner/name, a package package:NAME)")
    return folder


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


def _from_hub(model: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"the model '{model}' can't be had from the hub: {_first_line(error)}; check the name and the network, or "
            "give a local folder"
        ) from None


def _hub_commit(model: str, revision: str | None) -> str:
    return _from_hub(model, revision, ["config.json"]).name  # the hub's cache names a snapshot by its commit


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _config(folder: Path, model: str, trusted: bool) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json: it isn't a Hugging Face model folder") from None
    except ValueError:
        raise UserError(f"{folder / 'config.json'} isn't JSON: fetch the model again") from None
    if "auto_map" in config and not trusted:
        raise UserError(
            f"{model} brings Python code of its own ({', '.join(config['auto_map'])}), which is not run: read it, and "
            "set trust_remote_code: true if you trust it"
        )
    return config


def _check_files(folder: Path, model: str, read_pickle: bool) -> None:
    if not any((folder / name).is_file() for name in WEIGHTS):
        pickles = [name for name in PICKLES if (folder / name).is_file()]
        if not pickles:
            raise UserError(f"{model} has no weights: there is no model.safetensors in {folder}")
        if not read_pickle:
            raise UserError(
                f"{model} has pickled weights only ({pickles[0]}), which can run code when they are read: convert "
                "them to safetensors, or set read_pickle: true if you trust their maker"
            )
        check_shards(folder, *PICKLES)
        return
    check_shards(folder, *WEIGHTS)
    for path in folder.glob("*.safetensors"):
        _check_safetensors(path)
    if not any((folder / name).is_file() for name in TOKENIZER):
        raise UserError(f"{model} has no tokenizer: there is no tokenizer.json in {folder}")


def _check_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is broken ({_first_line(error)}): fetch it again") from None


def _head_labels(config: dict[str, Any], task: str | dict[str, Any] | None) -> tuple[str, ...] | None:
    """The labels of a fine-tuned head that is the task's; None where a head must be trained first."""
    wanted = Task.find(task) if task is not None else None
    if wanted is None or head_of(config) != wanted.of_kind.architecture:
        return None
    if not wanted.of_kind.has_labels and wanted.of_kind.per_token:
        return wanted.label_names
    said, meant = config.get("problem_type"), wanted.of_kind.problem_type
    if said is not None and said != meant:
        raise UserError(
            f"the model's head {HEADS.get(said, 'is another')} (problem_type: {said}), and a task's texts have "
            f"{wanted.of_kind.texts_have}: fine-tune it for '{wanted.name}' first, without 'task' in adopt"
        )
    named = {int(index): str(label) for index, label in config.get("id2label", {}).items()}
    labels = tuple(named[index] for index in sorted(named))
    if set(labels) != set(wanted.label_names):
        odd = sorted(set(labels) ^ set(wanted.label_names))[:4]
        raise UserError(
            f"the model's head has other labels than the task '{wanted.name}' ({len(labels)} and "
            f"{len(wanted.label_names)}; not in both: {', '.join(odd)}): fine-tune it first, without 'task' in adopt"
        )
    if labels != wanted.label_names:
        raise UserError(
            f"the model's head has the task's labels in another order ({', '.join(labels[:4])}, ...): give the task "
            "'labels' in that order"
        )
    return labels


def _copy_weights(folder: Path, out: Path, read_pickle: bool) -> None:
    shutil.copyfile(folder / "config.json", out / "config.json")
    found = [path for path in folder.iterdir() if path.suffix == ".safetensors" or path.name == WEIGHTS[1]]
    for path in found:
        shutil.copyfile(path, out / path.name)
    if not found and read_pickle:
        import torch
        from safetensors.torch import save_file

        merged: dict[str, Any] = {}
        for path in sorted(folder.glob("pytorch_model*.bin")):
            merged |= torch.load(path, map_location="cpu", weights_only=False)
        save_file(
            {name: weight.contiguous().clone() for name, weight in merged.items()},
            out / WEIGHTS[0],
            metadata={"format": "pt"},
        )


def _copy_tokenizer(folder: Path, out: Path, trusted: bool) -> None:
    for path in folder.iterdir():
        if path.name in TOKENIZER:
            shutil.copyfile(path, out / path.name)
    if not (out / "tokenizer.json").is_file():
        from transformers import AutoTokenizer

        AutoTokenizer.from_pretrained(
            folder, use_fast=True, local_files_only=True, trust_remote_code=trusted
        ).save_pretrained(out)


def _pad_id(folder: Path, config: dict[str, Any], model: str) -> int:
    """The id of padding, on which tokenizer and config must agree: positions are counted by it in some families."""
    from tokenizers import Tokenizer

    pad_id = config.get("pad_token_id")
    if pad_id is None and kind_of(config["model_type"]) == "decoder":
        pad_id = config.get(
            "eos_token_id"
        )  # decoders are often trained without padding; what stands there is never looked at
    size = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size(with_added_tokens=True)
    if pad_id is None:
        raise UserError(
            f"{model} has no pad_token_id in config.json: set it to the id of the tokenizer's padding token"
        )
    if size > config["vocab_size"]:
        raise UserError(
            f"{model}: the tokenizer knows {size} tokens, the model {config['vocab_size']}: they don't belong together"
        )
    return int(pad_id)
