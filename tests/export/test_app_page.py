"""The page of a TensorFlow.js app: it answers from any static server, and refuses a damaged file by name."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_pages import served
from tiny_bundles import adopted, naming_this_machine

from palmtop import stage
from palmtop.app_manifest import read_golden
from palmtop.bundle import Bundle
from palmtop.errors import UserError
from palmtop.eval.targets._chromium import Chromium
from palmtop.eval.verify import verify
from palmtop.making import make


def _flipped(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("page")
    model = make("to_tfjs", stage.find("to_tfjs")(precision="float16"), adopted(folder, "bert"), folder / "tfjs", print)
    return make("to_app", stage.find("to_app")(title="Tiny page"), model, folder / "app", print)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    opened = Chromium()
    yield opened
    opened.close()


def test_nothing_in_the_apps_folder_names_a_folder_of_this_machine(web: Bundle) -> None:
    assert not naming_this_machine(web, web.path.parent)


def test_the_page_answers_from_a_plain_static_server(web: Bundle, browser: Chromium) -> None:
    with served(web.path) as address:
        page = browser.open(f"{address}/index.html", "window.palmtop !== undefined")
        rows = read_golden(web.path)
        for row in rows[::6]:
            found = page.ask("classify", {"texts": list(row.text)})
            np.testing.assert_allclose(found["outputs"], row.outputs, atol=1e-5)
            assert found["ids"] == list(row.input_ids) and found["answers"][0]["label"] == row.answer
        browser.run(lambda: page._page.fill("#text", rows[0].text[0]))
        browser.run(lambda: page._page.wait_for_selector("#answers li"))
        shown = browser.run(lambda: page._page.inner_text("main")).split("\n")
        assert shown[0] == "Tiny page" and rows[0].answer in shown
        shares = [float(line.removesuffix(" %")) for line in shown if line.endswith(" %")]
        assert len(shares) == 3 and abs(sum(shares) - 100) < 0.2 and shares == sorted(shares, reverse=True)
        page.close()


def test_a_page_that_is_opened_as_a_file_says_how_to_serve_it(web: Bundle, browser: Chromium) -> None:
    page = browser.open((web.path / "index.html").as_uri(), "document.getElementById('status').className === 'wrong'")
    shown = browser.run(lambda: page._page.inner_text("#status"))
    assert "opened as a file" in shown and "python3 -m http.server" in shown
    page.close()
    assert "http.server" in (web.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("group1-shard1of1.bin", lambda content: content[:-4], "group1-shard1of1.bin is damaged: it has"),
        ("group1-shard1of1.bin", _flipped, "group1-shard1of1.bin is damaged: its sha256 isn't that of manifest.json"),
        (
            "labels.txt",
            lambda content: content.replace(b"music\nweather", b"weather\nmusic"),
            "labels.txt is damaged: its sha256 isn't",
        ),
        ("tokenizer.json", None, "tokenizer.json: 404"),
    ],
)
def test_the_page_refuses_a_damaged_file_by_name(
    name: str, damage: Any, told: str, web: Bundle, browser: Chromium, tmp_path: Path
) -> None:
    app = shutil.copytree(web.path, tmp_path / "app")
    (app / name).unlink() if damage is None else (app / name).write_bytes(damage((app / name).read_bytes()))
    with served(app) as address:
        page = browser.open(f"{address}/index.html", "document.getElementById('status').classList.contains('wrong')")
        assert told in browser.run(lambda: page._page.inner_text("#status"))
        page.close()


def test_verify_names_a_truncated_shard_and_a_flipped_byte(web: Bundle, tmp_path: Path) -> None:
    app = shutil.copytree(web.path, tmp_path / "app")
    shard = app / "group1-shard1of1.bin"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1000])
    with pytest.raises(
        UserError, match=f"group1-shard1of1.bin has {len(whole) - 1000} bytes, sealed with {len(whole)}"
    ):
        verify(app, print)
    shard.write_bytes(_flipped(whole))
    with pytest.raises(UserError, match=r"group1-shard1of1\.bin was changed after it was sealed"):
        verify(app, print)


def test_an_app_is_made_again_in_the_browser_on_another_machine(
    web: Bundle, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    verify(shutil.copytree(web.path, tmp_path / "elsewhere"), print)
    assert "golden.jsonl: 52 answers of browser: they differ by 0 of their spread" in capsys.readouterr().out
