"""Settings as frozen pydantic models, and what is said when one is wrong: every fault, with the nearest right name."""

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from palmtop.errors import UserError, did_you_mean

LATER = "later"
"""Marks a setting, in its `Annotated`, that came when bundles had been made without it: at its default it is left out
where a stage's settings are written, so that those bundles stay what they are."""


class Settings(BaseModel):
    """Typed, frozen settings; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


AnySettings = TypeVar("AnySettings", bound=BaseModel)


def build(kind: type[AnySettings], values: Mapping[str, Any], where: str) -> AnySettings:
    """Make settings of `kind` from `values`.

    Raises:
        UserError: every fault, each led by `where` and the name of the setting.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        faults = error.errors()
        raise UserError([_tell(fault, kind, where) for fault in faults if not _only_follows(fault, faults)]) from None


def _tell(fault: Any, kind: type[BaseModel], where: str) -> str:
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        *above, last = fault["loc"]
        inside = f" in '{'.'.join(map(str, above))}'" if above else ""
        return f"{where}: no setting '{last}'{inside}; {did_you_mean(str(last), _known(kind, above))}"
    if fault["type"] == "missing":
        return f"{where}: the setting '{name}' is missing"
    if fault["type"] == "value_error":
        return f"{where}: {name + ': ' if name else ''}{fault['ctx']['error']}"
    return f"{where}: {name} is {reprlib.repr(fault['input'])}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _only_follows(fault: Any, faults: Sequence[Any]) -> bool:
    """Whether a list was found too short for no other reason than faults in its items, which pydantic leaves out of the
    count."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(
        other["loc"][: len(place)] == place for other in faults if other is not fault
    )


def _known(kind: type[BaseModel], path: Sequence[str | int]) -> set[str]:
    """The settings that the model at `path` below `kind` has."""
    for part in path:
        field = next((field for name, field in kind.model_fields.items() if part in (name, field.alias)), None)
        kind = (
            _model_in(field.annotation) or kind if field else kind
        )  # list numbers and names of alternatives lead nowhere new
    return {field.alias or name for name, field in kind.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_in(inner))), None)
