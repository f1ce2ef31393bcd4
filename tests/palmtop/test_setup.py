"""What `palmtop setup` and `palmtop targets` say; what they fetch is tried by those tests that need it."""

import re

import pytest

from palmtop import target
from palmtop.cli.main import main
from palmtop.errors import UserError
from palmtop.eval.targets import _debian


def test_what_cannot_be_set_up_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["setup", "arm46"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: there is nothing called 'arm46' to set up; did you mean 'arm64'?\n"


def test_targets_are_listed_with_how_they_are_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["targets"])
    listed = capsys.readouterr().out
    assert all(f" {name}" in listed for name in target.names())
    assert "ssh:USER@HOST" in listed and "android:SERIAL" in listed


def test_where_there_is_no_archive_of_debian_it_says_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(_debian.MIRROR, raising=False)
    monkeypatch.setattr(_debian, "ARCHIVE", re.compile("no such line"))
    with pytest.raises(UserError, match="name an archive with PALMTOP_DEBIAN_MIRROR"):
        _debian._archive()
    monkeypatch.setenv(_debian.MIRROR, "http://archive.invalid/debian")
    assert _debian._archive() == "http://archive.invalid/debian"


@pytest.mark.parametrize(
    ("line", "archive"),
    [
        ("URIs: http://mirror.invalid/debian\nSuites: bookworm", "http://mirror.invalid/debian"),
        ("deb [arch=amd64] https://mirror.invalid/pub/debian/ bookworm main", "https://mirror.invalid/pub/debian/"),
        ("URIs: http://mirror.invalid/debian-security\n", None),
        ("deb http://mirror.invalid/ubuntu jammy main\n", None),
    ],
)
def test_an_archive_is_found_in_a_systems_own_list(line: str, archive: str | None) -> None:
    found = _debian.ARCHIVE.search(line)
    assert (found[0] if found else None) == archive
