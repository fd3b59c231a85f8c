"""The items of a run: they came with the request, stand in a file, or are answers that were kept.

items = open_items(workspace, caller, source, metadata={})
for one in items.each:
    one["item"], one.get("sample")
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from assay import json_reader
from assay.accounts.keys import Caller
from assay.data.json_schema import mismatches, schema_validator
from assay.errors import ConfigError
from assay.jobs.batch_answers import LINE_BYTES, read_lines
from assay.jobs.batches import EVAL_ITEMS
from assay.jobs.eval_request import (
    MOST_FIELDS,
    MOST_ITEMS,
    InlineItems,
    ItemsFile,
    KeptAnswers,
    Sample,
)
from assay.jobs.evals import PURPOSE
from assay.project.jobs import kept_answers
from assay.project.jobs.requests import RefusedError, check_readable, find_file
from assay.project.workspace import Workspace
from assay.store import stored_files
from assay.store.stored_files import StoredFile
from assay.store.tables import now

MOST_BYTES = 200 * 10**6
MOST_DEPTH = 80
"""Objects and lists in each other, in an item: less than may be read, for it stands in others."""
MOST_VALUES = 100_000
"""Values and keys of an item, and of those its objects: fewer than a request may have, for the same
reason."""
MOST_OBJECTS = 10_000
_LINE_LEFT = 10_000
"""Bytes that a line of a batch has beside its item."""
_WHERE = "data_source.source"


@dataclass(frozen=True, slots=True)
class Items:
    """Items of a source, and what holds for copies of them, which are never kept for longer, or
    read by more callers, than these.

    Attributes:
        each: each with `item` and, where an answer is there, `sample`; RefusedError if there are
            none, too many, or one is none; told when it is reached.
        lifetime_s: that copies are kept; None: until they are deleted.
        scope: that reads copies, see `Caller.may_read`; None: `files`.
        source: what was read of answers that were kept, see `kept_answers.Kept`.
    """

    each: Iterator[dict[str, Any]]
    lifetime_s: int | None = None
    scope: str | None = None
    source: KeptAnswers | None = None


def open_items(
    workspace: Workspace,
    caller: Caller,
    source: InlineItems | ItemsFile | KeptAnswers,
    metadata: dict[str, str],
) -> Items:
    """The items of a source.

    Args:
        metadata: the eval's, which kept answers must have.

    Raises:
        RefusedError: there is no such file, nothing that was kept fits, or the caller may not read
            it.
    """
    if isinstance(source, InlineItems):
        given = ((n, one.model_dump(exclude_unset=True)) for n, one in enumerate(source.content, 1))
        return Items(_checked(given))
    if isinstance(source, ItemsFile):
        file = find_file(workspace, caller.project, source.id, PURPOSE, f"{_WHERE}.id", MOST_BYTES)
        check_readable(workspace, caller, file.scope, "file.read", file.id)
        left = None
        if file.scope is not None and file.expires is not None:
            left = max(1, int((file.expires - now()).total_seconds()))
        return Items(_checked(_lines(workspace, file)), left, file.scope)
    kept = kept_answers.find(workspace.store, caller, source, metadata)
    return Items(_checked(_named(kept.each)), kept.lifetime_s, kept.scope, kept.source)


def _named(kept: Iterator[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Answers that were kept, with what is said of one that is no item."""
    for number, one in enumerate(kept, 1):
        yield f"{number} ({one['item']['id']}: delete it, or choose others)", one


def _checked(items: Iterator[tuple[int | str, Any]]) -> Iterator[dict[str, Any]]:
    number = 0
    for number, (line, value) in enumerate(items, 1):
        if number > MOST_ITEMS:
            raise _refused(f"there are more than {MOST_ITEMS:,} items.", "Divide them.")
        yield _check(value, line)
    if not number:
        raise _refused("there are no items.", "Check the filters, or the file.")


def check_fit(items: Iterator[dict[str, Any]], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The items, as long as they fit the eval's schema.

    Raises:
        RefusedError: one does not.
        ConfigError: the schema cannot be used for it.
    """
    where = "data_source_config.item_schema"
    validator = schema_validator(schema, where)
    for number, value in enumerate(items, 1):
        wrong = next(mismatches(validator, value["item"], where), None)
        if wrong is not None:
            raise _refused(
                f"item {number} does not fit the eval's item_schema: "
                f"{wrong.json_path}: {wrong.message[:300]}.",
                "Mend the item, or create an eval with another schema.",
            )
        yield value


def check_schema(schema: dict[str, Any]) -> None:
    """See that a schema is one.

    Raises:
        RefusedError: it is none.
    """
    where = "data_source_config.item_schema"
    try:
        schema_validator(schema, where)
    except ConfigError as error:
        raise RefusedError(str(error), where, "invalid_schema") from None


def _lines(workspace: Workspace, file: StoredFile) -> Iterator[tuple[int, Any]]:
    with stored_files.on_disk(workspace.store, file) as path:
        for number, line in read_lines(path):
            if line is None:
                raise _refused(f"line {number} is longer than {LINE_BYTES // 2**20} MB.")
            try:
                value = json_reader.read(line)
            except ValueError:
                raise _refused(f"line {number} is not valid JSON.") from None
            yield number, _of_run(value)


def _of_run(value: Any) -> Any:
    """The item of a line that an earlier run was made of; any other value as it is."""
    if not isinstance(value, dict) or value.get("url") != EVAL_ITEMS:
        return value
    body = value.get("body")
    return {k: v for k, v in body.items() if k != "run"} if isinstance(body, dict) else value


def _check(value: Any, line: int | str) -> dict[str, Any]:
    """See that an item is one; returns what is kept of it."""
    if not isinstance(value, dict) or not isinstance(value.get("item"), dict):
        raise _refused(
            f'item {line} has no "item".', 'Write each as {"item": {...}}, an answer in "sample".'
        )
    if unknown := value.keys() - {"item", "sample"}:
        raise _refused(f'item {line} has "{min(unknown)[:80]}" beside "item" and "sample".')
    if len(value["item"]) > MOST_FIELDS:
        raise _refused(f"item {line} has more than {MOST_FIELDS:,} fields.")
    kept: dict[str, Any] = {"item": value["item"]}
    if value.get("sample") is not None:
        try:
            sample = Sample.model_validate(value["sample"])
        except ValidationError as error:
            [problem, *_] = error.errors(include_url=False, include_input=False)
            where = ".".join(map(str, ("sample", *problem["loc"])))
            raise _refused(f"{where} of item {line}: {problem['msg']}.") from None
        kept["sample"] = sample.model_dump(exclude_unset=True)
    try:
        raw = json.dumps(kept, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise _refused(f"item {line} has half characters.") from None
    except ValueError:
        raise _refused(f"item {line} has a number that is none, or too large.") from None
    if len(raw) > LINE_BYTES - _LINE_LEFT:
        raise _refused(f"item {line} is longer than {LINE_BYTES // 2**20} MB.")
    signs = json_reader.outside(json_reader.signs(raw))
    if json_reader.depth(signs) > MOST_DEPTH:
        raise _refused(f"item {line} is nested more than {MOST_DEPTH} deep.")
    values = len(signs) - signs.count(b"]") - signs.count(b"}")
    if values > MOST_VALUES or signs.count(b"{") > MOST_OBJECTS:
        raise _refused(
            f"item {line} has more than {MOST_VALUES:,} values or {MOST_OBJECTS:,} objects."
        )
    return kept


def _refused(what: str, fix: str | None = None) -> RefusedError:
    return RefusedError(what, _WHERE, "invalid_items", fix)
