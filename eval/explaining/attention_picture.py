"""The picture of attention: a square for each head, a row for each layer, models side by side; SVG or PNG."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from palmtop.eval import picture_file
from palmtop.eval.explaining.attention import Attention

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDE = 0.85
"""Inches of a head's square; the mean over the heads, which has the words, is twice as wide."""
WORDS_SHOWN = 40
"""Tokens up to which the words stand beside the mean."""


def draw(models: Sequence[Attention], path: Path) -> None:
    """Draw one model's attention, or two models', into a file. Black is 1, white 0; a row of a square is the token that
    looks, a column the one that is looked at.

    Raises:
        UserError: another ending than .svg or .png, or matplotlib isn't installed.
    """
    picture_file.check(path)
    heads = [max(len(layer) for layer in model.layers) for model in models]
    layers = max(len(model.layers) for model in models)
    width = sum(count + 3.5 for count in heads) * SIDE
    with picture_file.figure(path, width, (2 * layers + 1) * SIDE, 130, 7) as figure:
        for block, model, count in zip(_blocks(figure, heads), models, heads, strict=True):
            block.suptitle(model.name, fontsize=10)
            grid: Any = block.subplots(
                layers, count + 1, squeeze=False, width_ratios=[2, *[1] * count], gridspec_kw={"wspace": 0.02}
            )
            for row, squares in enumerate(grid):
                _draw_layer(model, row, squares)


def _blocks(figure: Any, heads: Sequence[int]) -> list[Any]:
    if len(heads) == 1:
        return [figure.subfigures(1, 1)]
    return list(figure.subfigures(1, len(heads), width_ratios=[count + 3.5 for count in heads]))


def _draw_layer(model: Attention, layer: int, squares: "Sequence[Axes]") -> None:
    """A layer's mean with its words, then its heads; nothing where the model has no such layer or head."""
    shown = [maps.mean(0), *maps] if (maps := dict(enumerate(model.layers)).get(layer)) is not None else []
    for place, square in enumerate(squares):
        if place >= len(shown):
            square.axis("off")
            continue
        square.imshow(shown[place], cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        square.set_xticks([])
        square.set_yticks([])
        square.set_title(f"layer {layer}, mean" if place == 0 else f"head {place - 1}", fontsize=7, pad=2)
    if shown and len(model.tokens) <= WORDS_SHOWN:
        squares[0].set_yticks(range(len(model.tokens)), model.tokens, fontsize=max(4, 7 - len(model.tokens) // 8))
