"""Whether the files of examples that settings name can be read, and have the columns they name, and
whether the record's fields are of the kind that their columns give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.config import Config
from assay.config.examples import Data
from assay.config.names import file_of
from assay.data.formats.hub import PREFIX
from assay.data.formats.objects import ColumnError
from assay.data.inspection import inspect_file
from assay.data.json_schema import mismatches, schema_validator
from assay.data.read import read
from assay.errors import AssayError, ConfigError, UsageError

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator


def find_misnamed(root: Path, before: Config | None, after: Config) -> Iterator[tuple[str, str]]:
    """Settings whose files or columns are not there, or whose columns are no numbers in the schema,
    each with why; the start of a file is read.

    What stands in assay.yaml already is not looked at: a project may name a file that is still to
    come, and its other settings can be changed meanwhile. Data sets of the hub are not asked for.

    Args:
        root: the project's folder.
        before: what assay.yaml says now; None: nothing that can be read.
    """
    if before is None or _numbers(before) != _numbers(after):
        yield from _find_no_numbers(after)
    data = after.data
    if before is not None and _named(before.data) == _named(data):
        return
    for setting, name in (
        ("data.file", data.file),
        ("data.validation", data.validation),
        ("data.holdout", data.holdout),
    ):
        if name is None or name.startswith(PREFIX):
            continue
        try:
            if data.columns is None and setting != "data.file":
                inspect_file(file_of(name, root), data.format)  # its columns are those of the file
            else:
                read(file_of(name, root), data.format, data.columns)
        except AssayError as error:
            error.calling(f"{root}/", "")
            place = setting
            if isinstance(error, UsageError):
                place = "data.format"
            elif isinstance(error, ColumnError) and setting == "data.file":
                place = f"data.columns.{error.role}"
            yield place, f"{error.what} {error.fix}" if error.fix else error.what


def _numbers(config: Config) -> tuple[Any, ...]:
    columns = config.data.columns
    return columns.numbers if columns else [], config.output_schema


def _find_no_numbers(config: Config) -> Iterator[tuple[str, str]]:
    """Columns of numbers whose field can be none: the schema would reject every row. Of a schema
    that is none nothing is said: a project is not opened with it."""
    names, schema = _numbers(config)
    if not names or schema is None:
        return
    try:
        validator = schema_validator(schema, "output_schema")
        refused = [name for name in names if _refuses_numbers(validator, schema, name)]
    except ConfigError:
        return
    for name in refused:
        yield (
            "data.columns.numbers",
            f"{name} is no number in `output_schema`, which would reject every row. Make its "
            "`type` there `[number, null]` and take out its `enum`, or leave it out here.",
        )


def _refuses_numbers(validator: Validator, schema: dict[str, Any], name: str) -> bool:
    """Whether the field of a record can hold no number, whatever its limits are: by its type, a
    closed list without numbers, or because a closed record has no such field."""
    fields = schema.get("properties", {})
    if name not in fields:
        return schema.get("additionalProperties") is False and "patternProperties" not in schema
    return any(
        error.validator == "type" or (error.validator == "enum" and not _has_number(error))
        for error in mismatches(validator.evolve(schema=fields[name]), 1, "output_schema")
    )


def _has_number(error: ValidationError) -> bool:
    """Whether the closed list that an error is of has a number."""
    values = error.validator_value
    return isinstance(values, list) and any(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    )


def _named(data: Data) -> tuple[Any, ...]:
    return data.file, data.validation, data.holdout, data.format, data.columns
