"""Reading YAML that a stranger wrote: small, plain, every key once; anything else is refused by line."""

import re
from pathlib import Path
from typing import Any

import yaml

from palmtop.data.file_text import refuse_special
from palmtop.errors import UserError

LIMIT_BYTES = 1_000_000
AS_WRITTEN = "labels"
"""The key whose values are words, whatever YAML would make of them."""
PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float", "null", "timestamp"))


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader that also refuses aliases and repeated keys, which safe_load takes in silence.

    Words as in YAML 1.2: only true and false are booleans. YAML 1.1 also takes 'on', 'off', 'yes' and 'no', which are a
    key of a recipe and usual labels, for booleans.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise _Refused("an alias (*name) isn't read; write the value out", self.peek_event().start_mark)  # type: ignore[no-untyped-call]  # types-PyYAML leaves it out
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Refused("a key is a list or a mapping; write a word", key.start_mark)
            if key.value in seen:
                raise _Refused(f"'{key.value}' stands twice in one mapping; keep one", key.start_mark)
            seen.add(key.value)
        for key, value in node.value:
            if key.value == AS_WRITTEN:
                _take_as_written(value)
        return super().construct_mapping(node, deep)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def _take_as_written(node: Any) -> None:
    """Labels are words: 01, 1.50, no and null among them stay what they are in the file, as in a CSV."""
    inside = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
    for part in inside if isinstance(node, yaml.CollectionNode) else ():
        if isinstance(part, yaml.ScalarNode) and part.tag in PLAIN_TAGS:
            part.tag = "tag:yaml.org,2002:str"


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        UserError: the file is missing, over 1 MB, not UTF-8, not YAML, has tags, aliases or repeated keys, or isn't a
        mapping.
    """
    try:
        refuse_special(path)
        size = path.stat().st_size
        if size > LIMIT_BYTES:
            raise UserError(
                f"{path} is {size / 1e6:.1f} MB; a recipe or task is a page of YAML, under {LIMIT_BYTES / 1e6:.0f} "
                "MB: is this the right file?"
            )
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder; name the YAML file in it") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} isn't UTF-8 text (byte {error.start}): save it as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, where: str) -> dict[str, Any]:
    """The mapping in a YAML text.

    Raises:
        UserError: as read_mapping, with `where` in place of the file.
    """
    try:
        content = yaml.load(text, _PlainLoader)  # the loader derives from SafeLoader: no tag builds an object
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        tag = " (YAML tags are refused: they can run code)" if "tag" in (error.problem or "") else ""
        raise UserError(f"{where}, line {line}: {error.problem}{tag}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{where} can't be read as YAML: {error}") from None
    if not isinstance(content, dict):
        held = "nothing" if content is None else type(content).__name__
        raise UserError(f"{where} holds {held}; it should be a mapping (name: value)")
    if odd := [key for key in content if not isinstance(key, str)]:
        raise UserError(f"{where}: the key {odd[0]!r} isn't a word; put it in quotes")
    return content
