"""The stage trim_vocabulary: the same answers on covered text (U16), every file rewritten, and what is refused before
work."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import FILLERS, VOCABULARIES, WORDS, _config, write_task, write_tokenizer
from tiny_bundles import adopted
from tokenizers import Tokenizer
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from palmtop.bundle import Bundle
from palmtop.compress.vocabulary.segmentation import compare
from palmtop.compress.vocabulary.tokenizer_vocabulary import Vocabulary
from palmtop.compress.vocabulary.weight_rows import Cut, cut_config, cut_weights
from palmtop.data.encoding import pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.making import make
from palmtop.models.family import FAMILIES
from palmtop.models.opening import open_classifier
from palmtop.settings import build
from palmtop.signature import Signature
from palmtop.stage import Outline, find
from palmtop.task import Task


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """A random classifier, and what is left of it for ten texts of 24 tokens at most."""
    folder = tmp_path_factory.mktemp(request.param)
    source = adopted(folder, request.param)
    shorter = {} if FAMILIES[request.param].padding_counts else {"max_length": 24}
    return source, _trim(source, folder / "trimmed", task=write_task(folder / "few", train=10), **shorter)


def _trim(source: Bundle, out: Path, **settings: Any) -> Bundle:
    return make(
        "trim_vocabulary", build(find("trim_vocabulary"), settings, "trim_vocabulary"), source, out, lambda _: None
    )


def _logits(bundle: Bundle, texts: list[tuple[str, ...]]) -> torch.Tensor:
    signature = Signature.read(bundle.path)
    encodings = HostTokenizer(bundle.path, 24).encode(texts)
    batch = pad(encodings, signature.only_length or 24, signature.pad_id)
    with torch.no_grad():
        answers = open_classifier(bundle.path)(
            **{name: torch.from_numpy(batch[name]).long() for name in signature.inputs}
        )
    logits: torch.Tensor = answers.logits
    return logits


def test_covered_texts_get_the_same_answers_bit_for_bit(pair: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    source, trimmed = pair
    texts = Task.find(write_task(tmp_path, train=10)).load("train").texts
    facts = trimmed.card.facts
    assert torch.equal(_logits(source, texts), _logits(trimmed, texts))
    assert facts["tokens_after"] < facts["tokens_before"]
    assert facts["covered"]["texts"] == facts["covered"]["texts_unchanged"] == 13  # and three labels
    assert facts["embedding_share"] == round(facts["tokens_after"] / facts["tokens_before"], 4)


def test_the_folder_opens_without_palmtop_and_its_tokenizers_agree(pair: tuple[Bundle, Bundle]) -> None:
    source, trimmed = pair
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(trimmed.path),
        AutoTokenizer.from_pretrained(trimmed.path),
    )
    texts = ["play a loud song", "forecast: storm, please!", "what is my balance now"]
    assert model.get_input_embeddings().num_embeddings == model.config.vocab_size == trimmed.card.facts["tokens_after"]
    assert [tokenizer(text)["input_ids"] for text in texts] == [
        row.input_ids.tolist() for row in HostTokenizer(trimmed.path, 24).encode([(text,) for text in texts])
    ]
    assert model.config.pad_token_id == Signature.read(trimmed.path).pad_id == tokenizer.pad_token_id
    assert Signature.read(trimmed.path).pad_id == Signature.read(source.path).pad_id


def test_positions_are_kept_for_the_longest_text_only(pair: tuple[Bundle, Bundle]) -> None:
    _, trimmed = pair
    family = FAMILIES[json.loads((trimmed.path / "config.json").read_text())["model_type"]]
    longest = 70 if family.padding_counts else 24
    assert Signature.read(trimmed.path).max_length == longest
    without = ("deberta", "deberta-v2", "modernbert", "reformer", "roformer", "xlm", "xlnet")
    if family.model_type in without:  # have no table of positions, or not there
        assert "positions_after" not in trimmed.card.facts
        return
    table = open_classifier(trimmed.path).base_model.get_submodule("embeddings.position_embeddings").weight
    assert len(table) == trimmed.card.facts["positions_after"] == (26 if family.positions_after_pad else longest)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(name for name, family in FAMILIES.items() if family.word_head))
def test_a_language_model_keeps_each_tokens_logit(family: str, tmp_path: Path) -> None:
    before, after, old, new, ids = _language_models(family, tmp_path)
    names = [token for token, _ in sorted(new.items(), key=lambda item: item[1])]
    with torch.no_grad():
        first, second = before(ids).logits, after(torch.tensor([[new[name] for name in _names(old, ids)]])).logits
    torch.testing.assert_close(second, first[..., [old[name] for name in names]], rtol=0, atol=1e-6)


def test_an_untied_decoder_and_its_bias_are_cut(tmp_path: Path) -> None:
    before, after, old, new, _ = _language_models("bert", tmp_path, tie_word_embeddings=False)
    for name in ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"):
        whole, cut = before.state_dict()[name], after.state_dict()[name]
        assert all(torch.equal(cut[place], whole[old[token]]) for token, place in new.items())
    assert not torch.equal(after.get_output_embeddings().weight, after.get_input_embeddings().weight)


def _language_models(
    family: str, folder: Path, **changes: Any
) -> tuple[Any, Any, dict[str, int], dict[str, int], torch.Tensor]:
    (folder / "model").mkdir()
    config = _config(family, write_tokenizer(folder / "model", family), 1)
    config.update({"is_decoder": False} | changes)
    torch.manual_seed(2)
    model = AutoModelForMaskedLM.from_config(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    model.save_pretrained(folder / "model")
    (folder / "text.txt").write_text("play the song\n\nrain and snow\n")
    base = make("adopt", find("adopt")(model=str(folder / "model")), None, folder / "base", lambda _: None)
    trimmed = _trim(base, folder / "trimmed", text=str(folder / "text.txt"))
    assert "evaluation" not in trimmed.card.facts and trimmed.card.facts["covered"]["texts"] == 2
    before, after = (AutoModelForMaskedLM.from_pretrained(bundle.path).eval() for bundle in (base, trimmed))
    tokenizers = [Tokenizer.from_file(str(bundle.path / "tokenizer.json")) for bundle in (base, trimmed)]
    return (
        before,
        after,
        *(one.get_vocab() for one in tokenizers),
        torch.tensor([tokenizers[0].encode("play the song").ids]),
    )


def _names(ids: dict[str, int], rows: torch.Tensor) -> list[str]:
    return [next(token for token, number in ids.items() if number == wanted) for wanted in rows[0].tolist()]


@pytest.fixture
def bert(tmp_path: Path) -> Bundle:
    return adopted(tmp_path / "bert", "bert")


def test_evaluation_facts_are_counted_as_by_hand(bert: Bundle, tmp_path: Path) -> None:
    task = write_task(tmp_path / "few", train=8)
    trimmed = _trim(bert, tmp_path / "trimmed", task=task)
    texts = [text for (text,) in Task.find(task).load("evaluation").texts]
    old, new = (Tokenizer.from_file(str(bundle.path / "tokenizer.json")) for bundle in (bert, trimmed))
    cut = [[one.encode(text, add_special_tokens=False).tokens for text in texts] for one in (old, new)]
    told = trimmed.card.facts["evaluation"]
    assert (
        told["texts_unchanged"]
        == sum(before == after for before, after in zip(*cut, strict=True))
        < told["texts"]
        == 36
    )
    assert told["tokens_per_text_before"] == round(sum(map(len, cut[0])) / 36, 3) < told["tokens_per_text_after"]
    assert told["tokens_per_text_after"] == round(sum(map(len, cut[1])) / 36, 3)
    assert told["unknown_rate_before"] == told["unknown_rate_after"] == 0


def test_facts_are_given_for_each_language(bert: Bundle, tmp_path: Path) -> None:
    task = write_task(tmp_path / "few", train=8)
    trimmed = _trim(bert, tmp_path / "trimmed", task=task, language="label")
    spoken = {name: facts for name, facts in trimmed.card.facts.items() if name.startswith("evaluation, ")}
    assert list(spoken) == ["evaluation, money", "evaluation, music", "evaluation, weather"]
    assert [facts["texts"] for facts in spoken.values()] == [12, 12, 12]
    with pytest.raises(UserError, match=r"evaluation.csv has no column 'lable'; did you mean 'label'\?"):
        _trim(bert, tmp_path / "other", task=task, language="lable")


def test_unseen_text_stays_readable(pair: tuple[Bundle, Bundle]) -> None:
    source, trimmed = pair
    chosen, letters = (
        random.Random(0),
        sorted({letter for words in (*WORDS.values(), FILLERS) for word in words for letter in word}),
    )
    before, after = Vocabulary.read(source.path), Vocabulary.read(trimmed.path)
    texts = [" ".join("".join(chosen.choices(letters, k=chosen.randint(1, 9))) for _ in range(4)) for _ in range(50)]
    found = compare(before, after, {}, texts)
    assert (
        found.unknown[0] == found.unknown[1] < 0.1 * found.tokens[0]
    )  # the tiny WordPiece lacks some letters inside a word
    assert after.floor() >= {new for new, token in after.tokens.items() if len(token) == 1}


def test_a_keep_larger_than_the_texts_need_is_filled_up(bert: Bundle, tmp_path: Path) -> None:
    task = write_task(tmp_path / "few", train=8)
    exact, filled, rare = (
        _trim(bert, tmp_path / str(number), task=task, **settings)
        for number, settings in enumerate(({}, {"keep": 120}, {"min_count": 4}))
    )
    assert rare.card.facts["tokens_after"] < exact.card.facts["tokens_after"] < filled.card.facts["tokens_after"] == 120
    assert filled.card.facts["covered"]["texts_unchanged"] == 11 > rare.card.facts["covered"]["texts_unchanged"]
    floor = exact.card.facts["tokens_fixed"]
    least = _trim(bert, tmp_path / "least", task=task, keep=floor + 5)
    assert least.card.facts["tokens_after"] == floor + 5
    assert least.card.facts["covered"]["texts_unchanged"] < 11


def test_every_file_of_the_tokenizer_follows(bert: Bundle, tmp_path: Path) -> None:
    folder = bert.path.parent / "model"
    vocabulary = Vocabulary.read(folder)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary.tokens.values()))
    (folder / "spiece.model").write_bytes(b"\0")
    (folder / "added_tokens.json").write_text('{"[MASK]": 4}')
    written = vocabulary.written | {
        "padding": {
            "strategy": {"Fixed": 64},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "truncation": {"max_length": 64, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(written))
    said = {
        "tokenizer_class": "BertTokenizer",
        "model_max_length": 512,
        "added_tokens_decoder": {"4": {"content": "[MASK]"}},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    source = make(
        "adopt",
        find("adopt")(model=str(folder), task=write_task(tmp_path / "data")),
        None,
        tmp_path / "source",
        lambda _: None,
    )
    trimmed = _trim(source, tmp_path / "trimmed", task=write_task(tmp_path / "few", train=8), max_length=24)
    after = Vocabulary.read(trimmed.path)
    assert (trimmed.path / "vocab.txt").read_text().splitlines() == list(after.tokens.values())
    assert (after.written["padding"]["strategy"], after.written["truncation"]["max_length"]) == ({"Fixed": 24}, 24)
    config = json.loads((trimmed.path / "tokenizer_config.json").read_text())
    assert (config["model_max_length"], config["added_tokens_decoder"]) == (24, {"4": {"content": "[MASK]"}})
    assert trimmed.card.facts["left_out"] == ["spiece.model"] and not (trimmed.path / "spiece.model").exists()
    assert {"task.json", "labels.txt", "added_tokens.json"} <= set(trimmed.card.files)
    texts = ["play a song", "please tell me the weather"]
    assert AutoTokenizer.from_pretrained(trimmed.path)(texts)["input_ids"] == [
        row.input_ids.tolist() for row in HostTokenizer(trimmed.path, 24).encode([(text,) for text in texts])
    ]


def test_shards_become_one_file(bert: Bundle, tmp_path: Path) -> None:
    folder = bert.path.parent / "model"
    AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(
        tmp_path / "shards", max_shard_size="20KB"
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "shards" / name)
    task = write_task(tmp_path / "few", train=8)
    source = make(
        "adopt", find("adopt")(model=str(tmp_path / "shards"), task=task), None, tmp_path / "source", lambda _: None
    )
    assert len(list(source.path.glob("*.safetensors"))) > 1
    trimmed = _trim(source, tmp_path / "trimmed")
    assert [path.name for path in trimmed.path.glob("*safetensors*")] == ["model.safetensors"]
    texts = Task.find(task).load("train").texts
    assert torch.equal(_logits(source, texts), _logits(trimmed, texts))


def test_a_static_student_is_trimmed_too(tmp_path: Path) -> None:
    from palmtop.models.static_model import StaticConfig, StaticForSequenceClassification

    (tmp_path / "model").mkdir()
    torch.manual_seed(4)
    StaticForSequenceClassification(
        StaticConfig(
            vocab_size=write_tokenizer(tmp_path / "model", "bert"),
            hidden_size=16,
            head_size=8,
            max_position_embeddings=40,
            id2label=dict(enumerate(sorted(WORDS))),
            label2id={word: number for number, word in enumerate(sorted(WORDS))},
        )
    ).save_pretrained(tmp_path / "model")
    source = make(
        "adopt",
        find("adopt")(model=str(tmp_path / "model"), task=write_task(tmp_path / "data")),
        None,
        tmp_path / "a",
        lambda _: None,
    )
    trimmed = _trim(source, tmp_path / "b", task=write_task(tmp_path / "few", train=10), max_length=24)
    texts = Task.find(write_task(tmp_path / "few", train=10)).load("train").texts
    assert torch.equal(_logits(source, texts), _logits(trimmed, texts))
    assert trimmed.card.facts["embedding_share"] < 0.9


def test_relative_positions_keep_their_reach(tmp_path: Path) -> None:
    """DeBERTa with a table of positions: as many relative ones as it had absolute ones, or its buckets would change."""
    (tmp_path / "model").mkdir()
    config = _config("deberta-v2", write_tokenizer(tmp_path / "model", "deberta-v2"), 1)
    config.update(
        {
            "position_biased_input": True,
            "id2label": dict(enumerate(sorted(WORDS))),
            "num_labels": 3,
            "initializer_range": 0.4,
        }
    )
    torch.manual_seed(3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "model")
    whole = write_task(tmp_path / "data")
    source = make(
        "adopt", find("adopt")(model=str(tmp_path / "model"), task=whole), None, tmp_path / "a", lambda _: None
    )
    trimmed = _trim(source, tmp_path / "b", task=write_task(tmp_path / "few", train=10), max_length=24)
    written = json.loads((trimmed.path / "config.json").read_text())
    assert (written["max_position_embeddings"], written["max_relative_positions"]) == (24, 70)
    texts = Task.find(write_task(tmp_path / "few", train=10)).load("train").texts
    assert torch.equal(_logits(source, texts), _logits(trimmed, texts))


def test_padding_that_moves_takes_the_positions_with_it(tmp_path: Path) -> None:
    """RoBERTa with its padding among the added tokens at the end, whose id is no row that stays."""
    weights = {
        "roberta.embeddings.word_embeddings.weight": torch.arange(50.0).reshape(25, 2),
        "roberta.embeddings.position_embeddings.weight": torch.arange(80.0).reshape(40, 2),
        "roberta.embeddings.position_ids": torch.arange(40)[None],
    }
    from safetensors.torch import load_file, save_file

    from palmtop.compress.vocabulary.trim_vocabulary import _positions

    save_file(weights, tmp_path / "model.safetensors")
    (tmp_path / "out").mkdir()
    config = {
        "pad_token_id": 24,
        "vocab_size": 25,
        "max_position_embeddings": 40,
        "bos_token_id": [0, 7],
        "eos_token_id": 99,
    }
    cut = Cut([0, 3, 7, 24], _positions(config, FAMILIES["roberta"], 3, 10))
    cut_weights(tmp_path, tmp_path / "out", 25, cut, FAMILIES["roberta"])
    made = load_file(tmp_path / "out" / "model.safetensors")
    assert made["roberta.embeddings.word_embeddings.weight"][:, 0].tolist() == [0, 6, 14, 48]
    table = made["roberta.embeddings.position_embeddings.weight"]
    assert torch.equal(table[3 + 1 :], weights["roberta.embeddings.position_embeddings.weight"][24 + 1 : 24 + 11])
    assert made["roberta.embeddings.position_ids"].tolist() == [list(range(14))]
    assert cut_config(config, cut, True) == {
        "pad_token_id": 3,
        "vocab_size": 4,
        "max_position_embeddings": 14,
        "bos_token_id": [0, 2],
        "eos_token_id": None,
    }
    xlm = {"vocab_size": 25, "n_words": 25, "pad_index": 24, "unk_index": 3, "cls_index": 7}
    assert cut_config(xlm, cut, False) == {
        "vocab_size": 4,
        "n_words": 4,
        "pad_index": 3,
        "unk_index": 1,
        "cls_index": 7,
    }


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"keep": 20},
            r"keep is 20, but \d+ tokens can't go \(special tokens, single characters, bytes\): give at least as many",
        ),
        ({"keep": 150}, r"keep is 150, but the vocabulary has 150 tokens: give fewer, or leave the stage out"),
        ({"max_length": 71}, r"max_length is 71, but the source takes 70 tokens at most: give no more"),
        ({"text": "nowhere.txt"}, r"there is no file nowhere.txt"),
        (
            {"keep": 100, "min_count": 2},
            r"min_count is 2 and keep is 100: give one of them, both say which tokens are too rare",
        ),
        ({"min_count": 0}, r"min_count is 0: input should be greater than or equal to 1"),
    ],
)
def test_bad_settings_are_told(settings: dict[str, Any], told: str, bert: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        _trim(bert, tmp_path / "trimmed", **settings)
    assert not (tmp_path / "trimmed").exists()


def test_no_text_is_told_before_work(tmp_path: Path) -> None:
    bare = Outline("torch", "bert", 2, None)
    stage: Any = find("trim_vocabulary")
    with pytest.raises(UserError, match="trim_vocabulary has no text to go by: name a task, or plain text with 'text'"):
        stage().outline(bare)
    (tmp_path / "text.txt").write_text("a\n")
    told = "language is 'lang', a column of the evaluation data, but there is no task: name one"
    with pytest.raises(UserError, match=told):
        stage(text=str(tmp_path / "text.txt"), language="lang").outline(bare)
    assert stage(text=str(tmp_path / "text.txt")).outline(bare) == bare


def test_weights_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    cut = Cut([0], range(4))
    save_file({"embed.weight": torch.zeros(9, 2)}, tmp_path / "model.safetensors")
    with pytest.raises(
        UserError, match=r"have no word_embeddings.weight: palmtop can't tell which rows are the tokens'"
    ):
        cut_weights(tmp_path, tmp_path, 9, cut, FAMILIES["bert"])
    save_file(
        {"word_embeddings.weight": torch.zeros(9, 2), "strange.head": torch.zeros(9, 2)}, tmp_path / "model.safetensors"
    )
    with pytest.raises(
        UserError, match=r"don't fit a vocabulary of 9 tokens that palmtop can trim: strange.head \[9, 2\]"
    ):
        cut_weights(tmp_path, tmp_path, 9, cut, FAMILIES["bert"])
    with pytest.raises(
        UserError, match=r"don't fit a vocabulary of 8 tokens that palmtop can trim: word_embeddings.weight \[9, 2\]"
    ):
        cut_weights(tmp_path, tmp_path, 8, cut, FAMILIES["bert"])


def test_every_family_has_a_tokenizer_here() -> None:
    assert set(VOCABULARIES) == set(FAMILIES)
