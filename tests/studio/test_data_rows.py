"""What the table of rows asks the server for, without a browser."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from assay.project.rows import RowFilter
from assay.studio.pages.data import page


@pytest.mark.parametrize(("asked", "cluster"), [("12", 12), ("", None), ("x", None), ("²", None)])
def test_a_cluster_is_a_line(
    monkeypatch: pytest.MonkeyPatch, asked: str, cluster: int | None
) -> None:
    assert _wish(monkeypatch, asked).cluster == cluster


def test_a_number_of_thousands_of_digits_is_the_line_of_no_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = _wish(monkeypatch, "9" * 5000).cluster
    assert cluster is not None
    assert cluster > 10**15


def _wish(monkeypatch: pytest.MonkeyPatch, cluster: str) -> RowFilter:
    found: list[RowFilter] = []

    def page_of(_: Any, wish: RowFilter, *__: int) -> list[Any]:
        found.append(wish)
        return []

    monkeypatch.setattr(page, "page_of", page_of)
    monkeypatch.setattr(page, "visit_of", lambda _: SimpleNamespace())
    page.serve_rows(None, 0, 10, cluster=cluster)  # type: ignore[arg-type]
    return found[0]
