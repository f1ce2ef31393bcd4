"""Writes UnicodeTable.kt and unicode_table.ts: what Hugging Face's tokenizers does to every code point, asked of the
library itself.

Its parts rest on Unicode data of several ages (decompositions of 9.0, punctuation of 8.0, its regular expressions'
letters of 15), none of which is that of a phone. So no Unicode file is read: every code point is put through the
library, and the answers are frozen.

    python android_demo/core/unicode_table.py
"""

import base64
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

OUT = Path(__file__).parent / "src/main/kotlin/app/palmtop/core/UnicodeTable.kt"
TYPESCRIPT = Path(__file__).parents[2] / "export/react_native/palmtop/core/unicode_table.ts"
SURROGATES = range(0xD800, 0xE000)
POINTS = [point for point in range(0x110000) if point not in SURROGATES]
HANGUL = range(0xAC00, 0xD7A4)
"""Syllables, which are put together and taken apart by arithmetic."""
BLOCK = 4096
"""Code points that go through the library in one call."""
WIDTH = 116
LOWEST, HIGHEST = "\u0334", "\u0345"
"""Marks of the classes 1 and 240, the least and the greatest."""

Mapping = dict[int, tuple[int, ...]]


def table() -> bytes:
    """All sets and maps one after the other, in the order in which Unicode.kt reads them."""
    nfd, nfkd = _mapped(normalizers.NFD().normalize_str), _mapped(normalizers.NFKD().normalize_str)
    nfc = normalizers.NFC()
    alone = [point for point, to in nfd.items() if len(to) > 1 and nfc.normalize_str(chr(point)) != chr(point)]
    bert = normalizers.BertNormalizer
    clean = _around(bert(True, False, False, False).normalize_str, "x")
    sets = [
        [point for point, made in clean if not made],  # control characters, as clean_text has them
        [point for point, made in clean if made == " "],
        [point for point, made in _around(bert(False, True, False, False).normalize_str) if len(made) > 1],  # CJK
        [point for point, made in _around(bert(False, False, True, False).normalize_str) if not made],  # nonspacing
        [point for point, made in _around(normalizers.StripAccents().normalize_str) if not made],  # marks of all kinds
        _removed(pre_tokenizers.WhitespaceSplit()),
        _split_off(pre_tokenizers.BertPreTokenizer()),
        _split_off(pre_tokenizers.Punctuation()),
        *(_removed(pre_tokenizers.Split(Regex(kind), "removed")) for kind in (r"\p{L}", r"\p{N}", r"\s")),
        _kept_with_letters(pre_tokenizers.Whitespace()),
        _split_off(pre_tokenizers.Digits(individual_digits=True)),
        alone,
        _joining(),
    ]
    maps: list[Mapping] = [
        _mapped(normalizers.Lowercase().normalize_str),
        nfd,
        {point: to for point, to in nfkd.items() if nfd.get(point) != to},
        {point: (kind,) for point, kind in _classes().items()},
    ]
    parts = [*(_set_bytes(one) for one in sets), *(_map_bytes(one) for one in maps)]
    return b"".join(parts)


def source(content: bytes) -> str:
    """UnicodeTable.kt: the table deflated, in base64."""
    coded = base64.b64encode(zlib.compress(content, 9)).decode()
    lines = "\n".join(coded[at : at + WIDTH] for at in range(0, len(coded), WIDTH))
    return (
        "package app.palmtop.core\n\n"
        "// Written by unicode_table.py: don't edit.\n\n"
        f"/** What tokenizers {tokenizers.__version__} does to every code point; [Unicode] reads it. */\n"
        f'internal const val UNICODE_TABLE: String =\n    """\n{lines}\n"""\n'
    )


def typescript(content: bytes) -> str:
    """unicode_table.ts: not deflated, as JavaScript engines of phones don't inflate."""
    return (
        "// Written by android_demo/core/unicode_table.py: don't edit.\n\n"
        f"/** What tokenizers {tokenizers.__version__} does to every code point; unicode.ts reads it. */\n"
        f"export const UNICODE_TABLE =\n  '{base64.b64encode(zlib.decompress(content)).decode()}';\n"
    )


def _blocks() -> Iterator[list[int]]:
    for start in range(0, len(POINTS), BLOCK):
        yield POINTS[start : start + BLOCK]


def _around(normalize: Callable[[str], str], sentinel: str = "\x01") -> list[tuple[int, str]]:
    """Each code point, and what is made of it between two sentinels."""
    found: list[tuple[int, str]] = []
    for block in _blocks():
        asked = [point for point in block if chr(point) != sentinel]
        made = normalize(sentinel + sentinel.join(map(chr, asked)) + sentinel).split(sentinel)[1:-1]
        found += zip(asked, made, strict=True)
    return found


def _mapped(normalize: Callable[[str], str]) -> Mapping:
    """Code points that become others."""
    return {
        point: tuple(map(ord, made)) for point, made in _around(normalize) if made != chr(point) and point not in HANGUL
    }


def _pieces(splitter: pre_tokenizers.PreTokenizer) -> Iterator[tuple[int, list[str]]]:
    """Each code point, and the pieces that `splitter` makes of it between two letters."""
    for point in POINTS:
        yield point, [piece for piece, _ in splitter.pre_tokenize_str(f"x{chr(point)}x")]


def _removed(splitter: pre_tokenizers.PreTokenizer) -> list[int]:
    """Code points of which nothing is left."""
    return [point for point in POINTS if not splitter.pre_tokenize_str(chr(point))]


def _split_off(splitter: pre_tokenizers.PreTokenizer) -> list[int]:
    """Code points that stand by themselves, even between letters."""
    return [point for point, pieces in _pieces(splitter) if len(pieces) == len("xyz")]


def _kept_with_letters(splitter: pre_tokenizers.PreTokenizer) -> list[int]:
    return [point for point, pieces in _pieces(splitter) if len(pieces) == 1]


def _joining() -> list[int]:
    """Code points that make one cluster with the letter before them (Unicode Standard Annex 29).

    A table of SentencePiece's that makes b of a makes b of the whole cluster, so what joins is gone.
    """
    table = [0] * 512
    table[0] = 256 << 10  # from the root, at 256 ^ byte
    table[256 ^ ord("a")] = 1 << 10 | 1 << 8 | ord("a")  # a leaf, whose value is at the place ^ 1: 0, where b stands
    size = len(table) * 4
    precompiled = normalizers.Precompiled(b"".join(unit.to_bytes(4, "little") for unit in (size, *table)) + b"b\0")
    return [point for point in POINTS if precompiled.normalize_str("a" + chr(point)) == "b"]


def _classes() -> dict[int, int]:
    """The canonical combining class of each mark: marks of a lower class move before those of a higher one."""
    import unicodedata

    marks = [chr(point) for point in POINTS if point not in HANGUL and _is_mark(chr(point))]
    of_class = {unicodedata.combining(mark): mark for mark in reversed(marks) if unicodedata.combining(mark)}
    found = {}
    for mark in marks:
        moves = [kind for kind, other in of_class.items() if _moves(mark + other) or _moves(other + mark)]
        (found[ord(mark)],) = of_class.keys() - set(moves)
    return found


def _is_mark(mark: str) -> bool:
    return normalizers.NFD().normalize_str(mark) == mark and (_moves(mark + LOWEST) or _moves(HIGHEST + mark))


def _moves(marks: str) -> bool:
    return bool(normalizers.NFD().normalize_str("x" + marks) != "x" + marks)


def _set_bytes(points: Iterable[int]) -> bytes:
    """The number of ranges; of each the gap before it and its length."""
    ranges: list[list[int]] = []
    for point in points:
        if ranges and ranges[-1][1] == point:
            ranges[-1][1] += 1
        else:
            ranges.append([point, point + 1])
    made, end = bytearray(_number(len(ranges))), 0
    for begin, after in ranges:
        made += _number(begin - end) + _number(after - begin)
        end = after
    return bytes(made)


def _map_bytes(mapping: Mapping) -> bytes:
    """How many there are; of each the step from the one before, how many code points it becomes, and how far off each
    of these is."""
    made, last = bytearray(_number(len(mapping))), 0
    for point, to in sorted(mapping.items()):
        made += _number(point - last) + _number(len(to)) + b"".join(_number(_folded(one - point)) for one in to)
        last = point
    return bytes(made)


def _folded(number: int) -> int:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ..."""
    return -2 * number - 1 if number < 0 else 2 * number


def _number(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    made: Sequence[int] = []
    while number > 0x7F:  # noqa: PLR2004  # seven bits
        made, number = [*made, number & 0x7F | 0x80], number >> 7
    return bytes([*made, number])


if __name__ == "__main__":
    made = table()
    OUT.write_text(source(made), encoding="utf-8")
    TYPESCRIPT.write_text(typescript(made), encoding="utf-8")
