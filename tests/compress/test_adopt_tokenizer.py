"""What adopting tells of a tokenizer: its ids are AutoTokenizer's."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import transformers
from adopting import adopt, change, change_file
from tiny import write_model
from transformers import AutoTokenizer

from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder of a tiny BERT without a head."""
    return write_model(tmp_path / "model", "bert")


@pytest.mark.parametrize(
    ("in_file", "setting"), [(True, {"do_lower_case": False}), (False, {"do_lower_case": True, "strip_accents": True})]
)
def test_ids_are_autotokenizers_and_the_card_says_so(
    in_file: bool, setting: dict[str, bool], folder: Path, tmp_path: Path
) -> None:
    change_file(folder / "tokenizer.json", lambda written: written["normalizer"].update(lowercase=in_file))
    config = {"tokenizer_class": "BertTokenizer"} | setting
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    made = adopt(tmp_path, model=str(folder))
    word = f"do_lower_case: {json.dumps(setting['do_lower_case'])}"
    assert re.match(
        rf"AutoTokenizer's \(.*{word}.*; the model's own .* other ids for 'Please", made.card.facts["tokenizer"]
    )
    text, auto = "PLAY a Song Loud", AutoTokenizer.from_pretrained(folder)
    assert HostTokenizer(made.path, 32).encode([(text,)])[0].input_ids.tolist() == auto(text)["input_ids"]


def test_texts_that_are_cut_at_their_start_are_refused(folder: Path, tmp_path: Path) -> None:
    change_file(folder / "tokenizer_config.json", lambda written: written.update(truncation_side="left"))
    told = r"AutoTokenizer gives other ids .*, cut at 12 tokens \(.*truncation_side: \"left\".*\): every client"
    with pytest.raises(UserError, match=told):
        adopt(tmp_path, model=str(folder))


def test_a_tokenizer_without_words_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    with pytest.raises(
        UserError, match=r"has no tokenizer: .* no other file with a vocabulary \(vocab.txt, vocab.json"
    ):
        adopt(tmp_path, model=str(folder))
    for words in ("", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"):
        (folder / "vocab.txt").write_text(words)
        with pytest.raises(UserError, match=r"knows special tokens only \(\[CLS\], .*so every word would be unknown"):
            adopt(tmp_path, model=str(folder))
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n")
    with pytest.raises(UserError, match=r"the tokenizer knows 6 tokens, the model \d+: they don't belong together"):
        adopt(tmp_path, model=str(folder))


def test_config_and_tokenizer_must_agree_on_padding_where_positions_are_counted_by_it(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "roberta")
    change(folder, pad_token_id=0)
    with pytest.raises(
        UserError, match=r"padded with the id 0 by its config.json .* with 1 by its tokenizer: they must"
    ):
        adopt(tmp_path, model=str(folder))


def test_config_and_tokenizer_must_agree_on_padding_where_it_changes_answers(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model", "convbert")
    change(folder, pad_token_id=1)
    told = r"they must agree, since padding changes its answers; set pad_token_id to 0 if"
    with pytest.raises(UserError, match=told):
        adopt(tmp_path, model=str(folder))


def test_another_padding_of_the_tokenizers_is_told_where_it_is_only_masked(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(folder, pad_token_id=1)
    made = adopt(tmp_path, model=str(folder))
    assert "padded with the id 1 by its config.json (pad_token_id), and with 0 by" in capsys.readouterr().out
    assert made.signature.pad_id == 1


@pytest.mark.parametrize(
    ("family", "named", "settings"),
    [
        ("big_bird", "BigBirdTokenizer", {}),
        ("longformer", "RobertaTokenizer", {}),
        ("reformer", "ReformerTokenizer", {"pad_token": "<pad>"}),
        ("xlnet", "XLNetTokenizer", {"additional_special_tokens": []}),
    ],
)
def test_the_tokenizer_that_transformers_has_for_a_family_is_taken(
    family: str, named: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "model", family)
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    words = {"vocab": model["vocab"]} if isinstance(model["vocab"], dict) else {"vocab": [*map(tuple, model["vocab"])]}
    merges = {"merges": [tuple(pair) for pair in model["merges"]]} if "merges" in model else {}
    getattr(transformers, named)(**words, **merges, **settings).save_pretrained(folder)
    made = adopt(tmp_path, model=str(folder))
    auto = AutoTokenizer.from_pretrained(folder)
    assert auto.padding_side == ("left" if family == "xlnet" else "right")
    for text in (("please play the song",), ("what is the weather", "rain and snow now"), ("",)):
        [found] = HostTokenizer(made.path, 32).encode([text])
        assert found.input_ids.tolist() == auto(*text)["input_ids"]


@pytest.mark.parametrize(
    ("family", "name", "why"),
    [
        ("xlm", "XLMTokenizer", "takes texts apart by Moses' rules, in Python"),
        ("roformer", "RoFormerTokenizer", "takes Chinese apart by jieba's dictionary of words"),
    ],
)
def test_a_tokenizer_that_no_file_can_stand_for_is_refused_by_name(
    family: str, name: str, why: str, tmp_path: Path
) -> None:
    folder = write_model(tmp_path / "model", family)
    told = f"has the tokenizer {name}, which {why}, and every client of a bundle reads tokenizer.json"
    for said in ({"tokenizer_class": name}, {"tokenizer_class": f"{name}Fast"}, {}):
        (folder / "tokenizer_config.json").write_text(json.dumps(said))
        with pytest.raises(UserError, match=re.escape(told)):
            adopt(tmp_path, model=str(folder))


@pytest.mark.parametrize("family", ["camembert", "convbert", "deberta", "fnet"])
def test_the_familys_own_tokenizer_is_taken_with_its_ids(family: str, tmp_path: Path) -> None:
    """transformers' class of it, over the tiny vocabulary."""
    folder = write_model(tmp_path / "model", family)
    words = json.loads((folder / "tokenizer.json").read_text())["model"]
    named = {
        "camembert": ("CamembertTokenizer", {"vocab": [tuple(pair) for pair in words["vocab"]]}),
        "convbert": ("ConvBertTokenizer", {"vocab": words["vocab"]}),
        "deberta": (
            "DebertaTokenizer",
            {"vocab": words["vocab"], "merges": [tuple(pair) for pair in words.get("merges", [])]},
        ),
        "fnet": ("FNetTokenizer", {"vocab": [tuple(pair) for pair in words["vocab"]]}),
    }
    name, given = named[family]
    special = json.loads((folder / "tokenizer_config.json").read_text())
    names = {word: special[word] for word in ("pad_token", "cls_token", "sep_token", "unk_token")}
    (folder / "tokenizer.json").unlink()
    getattr(transformers, name)(**given, **names, additional_special_tokens=[]).save_pretrained(folder)
    made, auto = adopt(tmp_path, model=str(folder)), transformers.AutoTokenizer.from_pretrained(folder)
    assert type(auto).__name__ == name
    texts = ["play a loud song", "Forecast:  storm, please!", "what is my\u00a0balance now"]
    found = HostTokenizer(made.path, 32).encode([(text,) for text in texts])
    assert [row.input_ids.tolist() for row in found] == [auto(text)["input_ids"] for text in texts]
