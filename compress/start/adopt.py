"""Take a Hugging Face model into a bundle: a local folder, a hub id, or the model inside an installed Python
package."""

import hashlib
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from palmtop import task_kinds
from palmtop.bundle import Bundle, Format, sha256_of
from palmtop.compress.start.adopt_bundle import OWN, own_files, own_signature, own_task
from palmtop.compress.start.adopt_config import built_config, copy_config, head_labels, read_config
from palmtop.compress.start.adopt_embedder import POOLING, with_weightless_head
from palmtop.compress.start.adopt_files import (
    PICKLES,
    TOKENIZER,
    check_files,
    copy_weights,
    from_hub,
    is_local,
    local,
)
from palmtop.compress.start.adopt_tokenizer import copy_tokenizer, pad_id
from palmtop.effect import Effect
from palmtop.models.family import check_padding, family_named, inputs_of, lengths_of, longest_input
from palmtop.models.opening import open_as_named
from palmtop.signature import Signature
from palmtop.stage import Outline, Stage, Work, outline_of_config
from palmtop.task import Task


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
    """The task a model with a head was fine-tuned for, where it already was; its labels must be the head's. A bundle of
    palmtop's has its own with it."""
    read_pickle: bool = False
    """Read pickled weights (pytorch_model.bin), which can run code, where there are no safetensors."""
    trust_remote_code: bool = False
    """Let the model folder's own Python code run."""

    def inputs(self) -> dict[str, str]:
        """The model's files, or the hub's commit."""
        if not is_local(self.model):
            return {"model": _hub_commit(self.model, self.revision)}
        folder = local(self.model)
        hashed = hashlib.sha256()
        for path in sorted(folder.iterdir()):
            if path.name in (*TOKENIZER, "config.json") or path.suffix in (".safetensors", ".bin"):
                hashed.update(f"{path.name} {sha256_of(path)}\n".encode())
        hashed.update(own_files(folder).encode())
        return {"model": hashed.hexdigest()}

    def outline(self, source: Outline | None) -> Outline:
        """Family, layers and labels as config.json has them; what can't be adopted is refused here."""
        here = is_local(self.model)
        folder = local(self.model) if here else from_hub(self.model, self.revision, ["config.json", POOLING, *OWN])
        config = with_weightless_head(read_config(folder, self.model, self.trust_remote_code), self.task, folder)
        if here:
            check_files(folder, self.model, self.read_pickle)
        task = self.task if self.task is not None else own_task(folder, config)
        labels = head_labels(config, task)
        kind = Task.find(task).kind if labels is not None and task is not None else None
        if kind is not None:
            check_padding(task_kinds.find(kind), config["model_type"])
        return replace(outline_of_config("torch", config, labels), task=kind)

    def run(self, source: Bundle | None, work: Work) -> dict[str, Any]:
        """Copy weights, config and tokenizer; add signature.json and, with a head, task.json."""
        outline = self.outline(None)
        patterns = [
            *TOKENIZER,
            *OWN,
            "config.json",
            POOLING,
            "*.safetensors",
            "*.index.json",
            *(PICKLES if self.read_pickle else ()),
        ]
        folder = local(self.model) if is_local(self.model) else from_hub(self.model, self.revision, patterns)
        check_files(folder, self.model, self.read_pickle)
        config = with_weightless_head(read_config(folder, self.model, self.trust_remote_code), self.task, folder)
        built = built_config(config, self.model)
        copy_weights(folder, work.out, self.read_pickle)
        copy_config(folder, work.out, config)
        tokenizer = copy_tokenizer(folder, work.out, built, self.model, self.trust_remote_code)
        pads = pad_id(built, tokenizer, self.model, work.say)
        open_as_named(work.out, self.model)
        output = task_kinds.find(outline.task).output if outline.task is not None else "logits"
        longest, family = longest_input(config), family_named(outline.family)
        if family.why_longest and family.positions is not None and longest < config[family.positions]:
            work.say(f"{self.model} takes {longest} tokens at most: {family.why_longest}")
        if family.padding_counts:
            work.say(
                f"{self.model} {family.padding_counts}, so every text is padded to one length: {longest} tokens here, "
                "and max_length where it is fine-tuned"
            )
        made = Signature(
            inputs=inputs_of(config),
            output=output,
            lengths=lengths_of(config, longest),
            max_length=longest,
            pad_id=pads,
        )
        if self.task is not None and outline.task is not None:
            made = Task.find(self.task).of_kind.signed(made)
        (made if self.task is not None else own_signature(folder, made)).write(work.out)
        task = self.task if self.task is not None else own_task(folder, config)
        if outline.labels is not None and task is not None:
            Task.find(task).write(work.out)
        return {
            "model": self.model,
            "family": outline.family,
            "layers": outline.layers,
            "head": list(outline.labels or ()) or "none",
        } | ({"tokenizer": tokenizer.remade} if tokenizer.remade else {})


def _hub_commit(model: str, revision: str | None) -> str:
    return from_hub(model, revision, ["config.json"]).name  # the hub's cache names a snapshot by its commit
