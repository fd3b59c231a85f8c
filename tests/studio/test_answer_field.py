"""The right answer of a trace: one of the labels, where there are some; else any text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from nicegui import Client, ui
from nicegui.page import page

from assay.studio.pages.releases.answer_field import answer_field


def test_labels_are_chosen_from_a_list() -> None:
    def context(labels: list[str] | None) -> Any:
        return SimpleNamespace(workspace=SimpleNamespace(config=SimpleNamespace(labels=labels)))

    with Client(page("/answers")):
        chosen = answer_field(context(["Billing", "Emergency"]), "Billing", "a wrong answer")
        assert isinstance(chosen, ui.select)
        assert list(chosen.options) == ["Billing", "Emergency", "a wrong answer"]
        assert chosen.value == "Billing"
        assert isinstance(answer_field(context(None), "{}", "[]"), ui.textarea)
