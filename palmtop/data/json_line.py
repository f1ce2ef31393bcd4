"""A line of a .jsonl file that a stranger made: JSON that is read whole, in characters that are whole."""

import json
from typing import Any

from palmtop.errors import UserError

SURROGATE = "\\ud"
"""How JSON writes half of a character that UTF-16 has in two."""


def read_line(line: str, where: str) -> Any:
    """What a line holds.

    Args:
        where: the file and the line, for messages.

    Raises:
        UserError: it isn't JSON, has a number of thousands of digits, is nested too deep, or has half a character.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} isn't JSON: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{where} has lists or objects nested too deep to be read: mend or remove it") from None
    except ValueError:  # Python's limit for whole numbers
        raise UserError(f"{where} has a number of too many digits to be read: mend or remove it") from None
    if SURROGATE in line.lower() and (half := _half_character(row)):
        raise UserError(
            f"{where} has half a character ({half}), as a text has that was cut in the middle of an emoji: remove it"
        )
    return row


def _half_character(row: Any) -> str | None:
    """The first lone surrogate in a row, as JSON writes it."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        return json.dumps(error.object[error.start]).strip('"')
    return None
