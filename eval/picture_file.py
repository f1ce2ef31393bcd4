"""A picture in a file of its own: SVG or PNG, the same bytes for the same picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from palmtop.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ENDINGS = (".svg", ".png")


def check(path: Path) -> None:
    """Raises: UserError: another ending than .svg or .png, or matplotlib isn't installed."""
    if path.suffix not in ENDINGS:
        raise UserError(f"--picture {path}: the name has to end in {' or '.join(ENDINGS)}")
    try:
        import matplotlib  # noqa: F401  # asked whether it is there
    except ImportError:
        raise UserError("--picture needs matplotlib: pip install 'palmtop[chart]'") from None


@contextmanager
def figure(path: Path, width: float, height: float, dpi: int, font: float) -> Iterator["Figure"]:
    """A figure of so many inches to draw on; it is written when that is done.

    Args:
        font: size of its letters, in points.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "palmtop", "svg.fonttype": "none", "font.size": font}):
        drawn = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
        yield drawn
        drawn.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
