"""Whether one row can be used as an example, after the rows before it."""

from __future__ import annotations

from dataclasses import replace

from assay.data.contents import Rules, quote
from assay.data.formats.record import RecordProblems
from assay.data.normal import key64
from assay.data.privacy import mask
from assay.data.problems import Problem
from assay.data.read import Row
from assay.data.statistics import Tokens
from assay.example import Example


class RowJudge:
    """Says of one row after the other whether it can be used; of ids it remembers the hash."""

    def __init__(self, file: str, rules: Rules) -> None:
        self._rules = rules
        self._found = RecordProblems(file)
        self._ids: set[int] = set()

    def judge(self, row: Row) -> tuple[Example | None, list[Problem], Tokens | None]:
        """The example, None where it cannot be used; its problems; its tokens where counted."""
        example, found, tokens = row.example, self._found, None
        found.start(row.line)
        if example is not None:
            self._check_id(example)
            tokens = self._rules.judge(example, found)
        quoting = (replace(one, message=mask(one.message)) for one in row.problems)
        return None if found.failed else example, [*quoting, *found.problems], tokens

    def _check_id(self, example: Example) -> None:
        key = key64(example.id)
        if key in self._ids:
            self._found.add(
                "duplicate-id",
                f"the id {quote(example.id)} is already used by an earlier row.",
                "Give every row a unique id, or do not set an id column.",
                "id",
            )
        self._ids.add(key)
