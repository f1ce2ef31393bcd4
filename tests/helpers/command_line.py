"""The command line as a test calls it, inside its own process."""

import pytest

from palmtop.cli.main import main


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """What a command writes: to stderr where it fails, else to stdout."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    out, err = capsys.readouterr()
    assert (caught.value.code or 0) == code, err
    return err if code else out
