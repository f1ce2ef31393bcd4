"""Tokenizer parity: what the hard strings are, what MediaPipe and the browser do to them, and what is written down."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tiny import WORDS, sentences, write_tokenizer
from tiny_bundles import MAX_LENGTH, copy_beside, sealed
from tiny_graphs import tfjs_bundle, tflite_bundle
from tokenizers import Tokenizer

from palmtop import measurement
from palmtop.bundle import Bundle
from palmtop.cli.main import main
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.tokenizers import mediapipe
from palmtop.eval.tokenizers.hard_strings import CATEGORIES, EACH, HardString, hard_strings
from palmtop.eval.tokenizers.report import visible
from palmtop.eval.tokenizers.token_parity import client_of, measure_tokens, token_parity

TEXTS = [text for text, _ in sentences(40, 8)]


@pytest.fixture(scope="module")
def strings() -> list[HardString]:
    return hard_strings(TEXTS)


@pytest.fixture(scope="module")
def bundles(random_bert: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("tokens")
    return {
        "torch": random_bert,
        "tflite": tflite_bundle(folder / "tflite", random_bert),
        "tfjs": tfjs_bundle(folder / "tfjs", random_bert),
    }


def test_there_are_2000_different_strings_of_20_categories(strings: list[HardString]) -> None:
    assert len(strings) == len({string.text for string in strings}) == 2000
    assert Counter(string.category for string in strings) == dict.fromkeys(CATEGORIES, EACH)
    inside = sum(string.inside for string in strings)
    assert 900 < inside < 1100  # half of them


def test_they_are_the_same_everywhere_and_always(strings: list[HardString]) -> None:
    assert strings == hard_strings(TEXTS)
    texts = [string.text for string in hard_strings(["play a song", "what is my balance"])]
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    assert digest[:16] == "a0b030f5748c4418", (
        "the strings have changed: raise VERSION in eval/hard_strings.py, and then this digest"
    )


def test_every_category_holds_what_it_says(strings: list[HardString]) -> None:
    of = {category: [string.text for string in strings if string.category == category] for category in CATEGORIES}
    holds = {
        "accents, composed": r"[\u00C0-\u024F\u1E00-\u1EFF]",
        "accents, decomposed": r"[\u0300-\u036F]",
        "combining marks": r"[^\x00-\x7F]",
        "combining scripts": r"[\u0905-\u0E4F\u1100-\u11FF]",
        "CJK": r"[\u1100-\uFA2D]",
        "CJK extensions": r"[\U00020000-\U0002FFFF]",
        "emoji": r"[\u2600-\u26FF\U0001F300-\U0001F9FF]",
        "zero-width": r"[\u00AD\u034F\u180E\u200B-\u200D\u2060-\u2063\uFEFF]",
        "control": r"[\x00-\x1F\x7F-\x9F\uE000-\uFFFD]",
        "spaces": r"[\t-\r\x85\xA0\u1680\u2000-\u200A\u2028-\u202F\u205F\u3000]",
        "special tokens": r"\[|<|##",
        "Greek": r"[\u0386-\u03A9\u1F7C]",
        "full-width": r"[\u3000\uFF01-\uFF9D]",
        "right to left": r"[\u05D0-\u0669]",
    }
    for category, pattern in holds.items():
        assert all(re.search(pattern, text) for text in of[category]), category
    for text in ("[SEP]", "[CLS]", "[PAD]", "[UNK]", "[MASK]"):
        assert any(text in string for string in of["special tokens"])
    assert any("\u200d" in text for text in of["emoji sequences"])  # joined
    assert any("\u00df" in text for text in of["Turkish i, sharp s"])
    assert any("\U0001f3fd" in text for text in of["emoji sequences"])  # a skin tone
    assert any(text.endswith("\u03a3") for text in of["Greek"])  # a sigma that is final once it is lower case
    assert any("\u0131" in text for text in of["Turkish i, sharp s"])
    assert {99, 100, 101} <= {len(text) for text in of["long words"]} and max(map(len, of["long words"])) > 200
    for string in strings:
        string.text.encode("utf-8")  # no surrogates: a text that no client could get


def test_without_texts_of_a_task_all_stand_alone() -> None:
    assert not any(string.inside for string in hard_strings([]))


def test_mediapipe_gives_its_ids_mask_and_types(bundles: dict[str, Bundle]) -> None:
    folder = bundles["tflite"].path
    texts = [("play a song",), ("",), (" ".join(["rain"] * 40),), ("a [SEP] b",)]
    found = mediapipe.tokenize(folder, MAX_LENGTH, texts)
    expected = HostTokenizer(folder, MAX_LENGTH).encode(texts)
    for ours, theirs in list(zip(expected, found, strict=True))[:3]:
        assert ours.input_ids.tolist() == theirs.input_ids.tolist()
        assert ours.token_type_ids.tolist() == theirs.token_type_ids.tolist()
    assert len(found[2]) == MAX_LENGTH
    separator = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("[SEP]")
    assert Counter(expected[3].input_ids.tolist())[separator] == 2
    assert Counter(found[3].input_ids.tolist())[separator] == 1  # to MediaPipe the literal one is text


def test_the_vocabulary_is_that_of_the_bundle_by_id(bundles: dict[str, Bundle]) -> None:
    words = mediapipe.vocabulary(bundles["tflite"].path)
    tokenizer = Tokenizer.from_file(str(bundles["tflite"].path / "tokenizer.json"))
    assert [tokenizer.token_to_id(word) for word in words] == list(range(tokenizer.get_vocab_size()))


def test_mediapipe_differs_where_it_is_known_to(bundles: dict[str, Bundle]) -> None:
    parity = token_parity(bundles["tflite"], client_of(bundles["tflite"]))
    found = parity.by_category
    assert found["special tokens"] > 20 and found["spaces"] > 20 and found["accents, composed"] > 0
    assert found["emoji"] == found["words, digits, punctuation"] == parity.own_other == 0
    assert sum(found.values()) == len(parity.differences) >= len(parity.changed)
    for one in parity.differences:
        ours = HostTokenizer(bundles["tflite"].path, MAX_LENGTH).encode([(one.string.text,)])[0]
        assert one.expected == tuple(ours.input_ids) != one.found


def test_the_browser_differs_in_rare_characters_only_and_it_is_written_down(
    bundles: dict[str, Bundle], tmp_path: Path
) -> None:
    said: list[str] = []
    (parity,) = measure_tokens([bundles["tfjs"]], tmp_path, said.append)
    assert {one.string.category for one in parity.differences} <= {"CJK extensions", "Greek", "random characters"}
    assert said == [f"tfjs: {parity.headline}"]
    taken = {
        one.metric: one for one in measurement.read(tmp_path / measurement.FILE) if "category" not in one.conditions
    }
    assert {metric: (one.value, one.n) for metric, one in taken.items()} == {
        "hard_strings_other_ids": (len(parity.differences), 2000),
        "hard_strings_other_answers": (len(parity.changed), 2000),
        "ordinary_texts_other_ids": (parity.own_other, parity.own),
    }
    assert taken["hard_strings_other_ids"].conditions == {
        "tokenizer": "the browser (tokenizers.js 0.2.0)",
        "strings": parity.strings,
        "max_length": MAX_LENGTH,
    }
    by_category = {
        one.conditions["category"]: one.value
        for one in measurement.read(tmp_path / measurement.FILE)
        if "category" in one.conditions
    }
    assert by_category == parity.by_category


def test_the_command_writes_a_listing_and_compare_shows_the_count(
    bundles: dict[str, Bundle], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run("tokens", str(bundles["tflite"].path), "--out", str(tmp_path))
    shown = capsys.readouterr().out
    assert "## tflite: mediapipe 1.2.2 against Hugging Face's tokenizer" in shown
    assert "| special tokens | 100 |" in shown and "- special tokens: `" not in shown
    assert "- special tokens: `" in (tmp_path / "tokens.md").read_text()
    _run("compare", str(tmp_path))
    assert "- tflite on host_litert: tokenizer: 2,000 hard strings, " in capsys.readouterr().out


def test_what_cannot_be_compared_is_told_before_work(bundles: dict[str, Bundle], tmp_path: Path) -> None:
    (tmp_path / "roberta").mkdir()
    (tmp_path / "roberta" / "model.tflite").touch()
    copy_beside(bundles["tflite"], tmp_path / "roberta")
    write_tokenizer(tmp_path / "roberta", "roberta")
    pieces = sealed(tmp_path / "roberta", "tflite", "to_tflite")
    with pytest.raises(UserError) as raised:
        measure_tokens([bundles["torch"], pieces, bundles["tflite"]], tmp_path / "out", print)
    assert [fault.split(" (")[0] for fault in raised.value.faults] == [
        "torch: a torch bundle has no client with a tokenizer of its own; name tfjs or tflite bundles",
        f"{pieces.path} has a BPE tokenizer; MediaPipe's text tasks have WordPiece only: there is nothing to compare",
    ]
    assert not (tmp_path / "out").exists()


def test_a_listed_string_shows_what_cannot_be_seen() -> None:
    assert visible("a\u200bb\u00a0\U00020000`|") == r"a\u200bb\xa0\U00020000\x60\x7c"


def test_a_probe_says_what_it_was_given() -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=mediapipe.probe(4, sorted(WORDS)))
    interpreter.allocate_tensors()
    for place, detail in enumerate(interpreter.get_input_details()):
        interpreter.set_tensor(detail["index"], np.arange(4, dtype=np.int32)[None] + 10 * place)
    interpreter.invoke()
    assert interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).tolist() == [
        [0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23]
    ]


def _run(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code in (0, None)
