"""What pages are built of, without a browser."""

from __future__ import annotations

import pytest
from nicegui import Client
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.errors import AssayError
from assay.studio import widgets as w
from assay.studio.dialogs import stand_alone
from assay.studio.shared.names import format_author


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ("user:ann", "ann"),
        ("user:root", "root"),
        ("cli:ann", "ann, on the command line"),
        ("cli:root", "the command line"),
        ("ann", "ann"),
        ("root", "the server"),
        ("key-1234", "key-1234"),
        ("mcp: stdio of ann", "a program (stdio of ann)"),
    ],
)
def test_who_did_something_is_a_person_or_a_place(who: str, shown: str) -> None:
    assert format_author(who) == shown


def test_texts_of_a_table_are_shown_as_they_are() -> None:
    """A user's label may begin with any character; only what is made a number stands as one."""
    with Client(page("/texts")) as client, w.table("#tag", w.Number("Rows"), label="Labels"):
        w.line("#urgent", w.Number("3"))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    assert [(one.text, one.classes) for one in shown] == [
        ("#tag", []), ("Rows", ["number"]), ("#urgent", []), ("3", ["number"]),
    ]  # fmt: skip


def test_a_notice_begins_with_a_capital_or_a_name() -> None:
    assert stand_alone(AssayError("a key needs a scope.")) == "A key needs a scope."
    assert stand_alone(AssayError("photo.csv is an image.")) == "photo.csv is an image."
    named = AssayError("the file is empty.", where="only header.csv")
    assert stand_alone(named) == "only header.csv: the file is empty."
