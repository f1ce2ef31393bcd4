"""The phone's frozen Unicode tables are those of the tokenizers library that is installed here."""

import base64
import importlib.util
import re
import zlib
from pathlib import Path
from types import ModuleType

import pytest
import tokenizers

GENERATOR = Path(__file__).parents[2] / "android_demo" / "core" / "unicode_table.py"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("unicode_table", GENERATOR)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_names_the_library_it_was_asked_of() -> None:
    text = _generator().OUT.read_text(encoding="utf-8")
    assert f"What tokenizers {tokenizers.__version__} does" in text, "run android_demo/core/unicode_table.py again"


@pytest.mark.slow
def test_the_library_does_what_the_table_says() -> None:
    generator = _generator()
    written = re.search(r'"""(.*)"""', generator.OUT.read_text(encoding="utf-8"), re.DOTALL)
    assert written is not None
    assert zlib.decompress(base64.b64decode(written[1])) == generator.table()
