"""Training only those rows of the word embedding that the data read: a small part of it, which costs a large part of a
step.

The gradient of every other row is 0, so that Adam moves it by weight decay alone; here such rows stay as they are. All
else is the same, to the rounding: most of a small student's parameters are its embedding, and optimizer, clipping and
gradient go over each at every step.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from palmtop.compress.learning.encoded import Encoded

if TYPE_CHECKING:
    from transformers import PreTrainedModel

WORTH_IT = 0.8
"""Share of the rows up to which a smaller table is made."""


@dataclass(frozen=True)
class Used:
    """What a training on some rows of the embedding goes over."""

    data: Encoded
    """With ids that are the small table's."""
    whole: Callable[[], AbstractContextManager[None]] = nullcontext
    """Within it the model has its whole table, trained rows in it, and answers any text."""


@contextmanager
def only_used_rows(model: "PreTrainedModel", data: Encoded) -> Iterator[Used]:
    """Give the model a table of the rows that `data` reads, and the data ids to match; afterwards the whole table
    again, those rows new.

    A table that is tied to an output layer, or that is no plain embedding, is left alone, as is one that is read nearly
    whole.
    """
    import torch

    table: Any = model.get_input_embeddings()
    used = np.union1d(
        np.unique(data.ids), np.arange(data.pad_id + 1)
    )  # the padding keeps its id, by which RoBERTa counts positions
    plain = type(table) is torch.nn.Embedding and model.get_output_embeddings() is None
    if not plain or len(used) > WORTH_IT * table.num_embeddings:
        yield Used(data)
        return
    places = np.zeros(table.num_embeddings, data.ids.dtype)
    places[used] = np.arange(len(used))
    rows = torch.from_numpy(used)
    small = torch.nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]  # torch has no types there
        table.weight.detach()[rows].clone(), freeze=False, padding_idx=table.padding_idx
    )
    small.weight.requires_grad_(table.weight.requires_grad)

    def put_back() -> None:
        table.to(small.weight.device)
        with torch.no_grad():
            table.weight[rows.to(small.weight.device)] = small.weight
        model.set_input_embeddings(table)

    @contextmanager
    def whole() -> Iterator[None]:
        put_back()
        try:
            yield
        finally:
            model.set_input_embeddings(small)

    model.set_input_embeddings(small)
    try:
        yield Used(replace(data, ids=places[data.ids]), whole)
    finally:
        put_back()
