"""FNet's Fourier transform as products with constants: complex numbers have no lowering in LiteRT and TensorFlow.js."""

import math
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from palmtop.models.linears import layers_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRANSFORM = "fourier.self"
"""Below a layer."""


class FourierProducts(torch.nn.Module):
    """Real part of the two-dimensional discrete Fourier transform over tokens and width (Lee-Thorp et al. 2021,
    2105.03824, eq. 3): C_t x C_w - S_t x S_w, where C_n[j, k] = cos(2 pi j k / n) and S_n its sine.

    These are two of the four terms of (C_t - i S_t) x (C_w - i S_w); the others are imaginary. All four matrices are
    symmetric. `prepare` makes them, once for all layers, so that a graph of one length holds each once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._matrices: tuple[Tensor, ...] = ()

    def prepare(self, tokens: int, width: int) -> None:
        """Make the matrices for texts of so many tokens."""
        self._matrices = (*_matrices(tokens), *_matrices(width))

    def forward(self, hidden: Float[Tensor, "batch tokens width"]) -> tuple[Float[Tensor, "batch tokens width"]]:
        """As the module that it stands for: a tuple of one."""
        cosine, sine, cosine_of_width, sine_of_width = self._matrices
        real = torch.matmul(cosine[None], torch.nn.functional.linear(hidden, cosine_of_width))
        return (real - torch.matmul(sine[None], torch.nn.functional.linear(hidden, sine_of_width)),)


def mix_by_products(model: "PreTrainedModel") -> None:
    """Put products in the place of every layer's transform, in place."""
    products, width = FourierProducts(), int(model.config.hidden_size)

    def prepare(_: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        ids = given[0] if given else named["input_ids"]
        products.prepare(ids.shape[1], width)

    for layer in layers_of(model):
        layer.set_submodule(TRANSFORM, products)
    model.base_model.register_forward_pre_hook(prepare, with_kwargs=True)


def _matrices(size: int) -> tuple[Float[Tensor, "size size"], Float[Tensor, "size size"]]:
    """Cosine and sine of 2 pi j k / size, where j k is taken modulo size first: exact to float64's rounding."""
    places = torch.arange(size, dtype=torch.int64)
    angles = (places[:, None] * places[None, :] % size).double() * (2 * math.pi / size)
    return angles.cos().float(), angles.sin().float()
