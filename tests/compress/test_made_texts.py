"""Texts made of texts: how often which word changes, against the rates; each the same whenever it is asked for; none
that is known."""

from collections import Counter

import numpy as np
import pytest

from palmtop.compress.distillation.augment import Place
from palmtop.compress.distillation.made_texts import WORD, Maker, Rates, Swaps, made_of, pieces_of
from palmtop.data.encoding import plain

WORDS = [f"z{chr(97 + number)}" for number in range(20)]
TEXT = " ".join(WORDS)


def test_words_are_found_in_any_writing() -> None:
    text = " it's a fine, old day! 今日は 42."
    pieces, end = pieces_of(text)
    assert [piece.word for piece in pieces] == ["it's", "a", "fine", "old", "day", "今", "日", "は", "42"]
    assert "".join(piece.gap + piece.word for piece in pieces) + end == text
    assert pieces_of("?!") == ([], "?!")


def test_words_are_masked_and_swapped_as_often_as_asked() -> None:
    maker = Maker(Rates(mask=0.1, swap=0.2), 400, 0, "[MASK]", Swaps.of(["stone thing thing thing"]))
    counted = Counter(word for (text,) in maker.tries((TEXT,)) for word in text.split())
    total = counted.total()
    assert total == 400 * 20
    # 8,000 draws: 4 standard deviations of a share of 0.2 are 0.018
    assert counted["[MASK]"] / total == pytest.approx(0.1, abs=0.018)
    assert (counted["thing"] + counted["stone"]) / total == pytest.approx(0.2, abs=0.018)
    assert counted["thing"] / counted["stone"] == pytest.approx(3, rel=0.25)  # 1,600 of them: 4 deviations


def test_a_word_is_swapped_for_one_of_its_sort() -> None:
    swaps, random = Swaps.of(["the dog and a cat 42"]), np.random.default_rng(0)
    assert {swaps.draw("This", random) for _ in range(50)} == {"the", "and", "a"}
    assert {swaps.draw("house", random) for _ in range(50)} == {"dog", "cat"}
    assert Swaps.of(["dog"]).draw("the", random) == "the"


def test_pieces_are_one_to_five_words_in_a_row() -> None:
    texts = [text for (text,) in Maker(Rates(ngrams=0.25), 2000, 0).tries((TEXT + "!",))]
    pieces = [text for text in texts if text != TEXT + "!"]
    assert len(pieces) / 2000 == pytest.approx(0.25, abs=0.04)  # 4 deviations of 2,000 draws
    assert all(piece in TEXT for piece in pieces)
    lengths = Counter(len(piece.split()) for piece in pieces)
    assert set(lengths) == {1, 2, 3, 4, 5}
    assert min(lengths.values()) / len(pieces) > 0.12
    assert {text for (text,) in Maker(Rates(ngrams=1), 50, 0).tries(("one, two",))} == {"one", "two", "one, two"}


def test_likely_words_stand_where_the_model_saw_them() -> None:
    maker = Maker(Rates(likely=1), 50, 0)
    made = maker.tries(("a fine day", "fine"), [[Place(2, 6, ("nice", "warm"))], [Place(0, 2, ("x",))]])
    assert {first for first, _ in made} == {"a nice day", "a warm day"}
    assert {second for _, second in made} == {"fine"}


def test_a_text_gives_the_same_texts_whatever_else_is_asked() -> None:
    maker = Maker(Rates(mask=0.3, ngrams=0.3), 8, 1, "[MASK]")
    alone = maker.tries(("a b c d", "e f g h"))
    maker.tries(("something else", ""))
    assert maker.tries(("a b c d", "e f g h")) == alone
    assert maker.tries(("a b c d", "e f g i")) != alone
    assert Maker(maker.rates, 8, 2, "[MASK]").tries(("a b c d", "e f g h")) != alone
    firsts, seconds = zip(*alone, strict=True)
    assert len(set(firsts)) > 1 and len(set(seconds)) > 1
    assert set(WORD.findall(" ".join(firsts))) <= {"a", "b", "c", "d", "MASK"}  # of a pair each text by itself


def test_no_text_is_made_that_is_known_or_was_made_before() -> None:
    texts = [("one two three",), ("two three four",)]
    known = {plain(text): "train" for text in texts} | {("two",): "evaluation", ("four",): "validation"}
    made = made_of(texts, Maker(Rates(ngrams=1), 60, 0), known)
    assert not {plain(text) for text in made.texts} & set(known)
    assert len(made.texts) == len(set(made.texts))
    assert set(made.dropped) == {"evaluation", "validation", "train", "repeated"}
    assert sum(made.dropped.values()) + len(made.texts) == 120
    assert all(text[0] in texts[origin][0] for text, origin in zip(made.texts, made.origins, strict=True))
