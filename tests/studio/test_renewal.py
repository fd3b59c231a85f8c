"""How the examples were read, as the page Data says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.project.holdout_summary import describe_holdout
from assay.studio.pages.data.renewal import describe_read
from tests.many_rows import project


@pytest.mark.parametrize(
    ("validation", "others"), [(None, ""), ("more.csv", " and of files that belong to it")]
)
def test_other_files_are_spoken_of_where_there_are_some(
    tmp_path: Path, validation: str | None, others: str
) -> None:
    found = describe_holdout(project(tmp_path, 60))
    assert describe_read(found.manifest, validation) == (
        f"64 rows of tickets.csv{others}, read as csv; 1 rejected."
    )
