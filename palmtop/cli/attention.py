"""palmtop attention: what a model's layers and heads look at in a text, alone or beside another model."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from palmtop.eval.explaining.attention import Attention

COLUMNS = ("layer", "heads", "bits", "by head", "special", "itself", "beside")


def attention(
    bundle: Annotated[Path, typer.Argument(help="A torch bundle's folder.")],
    text: Annotated[str, typer.Argument(help="The text, or the first of a pair.")],
    second: Annotated[str | None, typer.Option(help="The second text of a pair, or a question's context.")] = None,
    beside: Annotated[
        Path | None, typer.Option(help="Another torch bundle to compare with, such as the teacher.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Draw every layer and head: a .svg or .png.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every number, each layer [heads, tokens, tokens].")
    ] = False,
) -> None:
    """Show what a model's layers and heads look at in a text, in numbers and as a picture, beside its teacher's."""
    from rich.console import Console

    from palmtop.bundle import Bundle
    from palmtop.eval import picture_file
    from palmtop.eval.explaining.attention import attention_of
    from palmtop.eval.explaining.attention_picture import draw

    if picture is not None:
        picture_file.check(picture)
    asked = (text,) if second is None else (text, second)
    models = [attention_of(Bundle.open(path.resolve()), asked) for path in (bundle, beside) if path is not None]
    if picture is not None:
        draw(models, picture)
    if as_json:
        print(json.dumps([_written(model) for model in models], ensure_ascii=False))
        return
    console = Console()
    for model in models:
        console.print(_table(model, models[1] if beside is not None and model is models[0] else None))
    print(f"{len(models[0].tokens)} tokens: {' '.join(models[0].tokens)}")
    print(
        "bits: entropy of what a token looks at, 0 for one token alone; by head: of the lowest and the highest. "
        "special, itself, beside: the share that goes to [CLS], [SEP] and the like, to the token's own place, and to "
        "those right before and after. Means over the text's tokens and the layer's heads"
    )
    if beside is not None and models[0].tokens == models[1].tokens:
        print("like: the layer of the other model that looks most alike; apart: Jensen-Shannon divergence, 0 to 1 bit")
    elif beside is not None:
        print("the two cut the text into other tokens: their layers can't be compared number by number")
    if picture is not None:
        print(f"drawn: {picture}")


def _written(model: "Attention") -> dict[str, object]:
    return {
        "name": model.name,
        "tokens": model.tokens,
        "layers": [layer.astype(float).round(6).tolist() for layer in model.layers],
    }


def _table(model: "Attention", beside: "Attention | None") -> "Table":
    """A line for each layer; with another model that reads the same tokens, which of its layers looks most alike."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    compared = beside if beside is not None and beside.tokens == model.tokens else None
    title = f"{model.name}, beside {compared.name}" if compared is not None else model.name
    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for name in (*COLUMNS, *(("like", "apart") if compared is not None else ())):
        shown.add_column(name, justify="right")
    for number, layer in enumerate(model.layers):
        heads = model.heads(number)
        means = (heads.special, heads.itself, heads.neighbours)
        bits = heads.entropy
        cells = [number, len(layer), f"{bits.mean():.2f}", f"{bits.min():.2f}-{bits.max():.2f}"]
        cells += [f"{values.mean():.2f}" for values in means]
        if compared is not None:
            nearest, distance = model.nearest(compared, number)
            cells += [nearest, f"{distance:.3f}"]
        shown.add_row(*map(str, cells))
    return shown
