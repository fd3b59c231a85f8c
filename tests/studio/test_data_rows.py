"""What the table of rows asks the server for, without a browser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assay.project.rows import RowFilter
from assay.studio.pages.data import row_table


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


def _read_filter(monkeypatch: pytest.MonkeyPatch, cluster: str) -> RowFilter:
    found: list[RowFilter] = []

    def read_page(_: Any, where: RowFilter, *__: int) -> list[Any]:
        found.append(where)
        return []

    monkeypatch.setattr(row_table, "read_page", read_page)
    monkeypatch.setattr(row_table, "request_context", lambda _: SimpleNamespace())
    row_table.serve_rows(None, 0, 10, cluster=cluster)  # type: ignore[arg-type]
    return found[0]
