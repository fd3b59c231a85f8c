"""What pages are built of: headings, cards, figures, fields, and what stands where nothing is.

Texts are set as text, never as markup; `picture` alone takes that, of charts that escape theirs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from inspect import iscoroutine
from typing import Any, TypeVar

from markupsafe import Markup
from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement
from nicegui.elements.mixins.value_element import ValueElement

from assay.compare.report import typed_names
from assay.errors import AssayError
from assay.studio.access import PREFIX
from assay.studio.browser import lead_to_error, show_at_once
from assay.studio.words import stand_alone

E = TypeVar("E", bound=Element)
T = TypeVar("T")


class Number(str):
    """A text of a table that is a number, or the heading of a column of them: it stands at the
    right. No text is one by what it says: a label of a user's may begin with any character."""

    style = "number"


def set_label(made: E, label: str) -> E:
    """Tells those who do not see it what something is. A prop is set as a value, never parsed from
    a text: what stands in a name would become props, and of some the browser makes code."""
    made.props["aria-label"] = label
    return made


def text(content: str, style: str = "", tag: str = "p") -> TextElement:
    """A text in an element of its own; `.text` changes it."""
    made = TextElement(tag=tag, text=content)
    if style:
        made.classes(style)
    return made


def sentence(content: str, style: str = "", tag: str = "p") -> None:
    """A text in which something is typed, such as the name of a setting: what stands in backquotes
    is shown as code, without them."""
    with text("", style, tag):
        for part, is_typed in typed_names.divide(content):
            text(part, tag="code" if is_typed else "span")


def title(content: str, under: str = "") -> None:
    """The page's heading, and a sentence that says what the page is for."""
    with ui.element("div").classes("title"):
        text(content, tag="h1")
        if under:
            text(under, "soft")


def heading(content: str, under: str = "") -> None:
    """The heading of a part of a page, and a sentence under it."""
    with ui.element("div").classes("heading"):
        text(content, tag="h2")
        if under:
            text(under, "soft note")


@contextmanager
def card(style: str = "") -> Iterator[Element]:
    """A surface of its own for a part of a page."""
    with ui.element("section").classes("card").classes(style) as made:
        yield made


@contextmanager
def section(title: str, under: str = "", style: str = "") -> Iterator[Element]:
    """A card with a heading, and a sentence under it."""
    with card(style) as made:
        heading(title, under)
        yield made


@contextmanager
def row(style: str = "") -> Iterator[Element]:
    """Things side by side; they wrap where there is no room."""
    with ui.element("div").classes("flow").classes(style) as made:
        yield made


def figure(value: str, label: str, meaning: str = "") -> TextElement:
    """A number that matters, with what it is under it, which is returned."""
    with ui.element("div").classes("figure"):
        text(value, "value", "div")
        return term(label, meaning) if meaning else text(label, "label", "div")


def term(word: str, meaning: str) -> TextElement:
    """A word that not everybody knows; hover, touch or focus explains it."""
    with text(word, "term", "span").props("tabindex=0") as made:
        ui.tooltip(meaning).classes("meaning")
    return made


def button(
    label: str,
    click: Callable[..., Any] | None = None,
    *,
    kind: str = "",
    icon: str | None = None,
    name: str = "",
) -> ui.button:
    """A button; `kind` is `primary`, `danger`, `link` or nothing. A double click does things once.

    One that is `primary` sends a form: where that is refused, it leads to the first field in error.

    Args:
        name: for screen readers, where the label alone does not say what it is for.
    """
    once = None if click is None else one_by_one(click)

    async def send() -> None:
        assert once is not None
        try:
            await once()
        finally:
            if not made.is_deleted:
                lead_to_error(made)

    clicked = send if once is not None and kind == "primary" else once
    made = ui.button(label, on_click=clicked, icon=icon, color=None)
    made.props("unelevated no-caps").classes("btn").classes(kind)
    return set_label(made, name) if name else made


def one_by_one(click: Callable[..., Any]) -> Callable[[], Awaitable[None]]:
    """Does something once, however often it is asked for until it is done."""
    busy = False

    async def clicked() -> None:
        nonlocal busy
        if busy:
            return
        busy = True
        try:
            done = click()
            if iscoroutine(done):  # not a dialog that closes itself: awaited, it opens again
                await done
        finally:
            busy = False

    return clicked


def link(label: str, path: str, style: str = "") -> None:
    """To a page of the studio (a path from `/`)."""
    text(label, style, "a").props["href"] = f"{PREFIX}{path}"


def link_button(label: str, path: str, *, kind: str = "primary") -> None:
    """A link that looks like a button."""
    text(label, "btn-link", "a").classes(kind).props["href"] = f"{PREFIX}{path}"


def field(label: str, made: E, hint: str = "", *, meaning: str = "", name: str = "") -> E:
    """Puts an input under a label, with a hint below it.

    Args:
        made: was made where the field is to stand.
        meaning: explains the label on hover, touch or focus.
        name: of the input for screen readers; the label, if empty.
    """
    with ui.element("div").classes("field") as box:
        if meaning:
            term(label, meaning).classes("field-label")
        else:
            text(label, "field-label", "div").props("aria-hidden=true")
        made.move(box)
        if hint:
            text(hint, "hint", "div")
    return label_input(made, name or label)


def label_input(made: E, label: str) -> E:
    """Every input, in a field or without: style, name for screen readers, `show_at_once`."""
    made.props("outlined dense hide-bottom-space")  # so a message covers nothing below it
    if isinstance(made, ValueElement) and made.LOOPBACK is True:
        show_at_once(made)
    return set_label(made, label)


def checkbox(label: str, value: bool = False) -> ui.checkbox:
    """A box to tick, with its label beside it."""
    return label_input(ui.checkbox(label, value=value), label)


@contextmanager
def refill(box: Element) -> Iterator[None]:
    """Put something else in the place of all that an element holds."""
    box.clear()
    with box:
        yield


_IS_OPEN = "(event) => emit(event.target.open)"


@contextmanager
def details(
    summary: str, *, is_open: bool = False, on_toggle: Callable[[bool], None] | None = None
) -> Iterator[None]:
    """Content that a click on its summary opens.

    Args:
        on_toggle: called with whether it is open now: what is made anew after each of its actions
            is to stay so.
    """
    with ui.element("details").props("open" if is_open else "") as made:
        if on_toggle is not None:
            made.on("toggle", lambda event: on_toggle(bool(event.args)), js_handler=_IS_OPEN)
        text(summary, tag="summary")
        yield


def tab_panels(
    labels: Mapping[str, str], first: str, shown: Callable[[str], None] | None = None
) -> dict[str, Element]:
    """Tabs; the panel of each, by its key, to be filled.

    Args:
        first: the key of the panel that is shown; another text means the first one.
        shown: called with the key of another panel once that is shown.
    """
    with ui.tabs().props("no-caps dense align=left") as tabs:
        for key, label in labels.items():
            ui.tab(key, label)
    show_at_once(tabs)
    chosen = first if first in labels else next(iter(labels))
    panels: dict[str, Element] = {}
    made = ui.tab_panels(tabs, value=chosen, animated=False)
    if shown is not None:
        made.on_value_change(lambda event: shown(event.value))
    with made:
        for key in labels:
            with ui.tab_panel(key), ui.element("div").classes("stack gap") as panels[key]:
                pass
    return panels


def empty(icon: str, what: str, why: str, *, act: tuple[str, str] | None = None) -> None:
    """A page or part with nothing in it yet: what would be here, and how it comes.

    Args:
        act: label and path of what to do.
    """
    with ui.element("div").classes("empty"):
        ui.icon(icon).props("aria-hidden=true")
        text(what, tag="h2")
        text(why, "soft")
        if act:
            link_button(*act)


def failure(error: AssayError, title: str = "This could not be shown") -> None:
    """A page or part that could not be made: what was wrong, where, what to do."""
    with ui.element("div").classes("empty failure").props("role=alert"):
        ui.icon("error_outline").props("aria-hidden=true")
        text(title, tag="h2")
        sentence(f"{error.where}: {error.what}" if error.where else stand_alone(error.what))
        if error.fix:
            sentence(error.fix, "soft")


def waiting(what: str) -> Element:
    """Something that is not there yet; delete it when it is."""
    with ui.element("div").classes("waiting").props("role=status") as made:
        ui.spinner(size="22px", color="")
        text(what, "soft", "span")
    return made


async def load(
    what: str, reading: Awaitable[T], *, failed: str = "This could not be shown"
) -> T | None:
    """Say that something is being read until it is. None: it could not be; why is shown.

    Args:
        what: is being done, as "Reading the agent".
        failed: the heading of why.
    """
    loading = waiting(what)
    try:
        return await reading
    except AssayError as error:
        if not loading.is_deleted:
            failure(error, failed)
        return None
    finally:
        if not loading.is_deleted:
            loading.delete()


def bar(share: float | None, label: str) -> Element:
    """How far something is, 0 to 1; None: nobody knows."""
    made = set_label(ui.element("div").classes("bar").props("role=progressbar"), label)
    set_bar(made, share)
    with made:
        ui.element("div").classes("bar-done")
    return made


def set_bar(made: Element, share: float | None) -> None:
    """Set how far a bar is, 0 to 1; None: unknown."""
    if share is None:
        made.classes("unknown").props(remove="aria-valuenow")
        made.style["--done"] = "30%"
        return
    percent = round(100 * min(1.0, max(0.0, share)))
    made.classes(remove="unknown").style["--done"] = f"{percent}%"
    made.props("aria-valuemin=0 aria-valuemax=100").props["aria-valuenow"] = percent


def picture(markup: Markup) -> ui.html:
    """A chart as markup, whose texts are escaped, as `assay.compare.report.charts` draws it."""
    made = ui.html(markup.__html__(), sanitize=False).classes("picture")
    return made.props("tabindex=0")  # on a phone it scrolls, which the keyboard must reach


def badge(content: str, kind: str = "") -> None:
    """A short word about a state; `kind` is `good`, `warn`, `bad` or nothing."""
    text(content, f"badge {kind}", "span")


def code(content: str, label: str) -> None:
    """A text to copy, with a button that does."""
    with ui.element("div").classes("code"):
        set_label(text(content, tag="pre").props("tabindex=0 role=region"), label)

        def copy() -> None:
            ui.clipboard.write(content)
            ui.notify("Copied.")

        button("Copy", copy, kind="link", icon="content_copy", name=f"Copy: {label}")


@contextmanager
def table(*columns: str, label: str, grouped: bool = False) -> Iterator[None]:
    """A plain table; rows are made with `cells`, where it is `grouped` within `row_group`."""
    with (
        set_label(ui.element("div").classes("wide-table").props("tabindex=0 role=region"), label),
        ui.element("table"),
    ):
        with ui.element("thead"), ui.element("tr"):
            for column in columns:
                style = column.style if isinstance(column, Number) else ""
                text(column, style, "th").props("scope=col")
        with nullcontext() if grouped else ui.element("tbody"):
            yield


@contextmanager
def row_group(heading: str, columns: int) -> Iterator[None]:
    """Rows of a grouped table under a heading of theirs, as wide as so many columns."""
    with ui.element("tbody"):
        with cells(style="group"):
            head = text(heading, "", "th").props("scope=rowgroup")
            head.props["colspan"] = columns
        yield


def line(*values: str, style: str = "") -> None:
    """A row of a table that holds texts alone."""
    with cells(*values, style=style):
        pass


@contextmanager
def cell(style: str = "") -> Iterator[None]:
    """A cell whose content stands side by side."""
    with ui.element("td"), row(style):
        yield


@contextmanager
def cells(*values: str, style: str = "") -> Iterator[None]:
    """A row of texts, and what is put into further cells."""
    with ui.element("tr").classes(style):
        for value in values:
            text(value, value.style if isinstance(value, Number) else "", "td")
        yield
