"""Plain text: what is read, cut, wrapped, left out and counted; sentence pairs in order or swapped."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from tiny import write_tokenizer
from tokenizers import Tokenizer

from palmtop.compress.language_models.corpus import Corpus, sentences
from palmtop.compress.language_models.sequences import sentence_pairs, sequences
from palmtop.compress.learning.encoded import take
from palmtop.data.special_tokens import Vocabulary, Wrapping
from palmtop.errors import UserError
from palmtop.signature import Signature

SIGNATURE = Signature(inputs=("input_ids", "attention_mask"), max_length=20, pad_id=0)
LONG = "please play the song about rain and snow and the wind outside tomorrow " * 3


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with BERT's kind of tokenizer."""
    folder = tmp_path_factory.mktemp("bert")
    write_tokenizer(folder, "bert")
    return folder


def test_files_folders_and_gz_are_read_by_line_or_paragraph(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("one\ntwo\n\n\nthree\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"zero\n"))
    (tmp_path / "notes.md").write_text("not text")
    assert Corpus.find(str(tmp_path)).documents() == [["zero"], ["one", "two"], ["three"]]
    assert Corpus.find({"files": str(tmp_path / "b.txt"), "unit": "paragraph"}).documents() == [["one two", "three"]]
    assert Corpus.find({"files": str(tmp_path), "most_texts": 2}).documents() == [["zero"], ["one"]]
    first = Corpus.find(str(tmp_path)).digest
    assert Corpus.find((str(tmp_path / "a.txt.gz"), str(tmp_path / "b.txt"))).digest == first
    (tmp_path / "b.txt").write_text("another\n")
    assert Corpus.find(str(tmp_path)).digest != first


def test_a_column_of_a_data_set_is_text_too(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_dict({"text": ["one", "two", "", "three"]}).save_to_disk(str(tmp_path / "set"))
    assert Corpus.find({"dataset": str(tmp_path / "set")}).documents() == [["one", "two"], ["three"]]
    with pytest.raises(UserError, match="has no column 'body'"):
        Corpus.find({"dataset": str(tmp_path / "set"), "column": "body"}).documents()


def test_what_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "table.csv").write_text("a,b\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"there is no file .*nowhere.txt"):
        Corpus.find(str(tmp_path / "nowhere.txt")).digest  # noqa: B018  # a property that reads
    with pytest.raises(UserError, match="has no text in it"):
        Corpus.find(str(tmp_path / "empty.txt")).documents()
    with pytest.raises(UserError, match=r"is neither \.txt nor \.txt\.gz"):
        Corpus.find(str(tmp_path / "table.csv")).documents()
    with pytest.raises(UserError, match=r"folder holds no .txt or .txt.gz file"):
        Corpus.find(str(tmp_path / "folder")).documents()
    with pytest.raises(UserError, match="name either 'files' or a 'dataset'"):
        Corpus.find({"files": "a.txt", "dataset": "b"})
    (tmp_path / "odd.txt").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"line 1 isn't UTF-8"):
        Corpus.find(str(tmp_path / "odd.txt")).documents()


@pytest.mark.parametrize("family", ["bert", "roberta", "albert"])
def test_wrapping_is_the_tokenizers_own(family: str, tmp_path: Path) -> None:
    write_tokenizer(tmp_path, family)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    one, two = (
        tokenizer.encode("play a song", add_special_tokens=False).ids,
        tokenizer.encode("rain", add_special_tokens=False).ids,
    )
    wrapping = Wrapping.of(tokenizer)
    assert [*wrapping.first, *one, *wrapping.last] == tokenizer.encode("play a song").ids
    pair = tokenizer.encode("play a song", "rain")
    assert [*wrapping.first, *one, *wrapping.between, *two, *wrapping.pair_last] == pair.ids
    assert wrapping.second_type == max(pair.type_ids)


def test_a_long_text_is_cut_and_each_chunk_wrapped_again(bert: Path) -> None:
    tokenizer = Tokenizer.from_file(str(bert / "tokenizer.json"))
    plain = tokenizer.encode(LONG, add_special_tokens=False).ids
    data, counts = sequences([[LONG, "too short"]], bert, SIGNATURE)
    rows = [data.ids[start:end].tolist() for start, end in zip(data.offsets[:-1], data.offsets[1:], strict=True)]
    assert all(row[0] == tokenizer.token_to_id("[CLS]") and row[-1] == tokenizer.token_to_id("[SEP]") for row in rows)
    inner = [token for row in rows for token in row[1:-1]]
    assert inner == plain[: len(inner)]
    assert len(plain) - len(inner) < 10  # the last chunk, if it was too short
    assert data.lengths.max() == 20
    left_over = counts["too_short"] - 1
    assert counts == {
        "texts": 2,
        "cut": 1,
        "too_short": 1 + left_over,
        "unknown": 0,
        "sequences": len(rows),
        "tokens": len(data.ids),
    }


def test_half_unknown_sequences_are_left_out_and_decoders_get_no_wrapping(bert: Path) -> None:
    strange = " ".join(["\u4e2d"] * 14)
    data, counts = sequences([[strange, LONG]], bert, SIGNATURE, wrapped=False)
    assert counts["unknown"] == 1
    assert not set(data.ids.tolist()) & set(Vocabulary.of(bert).special)
    with pytest.raises(
        UserError,
        match=r"no text is left to learn from: of 1 texts, 1 sequences have fewer than 12 tokens and 0 are half",
    ):
        sequences([["rain"]], bert, SIGNATURE)


def test_the_vocabulary_knows_its_special_tokens(bert: Path) -> None:
    vocabulary = Vocabulary.of(bert)
    assert (vocabulary.special, vocabulary.mask, vocabulary.unknown) == ((0, 1, 2, 3, 4), 4, 1)
    assert vocabulary.size == Tokenizer.from_file(str(bert / "tokenizer.json")).get_vocab_size()


def test_sentences_end_where_a_capital_follows() -> None:
    assert sentences('It rains. "Does it?" Yes, 3.5 mm! and more.') == [
        "It rains.",
        '"Does it?"',
        "Yes, 3.5 mm! and more.",
    ]


def test_half_of_the_pairs_are_swapped_and_hold_consecutive_sentences(bert: Path) -> None:
    words = "rain snow sun wind storm cloud warm cold play song album loud guitar piano".split()
    text = " ".join(f"The {words[number % 14]} {words[(number * 5 + 1) % 14]}." for number in range(600))
    roomy = SIGNATURE.model_copy(update={"max_length": 40})  # no sentence is longer than half of it, and so none is cut
    data, counts = sentence_pairs([[text]], bert, roomy, seed=0)
    assert abs(int(data.labels.sum()) - len(data) / 2) <= counts["too_short"] + 1
    separator = Tokenizer.from_file(str(bert / "tokenizer.json")).token_to_id("[SEP]")
    flat = Tokenizer.from_file(str(bert / "tokenizer.json")).encode(text, add_special_tokens=False).ids
    whole = ",".join(map(str, flat))
    for row in range(20):
        ids = data.ids[data.offsets[row] : data.offsets[row + 1]].tolist()
        types = data.types[data.offsets[row] : data.offsets[row + 1]]
        middle = ids.index(separator)
        one, two = ids[1:middle], ids[middle + 1 : -1]
        assert types.tolist() == [0] * (middle + 1) + [1] * (len(ids) - middle - 1)
        run = two + one if data.labels[row] else one + two
        assert ",".join(map(str, run)) in whole
    again, _ = sentence_pairs([[text]], bert, roomy, seed=0)
    assert again.digest == data.digest


def test_taken_rows_are_the_same_rows(bert: Path) -> None:
    data, _ = sequences([[LONG] * 3], bert, SIGNATURE)
    part = take(data, [2, 0])
    assert np.array_equal(part.batch([1])["input_ids"], data.batch([0])["input_ids"])
    assert len(part) == 2
