"""Which rows 'palmtop init' measures on and chooses by, where nobody says: a data set's own splits, or a share of a
file."""

from palmtop.errors import UserError

HELD = 0.2
"""Share of a file's texts that is kept for measuring, where the file is all there is."""
MEASURED_ON = ("test", "evaluation", "eval", "validation", "valid", "val", "dev")
"""Names of splits to measure on, in the order in which they are looked for."""
CHOSEN_BY = ("validation", "valid", "val", "dev")
"""Names of splits to choose by."""


def guessed_splits(
    dataset: str, config: str | None, train: str, label: str, evaluation: str | None, validation: str | None
) -> tuple[str, str | None]:
    """The splits of a data set to measure on, and to choose by if there is one: those that are named, or else the usual
    ones. A split without labels (all rows have the same: -1) is for nothing.

    Raises:
        UserError: no split can be measured on, with the splits there are.
    """
    from palmtop.data import rows

    there = [name for name in rows.splits_of(dataset, config) if name != train]

    def first(names: tuple[str, ...]) -> str | None:
        left = (name for name in names if name in there and name != evaluation)
        return next((name for name in left if _labelled(dataset, config, name, label)), None)

    evaluation = evaluation or first(MEASURED_ON)
    if evaluation is None:
        has = ", ".join(there) or "no other"
        raise UserError(f"--evaluation is missing: the split of {dataset} to measure on; it has {has}")
    return evaluation, validation or first(CHOSEN_BY)


def _labelled(dataset: str, config: str | None, split: str, label: str) -> bool:
    from palmtop.data import rows

    values = rows.read(rows.Source(dataset=dataset, config=config, split=split)).columns.get(label, ())
    return any(value != values[0] for value in values)
