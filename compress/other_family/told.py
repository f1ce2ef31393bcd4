"""What is told of a new student: how many of its weights are its teacher's, and how many random."""

from typing import TYPE_CHECKING, Any

from palmtop.models.family import family_named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = ("embeddings", "layers", "head")


def counted(student: "PreTrainedModel", counts: dict[str, int]) -> dict[str, Any]:
    """Facts: numbers that are the teacher's and that are random, by what they are of."""
    taken, random = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    family = family_named(student.config.model_type)
    layers = family.layers if family.groups is None else family.groups[0]
    for name, weight in student.named_parameters():
        within = name.startswith(f"{layers}."), ".embeddings." in name or ".embedding_hidden_mapping_in." in name
        group = "layers" if within[0] else "embeddings" if within[1] else "head"
        count = min(counts.get(name, 0), weight.numel())
        taken[group] += count
        random[group] += weight.numel() - count
    return {"taken": taken, "random": random}


def token_facts(sources: "list[tuple[int, ...]] | None") -> dict[str, Any]:
    """Facts: of how many tokens of another tokenizer the rows are known."""
    if sources is None:
        return {}
    return {
        "tokens": {
            "one": sum(len(source) == 1 for source in sources),
            "several": sum(len(source) > 1 for source in sources),
            "none": sum(not source for source in sources),
        }
    }


def told(facts: dict[str, Any], seed: int) -> str:
    """For the user."""
    taken, random = facts["taken"], facts["random"]
    whole = sum(taken.values()) + sum(random.values())
    parts = ", ".join(f"{name} {taken[name]:,} of {taken[name] + random[name]:,}" for name in taken)
    tokens = facts.get("tokens")
    besides = (
        f"; of its tokens {tokens['one']:,} are the teacher's, {tokens['several']:,} the mean of several, "
        f"{tokens['none']:,} random"
        if tokens
        else ""
    )
    return (
        f"{sum(taken.values()):,} of {whole:,} weights are the teacher's ({parts}), the others random (seed {seed})"
        f"{besides}"
    )


def new_head(student: "PreTrainedModel", counts: dict[str, int]) -> list[str]:
    """The head's modules that start from random numbers, by name."""
    family = family_named(student.config.model_type)
    kinds = {"ForTokenClassification": family.token_head, "ForQuestionAnswering": family.span_head}
    named = next((head for end, head in kinds.items() if type(student).__name__.endswith(end)), family.new_head)
    there = {name.split(".")[0] for name, _ in student.named_parameters() if name not in counts}
    return [name for name in named if name in there]
