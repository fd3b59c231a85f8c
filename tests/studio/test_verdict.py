"""The verdict's card, without a browser."""

from __future__ import annotations

from nicegui import Client
from nicegui.elements.mixins.text_element import TextElement
from nicegui.page import page

from assay.compare.naming import in_words
from assay.studio.shared.verdict import candidates_table, verdict_card
from tests.compare.sample import sample_result


def test_what_is_typed_is_code_in_every_sentence() -> None:
    result = sample_result(good_enough=None)
    first = result.candidates[0].model_copy(update={"warnings": ["See `route`."]})
    result = result.model_copy(
        update={"candidates": [first, *result.candidates[1:]], "warnings": ["See `few_shot`."]}
    )
    with Client(page("/verdict")) as client:
        verdict_card(in_words(result))
        candidates_table(in_words(result))
    shown = [one for one in client.elements.values() if isinstance(one, TextElement)]
    code = [one.text for one in shown if one.tag == "code"]
    assert {"good_enough", "route", "few_shot"} <= set(code)
    assert not [one.text for one in shown if "`" in one.text]
