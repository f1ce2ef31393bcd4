"""How large a model is: its own files, all that an app fetches with them, and that compressed. Bytes; nothing is
estimated."""

import zlib
from pathlib import Path

from palmtop import format as file_format
from palmtop.bundle import Bundle

SIZES = ("model_bytes", "download_bytes", "gzip_bytes", "nonzeros")
"""What is counted in a bundle's files, here, whatever runs them."""
GZIP_LEVEL = 6
"""What web servers and gzip itself take when nothing is said."""
_GZIP = 16 + zlib.MAX_WBITS
"""zlib's word for gzip's header and checksum."""
_AT_ONCE = 1 << 20


def model_bytes(bundle: Bundle) -> int:
    """The files of the model itself: weights and graph; for the linear model the vocabulary too, without which it is
    nothing."""
    return sum(path.stat().st_size for path in _files(bundle, _own(bundle)))


def download_bytes(bundle: Bundle) -> int:
    """All that an app fetches: the model, its tokenizer, labels and signature."""
    return sum(path.stat().st_size for path in _fetched(bundle))


def gzip_bytes(bundle: Bundle) -> int:
    """The same files as a server sends them, each compressed alone with gzip."""
    return sum(_compressed(path) for path in _fetched(bundle))


def _compressed(path: Path) -> int:
    packer, size = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP), 0
    with path.open("rb") as file:
        while part := file.read(_AT_ONCE):
            size += len(packer.compress(part))
    return size + len(packer.flush())


def _fetched(bundle: Bundle) -> set[Path]:
    return _files(bundle, (*_own(bundle), *file_format.find(bundle.format).beside))


def _own(bundle: Bundle) -> tuple[str, ...]:
    return file_format.find(bundle.model_format).files


def _files(bundle: Bundle, patterns: tuple[str, ...]) -> set[Path]:
    return {path for pattern in patterns for path in bundle.path.glob(pattern)}
