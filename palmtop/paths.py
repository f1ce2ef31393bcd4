"""What may leave this machine: of a path in settings its last part, and a tokenizer without the folder that it was read
from."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palmtop.errors import UserError

FOLDERS = re.compile(r"(?<![\w.:/])~?/(?:[^/\s'\"]+/)+")
"""The folders of an absolute path within a text; not those of an address."""
READ_FROM = ("name_or_path", "special_tokens_map_file", "tokenizer_file")
"""Where transformers notes in tokenizer_config.json which files it read; nothing that opens the tokenizer needs
them."""


def without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they may leave this machine: of a path only its last part."""
    return {name: _without_path(value) for name, value in settings.items()}


def without_folders(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they may leave this machine: of each path in a text, also in the middle of a sentence, only its last
    part."""
    return {name: _without_folders(value) for name, value in facts.items()}


def without_places(tokenizer_config: str) -> str:
    """tokenizer_config.json's text without the places it names; the same text where it names none.

    Raises:
        UserError: it is no JSON object.
    """
    try:
        known = json.loads(tokenizer_config)
    except ValueError:
        known = None
    if not isinstance(known, dict):
        raise UserError(
            "the model's tokenizer_config.json is no JSON object: take its tokenizer from where the model is from, "
            "and adopt it anew"
        )
    if known.keys().isdisjoint(READ_FROM):
        return tokenizer_config
    return (
        json.dumps(
            {name: value for name, value in known.items() if name not in READ_FROM}, ensure_ascii=False, indent=2
        )
        + "\n"
    )


def _without_folders(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_folders(value)
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    return FOLDERS.sub("", value) if isinstance(value, str) else value


def _without_path(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_paths(value)
    if isinstance(value, list | tuple):
        return [_without_path(item) for item in value]
    return Path(value).name if isinstance(value, str) and value.startswith(("/", "~", "./", "../")) else value
