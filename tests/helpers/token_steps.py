"""Tokenizers of rarer make: every step of a tokenizer.json that android_demo knows stands in one of them."""

import io
from collections.abc import Callable

from token_goldens import BERT, ROBERTA, WORDS, own_texts, wordpiece_cased
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers


def sentence_piece() -> Tokenizer:
    """As XLM-R's and T5's: SentencePiece's own table, nmt_nfkc."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(  # type: ignore[attr-defined]  # its stub forgets it
        sentence_iterator=iter(own_texts()), model_writer=written, vocab_size=1000, minloglevel=2
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    made = Tokenizer(models.Unigram(pieces, unk_id=0))
    table = normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap)
    made.normalizer = normalizers.Sequence([table, normalizers.Replace(Regex(" {2,}"), " ")])
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    made.add_special_tokens(["<s>", "</s>"])
    return made


def bytes_for_the_unknown() -> Tokenizer:
    """As Llama's: BPE over characters, what isn't known in bytes, a space in front."""
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    spelled = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=WORDS // 2, special_tokens=[*ROBERTA, *spelled], limit_alphabet=60)
    made.train_from_iterator(own_texts(), trainer)
    return made


def unknown_in_one() -> Tokenizer:
    """BPE over characters of words and numbers, unknown ones taken together."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.NFC()])
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    made.train_from_iterator(
        own_texts(), trainers.BpeTrainer(vocab_size=WORDS // 2, special_tokens=ROBERTA, limit_alphabet=50)
    )
    return made


def each_unknown() -> Tokenizer:
    """BPE with unknown characters one by one, and runs of digits."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.normalizer = normalizers.NFD()
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.Digits()])
    made.train_from_iterator(
        own_texts(), trainers.BpeTrainer(vocab_size=WORDS // 2, special_tokens=ROBERTA, limit_alphabet=50)
    )
    return made


def unigram_bytes() -> Tokenizer:
    """Unigram with bytes for the unknown, ▁ before the first word alone, not split."""
    spelled = [(f"<0x{byte:02X}>", -20.0) for byte in range(256)]
    letters = [(letter, -8.0) for letter in "abcdefghijklmnopqrstuvwxyz▁"]
    words = [(word, -5.0) for word in ("▁the", "▁to", "ing", "what", "er", "tr", "an", "bal", "ance")]
    made = Tokenizer(models.Unigram([("<unk>", 0.0), *spelled, *letters, *words], unk_id=0, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    made.add_special_tokens(["[SEP]", "<s>"])
    return made


def added_words() -> Tokenizer:
    """Added tokens that are looked for after normalizing, alone as words, with the spaces around them."""
    made = wordpiece_cased()
    made.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)
    made.add_tokens(
        [
            AddedToken("Weather", single_word=True),
            AddedToken("PLAY", normalized=True),
            AddedToken("hello", lstrip=True, rstrip=True),
            AddedToken("tr", single_word=True, rstrip=True),
        ]
    )
    return made


def prefixed_bytes() -> Tokenizer:
    """Byte-level BPE with a space before the text, whole words first, and places that keep their spaces."""
    made = Tokenizer(models.BPE(ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=WORDS, special_tokens=BERT, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    made.train_from_iterator(own_texts(), trainer)
    made.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True, add_prefix_space=True),
            processors.TemplateProcessing(
                single="[CLS] $A [SEP]",
                pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
            ),
        ]
    )
    return made


RARER: dict[str, Callable[[], Tokenizer]] = {
    "unigram, nmt_nfkc": sentence_piece,
    "BPE, bytes for the unknown": bytes_for_the_unknown,
    "BPE, unknown in one": unknown_in_one,
    "BPE, each unknown": each_unknown,
    "unigram, bytes for the unknown": unigram_bytes,
    "wordpiece, added words": added_words,
    "byte-level BPE, a space first": prefixed_bytes,
}
