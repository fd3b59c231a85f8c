"""Measured figures end up in the table of docs/security.md; what was not measured again stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.figures import recorder, write_block, write_table


def test_a_figure_replaces_its_row_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, page = tmp_path / "figures.jsonl", tmp_path / "page.md"
    page.write_text(
        "# Page\n\n## Figures\n\nHow.\n\n| figure | measured | by |\n|---|---|---|\n"
        "| kills | 3 of 3 | `tests/attacks/test_kills.py` |\n"
        "| freeze | 9 s | `tests/attacks/test_requests.py` |\n"
    )
    recorder("tests/attacks/test_requests.py")("freeze", "unseen")
    monkeypatch.setenv("ASSAY_FIGURES", str(figures))
    recorder("tests/attacks/test_requests.py")("freeze", "0.1 s")
    recorder("tests/attacks/test_requests.py")("memory", "12 MB")
    assert write_table(figures, page) == 2
    assert write_table(tmp_path / "none.jsonl", page) == 0
    assert page.read_text() == (
        "# Page\n\n## Figures\n\nHow.\n\n| figure | measured | by |\n|---|---|---|\n"
        "| kills | 3 of 3 | `tests/attacks/test_kills.py` |\n"
        "| freeze | 0.1 s | `tests/attacks/test_requests.py` |\n"
        "| memory | 12 MB | `tests/attacks/test_requests.py` |\n"
    )


def test_a_table_replaces_its_block_and_no_other(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "One.\n\n<!-- simulated: watch -->\n<!-- end -->\n\n"
        "Two.\n\n<!-- measured: gain -->\nkept\n<!-- end -->\n"
    )
    write_block("watch", "| a |\n|---|\n| \\1 |\n", "200 runs", page)
    assert page.read_text() == (
        "One.\n\n<!-- simulated: watch -->\n| a |\n|---|\n| \\1 |\n\n200 runs.\n<!-- end -->\n\n"
        "Two.\n\n<!-- measured: gain -->\nkept\n<!-- end -->\n"
    )
    write_block("gain", "| b |\n|---|\n| 2 |", "by hand", page)
    assert page.read_text().endswith(
        "200 runs.\n<!-- end -->\n\n"
        "Two.\n\n<!-- measured: gain -->\n| b |\n|---|\n| 2 |\n\nby hand.\n<!-- end -->\n"
    )
    with pytest.raises(ValueError, match="has 0 blocks"):
        write_block("promotion", "", "", page)
