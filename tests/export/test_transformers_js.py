"""A folder for transformers.js: Node opens it and gives our answers; what it does otherwise is told in the folder; what
can't be laid out is refused by name."""

import json
import re
import shutil
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from any_kind import headed, static
from app_pages import AppPage, served
from onnx.helper import make_graph, make_model, make_node, make_tensor_value_info
from tiny import sentences, write_model, write_multi_label, write_pairs, write_tags, write_task
from tiny_bundles import naming_this_machine, sealed
from transformers_js import HERE, MODULE, asked, packages

import palmtop
from palmtop import parity
from palmtop.app_manifest import GoldenRow, Manifest, golden_rows
from palmtop.bundle import Bundle
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.targets._chromium import Chromium
from palmtop.eval.verify import verify
from palmtop.export.app.int64_inputs import int64_inputs
from palmtop.export.app.transformers_js import FLOAT, INT8
from palmtop.making import make_by_name
from palmtop.task_kinds.spans import OUTSIDE

if TYPE_CHECKING:
    from once import MadeOnce
    from tiny_bundles import Taught

TEXTS = [text for text, _ in sentences(200, 7)]
SAME = 1e-4
"""Of a logit, where logits are some units wide: float32 sums of another build of ONNX Runtime."""
EXACT = {"session_options": {"extra": {"session": {"x64quantprecision": "1"}}}}
"""Without it an int8 file's products overflow on some x86 processors, as the folder's README tells."""


@pytest.fixture(scope="module")
def exported(adopted_bert: Bundle, once: "MadeOnce") -> dict[str, Bundle]:
    """A classifier as ONNX, by precision."""
    made = once("to_onnx", {}, adopted_bert)
    return {"float32": made, "int8": once("quantize", {"scheme": "dynamic_int8", "tolerance": 2}, made)}


@pytest.fixture(scope="module")
def both(exported: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The folder with both precisions."""
    settings = {"quantized": exported["int8"], "title": "Tiny"}
    return laid_out(exported["float32"], tmp_path_factory.mktemp("both") / "app", **settings)


def test_node_gives_our_answers_with_the_float_file_and_with_the_int8_one(
    both: Bundle, exported: dict[str, Bundle]
) -> None:
    kind = {"folder": both.path, "auto": "AutoModelForSequenceClassification", "texts": [[text] for text in TEXTS]}
    whole, rounded, said = asked(
        {"what": "logits", **kind},
        {"what": "logits", **kind, "options": {"dtype": "q8", **EXACT}},
        {"what": "pipeline", "folder": both.path, "task": "text-classification", "texts": TEXTS},
    )
    rows = ours(exported["float32"], [(text,) for text in TEXTS])
    assert_same(whole, rows, SAME)
    assert [each["label"] for each in said] == [row.answer for row in rows]
    assert len({row.answer for row in rows}) == 3
    assert_same(rounded, ours(exported["int8"], [(text,) for text in TEXTS]), SAME)
    assert "x64quantprecision" in (both.path / "README.md").read_text(encoding="utf-8")


def test_the_folder_is_an_app_of_palmtops_still(both: Bundle, exported: dict[str, Bundle]) -> None:
    said: list[str] = []
    verify(both.path, said.append)
    assert any(line.startswith("golden.jsonl") for line in said)
    with palmtop.load(both) as model, palmtop.load(exported["float32"]) as source:
        assert model(TEXTS[:8]) == source(TEXTS[:8])
    manifest = Manifest.read(both.path)
    assert manifest.files.keys() >= {FLOAT, INT8, "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert manifest.clients["ONNX Runtime"] == "answers" and "README.md" in manifest.clients["transformers.js 4.3.2"]
    assert both.model_format == "onnx"
    assert not naming_this_machine(both, both.path.parent) + naming_this_machine(both, exported["int8"].path.parent)


def test_config_says_what_transformers_js_asks_for(both: Bundle, exported: dict[str, Bundle], tmp_path: Path) -> None:
    config = json.loads((both.path / "config.json").read_text())
    assert config["model_type"] == "bert" and config["id2label"] == {"0": "money", "1": "music", "2": "weather"}
    assert config["label2id"] == {"money": 0, "music": 1, "weather": 2} and "transformers.js_config" not in config
    tokenizer = json.loads((both.path / "tokenizer_config.json").read_text())
    assert tokenizer["model_max_length"] == both.signature.max_length and tokenizer["pad_token"] == "[PAD]"
    for precision, dtype, file in (("float32", "fp32", FLOAT), ("int8", "q8", INT8)):
        alone = laid_out(exported[precision], tmp_path / precision)
        config = json.loads((alone.path / "config.json").read_text())
        assert config["transformers.js_config"] == {"dtype": dtype}
        assert [path.relative_to(alone.path).as_posix() for path in alone.path.glob("onnx/*")] == [file]
        question = {"what": "pipeline", "folder": alone.path, "task": "text-classification", "texts": TEXTS[:2]}
        question["options"] = EXACT
        with palmtop.load(alone) as model:
            assert [each["label"] for each in asked(question)[0]] == [said.label for said in model(TEXTS[:2])]


def test_the_lines_in_the_folders_readme_answer(both: Bundle, tmp_path: Path) -> None:
    assert SAYS["classification", 1].search(said_by_the_readme(both, tmp_path))
    written = (both.path / "README.md").read_text(encoding="utf-8")
    assert written.startswith("# Tiny\n") and "is cut after the special tokens were added" in written


def test_a_file_of_palmtops_own_layout_is_refused_there(exported: dict[str, Bundle], tmp_path: Path) -> None:
    """If it were taken some day, the Casts could go."""
    app = make_by_name("to_app", {"golden": "plain"}, exported["float32"], tmp_path / "app", print)
    for name in ("config.json", "tokenizer_config.json"):
        (app.path / name).write_text('{"model_type": "bert"}')
    options = {"subfolder": "", "dtype": "fp32"}
    [found] = asked(
        {"what": "pipeline", "folder": app.path, "task": "text-classification", "texts": "a", "options": options}
    )
    assert "Unexpected input data type" in found["refused"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "write", "auto"),
    [
        ("distilbert", write_multi_label, "SequenceClassification"),
        ("bert", partial(write_task, kind="regression", pair=True), "SequenceClassification"),
        ("electra", partial(write_task, pair=True), "SequenceClassification"),
        ("roberta", write_tags, "TokenClassification"),
        ("palmtop-static", write_task, "SequenceClassification"),
    ],
)
def test_every_kind_and_a_static_student_give_our_logits(
    family: str, write: Any, auto: str, once: "MadeOnce", tmp_path: Path
) -> None:
    task = write(tmp_path / "data")
    make = static if family == "palmtop-static" else partial(headed, family=family)
    source = once("to_onnx", {}, make(tmp_path / "source", task=task))
    app = laid_out(source, tmp_path / "app")
    assert source.task is not None
    columns = len(source.task.columns)
    texts = [tuple(TEXTS[(row + part) % len(TEXTS)] for part in range(columns)) for row in range(len(TEXTS))]
    texts = [text for text in texts if len(" ".join(text)) < 100]
    assert len(texts) > 100
    found = asked({"what": "logits", "folder": app.path, "auto": f"AutoModelFor{auto}", "texts": texts})[0]
    rows = ours(source, texts)
    assert_same(found, rows, SAME)
    assert np.std([output for row in rows for output in row.outputs if output > OUTSIDE]) > 0.05
    if columns > 1 and source.task.of_kind.one_label:
        assert_pairs_need_the_model(app, texts, rows)
    if source.task.of_kind.per_token:
        assert_joins_over_words_that_are_none(app)
    assert SAYS[source.task.kind, columns].search(said_by_the_readme(app, tmp_path))
    for trap in TRAPS[source.task.kind, columns]:
        assert trap in (app.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_questions_are_answered_with_our_words(reader: "Taught", once: "MadeOnce", tmp_path: Path) -> None:
    source = once("to_onnx", {}, reader.teacher)
    app = laid_out(source, tmp_path / "app")
    assert source.task is not None
    texts = source.task.load("evaluation").texts
    asked_for = {"folder": app.path, "auto": "AutoModelForQuestionAnswering", "texts": texts}
    pipeline = {"what": "pipeline", "folder": app.path, "task": "question-answering"}
    found, *said = asked(
        {"what": "outputs", "names": ["start_logits", "end_logits"], **asked_for},
        *({**pipeline, "texts": question, "call": context} for question, context in texts[:12]),
    )
    rows = ours(source, texts)
    assert_same(found, rows, SAME)
    assert [each["answer"] for each in said] == [row.answer for row in rows[:12]]
    assert re.search(r"answer: '", said_by_the_readme(app, tmp_path))
    assert "without its place in the context" in (app.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_vectors_are_ours_without_any_pooling(once: "MadeOnce", tmp_path: Path) -> None:
    model = write_model(tmp_path / "model", "bert", initializer_range=0.4)
    settings = {"model": str(model), "task": write_pairs(tmp_path / "data", train=16, evaluation=8)}
    source = once("to_onnx", {}, make_by_name("adopt", settings, None, tmp_path / "source", print))
    app = laid_out(source, tmp_path / "app")
    [found] = asked({"what": "pipeline", "folder": app.path, "task": "feature-extraction", "texts": TEXTS[:40]})
    rows = ours(source, [(text,) for text in TEXTS[:40]])
    expected = np.asarray([row.outputs for row in rows])
    assert np.abs(np.asarray(found) - expected).max() < SAME
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    assert "dims: [ 1, 32 ]" in said_by_the_readme(app, tmp_path)
    written = (app.path / "README.md").read_text(encoding="utf-8")
    assert "ask for no `pooling`" in written and "of one number is always" not in written
    said: list[str] = []
    verify(app.path, said.append)


def assert_pairs_need_the_model(app: Bundle, texts: list[tuple[str, ...]], rows: list[GoldenRow]) -> None:
    """The pipeline says nothing of a pair that it doesn't read, and gives other labels."""
    pairs = [{"text": first, "text_pair": second} for first, second in texts]
    question = {"what": "pipeline", "folder": app.path, "task": "text-classification"}
    answers = asked(*({**question, "texts": pair} for pair in pairs[:30]))
    assert all("refused" not in each for each in answers)
    assert [each[0]["label"] for each in answers] != [row.answer for row in rows[:30]]


def assert_joins_over_words_that_are_none(app: Bundle) -> None:
    """In some texts it finds fewer entities than its own plain answers have, by their places."""
    question = {"what": "pipeline", "folder": app.path, "task": "token-classification", "texts": TEXTS}
    plain, joined = asked(question, {**question, "call": {"aggregation_strategy": "simple"}})
    assert any(len(entities(each)) > len(found) for each, found in zip(plain, joined, strict=True))


def entities(tags: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Types and last places of the entities that the tags of tokens mark."""
    found: list[tuple[str, int]] = []
    for tag in tags:
        begin, _, kind = tag["entity"].partition("-")
        goes_on = begin == "I" and found and found[-1] == (kind, tag["index"] - 1)
        found = [*(found[:-1] if goes_on else found), (kind, tag["index"])]
    return found


SAYS = {
    ("multi_label", 1): re.compile(r"label: 'music', score: 0\.\d+"),
    ("regression", 2): re.compile(r"^\[ \[ -?\d+\.\d+ \] \]"),
    ("classification", 2): re.compile(r"^(money|music|weather)$", re.MULTILINE),
    ("token_classification", 1): re.compile(r"entity: '[BI]-\w+'"),
    ("classification", 1): re.compile(r"label: '(money|music|weather)'"),
}
"""What its lines print."""
TRAPS = {
    ("multi_label", 1): ["top_k: null", "reaches the threshold in signature.json"],
    ("regression", 2): ["of one number is always\n  1", "text_pair", "The pipeline takes none"],
    ("classification", 2): ["text_pair", "The pipeline takes none"],
    ("token_classification", 1): ["joins entities over words that are none", "no place in the text"],
    ("classification", 1): ["is cut after the special tokens were added"],
}
"""What the folder's README says, by kind of task and number of texts."""


@pytest.mark.slow
def test_a_number_is_made_a_share_and_a_long_text_loses_its_end_as_the_readme_says(
    once: "MadeOnce", tmp_path: Path
) -> None:
    number = once("to_onnx", {}, headed(tmp_path / "number", "bert", write_task(tmp_path / "data", "regression")))
    app = laid_out(number, tmp_path / "app")
    scored, (long,) = asked(
        {"what": "pipeline", "folder": app.path, "task": "text-classification", "texts": TEXTS[:3]},
        {
            "what": "logits",
            "folder": app.path,
            "auto": "AutoModelForSequenceClassification",
            "texts": [[" ".join(TEXTS[:20])]],
        },
    )
    assert [each["score"] for each in scored] == [1, 1, 1]
    [right] = HostTokenizer.of(app.path, app.signature).encode([(" ".join(TEXTS[:20]),)])
    assert len(long["ids"]) == len(right) == app.signature.max_length
    assert long["ids"][:-1] == right.input_ids[:-1].tolist() and long["ids"][-1] != right.input_ids[-1]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"quantized": "FLOAT"}, "quantized is for the int8 file beside a float one"),
        ({"quantized": "OTHER"}, "was made of another model than"),
        (
            {"layout": "palmtop", "quantized": "INT8"},
            r"quantized is for layout: transformers\.js, this is palmtop: leave it out",
        ),
        ({"task_clients": "required"}, r"task_clients is for layout: palmtop, this is transformers\.js: leave it out"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    settings: dict[str, str], says: str, exported: dict[str, Bundle], once: "MadeOnce", tmp_path: Path
) -> None:
    if settings.get("quantized") == "OTHER":
        made = shutil.copytree(exported["int8"].path, tmp_path / "other", ignore=shutil.ignore_patterns("palmtop.json"))
        sealed(made, "onnx", "quantize", None, {"precision": "dynamic_int8"})
    named = {"FLOAT": exported["float32"].path, "INT8": exported["int8"].path, "OTHER": tmp_path / "other"}
    given = {"layout": "transformers.js", **settings}
    if "quantized" in given:
        given["quantized"] = str(named[given["quantized"]])
    with pytest.raises(UserError, match=says):
        make_by_name("to_app", given, exported["float32"], tmp_path / "app", print)


def test_a_model_that_no_pipeline_asks_is_refused(exported: dict[str, Bundle], tmp_path: Path) -> None:
    source = shutil.copytree(
        exported["float32"].path, tmp_path / "probable", ignore=shutil.ignore_patterns("palmtop.json")
    )
    signature = json.loads((source / "signature.json").read_text()) | {"output": "probabilities"}
    (source / "signature.json").write_text(json.dumps(signature))
    with pytest.raises(UserError, match=r"answers probabilities, of which transformers\.js would make probabilities"):
        laid_out(sealed(source, "onnx", "to_onnx"), tmp_path / "app")
    signature["output"] = "logits"
    (source / "signature.json").write_text(json.dumps(signature))
    model = onnx.load(source / "model.onnx")
    model.graph.output[0].name = "scores"
    onnx.save(model, source / "model.onnx")
    with pytest.raises(UserError, match=r"and transformers\.js. text-classification reads logits"):
        laid_out(sealed(source, "onnx", "to_onnx"), tmp_path / "app")


def test_only_int32_inputs_become_int64_and_what_reads_them_reads_a_cast() -> None:
    def value(name: str, kind: int) -> Any:
        return make_tensor_value_info(name, kind, ["batch", "tokens"])

    whole, number = onnx.TensorProto.INT32, onnx.TensorProto.FLOAT
    nodes = [make_node("Add", ["ids", "ids"], ["twice"]), make_node("Neg", ["scale"], ["less"])]
    graph = make_graph(
        nodes, "g", [value("ids", whole), value("scale", number)], [value("twice", whole), value("less", number)]
    )
    model = make_model(graph)
    assert int64_inputs(model) == 1
    onnx.checker.check_model(model, full_check=True)
    assert [given.type.tensor_type.elem_type for given in model.graph.input] == [onnx.TensorProto.INT64, number]
    assert [(node.op_type, list(node.input)) for node in model.graph.node] == [
        ("Cast", ["ids"]),
        ("Add", ["ids_int32", "ids_int32"]),
        ("Neg", ["scale"]),
    ]


def said_by_the_readme(app: Bundle, tmp_path: Path) -> str:
    """What the first lines of JavaScript in a folder's README print."""
    folder = shutil.copytree(app.path, tmp_path / "folder")
    written = (folder / "README.md").read_text(encoding="utf-8")
    (folder / "ask.mjs").write_text(written.split("```javascript\n")[1].split("```")[0])
    (tmp_path / "node_modules").symlink_to(packages())
    done = subprocess.run(["node", "ask.mjs"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def laid_out(source: Bundle, out: Path, **settings: Any) -> Bundle:
    return make_by_name("to_app", {"layout": "transformers.js", **settings}, source, out, lambda _: None)


def ours(source: Bundle, texts: list[tuple[str, ...]]) -> list[GoldenRow]:
    """What palmtop says, with the ids of Hugging Face's tokenizer."""
    assert source.task is not None
    encodings = HostTokenizer.of(source.path, source.signature).encode(texts)
    assert max(map(len, encodings)) < source.signature.max_length, "a text is cut, which transformers.js does otherwise"
    return golden_rows(encodings, parity.answers((source.format, source.path), encodings), source.task)


def assert_same(found: list[dict[str, Any]], rows: list[GoldenRow], by: float) -> None:
    """Ids equal, and logits within `by`; not those of special tokens, which are no part of a text's tags."""
    assert [each["ids"] for each in found] == [list(row.input_ids) for row in rows]
    for each, row in zip(found, rows, strict=True):
        ours = np.asarray(row.outputs)
        assert np.abs(np.asarray(each["logits"]) - ours)[ours > OUTSIDE].max() < by


@pytest.mark.slow
def test_a_page_without_a_network_gives_our_answers_with_either_file(
    both: Bundle, exported: dict[str, Bundle], tmp_path: Path
) -> None:
    """Where no precision is named, a page takes the int8 file."""
    modules = packages()
    shutil.copyfile(HERE / "page.html", tmp_path / "index.html")
    shutil.copyfile(modules / MODULE.with_name("transformers.min.js"), tmp_path / "transformers.min.js")
    for ending in ("mjs", "wasm"):
        name = f"ort-wasm-simd-threaded.{ending}"
        shutil.copyfile(modules / "onnxruntime-web" / "dist" / name, tmp_path / name)
    (tmp_path / "models").mkdir()
    shutil.copytree(both.path, tmp_path / "models" / "mine")
    browser = Chromium()
    with closing(browser), served(tmp_path) as address:
        page = AppPage(browser)
        page.open(address)
        whole = page.evaluate(LOGITS, {"texts": TEXTS, "options": {"dtype": "fp32"}})
        rounded = page.evaluate(LOGITS, {"texts": TEXTS, "options": {}})
        said = page.evaluate("(asked) => window.palmtop.said(asked)", {"texts": TEXTS[:20], "options": {}})
        assert all(each.startswith((address, "blob:", "data:")) for each in page.asked)
        assert any(each.endswith("model_quantized.onnx") for each in page.asked)
    texts = [(text,) for text in TEXTS]
    assert_same(whole, ours(exported["float32"], texts), SAME)
    rows = ours(exported["int8"], texts)
    outputs = np.asarray([row.outputs for row in rows])
    found = np.asarray([each["logits"] for each in rounded])
    assert np.abs(found - outputs).max() < ROUNDED * outputs.std()
    assert (found.argmax(1) == outputs.argmax(1)).mean() > 0.97 and len(said) == 20


LOGITS = "(asked) => window.palmtop.logits(asked)"
ROUNDED = 0.3
"""Of the spread: where another build sums in another order, an activation near a step falls to its other side."""
