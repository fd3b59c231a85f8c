"""What the table of rows asks the server for, without a browser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assay.project.rows import RowFilter
from assay.studio.pages.data import row_table
from assay.studio.pages.data.row_filter import describe_count


@pytest.mark.parametrize(("asked", "cluster"), [("12", 12), ("", None), ("x", None), ("²", None)])
def test_a_cluster_is_a_line(
    monkeypatch: pytest.MonkeyPatch, asked: str, cluster: int | None
) -> None:
    assert _read_filter(monkeypatch, asked).cluster == cluster


def test_a_number_of_thousands_of_digits_is_the_line_of_no_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = _read_filter(monkeypatch, "9" * 5000).cluster
    assert cluster is not None
    assert cluster > 10**15


def test_a_filter_that_matches_nothing_says_so() -> None:
    assert describe_count(3, True) == ""
    assert describe_count(0, False) == "No row matches."
    assert describe_count(0, True).endswith("Rows of the holdout are not searched.")


def _read_filter(monkeypatch: pytest.MonkeyPatch, cluster: str) -> RowFilter:
    found: list[RowFilter] = []

    def read_page(_: Any, where: RowFilter, *__: int) -> list[Any]:
        found.append(where)
        return []

    monkeypatch.setattr(row_table, "read_page", read_page)
    monkeypatch.setattr(row_table, "request_context", lambda _: SimpleNamespace())
    row_table.serve_rows(None, 0, 10, cluster=cluster)  # type: ignore[arg-type]
    return found[0]
