"""Small classifiers written straight by each format's converter, without our own passes: what the linter and the
tokenizer check read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from tiny import write_tokenizer
from tiny_bundles import INPUTS, MAX_LENGTH, Flat, copy_beside, sealed

from palmtop.bundle import Bundle
from palmtop.export.tfjs_model.graph_model import write_graph_model
from palmtop.signature import Signature
from palmtop.task import Task

ROWS, WIDTH, POSITIONS = 2500, 128, 64
"""Large enough for the quantizer to put weights behind the flatbuffer, which it does from 256 KB on."""


def torch_bundle_without_equal_weights(folder: Path, task: dict[str, Any]) -> Bundle:
    """A random BERT of two layers in which no two tensors are equal, as in a trained one; fresh ones are all zeros and
    ones."""
    folder.mkdir(parents=True)
    found = Task.find(task)
    transformers.logging.disable_progress_bar()
    torch.manual_seed(3)
    write_tokenizer(folder, "bert")
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=ROWS,
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=192,
            max_position_embeddings=POSITIONS,
            num_labels=len(found.label_names),
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) / 50)
    model.save_pretrained(folder)
    found.write(folder)
    Signature(inputs=INPUTS, max_length=MAX_LENGTH, pad_id=0).write(folder)
    return sealed(folder, "torch", "finetune")


class Masked(Flat):
    """The classifier with a finite additive mask of four axes, the only one that every format takes at any length."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """Logits [batch, labels]."""
        return super().forward(
            input_ids, (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * -50.0, token_type_ids
        )


EXAMPLE = tuple(torch.ones(1, MAX_LENGTH, dtype=torch.int32) for _ in INPUTS)


def tflite_bundle(folder: Path, source: Bundle) -> Bundle:
    """At one length, by litert-torch."""
    import litert_torch

    folder.mkdir(parents=True)
    named: Mapping[str, Any] = dict(zip(INPUTS, EXAMPLE, strict=True))
    litert_torch.convert(Masked(source.path), sample_kwargs=named).export(str(folder / "model.tflite"))
    copy_beside(source, folder, lengths=(MAX_LENGTH,))
    return sealed(folder, "tflite", "to_tflite", source, {"precision": "float32"})


def int8_bundle(folder: Path, source: Bundle) -> Bundle:
    """Dynamic int8, by ai-edge-quantizer, which puts the weights behind the flatbuffer."""
    from ai_edge_quantizer import quantizer, recipe

    folder.mkdir(parents=True)
    quantizer.Quantizer(str(source.path / "model.tflite"), recipe.dynamic_wi8_afp32()).quantize().export_model(
        str(folder / "model.tflite")
    )
    copy_beside(source, folder)
    return sealed(folder, "tflite", "quantize", source, {"precision": "dynamic_int8"})


def tfjs_bundle(folder: Path, source: Bundle) -> Bundle:
    """For any batch and length, by our own writer."""
    folder.mkdir(parents=True)
    sizes = {0: torch.export.Dim("batch", min=1, max=64), 1: torch.export.Dim("tokens", min=2, max=MAX_LENGTH)}
    example = tuple(torch.ones(2, 8, dtype=torch.int32) for _ in INPUTS)
    program = torch.export.export(Masked(source.path), example, dynamic_shapes=[sizes] * 3, strict=False)
    write_graph_model(program, INPUTS, ("logits",), folder, "float32")
    copy_beside(source, folder)
    return sealed(folder, "tfjs", "to_tfjs", source, {"precision": "float32"})
