"""What the browser targets share: a page in a real headless Chromium, in which an artefact answers and its times are
taken."""

import dataclasses
import importlib.util
import itertools
import shutil
from abc import ABC
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int64
from numpy import ndarray

from palmtop import target, task_kinds
from palmtop.data.encoding import Encoding, Text, pad
from palmtop.data.tokenization import HostTokenizer
from palmtop.errors import UserError
from palmtop.eval.targets._chromium import Chromium, Page, chromium_version, find_chromium, missing_chromium
from palmtop.eval.targets._web_packages import WEB, install_packages, locked_version, packages
from palmtop.eval.targets._web_server import WebServer
from palmtop.measurement import Kind
from palmtop.signature import Signature
from palmtop.target import Machine, host_machine

MOST_TOKENS = 4096
"""Padding included: a batch's attention scores stay near 100 MB."""
RUNS_AT_ONCE = 10
"""How many timed runs one question to the page asks for, so that it is answered in time."""


class BrowserTarget(target.Target, ABC):
    """Chromium on this machine. Runners that are open together share one browser process, with a page each."""

    kind: Kind = "measured"
    own_tokenizer: ClassVar[bool] = True
    page: ClassVar[str]
    """The page in web/ that holds the runtime."""
    runtime: ClassVar[str]
    """The runtime, as messages call it."""
    npm: ClassVar[Mapping[str, str]]
    """Its packages, by the names under which their versions are written down."""
    most_rows: ClassVar[int]
    """Texts in a batch, at most."""

    def __init__(self, address: str | None = None) -> None:
        super().__init__(address)
        self._session: _Session | None = None

    @property
    def place(self) -> str:
        """The browser: its pages take turns, whatever runtime they have."""
        return "browser"

    def missing(self) -> str | None:
        """What lacks: playwright, Chromium, or npm for the first use."""
        if importlib.util.find_spec("playwright") is None:
            return "playwright isn't installed: pip install 'palmtop[web]'"
        if find_chromium() is None:
            return missing_chromium()
        if packages() is None and shutil.which("npm") is None:
            return f"npm is needed once to fetch {self.runtime}: apt-get install npm; `palmtop setup` does it"
        return None

    def machine(self) -> Machine:
        """This machine, with the versions of Chromium, the runtime and the JavaScript tokenizer."""
        machine = host_machine(["playwright"])
        modules = {
            name: locked_version(package)
            for name, package in {**self.npm, "tokenizers.js": "@huggingface/tokenizers"}.items()
        }
        return dataclasses.replace(
            machine, versions={**machine.versions, "chromium": chromium_version(find_chromium() or ""), **modules}
        )

    def refuses(self, folder: Path) -> str | None:
        """A page reads one output."""
        several = task_kinds.by_output(Signature.read(folder).output).outputs_per_token is not None
        return "it answers questions with two outputs, and the page reads one" if several else None

    def open(self, folder: Path, threads: int = 1) -> target.Runner:
        """Load an artefact into a page of its own.

        Raises:
            UserError: something lacks, or the page can't load the artefact; in the page's words.
        """
        if self._session is None or not self._session.users:
            self._session = _Session(self)
        return Runner(self._session, folder, threads, self.most_rows)

    def cost_of_loading(self, folder: Path, text: Text, threads: int = 1) -> tuple[float, float]:
        """Milliseconds and megabytes of loading, in a browser started for it.

        Time: in the page, from asking for the model's files (localhost, no cache) to the first answer's numbers; the
        library's scripts and its wasm module are loaded before, the text is tokenized outside. Memory: growth of the
        peak resident memory (VmHWM, in 10^6 bytes) of the page's renderer process, from just before that to just after:
        the files' bytes in transit, the weights as float32, the activations of one answer. The library's own memory,
        Chromium's other processes and shared pages that were there before aren't in it.
        """
        signature = Signature.read(folder)
        encoding = HostTokenizer.of(folder, signature).encode([text])[0]
        session = _Session(self)
        page, served = session.open_page(folder, threads)
        try:
            before = session.browser.renderer_peaks_kb()
            milliseconds = page.ask(
                "timeLoading", {**_model(served, signature), "batch": _batch(signature, [encoding], None)}
            )
            after = session.browser.renderer_peaks_kb()
        except RuntimeError as error:
            raise _not_loaded(folder, error) from error
        finally:
            session.leave()
        return float(milliseconds), max(after.get(pid, 0) - peak for pid, peak in before.items()) * 1024 / 1e6


class Runner(target.Runner):
    """An artefact in a page."""

    def __init__(self, session: "_Session", folder: Path, threads: int, most_rows: int) -> None:
        self._signature = Signature.read(folder)
        self._kind, self._folder = task_kinds.by_output(self._signature.output), folder
        self._session, self._most_rows = session, most_rows
        self._page, served = session.open_page(folder, threads)
        self._open = True
        has_config = (folder / "tokenizer_config.json").is_file()
        try:
            self._page.ask("openModel", _model(served, self._signature))
            self._page.ask(
                "openTokenizer", {"folder": served, "max_length": self._signature.max_length, "has_config": has_config}
            )
        except RuntimeError as error:
            self.close()
            raise _not_loaded(folder, error) from error

    def tokenize(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode with the tokenizer in the page.

        The characters of tokens, which a kind of task may ask for, are the Hugging Face tokenizer's; there are none
        where the page makes another number of tokens of a text.
        """
        asked = self._kind.sequences(texts)
        rows = self._page.ask("tokenize", {"texts": [list(text) for text, _ in asked]})
        places: list[Int64[ndarray, "tokens 2"] | None] = [None] * len(asked)
        if self._kind.per_token:
            host = HostTokenizer.of(self._folder, self._signature)
            places = [
                known.places if len(known) == len(row["ids"]) else np.full((len(row["ids"]), 2), -1, np.int64)
                for known, row in zip(host.encode(texts), rows, strict=True)
            ]
        return [
            Encoding(
                text,
                np.asarray(row["ids"], np.int32),
                np.asarray(row["types"], np.int32),
                row["truncated"],
                place,
                part,
            )
            for (text, part), row, place in zip(asked, rows, places, strict=True)
        ]

    def predict(self, encodings: Sequence[Encoding]) -> Float32[ndarray, "texts ..."]:
        """Answer each text, in batches of texts that are about equally long."""
        answers: dict[int, Float32[ndarray, ...]] = {}
        for indices in _groups(self._signature, encodings, self._most_rows):
            batch = _batch(self._signature, [encodings[index] for index in indices], None)
            given = {"logits": np.asarray(self._page.ask("predict", {"batch": batch}), np.float32)}
            answers |= zip(indices, self._kind.from_runtime(given, len(indices), batch["length"]), strict=True)
        return self._kind.joined([answers[place] for place in range(len(encodings))], encodings)

    def latencies_ms(self, encodings: Sequence[Encoding], length: int | None, runs: int) -> list[float]:
        """Time answers inside the page, from feeding the ids to reading the numbers back."""
        batches = [_batch(self._signature, [encoding], length) for encoding in encodings]
        return self._timed("time", "batches", batches, runs)

    def tokenize_latencies_ms(self, texts: Sequence[Text], runs: int) -> list[float]:
        """Time the tokenizer inside the page."""
        return self._timed("timeTokenize", "texts", [list(text) for text in texts], runs)

    def close(self) -> None:
        """Close the page; the last one closes the browser."""
        if self._open:
            self._open = False
            self._page.close()
            self._session.leave()

    def _timed(self, question: str, name: str, items: list[Any], runs: int) -> list[float]:
        milliseconds: list[float] = []
        for begin in range(0, runs, RUNS_AT_ONCE):
            count = min(RUNS_AT_ONCE, runs - begin)
            chosen = [items[(begin + run) % len(items)] for run in range(count)]
            milliseconds += self._page.ask(question, {name: chosen, "runs": count})
        return milliseconds


class _Session:
    """A browser and the server of its pages, ended when the last user leaves."""

    def __init__(self, owner: BrowserTarget) -> None:
        lack = owner.missing()
        if lack is not None:
            raise UserError(lack)
        self.users = 0
        self._owner = owner
        self._server = WebServer({"web": WEB, "node_modules": install_packages()})
        self._numbers = itertools.count()
        try:
            self.browser = Chromium()
        except BaseException:
            self._server.close()
            raise

    def open_page(self, folder: Path, threads: int) -> tuple[Page, str]:
        """A page for one more user, with the runtime started, and the address under which it finds the artefact."""
        self.users += 1
        served = f"bundle-{next(self._numbers)}"
        self._server.folders[served] = folder
        try:
            page = self.browser.open(f"{self._server.address}/web/{self._owner.page}", "window.palmtop !== undefined")
            page.ask("start", {"threads": threads})
        except RuntimeError as error:
            self.leave()
            raise UserError(f"{self._owner.runtime} doesn't start in Chromium: {error}") from error
        return page, f"/{served}"

    def leave(self) -> None:
        """One user fewer; the last one ends the browser and the server."""
        self.users -= 1
        if self.users == 0:
            self.browser.close()
            self._server.close()


def _not_loaded(folder: Path, error: RuntimeError) -> UserError:
    return UserError(f"{folder} can't be loaded in the browser: {error}; export it again")


def _groups(signature: Signature, encodings: Sequence[Encoding], most_rows: int) -> Iterator[list[int]]:
    """Indices of texts of similar length, longest first, each group small enough for one batch."""
    left = sorted(range(len(encodings)), key=lambda index: -len(encodings[index]))
    while left:
        length = signature.length_for(len(encodings[left[0]]))
        rows = max(1, min(most_rows, MOST_TOKENS // length))
        yield left[:rows]
        left = left[rows:]


def _model(served: str, signature: Signature) -> dict[str, Any]:
    """Where the page finds the model, and the lengths that it has been made for, if it was."""
    return {"folder": served, "lengths": list(signature.lengths or ())}


def _batch(signature: Signature, encodings: Sequence[Encoding], length: int | None) -> dict[str, Any]:
    """What the page feeds to the model, padded to `length` (or the next that the artefact takes), or to the shortest
    that will do.

    Raises:
        UserError: the artefact doesn't accept `length` tokens or more.
    """
    longest = max(len(encoding) for encoding in encodings)
    length = signature.length_for(longest) if length is None else signature.accepted(length)
    padded = pad(encodings, length, signature.pad_id)
    return {
        "inputs": {name: padded[name].ravel().tolist() for name in signature.inputs},
        "rows": len(encodings),
        "length": length,
    }
