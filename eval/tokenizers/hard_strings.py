"""2,000 hard strings for tokenizers, made by rule from fixed seeds: scripts, marks, invisible characters, literal
special tokens."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

VERSION = 1
"""Raise it when the strings change: counts of two versions don't compare."""
EACH = 100
"""Strings of a category."""
INSIDE = 0.5
"""The share of strings that are put into a text of the task."""
BETWEEN = 0.5
"""The share of those that stand between words, not against one."""
ODD = 0.4
"""The share of accented letters in an accented word."""

Piece = Callable[[Random], str]


@dataclass(frozen=True)
class HardString:
    """A string, and why it is hard."""

    text: str
    category: str
    inside: bool
    """Whether it is a text of the task with something hard in it; else the hard thing alone."""


def hard_strings(texts: Sequence[str]) -> list[HardString]:
    """The same strings every time, all different, `EACH` of each category.

    Half of them stand alone, the others inside one of `texts` (a task's own), so that a wrong token can change an
    answer.
    """
    chosen: dict[str, HardString] = {}
    for category, piece in CATEGORIES.items():
        random, fresh = Random(f"palmtop {VERSION} {category}"), 0
        while fresh < EACH:
            inside = bool(texts) and random.random() < INSIDE
            text = _placed(piece(random), random, random.choice(texts)) if inside else piece(random)
            if text not in chosen:
                chosen[text], fresh = HardString(text, category, inside), fresh + 1
    return list(chosen.values())


def _placed(piece: str, random: Random, text: str) -> str:
    """The piece between the words of a text, or against one of them."""
    words = text.split(" ")
    place = random.randint(0, len(words))
    if random.random() < BETWEEN:
        return " ".join([*words[:place], piece, *words[place:]])
    return " ".join(words[:place]) + piece + " ".join(words[place:])


def _of(characters: Sequence[str], shortest: int, longest: int) -> Piece:
    return lambda random: "".join(random.choice(characters) for _ in range(random.randint(shortest, longest)))


def _range(first: int, last: int) -> list[str]:
    return [chr(point) for point in range(first, last + 1)]


def _assigned(first: int, last: int, kinds: str) -> list[str]:
    """The characters of a range whose Unicode category starts with one of the letters `kinds`."""
    return [character for character in _range(first, last) if unicodedata.category(character)[0] in kinds]


LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("transfer", "weather", "balance", "play", "Reservation", "tomorrow", "PIN", "translate", "flight", "hello")
ACCENTED = [
    character
    for character in (*_assigned(0xC0, 0x17F, "L"), *_assigned(0x1E00, 0x1EFF, "L"))
    if unicodedata.decomposition(character) and not unicodedata.decomposition(character).startswith("<")
]
MARKS = (
    _assigned(0x300, 0x36F, "M")
    + _assigned(0x483, 0x489, "M")
    + _assigned(0x591, 0x5C7, "M")
    + _assigned(0x93A, 0x94D, "M")
)
MARKS += _assigned(0xE31, 0xE4E, "M") + _assigned(0x20D0, 0x20F0, "M") + _assigned(0xFE20, 0xFE2F, "M")
IDEOGRAPHS = _range(0x4E00, 0x9FA5) + _range(0x3400, 0x4DB5) + _range(0xF900, 0xFA2D)
KANA_AND_HANGUL = _range(0x3041, 0x3096) + _range(0x30A1, 0x30FA) + _range(0xAC00, 0xD7A3) + _range(0x1100, 0x1112)
EXTENSIONS = _range(0x20000, 0x2A6D6) + _range(0x2A700, 0x2B734) + _range(0x2B740, 0x2CEA1) + _range(0x2F800, 0x2FA1D)
EMOJI = (
    _range(0x1F600, 0x1F64F)
    + _range(0x1F300, 0x1F3FA)
    + _range(0x1F680, 0x1F6C5)
    + _range(0x2600, 0x26FF)
    + _range(0x1F900, 0x1F9FF)
)
PEOPLE = ["\U0001f468", "\U0001f469", "\U0001f9d1", "\U0001f466", "\U0001f467"]
THINGS = [
    "\U0001f4bb",
    "\U0001f680",
    "\u2764\ufe0f",
    "\u2695\ufe0f",
    "\U0001f33e",
    "\U0001f373",
    "\U0001f393",
    "\U0001f9b0",
]
HANDS = ["\U0001f44d", "\U0001f44b", "\U0001f64f", "\U0001f590", "\u270a", "\u261d"]
TONES = _range(0x1F3FB, 0x1F3FF)
FLAGS = _range(0x1F1E6, 0x1F1FF)
ZERO_WIDTH = ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "\u2061", "\u2063", "\u034f"]
CONTROLS = _range(0x01, 0x1F) + _range(0x7F, 0x9F) + ["\x00", "\ufffd", "\ufff9", "\ufffb", "\ue000", "\uf8ff"]
SPACES = [
    "\u00a0",
    "\u1680",
    *_range(0x2000, 0x200A),
    "\u2028",
    "\u2029",
    "\u202f",
    "\u205f",
    "\u3000",
    "\u0085",
    "\t",
    "\n",
    "\r",
    "\x0b",
    "\x0c",
]
SPECIAL = [
    "[SEP]",
    "[CLS]",
    "[PAD]",
    "[UNK]",
    "[MASK]",
    "[sep]",
    "[ SEP ]",
    "[SEP",
    "##ing",
    "[unused1]",
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    "<mask>",
    "[MASK][MASK]",
    "[CLS]x[SEP]",
]
GREEK = _assigned(0x391, 0x3A9, "L") + ["\u03a3"] * 8 + ["\u0386", "\u0388", "\u038a", "\u03aa", "\u1f7c"]
CASED = [
    "I",
    "i",
    "\u0130",
    "\u0131",
    "\u00df",
    "\u1e9e",
    "SS",
    "ss",
    "\u0130stanbul",
    "Stra\u00dfe",
    "STRASSE",
    "D\u0130YARBAKIR",
    "\u0149",
    "\u01f0",
]
FULL_WIDTH = _range(0xFF01, 0xFF5E) + _range(0xFF66, 0xFF9D) + ["\u3000"]
LIGATURES = [
    *_range(0xFB00, 0xFB06),
    *_range(0x1C4, 0x1CC),
    "\u0132",
    "\u0133",
    "\u0152",
    "\u0153",
    "\u00c6",
    "\u2122",
    "\u2460",
    "\u00bd",
    "\u2167",
    "\u33a5",
    "\u210c",
    "\ufdfa",
    "\u00b2",
    "\u2082",
]
RIGHT_TO_LEFT = (
    _assigned(0x5D0, 0x5EA, "L") + _assigned(0x620, 0x64A, "L") + _assigned(0x64B, 0x652, "M") + _range(0x660, 0x669)
)
BIDI = [
    "\u200e",
    "\u200f",
    "\u202a",
    "\u202b",
    "\u202c",
    "\u202e",
    "\u2066",
    "\u2069",
    "\u061c",
    " ",
    "\u060c",
    "\u061f",
]
DIGITS = [
    *"0123456789",
    *"0123456789",
    *".,:;!?-+%$#@/\\()[]{}<>|~^*_='\"`& ",
    "\u20ac",
    "\u00a3",
    "\u2013",
    "\u2014",
    "\u2026",
    "\u2018",
    "\u2019",
    "\u201c",
    "\u00ab",
    "\u00bf",
    "\u00b0",
    "\u00d7",
    "\u2212",
    "\u0660",
    "\u0967",
    "\u2032",
    "\u3001",
    "\u30fb",
]
BASIC_PLANE = [character for character in _range(0x20, 0xFFFF) if unicodedata.category(character) != "Cs"]
"""Without surrogates, which no UTF-8 text holds; unassigned and private ones are in."""
COMBINING = [_range(0x905, 0x94D), _range(0xE01, 0xE3A), _range(0x1100, 0x11FF), _range(0xB85, 0xBCD)]
"""Devanagari, Thai, Hangul in parts, Tamil."""


def _accented(form: str) -> Piece:
    def piece(random: Random) -> str:
        word = "".join(random.choice(ACCENTED) if random.random() < ODD else letter for letter in random.choice(WORDS))
        return unicodedata.normalize(form, random.choice(ACCENTED) + word)  # type: ignore[arg-type]  # one of its literals

    return piece


def _sprinkled(characters: Sequence[str]) -> Piece:
    """A word with some of the characters in, before or after it."""

    def piece(random: Random) -> str:
        letters = list(random.choice(WORDS))
        for _ in range(random.randint(1, 3)):
            letters.insert(random.randint(0, len(letters)), random.choice(characters))
        return "".join(letters)

    return piece


def _joined(random: Random) -> str:
    """Emoji joined by zero-width joiners, with skin tones; flags; keycaps."""
    people = "\u200d".join(random.choice(PEOPLE) + random.choice(["", *TONES]) for _ in range(random.randint(1, 4)))
    kinds = [
        people,
        f"{random.choice(PEOPLE)}{random.choice(TONES)}\u200d{random.choice(THINGS)}",
        random.choice(HANDS) + random.choice(TONES),
        random.choice(FLAGS) + random.choice(FLAGS),
        f"{random.choice('0123456789#*')}\ufe0f\u20e3",
    ]
    return random.choice(kinds) + random.choice(kinds)


def _long_word(random: Random) -> str:
    """Over 100 characters, WordPiece's limit; some near it."""
    unit = random.choice([*WORDS, random.choice(LETTERS), "\u00e9", "x1", "\U0001f600", "\u4e00"])
    return (unit * 300)[: random.choice([99, 100, 101, 102, random.randint(103, 300)])]


def _special(random: Random) -> str:
    """A literal special token between words and others of its kind."""
    gaps = [random.choice(["", " "]) for _ in range(2)]
    return random.choice(["", *WORDS]) + gaps[0] + random.choice(SPECIAL) + gaps[1] + random.choice([*WORDS, *SPECIAL])


def _script(random: Random) -> str:
    """Syllables and vowel signs of scripts that combine, in any order."""
    return _of(random.choice(COMBINING), 2, 8)(random)


def _plain(random: Random) -> str:
    """Ordinary words in odd case and punctuation: what should never differ."""
    words = [
        random.choice([str.upper, str.lower, str.title, str.swapcase])(random.choice(WORDS))
        for _ in range(random.randint(2, 6))
    ]
    return random.choice([" ", "  ", ", ", "-", "/"]).join(words) + random.choice(["", "?", "!!", "...", " :)", "'s"])


CATEGORIES: dict[str, Piece] = {
    "accents, composed": _accented("NFC"),
    "accents, decomposed": _accented("NFD"),
    "combining marks": _sprinkled(MARKS),
    "combining scripts": _script,
    "CJK": _of(IDEOGRAPHS + KANA_AND_HANGUL[::4], 1, 6),
    "CJK extensions": _of(EXTENSIONS, 1, 3),
    "emoji": _of(EMOJI, 1, 3),
    "emoji sequences": _joined,
    "zero-width": _sprinkled(ZERO_WIDTH),
    "control": _sprinkled(CONTROLS),
    "spaces": _sprinkled(SPACES),
    "long words": _long_word,
    "special tokens": _special,
    "Greek": _of(GREEK, 2, 9),
    "Turkish i, sharp s": lambda random: random.choice(WORDS) + _of(CASED, 1, 3)(random),
    "full-width": _of(FULL_WIDTH, 2, 8),
    "ligatures": _sprinkled(LIGATURES),
    "right to left": lambda random: (
        _of(RIGHT_TO_LEFT, 2, 7)(random) + random.choice(BIDI) + _of(RIGHT_TO_LEFT, 1, 5)(random)
    ),
    "words, digits, punctuation": lambda random: random.choice([_of(DIGITS, 3, 14), _plain])(random),
    "random characters": _of(BASIC_PLANE, 2, 8),
}
