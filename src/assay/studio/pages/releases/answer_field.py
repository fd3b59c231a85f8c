"""The field for the right answer of a trace: labels are chosen from a list."""

from __future__ import annotations

from nicegui import ui

from assay.studio import widgets as w
from assay.studio.session import PageContext
from assay.studio.shared.findings import show_spaces


def answer_field(
    context: PageContext, value: str, given: str, name: str = ""
) -> ui.textarea | ui.select:
    """The field, filled with an answer.

    Args:
        given: the answer that was given; like `value`, it is offered beside the labels where it is
            none of them.
        name: for screen readers, see `widgets.field`.
    """
    config = context.workspace.config
    if config is None or not config.labels:
        return w.field("Correct answer", ui.textarea(value=value).props("autogrow"), name=name)
    offered = {label: show_spaces(label) or "(empty)" for label in (*config.labels, given, value)}
    return w.field("Correct answer", ui.select(offered, value=value), name=name)
