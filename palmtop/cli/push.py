"""palmtop push: a bundle goes to the hub, with a card of what was measured."""

from pathlib import Path
from typing import Annotated

import typer

from palmtop.cli.say import say


def push(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, or an app's folder of any layout.")],
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Where on the hub; made where it isn't there.")],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository that only its owner sees.")] = False,
    revision: Annotated[
        str | None, typer.Option(help="The branch, made where it isn't there.", show_default="main")
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Of the model, in the hub's word, such as apache-2.0.", show_default="none is stated"),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="The folder with the run's measurements.jsonl.", show_default="the one above the bundle"),
    ] = None,
) -> None:
    """Upload a bundle to the Hugging Face hub with a model card made of its measurements; only what is sealed in it,
    and no folder of this machine is named."""
    from palmtop.bundle import Bundle
    from palmtop.export.push import To
    from palmtop.export.push import push as push_bundle
    from palmtop.measurement import FILE, read

    opened = Bundle.open(bundle)
    taken = read((run or opened.path.resolve().parent) / FILE)
    print(push_bundle(opened, To(name, private, revision), licence, taken, say))
