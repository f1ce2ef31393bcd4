"""Which numbers a training's forward and backward pass compute with: bfloat16 where the hardware multiplies it
natively, else float32."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["float32", "bfloat16", "float16"]

NATIVE = ("avx512_bf16", "amx_bf16", "bf16")
"""What torch.cpu.get_capabilities calls the instructions of x86 and Arm that multiply bfloat16; without them it is
emulated, and slow."""
WIDE = 128
"""Hidden size from which on bfloat16 is worth it on a CPU: below, casts and small kernels take what the products
give."""


def precision_for(wanted: Literal["auto"] | Precision, model: "PreTrainedModel") -> Precision:
    """`wanted`, or for auto what suits the model and the hardware. Weights, optimizer and losses are float32 in any
    case."""
    import torch

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return (
        "bfloat16"
        if model.config.hidden_size >= WIDE and multiplies_bfloat16(torch.cpu.get_capabilities())
        else "float32"
    )


def multiplies_bfloat16(capabilities: Mapping[str, Any]) -> bool:
    """Whether a CPU of these capabilities has instructions for products of bfloat16."""
    return any(capabilities.get(name, False) for name in NATIVE)
