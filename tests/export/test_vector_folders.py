"""Folders for sentence-transformers and for model2vec: each opens there and gives the vectors that it should; what
cannot be laid out is refused by name."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from any_kind import static
from tiny import sentences, write_task
from tiny_bundles import adopted, sealed
from transformers import AutoModel

import palmtop
from palmtop import stage
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.verify import verify
from palmtop.making import make_by_name
from palmtop.stage import Outline

TEXTS = ["", "Ω what is the forecast?", "guitar " * 100, *(text for text, _ in sentences(60, 7))]
"""None at all, one with an unknown token, one longer than is read, and ordinary ones."""
SAME = 1e-5


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return adopted(tmp_path_factory.mktemp("encoder"), "bert", initializer_range=0.2)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A static one of 24 tokens, so that long texts are cut."""
    folder = tmp_path_factory.mktemp("static")
    return static(folder / "student", write_task(folder / "data"), max_length=24)


@pytest.mark.parametrize(
    ("settings", "pooling", "normalize"),
    [({}, "mean", False), ({"pooling": "cls", "normalize": True}, "cls", True), ({"pooling": "max"}, "max", False)],
)
def test_sentence_transformers_pools_as_the_folder_says(
    settings: dict[str, Any], pooling: str, normalize: bool, encoder: Bundle, tmp_path: Path
) -> None:
    made = laid_out("sentence-transformers", encoder, tmp_path / "made", **settings)
    found = of_sentence_transformers(made.path, TEXTS)
    expected = pooled(encoder, TEXTS, pooling)
    if normalize:
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=SAME)
    assert expected.std(axis=0).mean() > 0.01
    said = {"layout": "sentence-transformers", "pooling": pooling, "normalize": normalize}
    assert said.items() <= made.card.facts.items()


def test_it_stays_a_torch_bundle_that_answers(encoder: Bundle, tmp_path: Path) -> None:
    made = laid_out("sentence-transformers", encoder, tmp_path / "made")
    assert made.format == "torch" and not (made.path / "2_Normalize").exists()
    verify(made.path, lambda _: None)
    with palmtop.load(made) as model, palmtop.load(encoder) as source:
        assert model(TEXTS[3:9]) == source(TEXTS[3:9])
    assert "SentenceTransformer" in (made.path / "README.md").read_text(encoding="utf-8")


def test_a_model_that_was_trained_for_vectors_keeps_its_pooling(encoder: Bundle, tmp_path: Path) -> None:
    source = with_config(encoder, tmp_path / "trained", palmtop_embedding={"pooling": "max", "normalize": True})
    made = laid_out("sentence-transformers", source, tmp_path / "made")
    assert (made.card.facts["pooling"], made.card.facts["normalize"]) == ("max", True)
    assert (made.path / "2_Normalize").is_dir()
    with pytest.raises(UserError, match="was trained with pooling: max, asked is mean: leave it out"):
        laid_out("sentence-transformers", source, tmp_path / "other", pooling="mean")
    short = with_config(encoder, tmp_path / "short", palmtop_embedding={"pooling": "max", "width": 16})
    with pytest.raises(UserError, match="keeps the first 16 numbers of a vector, which no file of sentence-transform"):
        laid_out("sentence-transformers", short, tmp_path / "cut")


def test_model2vec_opens_a_static_student(student: Bundle, tmp_path: Path) -> None:
    from model2vec import StaticModel

    made = laid_out("model2vec", student, tmp_path / "made")
    model = StaticModel.from_pretrained(made.path)
    table = model.embedding
    own = np.stack([table[encoding.input_ids].mean(axis=0) for encoding in encoded(student, TEXTS)])
    # the lines of the folder's README: equal for every text, cut ones and unknown tokens too
    exact = np.stack([table[model.tokenizer.encode(text).ids].mean(axis=0) for text in TEXTS])
    np.testing.assert_allclose(exact, own, atol=SAME)
    # and its own way: close, for texts that hold some words
    plain = model.encode(TEXTS)
    cosines = (plain * own).sum(1) / (np.linalg.norm(plain, axis=1) * np.linalg.norm(own, axis=1) + 1e-9)
    assert 0.7 < np.median(cosines[3:]) < 0.999  # of a random table; a trained one knows that [CLS] says little
    assert not plain[0].any()
    whole = [row for row, encoding in enumerate(encoded(student, TEXTS)) if 3 <= row and not encoding.truncated]
    assert len(whole) > 40
    no_special = [np.delete(encoded(student, [TEXTS[row]])[0].input_ids, [0, -1]) for row in whole]
    np.testing.assert_allclose(plain[whole], np.stack([table[ids].mean(axis=0) for ids in no_special]), atol=SAME)
    # sentence-transformers opens the same folder, and leaves out the special tokens alone
    found = of_sentence_transformers(made.path, [TEXTS[row] for row in whole])
    np.testing.assert_allclose(found, plain[whole], atol=SAME)


def test_the_lines_of_its_readme_answer_as_the_student(student: Bundle, tmp_path: Path) -> None:
    made = laid_out("model2vec", student, tmp_path / "made")
    blocks = (made.path / "README.md").read_text(encoding="utf-8").split("```python\n")[1:]
    opened, vector, answer = (block.split("```")[0] for block in blocks)
    each = f"for text in {TEXTS[3:13]!r}:\n" + indented(vector.replace('"a text"', "text") + answer)
    done = subprocess.run(
        [sys.executable, "-c", f"{opened}{each}"], cwd=made.path, capture_output=True, text=True, check=True
    )
    with palmtop.load(student) as model:
        assert done.stdout.split() == [said.label for said in model(TEXTS[3:13])]
    said: list[str] = []
    verify(made.path, said.append)
    assert "a folder for model2vec" in said[-1] and made.format == "app"


@pytest.mark.parametrize(
    ("layout", "outline", "says"),
    [
        (
            "palmtop",
            ("torch", "bert", 2),
            "layout: palmtop is made of .*, this is torch: export it first, with to_tflite",
        ),
        ("transformers.js", ("torch", "bert", 2), "is made of onnx, this is torch: hand over what 'palmtop to_onnx'"),
        ("sentence-transformers", ("onnx", None, None), "is made of torch, this is onnx: hand over the torch bundle"),
        (
            "sentence-transformers",
            ("torch", "palmtop-static", 0),
            "no class for a static student: take layout: model2v",
        ),
        ("model2vec", ("torch", "bert", 2), "opens tables of token vectors, and this is a bert: make a static student"),
    ],
)
def test_what_a_tool_has_no_class_for_is_refused_before_work(layout: str, outline: Any, says: str) -> None:
    form, family, layers = outline
    with pytest.raises(UserError, match=says):
        stage.find("to_app")(layout=layout).outline(Outline(form, family, layers, ("a", "b")))


def test_a_model_of_palmtops_own_shape_and_settings_of_another_layout_are_refused() -> None:
    shaped = Outline("torch", "bert", 2, ("a", "b"), changes=("palmtop_shape",))
    with pytest.raises(UserError, match=r"differs from any \(palmtop_shape in its config\.json\)"):
        stage.find("to_app")(layout="sentence-transformers").outline(shaped)
    with pytest.raises(UserError, match="pooling is for layout: sentence-transformers, this is palmtop: leave it out"):
        stage.find("to_app")(pooling="cls").outline(Outline("onnx", None, None, ("a", "b")))


def laid_out(layout: str, source: Bundle, out: Path, **settings: Any) -> Bundle:
    return make_by_name("to_app", {"layout": layout, **settings}, source, out, lambda _: None)


def of_sentence_transformers(folder: Path, texts: list[str]) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    return np.asarray(SentenceTransformer(str(folder), device="cpu").encode(texts))


def pooled(source: Bundle, texts: list[str], pooling: str) -> np.ndarray:
    """The vectors by plain torch, a text at a time, unpadded."""
    body = AutoModel.from_pretrained(source.path).eval()
    made = []
    for encoding in encoded(source, texts):
        ids = torch.tensor(encoding.input_ids[None].astype(np.int64))
        with torch.inference_mode():
            states = body(input_ids=ids).last_hidden_state[0]
        made.append({"mean": states.mean(0), "cls": states[0], "max": states.amax(0)}[pooling].numpy())
    return np.stack(made)


def encoded(source: Bundle, texts: list[str]) -> list[Any]:
    return HostTokenizer.of(source.path, source.signature).encode([(text,) for text in texts])


def with_config(source: Bundle, copy: Path, **changed: Any) -> Bundle:
    """A copy with other entries in config.json, sealed."""
    shutil.copytree(source.path, copy, ignore=shutil.ignore_patterns("palmtop.json"))
    known = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(known | changed))
    return sealed(copy, "torch", "finetune")


def indented(lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines.splitlines())
