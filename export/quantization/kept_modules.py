"""Layers of a file by the names that its model's modules had, in torch or in part: what a user wants to keep in higher
precision."""

from collections.abc import Sequence

from palmtop.errors import did_you_mean, raise_all
from palmtop.models.family import FAMILIES

LISTS = frozenset({"layer", "layers", "albert_layer_groups", "albert_layers"})
"""Lists of modules: torch never calls them, so that converters leave them out of a layer's name."""
NEVER_ROUNDED = tuple({module for family in FAMILIES.values() for module in family.never_rounded})
"""Modules that no scheme makes coarser, of any family."""


def kept_anyway(layers: Sequence[str]) -> list[str]:
    """The layers of a file that stay as they are, whatever is asked."""
    return [layer for layer in layers if any(_is_in(layer, module) for module in NEVER_ROUNDED)]


def layers_of(modules: Sequence[str], layers: Sequence[str]) -> list[str]:
    """The layers of a file, in its order, that have one of the modules in their names: 'classifier', 'layer.0',
    'bert.encoder.layer.0'.

    Args:
        layers: as a `Quantizable` calls them: path of modules, then the weights' shape.

    Raises:
        UserError: modules that no layer has in its name, with the nearest words.
    """
    raise_all(
        [
            f"kept_modules: no layer that the scheme makes coarser has '{module}' in its name; "
            f"{did_you_mean(module, _words(layers))}"
            for module in modules
            if not any(_is_in(layer, module) for layer in layers)
        ]
    )
    return [layer for layer in layers if any(_is_in(layer, module) for module in modules)]


def _is_in(layer: str, module: str) -> bool:
    wanted = _parts(module)
    return bool(wanted) and f".{'.'.join(wanted)}." in f".{'.'.join(_parts(layer))}."


def _parts(name: str) -> list[str]:
    return [part for part in name.split(" ", maxsplit=1)[0].split(".") if part not in LISTS]


def _words(layers: Sequence[str]) -> set[str]:
    return {part for layer in layers for part in _parts(layer)}
