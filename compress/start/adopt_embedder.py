"""A model that gives a vector for a text already, as sentence-transformers keeps it: its head has no weights, and is
taken from the folder's own words."""

import json
import re
from pathlib import Path
from typing import Any

from palmtop.errors import UserError
from palmtop.models.embedding_head import KEY, Head
from palmtop.models.opening import head_of
from palmtop.task import Task

POOLING = "1_Pooling/config.json"
"""Where sentence-transformers says how states are pooled."""
MODES = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_max_tokens": "max"}
"""Its words for it until version 5; from 6 on pooling_mode is the word itself."""


def with_weightless_head(config: dict[str, Any], task: str | dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    """A config that names the task's head, where that needs no weights and the model has no other task's.

    Raises:
        UserError: the folder pools in a way that isn't known.
    """
    wanted = Task.find(task) if task is not None else None
    if wanted is None or head_of(config) is not None:
        return config
    head = wanted.of_kind.in_config(config | _as_pooled(folder))
    if not head:
        return config
    body = re.sub(r"(Model|For[A-Z]\w*)$", "", next(iter(config.get("architectures") or ()), ""))
    return config | head | {"architectures": [f"{body}{wanted.of_kind.architecture}"]}


def _as_pooled(folder: Path) -> dict[str, Any]:
    """The head as the folder's own pooling says; nothing where it has none."""
    path = folder / POOLING
    if not path.is_file():
        return {}
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise UserError(f"{path} isn't JSON: fetch the model again") from None
    named = [mode for word, mode in MODES.items() if written.get(word)] or [written.get("pooling_mode")]
    if named[0] not in MODES.values() or len(named) > 1:
        raise UserError(
            f"{path} pools by {', '.join(map(str, named))}, and palmtop by one of {', '.join(MODES.values())}: adopt "
            "it without 'task', and fine-tune it"
        )
    return {KEY: Head(named[0]).written()}
