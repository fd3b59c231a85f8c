"""What is suggested is nearly what was written; a name of no likeness is not."""

from __future__ import annotations

import pytest

from assay.close_names import find_close_name

COLUMNS = ["Species", "Customer message", "Text", "Service"]
MODELS = ["smollm2-360m-instruct", "smollm2-135m-instruct", "smollm2-9m"]


@pytest.mark.parametrize(
    ("written", "names", "meant"),
    [
        ("specis", COLUMNS, "Species"),
        ("txt", COLUMNS, "Text"),
        ("cvs", ["json", "csv"], "csv"),  # two letters that were swapped
        ("message", COLUMNS, "Customer message"),
        ("smollm2", MODELS, "smollm2-9m"),
        ("guide.md", ["manuals/travel/guide.md"], "manuals/travel/guide.md"),
        ("Desk", COLUMNS, None),
        ("Price", COLUMNS, None),
        ("age", ["message"], None),
        ("x", ["text x"], None),
        ("", COLUMNS, None),
        ("Text", [], None),
    ],
)
def test_a_name_that_is_meant_is_found(written: str, names: list[str], meant: str | None) -> None:
    assert find_close_name(written, names) == meant
