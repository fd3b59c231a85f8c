"""Records of a file with secrets and personal data replaced, as they are to be learned from.

    mask = RecordMask(detect(file, columns), Rules(task, labels, schema))
    masked = mask(record)

What tells rows apart or together stays: ids, groups and names of documents, of which several would
become one, so that rows were taken for repeated or joined; but not where the model reads or writes
them, too. So do numbers. A label, or a value of few, may look private; replaced, it would be none
of them. All else is masked, also what nothing reads.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from assay.data.contents import Rules
from assay.data.formats.objects import shape
from assay.data.formats.record import RecordProblems
from assay.data.formats.shapes import BY_NAME
from assay.data.privacy import mask_within
from assay.data.read import DetectedFormat
from assay.example import Example


def read_record(form: DetectedFormat, record: dict[str, Any]) -> list[Example]:
    """What a record says once it stands in a file of this form."""
    as_row = BY_NAME[form.format] if form.columns is None else shape(form.format, form.columns)
    read_parts = (as_row.read(part, "", RecordProblems("")) for part in as_row.parts(record))
    return [example for rows in read_parts for _, example in rows if example is not None]


class RecordMask:
    """Masks records.

    Args:
        form: of the file in which they stand.
        rules: which a record that fulfils them fulfils masked, too.
    """

    def __init__(self, form: DetectedFormat, rules: Rules) -> None:
        self._form, self._rules, columns = form, rules, form.columns
        self._stays = {"id", "group", "document"}
        if columns is not None:  # a number stays one, whatever it looks like
            named = {columns.id, columns.group, columns.document}
            # Several may become one: a group stays together all the same, a repeated id is told.
            learned = {*columns.input, *columns.output}
            self._stays = {name for name in named - learned if name} | set(columns.numbers)

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record, masked; equal to it where nothing in it is private."""
        masked = {
            name: value if name in self._stays else mask_within(value)[0]
            for name, value in record.items()
        }
        if masked == record:
            return masked
        before, after = read_record(self._form, record), read_record(self._form, masked)
        if len(after) < len(before) or self._count_usable(after) < self._count_usable(before):
            return self._with_answers(masked, record, before)
        return masked

    def _count_usable(self, examples: list[Example]) -> int:
        usable = 0
        for example in examples:
            found = RecordProblems("")
            self._rules.judge(example, found)
            usable += not found.failed
        return usable

    def _with_answers(
        self, masked: dict[str, Any], record: dict[str, Any], examples: list[Example]
    ) -> dict[str, Any]:
        """The masked record with outputs as they were."""
        if self._form.columns is not None:
            return {**masked, **{name: record[name] for name in self._form.columns.output}}
        kept = {one.target.content for one in examples}
        turns = (turn for one in examples for turn in one.messages)
        kept |= {call.arguments for turn in turns for call in turn.tool_calls}
        restored: dict[str, Any] = _restored(masked, record, kept)
        return restored


def _restored(masked: Any, was: Any, kept: Collection[str]) -> Any:
    """A masked value in which texts that are to be kept are as they were."""
    if isinstance(was, str):
        return was if was in kept else masked
    if isinstance(was, list):
        return [_restored(*pair, kept) for pair in zip(masked, was, strict=True)]
    if isinstance(was, dict):
        pairs = zip(masked.items(), was.values(), strict=True)
        return {name: _restored(value, old, kept) for (name, value), old in pairs}
    return masked
