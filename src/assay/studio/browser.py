"""What the studio has the browser do by itself."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.validation_element import ValidationElement
from nicegui.elements.mixins.value_element import ValueElement
from nicegui.events import GenericEventArguments

_LOST_CONNECTION, _LEAD = (
    files("assay.studio").joinpath(name).read_text(encoding="utf-8")
    for name in ("lost_connection.js", "lead.js")
)
_SHOW = "(chosen) => { element.props['model-value'] = chosen; emit(chosen); }"
"""NiceGUI evaluates a handler where `element` is what it is a handler of."""


def add_scripts() -> None:
    """Give all pages the scripts of the studio; once, before any is shown. As modules they come
    after socket.io and NiceGUI's own functions, and before the page connects."""
    ui.add_body_html(f'<script type="module">{_LOST_CONNECTION}</script>', shared=True)
    ui.add_body_html(f'<script type="module">{_LEAD}</script>', shared=True)


def show_at_once(made: ValueElement[Any]) -> None:
    """Lets the browser show what is chosen before the server has answered. Else it takes each click
    until then for a change of the old choice: of two quick ones the first is undone, and a return
    to the old choice does nothing. The server answers where it has made something else of it."""

    def correct(event: GenericEventArguments) -> None:
        if event.args != made.props["model-value"]:
            made.update()

    made.LOOPBACK = None
    made.on("update:model-value", correct, js_handler=_SHOW)


def lead_to_error(button: Element) -> None:
    """Bring the first field in error of the form that a button belongs to into view, with the
    cursor in it; nothing where there is none: the form was taken. Whoever is in another field by
    then stays there."""
    button.client.run_javascript(call_expression("leadToError", button.id))


def lead_to(field: Element) -> None:
    """Put the cursor into a field and bring it into view, which Quasar's focus alone does not, also
    out of what is folded. Whoever is in another field by then stays there."""
    # Of the field's page: what was clicked to come here may be gone.
    is_input = isinstance(field, ValidationElement)
    field.client.run_javascript(call_expression("leadTo", field.id, is_input))


def call_expression(function: str, *arguments: Any) -> str:
    """A call of a fixed JavaScript function, with arguments as JSON: the browser evaluates the code
    that NiceGUI sends it, so that a name that is formatted into it would be code, too."""
    return f"({function})({', '.join(json.dumps(one) for one in arguments)})"
