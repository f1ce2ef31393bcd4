"""Whether an exported model that writes does so as torch does: the logits of each greedy step, and the tokens."""

from pathlib import Path
from typing import Any

import numpy as np

from palmtop import parity, target
from palmtop.bundle import Bundle, Format
from palmtop.errors import MissingFile, UserError
from palmtop.generation import Generation
from palmtop.writer import Said, Writer, room_for_prompt

PROMPTS, STEPS = 8, 32


def check(source: Bundle, made: tuple[Format, Path], tolerance: float) -> dict[str, Any]:
    """Facts of greedy continuations of some prompts of many lengths, none of which fills a graph that reads prompts:
    the largest difference of a step's logits from torch's, as a share of their spread, and how many steps.

    Torch is transformers' own `generate`, on the model as it is.

    Raises:
        UserError: a logit differs by more than `tolerance` of the spread, or another token is chosen.
    """
    runtime = target.for_format(made[0])
    if lack := runtime.missing():
        raise UserError(f"a {made[0]} file is checked in its own runtime, but {lack}")
    worst, steps = 0.0, 0
    with runtime.open(made[1], threads=1) as writer:
        assert isinstance(writer, Writer)  # what the export wrote has a signature with generation
        for prompt in _prompts(source, writer):
            tokens, expected = _by_torch(source, prompt, min(STEPS, writer.longest - len(prompt)))
            found, said = [], Said(np.empty(0, np.float32), None)
            for place, _ in enumerate(tokens):
                said = writer.begin(prompt) if place == 0 else writer.step(said, tokens[place - 1])
                found.append(said.logits)
            difference = float(np.abs(np.stack(found) - expected).max() / (expected.std() or 1.0))
            chosen = [int(logits.argmax()) for logits in found]
            if not difference <= tolerance or chosen != tokens:  # a NaN is no parity
                raise UserError(
                    f"the {made[0]} file writes otherwise than torch behind a prompt of {len(prompt)} tokens: logits "
                    f"differ by {difference:.3g} of their spread (tolerance {tolerance:g}), and "
                    f"{sum(one != other for one, other in zip(chosen, tokens, strict=True))} of {len(tokens)} tokens "
                    "are others. The export is not kept"
                )
            worst, steps = max(worst, difference), steps + len(tokens)
    return {"written_steps": steps, "written_difference": float(f"{worst:.3g}")}


def _prompts(source: Bundle, writer: Writer) -> list[list[int]]:
    """The beginnings of the task's texts, of 1, 2, 4, 7, ... tokens."""
    try:
        texts = source.task.load("evaluation").texts if source.task else list(parity.PLAIN)
    except MissingFile:
        texts = list(parity.PLAIN)
    ids = [tokens for text in texts if (tokens := writer.prompt(text[0]))]
    most = room_for_prompt(writer, Generation(max_new_tokens=STEPS))
    chosen = [ids[place] for place in np.unique(np.linspace(0, len(ids) - 1, min(PROMPTS, len(ids))).astype(int))]
    return [tokens[: min(most, 1 + place * 3)] for place, tokens in enumerate(chosen)]


def _by_torch(source: Bundle, prompt: list[int], steps: int) -> tuple[list[int], Any]:
    """Tokens and logits [steps, vocabulary] of transformers' greedy `generate`, which goes on behind an end."""
    import torch

    from palmtop.models.opening import open_with_head

    model, ids = open_with_head(source.path), torch.tensor([prompt])
    model.generation_config.eos_token_id = None
    with torch.inference_mode():
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=steps,
            do_sample=False,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
    return made.sequences[0, len(prompt) :].tolist(), torch.cat(made.logits).numpy()
