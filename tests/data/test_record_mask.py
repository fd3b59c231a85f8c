"""What a model reads or writes is masked, whatever else its column is."""

from __future__ import annotations

import pytest

from assay.config import Columns
from assay.data.contents import Rules
from assay.data.read import DetectedFormat
from assay.data.record_mask import RecordMask

PRIVATE = "Write to ann@firm.ch"
MASKED = "Write to <e-mail address>"


@pytest.mark.parametrize("role", ["id", "group", "document"])
def test_a_column_that_is_learned_from_is_masked_whatever_else_it_is(role: str) -> None:
    record = {"asked": PRIVATE, "answer": PRIVATE, "by": PRIVATE}
    for column, masked in (
        ("asked", {"asked": MASKED, "answer": MASKED, "by": MASKED}),
        ("answer", {"asked": MASKED, "answer": MASKED, "by": MASKED}),
        ("by", {"asked": MASKED, "answer": MASKED, "by": PRIVATE}),
    ):
        columns = Columns.model_validate({"input": ["asked"], "output": ["answer"], role: column})
        mask = RecordMask(DetectedFormat("csv", columns=columns), Rules("text"))
        assert mask(record) == masked
