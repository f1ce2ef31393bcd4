"""The page's tokenizer (tokenizers.js with what of ours is around it) against Hugging Face's, in Node, on the golden
file that the phone's tokenizers are tested by: 2,000 hard strings, alone and in pairs."""

import json
from pathlib import Path

import pytest
from page_script import in_node
from token_goldens import TOKENIZERS, write_goldens

OTHERS = {"wordpiece uncased": [1, 2]}
"""Texts whose ids differ, of 2,000 alone and 2,000 pairs, where any do: a combining mark that is newer than Hugging
Face's Unicode tables is an accent to the browser."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TOKENIZERS)
def test_hard_strings_have_the_ids_of_the_golden_file(name: str, tmp_path: Path) -> None:
    rows = write_goldens(TOKENIZERS[name](), tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({}))
    differing = []
    for texts in (1, 2):
        part = [row for row in rows if len(row["text"]) == texts]
        asked = {"texts": [row["text"] for row in part], "max_length": part[0]["max_length"], "spans": False}
        found = in_node(tmp_path / "scripts", "encode", folder=tmp_path, **asked)
        same = [said["ids"] == row["input_ids"] for said, row in zip(found, part, strict=True)]
        differing.append(same.count(False))
        for said, row, alike in zip(found, part, same, strict=True):
            assert said["truncated"] == row["truncated"]
            assert not alike or said["types"] == row["token_type_ids"]
    assert differing == OTHERS.get(name, [0, 0])
