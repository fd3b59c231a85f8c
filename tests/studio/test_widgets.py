"""What pages are built of, without a browser."""

from __future__ import annotations

from nicegui import Client
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.studio import widgets as w


def test_texts_of_a_table_are_shown_as_they_are() -> None:
    """A user's label may begin with any character; only what is made a number stands as one."""
    with Client(page("/texts")) as client, w.table("#tag", w.Number("Rows"), label="Labels"):
        w.line("#urgent", w.Number("3"))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    assert [(one.text, one.classes) for one in shown] == [
        ("#tag", []), ("Rows", ["number"]), ("#urgent", []), ("3", ["number"]),
    ]  # fmt: skip
