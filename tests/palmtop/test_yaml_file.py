"""YAML from strangers: plain, small, every key once, words as in YAML 1.2."""

from pathlib import Path

import pytest

from palmtop.errors import UserError
from palmtop.yaml_file import read_mapping


def faults(text: str | bytes, folder: Path) -> str:
    path = folder / "x.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_mapping(path)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:os.system ['true']\n",
            "x.yaml, line 1: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system' (YAML tags are refused: they can run code)",
        ),
        (
            "a: !mine 3\n",
            "x.yaml, line 1: could not determine a constructor for the tag '!mine' (YAML tags are refused: they can "
            "run code)",
        ),
        ("a: &x [1]\nb: *x\n", "x.yaml, line 2: an alias (*name) isn't read; write the value out"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "x.yaml, line 4: 'c' stands twice in one mapping; keep one"),
        ("? [1, 2]\n: 3\n", "x.yaml, line 1: a key is a list or a mapping; write a word"),
        ("a: [1\n", "x.yaml, line 2: expected ',' or ']', but got '<stream end>'"),
        ("", "x.yaml holds nothing; it should be a mapping (name: value)"),
        ("- 1\n", "x.yaml holds list; it should be a mapping (name: value)"),
        ("3: x\n", "x.yaml: the key 3 isn't a word; put it in quotes"),
        ("a: 2020-13-45\n", "x.yaml can't be read as YAML: month must be in 1..12"),
        (b"a: \xff\n", "x.yaml isn't UTF-8 text (byte 3): save it as UTF-8"),
    ],
)
def test_a_fault_is_told_with_its_place(text: str | bytes, message: str, tmp_path: Path) -> None:
    assert faults(text, tmp_path) == message


def test_nesting_without_end_is_refused(tmp_path: Path) -> None:
    assert faults("a: " + "[" * 50_000, tmp_path).startswith("x.yaml can't be read as YAML: ")


def test_a_recipe_of_10_mb_is_refused_unread(tmp_path: Path) -> None:
    assert faults("# " + "x" * 10_000_000, tmp_path) == (
        "x.yaml is 10.0 MB; a recipe or task is a page of YAML, under 1 MB: is this the right file?"
    )


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no file .*none.yaml"):
        read_mapping(tmp_path / "none.yaml")
    with pytest.raises(UserError, match=r"is a folder; name the YAML file in it"):
        read_mapping(tmp_path)


def test_words_that_yaml_1_1_takes_for_booleans_stay_words(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("on: [yes, no, off, y]\ntrue_one: true\nother: FALSE\n")
    assert read_mapping(tmp_path / "x.yaml") == {"on": ["yes", "no", "off", "y"], "true_one": True, "other": False}
