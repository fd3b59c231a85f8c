"""What pages are built of, without a browser."""

from __future__ import annotations

from nicegui import Client
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.errors import AssayError
from assay.studio import widgets as w
from assay.studio.dialogs import say_at


def test_texts_of_a_table_are_shown_as_they_are() -> None:
    """A user's label may begin with any character; only what is made a number stands as one."""
    with Client(page("/texts")) as client, w.table("#tag", w.Number("Rows"), label="Labels"):
        w.line("#urgent", w.Number("3"))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    assert [(one.text, one.classes) for one in shown] == [
        ("#tag", []), ("Rows", ["number"]), ("#urgent", []), ("3", ["number"]),
    ]  # fmt: skip


def test_what_is_typed_is_shown_as_code_and_no_text_as_markup() -> None:
    with Client(page("/")) as client:
        w.failure(AssayError("`<b>` is unknown.", fix="Correct `labels`."))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    assert [one.text for one in shown if one.tag == "code"] == ["<b>", "labels"]
    assert say_at("`labels` names a label twice.") == "“labels” names a label twice."
