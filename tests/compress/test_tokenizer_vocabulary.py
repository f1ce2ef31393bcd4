"""What is left of a vocabulary: texts are cut alike, for each kind of tokenizer, and what can't go stays."""

import json
import os
import random
from pathlib import Path

import pytest
from tiny import FILLERS, WORDS, write_tokenizer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from palmtop.compress.vocabulary.segmentation import compare, counts
from palmtop.compress.vocabulary.tokenizer_files import Renumbered
from palmtop.compress.vocabulary.tokenizer_vocabulary import Vocabulary
from palmtop.errors import UserError

REAL = Path(
    os.environ.get("PALMTOP_TOKENIZER_FILES", Path(__file__).parents[3] / "shared" / "data" / "tokenizer_files")
)
"""Tokenizers of published models: bert-base-uncased/tokenizer.json, gpt2/vocab.json and merges.txt, t5/spiece.model
(four languages)."""
TALES = (
    "Der alte Kahn lag im Schilf, und niemand fragte nach ihm.",
    "Le vieux bateau dort dans les roseaux.",
    "The old boat lay in the reeds; nobody asked for it.",
    "Barca cea veche doarme în stuf.",
    "numbers: 3.14, 2,718 & 1618!",
)
"""German, French, English, Romanian: the languages of T5's vocabulary."""


def test_a_word_that_was_unknown_stays_unknown() -> None:
    """'foo' + 'ba' + nothing for 'z': without the piece 'foo', 'f' + '##oob' + '##az' would be found."""
    words = ["[UNK]", "f", "o", "foo", "##b", "##a", "##oob", "##az", "##ba", "other"]
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.normalizer = normalizers.Lowercase()
    before = _read(tokenizer)
    assert sorted(counts(before, ["Foobaz o"])) == [0, 2, 3, 8]
    texts = ["Foobaz o", "foobaz", "o" * 101]
    made = _cut(before, texts)
    assert compare(before, made.vocabulary, made.new, texts).unchanged == 3
    assert "other" not in made.vocabulary.tokens.values()


def test_merges_are_closed_and_in_their_old_order() -> None:
    """BPE with marks for the middle and the end of a word, as written by the library itself."""
    words = ["play", "player", "players", "replay", "rain", "raining", "trains"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(
        [" ".join(words)] * 3,
        trainers.BpeTrainer(
            special_tokens=["<unk>"],
            vocab_size=90,
            continuing_subword_prefix="##",
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    before = _read(tokenizer)
    made = _cut(before, ["players rain"])
    ids, merges = set(made.vocabulary.tokens.values()), made.vocabulary.written["model"]["merges"]
    assert compare(before, made.vocabulary, made.new, ["players rain"]).unchanged == 1
    assert len(made.order) < len(before)
    assert all({left, right, left + right.removeprefix("##")} <= ids for left, right in merges)
    whole = [tuple(merge) for merge in before.written["model"]["merges"]]
    assert [whole.index(tuple(merge)) for merge in merges] == sorted(whole.index(tuple(merge)) for merge in merges)
    assert compare(before, made.vocabulary, made.new, ["trains replay"]).unknown == [0, 0]


def test_unigram_keeps_scores_and_the_cost_of_the_unknown() -> None:
    pieces = [
        ("<unk>", 0.0),
        ("▁a", -2.0),
        ("b", -3.5),
        ("▁ab", -3.0),
        ("rare", -11.25),
        ("▁abb", -9.0),
        ("a", -4.0),
        ("▁", -5.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    before = _read(tokenizer)
    texts = ["ab", "a xb"]
    made = _cut(before, texts)
    scores = dict(map(tuple, made.vocabulary.written["model"]["vocab"]))
    assert scores == {piece: score for piece, score in pieces if piece != "▁abb" and piece in scores}
    assert "rare" in scores and "▁abb" not in scores
    assert compare(before, made.vocabulary, made.new, texts).unchanged == 2


def test_random_texts_are_cut_alike_whenever_their_tokens_stay(tmp_path: Path) -> None:
    """Not only the texts that were counted: any text all of whose old tokens are still there, for each kind."""
    chosen = random.Random(1)
    words = [word for group in (*WORDS.values(), FILLERS) for word in group]
    texts = [
        " ".join(chosen.choices(words, k=chosen.randint(1, 6))) + chosen.choice(["", "x", "ing", " zq"])
        for _ in range(2000)
    ]
    for family in ("bert", "roberta", "xlm-roberta"):
        (tmp_path / family).mkdir()
        write_tokenizer(tmp_path / family, family)
        before = Vocabulary.read(tmp_path / family)
        made = _cut(before, texts[:6])
        tokenizer = Tokenizer.from_file(str(tmp_path / family / "tokenizer.json"))
        covered = [
            text for text in texts if set(tokenizer.encode(text, add_special_tokens=False).ids) <= made.new.keys()
        ]
        assert 6 < len(covered) < 2000
        assert compare(before, made.vocabulary, made.new, covered).unchanged == len(covered)


def test_post_processors_of_every_form_are_renumbered() -> None:
    tokenizer = Tokenizer(
        models.WordPiece({word: number for number, word in enumerate(["a", "[UNK]", "gone", "[CLS]", "[SEP]"])})
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["<new>"])
    for processor in (
        processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3)),
        processors.RobertaProcessing(("[SEP]", 4), ("[CLS]", 3)),
        processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]),
    ):
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), processor])
        before = _read(tokenizer)
        assert before.floor() == {0, 1, 3, 4, 5}
        made = Tokenizer.from_str(json.dumps(_cut(before, ["a"]).vocabulary.written))
        assert made.encode("a <new>").tokens == ["[CLS]", "a", "<new>", "[SEP]"]
        assert made.encode("a <new>").ids == [2, 0, 4, 3]


@pytest.mark.parametrize("name", ["bert-base-uncased", "gpt2", "t5"])
def test_published_tokenizers(name: str) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(
            f"{REAL / name} isn't there: set PALMTOP_TOKENIZER_FILES to a folder with the files of published tokenizers"
        )
    before = _published(name)
    made = _cut(before, list(TALES))
    assert compare(before, made.vocabulary, made.new, TALES).unchanged == len(TALES)
    assert len(made.order) < 0.2 * len(before)
    others = ["Zebras quietly vexed the judge.", "Größenwahn à la carte", "ceva cu totul și cu totul nou"]
    found = compare(before, made.vocabulary, made.new, others)
    assert found.unknown[0] == found.unknown[1]
    assert found.tokens[1] > found.tokens[0]


def _published(name: str) -> Vocabulary:
    folder = REAL / name
    if name == "gpt2":
        tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return _read(tokenizer)
    if name == "t5":
        import sentencepiece

        pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
        tokenizer = Tokenizer(
            models.Unigram(
                [(pieces.id_to_piece(number), pieces.get_score(number)) for number in range(len(pieces))],
                pieces.unk_id(),
            )
        )
        tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
        return _read(tokenizer)
    return Vocabulary.read(folder)


def test_tokenizers_that_are_not_known_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"has no tokenizer.json: a bundle carries its tokenizer; adopt the model again"
    ):
        Vocabulary.read(tmp_path)
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        UserError,
        match=r"is a WordLevel tokenizer, whose vocabulary palmtop can't trim; known: WordPiece, BPE, Unigram",
    ):
        Vocabulary.read(tmp_path)


def _read(tokenizer: Tokenizer) -> Vocabulary:
    return Vocabulary(json.loads(tokenizer.to_str()))


def _cut(vocabulary: Vocabulary, texts: list[str]) -> Renumbered:
    """The vocabulary of what texts need, without a model."""
    kept = vocabulary.floor().union(*(vocabulary.with_its_parts(token) for token in counts(vocabulary, texts)))
    order = vocabulary.order(kept, 0)
    return Renumbered(Vocabulary(vocabulary.rewritten(order, 512)), order, order.index(0), 512)
