"""The commands that look at bundles: what a client's tokenizer does to them, and what is in their files."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from palmtop.cli.say import say
from palmtop.errors import UserError, did_you_mean

TOKENS_FILE = "tokens.md"


def tokens(
    bundles: Annotated[
        list[Path], typer.Argument(help="Bundle folders, tfjs (their client is the browser) or tflite (MediaPipe).")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help=f"Where measurements.jsonl and {TOKENS_FILE} go.", show_default="the bundles' common folder"),
    ] = None,
) -> None:
    """Compare the client's tokenizer with Hugging Face's on 2,000 hard strings: which ids, and which answers,
    differ."""
    from palmtop.bundle import Bundle
    from palmtop.durably import write_durably
    from palmtop.eval.tokenizers.report import listing, summary
    from palmtop.eval.tokenizers.token_parity import measure_tokens
    from palmtop.making import lock_on

    folder = out or Path(os.path.commonpath([path.resolve().parent for path in bundles]))
    with lock_on(folder):
        found = measure_tokens([Bundle.open(path.resolve()) for path in bundles], folder, say)
        write_durably(folder / TOKENS_FILE, listing(found))
    print(summary(found))
    print(f"every difference: {folder / TOKENS_FILE}")


def explain(
    bundle: Annotated[Path, typer.Argument(help="A bundle, torch or exported; other formats are refused by name.")],
    form: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    tensors: Annotated[int, typer.Option(help="Largest tensors to list.", min=0)] = 12,
    delegate: Annotated[
        str | None, typer.Option(help="gpu or nnapi: what that of a phone really takes; with --on.")
    ] = None,
    on: Annotated[str | None, typer.Option(help="The phone, as android:SERIAL.")] = None,
    length: Annotated[int, typer.Option(help="Tokens of the text that a delegate is timed with.", min=2)] = 32,
) -> None:
    """Say where a model's bytes are, which operators it has, and what a GPU or NPU delegate would refuse, with public
    bugs; or with --delegate and --on what that of a phone does take."""
    if delegate is not None or on is not None:
        _say_what_is_delegated(bundle, delegate, on, length)
        return
    from palmtop.bundle import Bundle
    from palmtop.eval.explaining.draw import show
    from palmtop.eval.explaining.explain import explain as explained

    if form not in ("text", "json"):
        raise UserError(f"no format '{form}'; {did_you_mean(form, ('text', 'json'))}")
    found = explained(Bundle.open(bundle.resolve()))
    if form == "json":
        print(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))
    else:
        show(found, tensors)


def _say_what_is_delegated(bundle: Path, delegate: str | None, on: str | None, length: int) -> None:
    from palmtop import target
    from palmtop.bundle import Bundle
    from palmtop.eval.targets import android

    phone = target.find(on) if on is not None else None
    if delegate is None or not isinstance(phone, android.Target):
        raise UserError("a delegate is a phone's: name both, --delegate gpu --on android:SERIAL")
    opened = Bundle.open(bundle.resolve())
    opened.verify()
    if opened.format not in phone.formats:
        raise UserError(f"{opened.name} is {opened.format}: delegates take .tflite files")
    print(f"{opened.name} on {phone.label}: {phone.delegated(opened.path, delegate, length)}")
