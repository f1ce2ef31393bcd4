"""The grid of the integers in a .tflite: what ai-edge-quantizer's symmetric dynamic schemes round a weight to, in
torch.

A row of a weight (an output of a linear layer, a token of an embedding table), or a block of a row, has one scale: the
largest |w| / n with n = 127 for 8 bits and 7 for 4. An integer is w / scale, rounded half to even; the zero point is 0.
So -128 and -8 are never used, and nothing is clipped. Held against the written file in tests.
"""

import torch
from jaxtyping import Float, Int8
from torch import Tensor

SMALLEST = 1e-9
"""The largest |w| that a row of zeros is taken to have."""
DYNAMIC_LEVELS = (-128, 127)


def levels(bits: int) -> int:
    """The largest integer: 127 or 7."""
    return (1 << bits - 1) - 1


def scales(weight: Float[Tensor, "rows width"], bits: int, block: int | None = None) -> Float[Tensor, "rows blocks"]:
    """The distance between two neighbours of the grid, one for each row, or for each `block` values of a row.

    The scales of blocks are bfloat16 numbers, as the file stores them.
    """
    largest = _blocks(weight, block).abs().amax(-1).clamp_min(SMALLEST)
    found = largest / levels(bits)
    return found if block is None else found.bfloat16().float()


def integers(weight: Float[Tensor, "rows width"], bits: int, block: int | None = None) -> Int8[Tensor, "rows width"]:
    """What the file holds for a weight."""
    return _steps(weight, scales(weight, bits, block), bits, block).to(torch.int8)


def on_grid(weight: Float[Tensor, "rows width"], bits: int, block: int | None = None) -> Float[Tensor, "rows width"]:
    """The weight as the file's kernels see it: its integers times their scales. On the grid it stays where it is."""
    step = scales(weight, bits, block)
    return (_blocks(_steps(weight, step, bits, block), block) * step[..., None]).reshape(weight.shape)


def rounded(weight: Float[Tensor, "rows width"], bits: int, block: int | None = None) -> Float[Tensor, "rows width"]:
    """`on_grid` for training, with the straight-through gradient (Bengio et al. 2013, 1308.3432; 1910.06188, 2.2).

    d rounded / d w is 1 everywhere: the scale counts as a constant, and as nothing is clipped there is no value to cut
    off.
    """
    # w - w is exactly 0, so the value is on_grid's own bit for bit; w + (on_grid - w) would be off by rounding
    return on_grid(weight.detach(), bits, block) + (weight - weight.detach())


def dynamic_int8(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
    """Activations as XNNPACK's qd8 kernels see them, with the straight-through gradient: each row on an int8 grid of
    its own.

    The grid reaches from the row's smallest value to its largest, 0 included; its zero point is moved to the nearest
    integer, from the end of the range with the smaller error.
    """
    with torch.no_grad():
        low, high = x.amin(-1, keepdim=True).clamp_max(0), x.amax(-1, keepdim=True).clamp_min(0)
        least, most = DYNAMIC_LEVELS
        per_unit = torch.where(low == high, torch.ones_like(low), (most - least) / (high - low))
        from_low, from_high = least - low * per_unit, most - high * per_unit
        nearer = torch.where((least + low * per_unit) + (most + high * per_unit) < 0, from_low, from_high)
        zero = nearer.clamp(least, most).round()
        seen = ((x * per_unit).round() + zero).clamp(least, most).sub(zero) / per_unit
    return seen + (x - x.detach())


def _steps(weight: Tensor, step: Tensor, bits: int, block: int | None) -> Tensor:
    """Whole numbers in float. A block's scale may be rounded down, and 7.03 is 7."""
    most = levels(bits)
    return (_blocks(weight, block) / step[..., None]).round().clamp(-most, most).reshape(weight.shape)


def _blocks(weight: Tensor, block: int | None) -> Tensor:
    return weight.reshape(weight.shape[0], -1, block or weight.shape[1])
