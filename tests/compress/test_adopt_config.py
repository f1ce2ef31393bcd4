"""What adopting tells of a config.json, and what it takes where that says nothing."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from adopting import adopt, change, outline
from tiny import write_model, write_task
from transformers import BertConfig, BertModel

from palmtop.errors import UserError
from palmtop.signature import Signature


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder of a tiny BERT without a head."""
    return write_model(tmp_path / "model", "bert")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"num_attention_heads": 5}, r"can't be built as its config.json says \(The hidden size \(32\) is not a mult"),
        (
            {"hidden_act": "nonsense"},
            r"can't be built as its config.json says \(hidden_act: KeyError: 'nonsense'\): mend",
        ),
        ({"layer_norm_eps": "tiny"}, r"can't be built as its config.json says \(.*'layer_norm_eps'"),
        ({"vocab_size": "many"}, r"config.json: vocab_size must be a whole number from 0 on, not many: fetch it again"),
        ({"num_hidden_layers": -2}, r"config.json: num_hidden_layers must be a whole number from 0 on, not -2"),
        ({"auto_map": 7}, r"brings Python code of its own \(7\), which is not run"),
        ({"num_hidden_layers": [2]}, r"config.json: num_hidden_layers must be a whole number from 0 on, not \[2\]"),
        ({"num_labels": 10**12, "id2label": None}, r"num_labels must be a whole number from 1 on, not 1000000000000"),
        ({"id2label": ["a", "b"]}, r"id2label must be a mapping from numbers to labels, .* not \['a', 'b'\]: mend it"),
        ({"id2label": {"first": "a"}}, r"id2label must be a mapping from numbers to labels"),
        ({"architectures": "BertModel"}, r"architectures must be a list of names of classes, .* not BertModel"),
        (
            {"position_embedding_type": "relative_key_query"},
            r'has position_embedding_type: "relative_key_query" in its config.json, but transformers 5 reads absolute',
        ),
        ({"pruned_heads": {"0": [1]}}, r'has pruned_heads: \{"0": \[1\]\} .*, but transformers 5 no longer cuts heads'),
        ({"quantization_config": {"load_in_8bit": True}}, r"has quantization_config: .* call dequantize\(\) and"),
        ({"is_decoder": True}, r"has is_decoder: true in its config.json, but its tokens would see only those before"),
        ({"add_cross_attention": True}, r"has add_cross_attention: true in its config.json, but it asks for another"),
        ({"return_dict": False}, r"has return_dict: false in its config.json, but palmtop reads answers by name"),
    ],
)
def test_configs_that_would_be_wrong_later_are_refused_by_name(
    values: dict[str, Any], told: str, folder: Path, tmp_path: Path
) -> None:
    change(folder, **values)
    with pytest.raises(UserError, match=told):
        adopt(tmp_path, model=str(folder))
    assert not (tmp_path / "base").exists()


def test_words_that_say_nothing_are_no_fault(folder: Path) -> None:
    change(
        folder,
        pruned_heads={},
        position_embedding_type="absolute",
        is_decoder=False,
        add_cross_attention=None,
        quantization_config={},
    )
    assert outline(model=str(folder)).layers == 2


@pytest.mark.parametrize("text", ["[]", '"bert"', "[" * 100_000, "{"])
def test_what_is_no_config_is_told(text: str, folder: Path) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config.json (isn't JSON: fetch|holds a \w+ where an object of settings is)"):
        outline(model=str(folder))


def test_what_a_config_leaves_out_counts_as_transformers_counts_it(folder: Path, tmp_path: Path) -> None:
    change(folder, max_position_embeddings=512)
    config = json.loads((folder / "config.json").read_text())
    left_out = ("pad_token_id", "max_position_embeddings", "type_vocab_size", "intermediate_size")
    lean = {word: value for word, value in config.items() if word not in left_out} | {"intermediate_size": 3072}
    (folder / "config.json").write_text(json.dumps(lean))
    assert outline(model=str(folder)).layers == 2
    BertModel(BertConfig(**lean)).save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(lean))
    made = adopt(tmp_path, model=str(folder))
    signature = Signature.read(made.path)
    assert (signature.pad_id, signature.max_length, "token_type_ids" in signature.inputs) == (0, 512, True)
    assert json.loads((made.path / "config.json").read_text())["max_position_embeddings"] == 512


def test_a_head_without_names_is_told_how_it_is_kept(folder: Path, tmp_path: Path) -> None:
    task = write_task(tmp_path / "data")
    head = ["BertForSequenceClassification"]
    change(folder, architectures=head, id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})
    told = "such as labels: {money: LABEL_0, music: LABEL_1, weather: LABEL_2}; or fine-tune it first"
    with pytest.raises(UserError, match=re.escape(told)):
        outline(model=str(folder), task=task)
    kept = task | {"labels": {"money": "LABEL_1", "music": "LABEL_0", "weather": "LABEL_2"}}
    with pytest.raises(UserError, match=r"in another order \(LABEL_0, LABEL_1, LABEL_2, ...\)"):
        outline(model=str(folder), task=kept)
    kept["labels"] = {"music": "LABEL_0", "money": "LABEL_1", "weather": "LABEL_2"}
    assert outline(model=str(folder), task=kept).labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    change(folder, id2label=None)
    with pytest.raises(UserError, match=r"has other labels than the task 'tiny' \(2 and 3; not in both: LABEL_0"):
        outline(model=str(folder), task=task)
    change(folder, id2label={"0": "money", "2": "music", "3": "weather"})
    with pytest.raises(UserError, match=r"id2label .* has the numbers 0, 2, 3 where 0 to 2 are wanted"):
        outline(model=str(folder), task=task)


def test_a_regression_head_is_adopted_whatever_its_number_is_called(folder: Path, tmp_path: Path) -> None:
    task = write_task(tmp_path / "data", kind="regression")
    change(folder, architectures=["BertForSequenceClassification"], id2label={"0": "LABEL_0"})
    assert outline(model=str(folder), task=task).labels == ("number",)
    change(folder, id2label={"0": "a", "1": "b"})
    with pytest.raises(UserError, match=r"head has 2 outputs \(a, b\), and the task 'tiny' asks for 1"):
        outline(model=str(folder), task=task)
