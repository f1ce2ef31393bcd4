"""Models that write: scores against formulas, searches against transformers' own, and a GPT-2 the whole way."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from tiny import END, write_task, write_texts, write_writer
from torch.nn import functional
from transformers_js import asked

from palmtop import target, task_kinds
from palmtop.bundle import Bundle
from palmtop.cli.main import main
from palmtop.continuation import Continuation
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.targets._host_writer import HostWriter
from palmtop.generation import Generation
from palmtop.loaded import load
from palmtop.making import make_by_name
from palmtop.models.opening import keep_layers, open_with_head
from palmtop.signature import Signature, prefills
from palmtop.stage import Outline, check_fit, find
from palmtop.task import Task
from palmtop.task_kinds.causal_lm import UNSCORED, Written
from palmtop.writer import Writer, kept_for_sampling, repeating, write

if TYPE_CHECKING:
    from once import MadeOnce

KIND = task_kinds.find("causal_lm")
LEARNT = {"epochs": 3, "learning_rate": 5e-3, "batch_size": 16, "max_length": 48}
HALVES = ("key", "value")
FLOAT32 = 1e-4
"""Of the spread of logits: rounding of two layers in other orders."""


def test_perplexity_and_accuracy_are_their_formulas() -> None:
    logs = np.array([[UNSCORED, -1.0, -2.0], [UNSCORED, -0.5, UNSCORED]], np.float32)
    likeliest, tokens = np.array([[9, 4, 5], [9, 7, 1]], np.float32), np.array([[3, 4, 6], [2, 7, 1]], np.float32)
    answers = KIND.answers(np.stack([logs, likeliest, tokens], axis=1), [], None)
    graded = KIND.graded(answers, np.zeros(2), [], ("next_tokens",))
    assert_allclose(graded, [[-3.0, 1, 2], [-0.5, 1, 1]])
    found = KIND.scores(graded, np.zeros(2), ("next_tokens",))
    assert found["perplexity"].value == pytest.approx(np.exp(3.5 / 3))
    assert found["next_token_accuracy"].value == pytest.approx(2 / 3)
    assert found["perplexity"].low is not None and found["perplexity"].low <= np.exp(3.5 / 3)
    assert KIND.agreement(answers, answers).value == 1


def test_the_losses_are_means_over_a_texts_next_tokens() -> None:
    outputs, taught = torch.randn(2, 4, 7), torch.randn(2, 4, 7)
    labels = torch.tensor([[-100, 2, 0, -100], [3, -100, -100, -100]])
    logs = outputs.log_softmax(-1)
    assert_allclose(
        KIND.label_loss(outputs, labels), torch.stack([-(logs[0, 1, 2] + logs[0, 2, 0]) / 2, -logs[1, 0, 3]]), rtol=1e-5
    )
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    kl = functional.kl_div(
        (outputs / 2).log_softmax(-1), (taught / 2).log_softmax(-1), reduction="none", log_target=True
    ).sum(-1)
    by_hand = torch.stack([4 * kl[0].mean(), 4 * kl[1, :2].mean()])
    assert_allclose(KIND.soft_loss(outputs, taught, 2.0, mask), by_hand, rtol=1e-4)
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
    scores = KIND.condensed(outputs, ids)
    assert_allclose(scores[0, 0, 1:], [logs[0, place, ids[0, place + 1]] for place in range(3)], rtol=1e-5)
    assert_array_equal(scores[:, 1, 1:], outputs[:, :-1].argmax(-1))


def test_a_prompt_is_read_and_not_learnt(random: Bundle) -> None:
    tokenizer = HostTokenizer.of(random.path, random.signature)
    (pair,), (alone,) = tokenizer.encode([("rain snow", " sun wind")]), tokenizer.encode([("rain snow",)])
    assert_array_equal(pair.input_ids[: len(alone)], alone.input_ids)
    assert pair.token_type_ids.tolist() == [0] * len(alone) + [1] * (len(pair) - len(alone))
    _, labels = KIND.trained([pair], np.zeros(1))
    wanted = np.append(np.where(pair.token_type_ids[1:] == 1, pair.input_ids[1:], -100), -100)
    assert_array_equal(labels, wanted)


@pytest.fixture(scope="module")
def random(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A GPT-2 of two layers with random weights so large that it is sure of what it writes, adopted for a task."""
    folder = tmp_path_factory.mktemp("random")
    settings = {"model": str(write_writer(folder / "model")), "task": write_texts(folder / "data")}
    return make_by_name("adopt", settings, None, folder / "random", lambda _: None)


@pytest.fixture(scope="module")
def writer(random: Bundle) -> Iterator[Writer]:
    """The same, open in torch."""
    with target.find("host_torch").open(random.path) as opened:
        assert isinstance(opened, Writer)
        yield opened


PROMPT = "rain snow sun"
PROMPTS = (PROMPT, "a", f"play song album loud guitar piano {PROMPT}{END}")
SEARCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "greedy": ({}, {}),
    "no repeated pairs": ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
    "beam": ({"search": "beam", "beams": 3}, {"num_beams": 3}),
    "long beam": (
        {"search": "beam", "beams": 4, "length_penalty": 2.0, "no_repeat_ngram": 3},
        {"num_beams": 4, "length_penalty": 2.0, "no_repeat_ngram_size": 3},
    ),
    "short beam": (
        {"search": "beam", "beams": 4, "length_penalty": -1.0},
        {"num_beams": 4, "length_penalty": -1.0},
    ),
}
"""Our settings, and transformers' own."""


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("end", [0, 17])
def test_a_search_finds_what_transformers_finds(name: str, end: int, random: Bundle, writer: Writer) -> None:
    ours, theirs = SEARCHES[name]
    ids = writer.prompt(PROMPT)
    model = open_with_head(random.path)
    model.generation_config.eos_token_id = end
    said = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0, **theirs)
    expected = said[0, len(ids) :].tolist()
    expected = expected[: expected.index(end)] if end in expected else expected
    assert list(write(writer, ids, Generation(max_new_tokens=12, end_id=end, **ours))) == expected


def test_sampling_draws_of_the_kept_tokens_and_the_same_for_a_seed(writer: Writer) -> None:
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.1]))
    assert_allclose(kept_for_sampling(logits, Generation(search="sample", top_k=2)), [2 / 3, 1 / 3, 0, 0])
    assert_allclose(kept_for_sampling(logits, Generation(search="sample", top_p=0.7)), [2 / 3, 1 / 3, 0, 0])
    assert_allclose(kept_for_sampling(logits, Generation(search="sample", top_p=0.5)), [1, 0, 0, 0])
    warm = np.array([0.5, 0.25, 0.15, 0.1]) ** 0.5
    assert_allclose(kept_for_sampling(logits, Generation(search="sample", temperature=2.0)), warm / warm.sum())
    ids = writer.prompt(PROMPT)
    first, again, other = (
        list(write(writer, ids, Generation(search="sample", temperature=2.0, max_new_tokens=12, seed=seed)))
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_run_that_came_before_is_known() -> None:
    assert repeating([1, 2, 3, 1, 2], 3) == {3}
    assert repeating([1, 2, 1], 2) == {2}
    assert repeating([1, 2], 3) == repeating([1, 2, 1], 0) == set()


def test_settings_of_another_search_are_refused() -> None:
    with pytest.raises(ValueError, match="top_k: only for search: sample, and this is greedy"):
        Generation(top_k=5)
    with pytest.raises(ValueError, match="beams: only for search: beam, and this is sample"):
        Generation(search="sample", beams=3)


def test_a_signature_keeps_how_it_is_written_with(random: Bundle, tmp_path: Path) -> None:
    assert random.signature.generation == Generation(max_new_tokens=12, end_id=0)
    said = random.signature.model_copy(update={"generation": Generation(search="sample", top_p=0.9, end_id=3)})
    said.write(tmp_path)
    assert Signature.read(tmp_path) == said


def test_a_prompt_without_room_is_cut_in_front_and_an_empty_one_refused(writer: Writer) -> None:
    ids = [5, 6, 7] * 30
    assert len(list(write(writer, ids, Generation(max_new_tokens=20)))) == 20
    kept = ids[-(writer.longest - 20) :]
    assert list(write(writer, ids, Generation(max_new_tokens=20))) == list(
        write(writer, kept, Generation(max_new_tokens=20))
    )
    with pytest.raises(UserError, match="the prompt is empty: give some words to go on from"):
        next(write(writer, [], Generation()))


def test_what_does_not_fit_is_refused_by_name(random: Bundle, tmp_path: Path) -> None:
    def refusal(name: str, source: Outline, **settings: Any) -> str:
        with pytest.raises(UserError) as told:
            check_fit(name, find(name).model_construct(**settings), source)
        return str(told.value)

    decoder = Outline("torch", "gpt2", 2)
    said = refusal("finetune", decoder, task=write_task(tmp_path / "classes"))
    assert said.startswith("finetune for classification: a model of the family 'gpt2' is a decoder, whose tokens see")
    said = refusal("finetune", Outline("torch", "bert", 2), task=write_texts(tmp_path / "texts"))
    assert said.startswith("finetune for causal lm: a model of the family 'bert' is an encoder, whose tokens see those")
    writes = Outline("torch", "gpt2", 2, ("next_tokens",), task="causal_lm")
    assert refusal("to_tfjs", writes).startswith("to_tfjs isn't for causal lm: its graph model runs whole texts, and a")
    assert refusal("to_app", writes).startswith("to_app isn't for causal lm: no client that it writes has the loop yet")
    assert refusal("minilm", writes).startswith(
        "minilm isn't for causal lm yet; what is: adopt, distill, distill_causal, "
    )
    file = Outline("tflite", "gpt2", 2, ("next_tokens",), task="causal_lm")
    with pytest.raises(UserError, match="static_int8 isn't for models that write: ranges are taken of whole texts"):
        find("quantize")(scheme="static_int8").outline(file)
    assert "gives one label" in KIND.refuses["tfidf"]
    with pytest.raises(UserError, match="reads prompts in graphs of fixed lengths"):
        find("to_tflite")(lengths="any").outline(writes)
    with pytest.raises(UserError, match="cache_length is for models that write"):
        find("to_tflite")(cache_length=16).outline(Outline("torch", "bert", 2, ("a", "b"), task="classification"))
    with pytest.raises(UserError, match="runs one graph at a time"):
        raise UserError(target.find("host_executorch").unable(random.path) or "")
    assert target.find("host_torch").unable(random.path) is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label": "text2"}, "causal_lm has no label"),
        ({"metric": "perplexity"}, "a perplexity is better the less it is"),
        ({"options": {"beams": 3}}, "beams: only for search: beam"),
        ({"options": {"beem": 3}}, "no setting 'beem'"),
    ],
)
def test_a_task_that_is_no_such_task_is_refused(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        Task.find(write_texts(tmp_path) | changes)


def test_an_end_that_the_tokenizer_does_not_know_is_refused(random: Bundle) -> None:
    kind = KIND.settled_by({"end": "<stop>"})
    with pytest.raises(UserError, match="the tokenizer has no token '<stop>', at which options"):
        kind.signed(random.signature, random.path)


@pytest.mark.parametrize("family", ["gpt2", "gpt_neo"])
def test_steps_with_a_cache_are_the_whole_text_at_once(family: str, tmp_path: Path) -> None:
    """GPT-Neo's window, of 4 tokens here, is of positions, not of how many slots a cache has."""
    from palmtop.export.graph.steps import GrowingSteps, StaticSteps

    folder, ids = write_writer(tmp_path / "model", family), torch.randint(3, 300, (1, 13))
    with torch.no_grad():
        expected = open_with_head(folder)(ids).logits[0]
        static, growing = (form(open_with_head(folder)).eval() for form in (StaticSteps, GrowingSteps))
        cache = {f"past_key_values_{layer}_{half}": torch.zeros(1, 4, 20, 8) for layer in (0, 1) for half in HALVES}
        padded = torch.cat([ids[:, :6], torch.full((1, 2), 9)], dim=1)
        said = static(padded.int(), torch.tensor([0]), torch.tensor([5]), **cache)
        pasts = [[torch.zeros(1, 4, 0, 8) for _ in HALVES] for _ in (0, 1)]
        logits, *halves = growing(ids[:, :6], torch.ones(1, 6), torch.arange(6)[None], pasts)
        assert_allclose(logits[0], expected[:6], atol=1e-4)
        for place in range(6, 13):
            assert_allclose(said["logits"][0], expected[place - 1], atol=1e-4)
            cache = {name.replace("present", "past_key_values"): said[name] for name in said if name != "logits"}
            said = static(ids[:, place : place + 1].int(), torch.tensor([place]), **cache)
            pasts = [halves[:2], halves[2:]]
            token, mask = ids[:, place : place + 1], torch.ones(1, place + 1)
            logits, *halves = growing(token, mask, torch.tensor([[place]]), pasts)
            assert_allclose(logits[0, 0], expected[place], atol=1e-4)


def test_padding_on_the_left_changes_nothing(tmp_path: Path) -> None:
    """As transformers.js pads a batch."""
    from palmtop.export.graph.steps import GrowingSteps

    folder, ids = write_writer(tmp_path / "model"), torch.randint(3, 300, (1, 5))
    with torch.no_grad():
        expected = open_with_head(folder)(ids).logits[0, -1]
        padded, mask = torch.cat([torch.zeros(1, 3).long(), ids], 1), torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
        pasts = [[torch.zeros(1, 4, 0, 8) for _ in HALVES] for _ in (0, 1)]
        growing = GrowingSteps(open_with_head(folder)).eval()
        logits, *_ = growing(padded, mask, (mask.cumsum(-1) - 1).clamp(min=0), pasts)
    assert_allclose(logits[0, -1], expected, atol=1e-4)


def test_a_kept_layer_stays_local_or_global(tmp_path: Path) -> None:
    model = open_with_head(write_writer(tmp_path / "model", "gpt_neo", layers=4))
    smaller = keep_layers(model, [1, 2, 3])
    smaller.save_pretrained(tmp_path / "smaller")
    assert open_with_head(tmp_path / "smaller").config.attention_layers == ["local", "global", "local"]
    ids = torch.randint(3, 300, (1, 12))
    with torch.no_grad():
        whole = keep_layers(model, range(4)).eval()(ids).logits
        assert torch.equal(whole, model(ids).logits)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A GPT-2 of two layers that has learnt a little of the tiny task."""
    folder = tmp_path_factory.mktemp("taught")
    base = make_by_name("adopt", {"model": str(write_writer(folder / "model"))}, None, folder / "base", lambda _: None)
    settings = LEARNT | {"task": write_texts(folder / "data")}
    return make_by_name("finetune", settings, base, folder / "teacher", lambda _: None)


def test_it_learns_and_writes_from_python_and_the_command_line(
    taught: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert taught.card.facts["loss"]["labels"] < 4  # by chance ln 320, 5.8, and such a random start does worse
    with load(taught) as model:
        said, pieces = model(PROMPT), model.write(PROMPT)
        assert isinstance(said, Written)
        assert "".join(pieces) == said.text and pieces.written == said
        assert [one.text for one in model([PROMPT, PROMPT])] == [said.text] * 2
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(taught.path), PROMPT])
    assert (ended.value.code or 0, capsys.readouterr().out) == (0, f"{PROMPT}{said.text}\n")


@pytest.mark.parametrize("use", ["distill", "distill_causal"])
def test_a_student_of_fewer_layers_writes_too(use: str, taught: Bundle, tmp_path: Path) -> None:
    settings: dict[str, Any] = LEARNT | {"epochs": 0.5, "layers": 1}
    if use == "distill_causal":
        text = tmp_path / "texts.txt"
        rows = Task.find(taught.card.origin.settings["task"]).load("train").texts
        text.write_text("\n".join(row[0] for row in rows))
        settings |= {"text": str(text), "held_out": 8, "max_length": 24}
    made = make_by_name(use, settings, taught, tmp_path / "student", lambda _: None)
    assert (made.task, made.signature.generation) == (taught.task, taught.signature.generation)
    with load(made) as model:
        assert isinstance(model(PROMPT), Written)


@pytest.mark.slow
def test_transformers_js_writes_the_same_tokens(taught: Bundle, once: "MadeOnce", tmp_path: Path) -> None:
    made, prompts = once("to_onnx", {}, taught), [PROMPT, "play song", "a my bank card bill", "what is the weather"]
    (tmp_path / "onnx").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(made.path / name, tmp_path / name)
    shutil.copyfile(made.path / "model.onnx", tmp_path / "onnx" / "model.onnx")
    call = {"max_new_tokens": 12, "do_sample": False}
    question = {"what": "write", "folder": tmp_path, "auto": "AutoModelForCausalLM", "texts": prompts, "call": call}
    (found,) = asked(question | {"options": {"dtype": "fp32", "local_files_only": True}})
    with target.find("host_onnx").open(made.path) as writer:
        assert isinstance(writer, Writer)
        settings = Generation(max_new_tokens=12, end_id=0)
        expected = [list(write(writer, writer.prompt(prompt), settings)) for prompt in prompts]
    assert [ids[:-1] if ids[-1] == 0 else ids for ids in found] == expected


@pytest.mark.long
@pytest.mark.parametrize(("use", "settings"), [("to_onnx", {}), ("to_tflite", {"lengths": [8], "cache_length": 32})])
def test_a_window_is_exported_too(use: str, settings: dict[str, Any], tmp_path: Path) -> None:
    given = {"model": str(write_writer(tmp_path / "model", "gpt_neo")), "task": write_texts(tmp_path / "data")}
    made = make_by_name("adopt", given, None, tmp_path / "base", lambda _: None)
    facts = make_by_name(use, settings, made, tmp_path / "file", lambda _: None).card.facts
    assert facts["written_steps"] > 100 and facts["written_difference"] < FLOAT32


@pytest.mark.slow
def test_a_short_cache_writes_as_torch_with_as_much_room(taught: Bundle, once: "MadeOnce") -> None:
    made, generation = once("to_tflite", {"lengths": [8], "cache_length": 32}, taught), taught.signature.generation
    assert generation is not None and made.card.facts["written_difference"] < FLOAT32
    with target.find("host_torch").open(taught.path) as torchs, load(made) as files:
        assert isinstance(torchs, HostWriter)
        torchs.longest = made.signature.max_length
        expected = [Continuation(torchs, prompt, generation).whole() for prompt in PROMPTS]
        assert [files(prompt) for prompt in PROMPTS] == expected
        assert [said.truncated for said in expected] == [False, False, True]


@pytest.mark.slow
@pytest.mark.parametrize(("use", "settings"), [("to_onnx", {}), ("to_tflite", {"lengths": [8]})])
def test_an_exported_file_writes_as_torch_and_its_integers_are_measured(
    use: str, settings: dict[str, Any], taught: Bundle, once: "MadeOnce", tmp_path: Path
) -> None:
    from palmtop.eval.measure import MeasureOptions, measure
    from palmtop.measurement import FILE, read

    made = once(use, settings, taught)
    facts = made.card.facts
    assert facts["written_steps"] > 100 and facts["written_difference"] < FLOAT32 > facts["parity_difference"]
    assert made.signature.graphs.keys() == ({"step"} if use == "to_onnx" else {"prefill_8", "step"})
    assert prefills(made.signature) == ([] if use == "to_onnx" else [8])
    with load(taught) as torchs, load(made) as files:
        for prompt in PROMPTS:
            assert files(prompt) == torchs(prompt)
    small = make_by_name("quantize", {}, made, tmp_path / "int8", lambda _: None)
    given = {"teacher": taught, "file": made, "int8": small}
    places = ("host_torch", target.for_format(made.format).label)
    measure(given, MeasureOptions(on=places, runs=50), tmp_path / "run", lambda _: None)
    taken = {(one.name, one.metric): one.value for one in read(tmp_path / "run" / FILE)}
    assert taken["file", "perplexity"] == pytest.approx(taken["teacher", "perplexity"], rel=1e-4)
    assert taken["file", "agreement_torch"] == 1
    assert taken["int8", "perplexity"] == pytest.approx(taken["teacher", "perplexity"], rel=0.05)
    assert all(taken[name, metric] for name in given for metric in ("first_token_ms", "tokens_per_second", "memory_mb"))
