"""Which examples there are, and how answers to them are scored."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from assay.config.names import CodeName, DataName, ModelName
from assay.config.strict import Strict

TaskKind = Literal["label", "json", "text", "tools"]


def labels_in(schema: dict[str, Any] | None) -> list[str] | None:
    """The labels, where a schema wants a list of labels of a closed set; None: it does not."""
    if schema is None or schema.get("type") != "array" or not isinstance(schema.get("items"), dict):
        return None
    found = schema["items"].get("enum")
    is_closed = isinstance(found, list) and all(isinstance(label, str) for label in found)
    return found if found and is_closed else None


class Columns(Strict):
    """Which columns (fields) of the file are what; only for files that are not conversations."""

    input: list[str] = Field(
        min_length=1, description="One column, or several, which are shown as `name: value` lines."
    )
    output: list[str] = Field(
        min_length=1, description="One column, or several, which become one JSON record."
    )
    id: str | None = Field(None, description="Column with a unique id of the row.")
    group: str | None = Field(
        None, description="Rows with the same value here always go to the same split."
    )
    document: str | None = Field(
        None, description="The document that answers the row; empty if none does."
    )
    numbers: list[str] = Field(
        [],
        description="Output columns of a record whose cells are numbers, as JSON writes them; an "
        "empty one is null.",
    )

    @model_serializer(mode="wrap")
    def _leave_out_no_numbers(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Splits and curves are named by a hash of settings: those without columns of numbers keep
        the names that they had before there were any."""
        dumped: dict[str, Any] = write(self)
        if not self.numbers:
            dumped.pop("numbers", None)
        return dumped

    @model_validator(mode="after")
    def _has_numbers_in_a_record(self) -> Self:
        if self.numbers and len(self.output) == 1:
            raise ValueError(
                "`numbers` are fields of a record, and one output column is none: leave it out"
            )
        stray = [name for name in self.numbers if name not in self.output]
        if stray:
            raise ValueError(
                f"`numbers` names {join_names(stray)}, beside the output columns "
                f"{join_names(self.output)}"
            )
        return self


_NAME = re.compile(r'\s*(?:"((?:[^"]|"")*)"\s*(?=,|$)|([^,]*))(?:,|$)')


def split_names(text: str) -> list[str]:
    """The columns in a list that a person wrote, `a, b`, see `join_names`."""
    return [
        match[1].replace('""', '"') if match[1] is not None else match[2].strip()
        for match in _NAME.finditer(text)
        if match[1] is not None or match[2].strip()
    ]


def join_names(names: Iterable[str]) -> str:
    """Columns as one list, `a, b`, which `split_names` reads: a name that would be read as another
    one, or as several, is in double quotes, with a quote in it doubled."""
    return ", ".join(
        name if split_names(name) == [name] else '"{}"'.format(name.replace('"', '""'))
        for name in names
    )


class Split(Strict):
    """How the examples are split if the data has no official split."""

    seed: int = Field(0, ge=0, lt=2**63, description="Seed of the random split.")
    validation: float = Field(
        0.15, gt=0, lt=0.5, description="Share of the examples that are not in the holdout."
    )
    holdout: float = Field(
        0.2,
        gt=0,
        lt=0.9,
        description="Share of all examples; ignored if `holdout` names a file.",
    )


class Data(Strict):
    """Where the examples are and how to read them."""

    file: DataName = Field(description="File of examples, or hf:ORG/NAME.")
    holdout: DataName | None = Field(
        None, description="Separate holdout file, such as an official test set."
    )
    validation: DataName | None = Field(
        None, description="Separate validation file; null: a share of the examples."
    )
    format: str | None = Field(
        None, description="Format of the file; null: detected from its content."
    )
    columns: Columns | None = Field(
        None, description="Which columns are what; null for a file of conversations."
    )
    split: Split = Field(Split(), description="How the examples are split.")
    train_rows: int | None = Field(
        None, ge=1, description="Maximum number of training rows (drawn with the seed)."
    )
    holdout_rows: int | None = Field(
        None, ge=1, description="Maximum number of holdout rows (drawn with the seed)."
    )


class Unlabelled(Strict):
    """Inputs without labels, and the model that labels them."""

    file: DataName | None = Field(
        None,
        description="File of rows like those of `data.file`, or conversations, without outputs.",
    )
    release: str | None = Field(
        None, description="Instead of a file: the kept traces of this release."
    )
    model: ModelName = Field(
        min_length=1, description="The annotator: a model, or `remote:PROVIDER/MODEL`."
    )
    most: int = Field(
        2000,
        ge=100,
        le=100_000,
        description="Maximum number of inputs: drawn at random from a file, the newest traces.",
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.file is None) == (self.release is None):
            raise ValueError("give a `file` of inputs, or a `release` whose traces are kept")
        return self


class Rollout(Strict):
    """Whole dialogues, which every candidate goes on with by itself in a comparison."""

    tools: CodeName | None = Field(
        None,
        min_length=1,
        description="Python file with a function for each tool, relative to the project's folder: "
        "it answers calls that differ from the recorded ones (only with --trust-code).",
    )


class GraderSpec(Strict):
    """One grader and its settings, e.g. {name: numeric, settings: {tolerance: 0.01}}."""

    name: str = Field(description="Name of the grader.")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="Settings of this grader (docs/graders.md)."
    )

    @property
    def label(self) -> str:
        """The name under which its scores are kept: its own, or `settings.as`."""
        return str(self.settings.get("as", self.name))
