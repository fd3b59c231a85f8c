"""What parts of the configuration, of a request and of a result have in common."""

from __future__ import annotations

from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from assay.config.sentences import sentence

MOST_FIELDS = 100
"""More than any part has. Pydantic tells a problem for each that is not named: of a body of a few
megabytes, so many that they take gigabytes."""


class ClosedModel(BaseModel):
    """A part that has the named fields and no others, so that none is ignored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MOST_FIELDS:
            raise ValueError(f"it has {len(data)} fields; at most {MOST_FIELDS} are allowed")
        return data


class Strict(ClosedModel):
    """A closed part whose fields are not assigned to once it is made."""

    model_config = ConfigDict(frozen=True)


def one_problem(*fields: str, said: str | None = None) -> Any:
    """A validator of fields with several types: one message for a wrong value, not one for each.

    Args:
        said: the message; None: that of the first type, for a number or `auto`.
    """

    def validate(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as error:
            found = sentence(error.errors()[0]).removesuffix(".")
            raise ValueError(said or f"{found}, or auto") from None

    return field_validator(*fields, mode="wrap")(validate)
