"""Notices of what went well or wrong, and dialogs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

from nicegui import Client, ui
from nicegui.element import Element
from nicegui.elements.mixins.validation_element import ValidationElement
from nicegui.elements.mixins.value_element import ValueElement

from assay.accounts.people import NotAllowedError, SignedOutError
from assay.errors import AssayError, StoreError
from assay.studio import widgets as w
from assay.studio.browser import call_expression, lead_to
from assay.studio.session import as_sentence
from assay.studio.words import quote_typed, stand_alone

T = TypeVar("T")
V = TypeVar("V", bound=ValidationElement[Any])
_ASK = """(isChanged) => {
  window.isChanged = isChanged;
  window.askIfChanged ??= (event) => window.isChanged && event.preventDefault();
  window.addEventListener("beforeunload", window.askIfChanged);
}"""
_CLOSE_NOTICES = """
const shown = ".q-notification.notice:not(.offer) button";
for (const close of document.querySelectorAll(shown)) close.click();
"""
_OFFER_RELOAD = """(message) => {
  window.closeOffer?.();
  const reload = { label: "Reload", color: "inherit", handler: () => window.location.reload() };
  const later = { label: "Later", color: "inherit" };
  window.closeOffer = Quasar.Notify.create({
    message, type: "positive", position: "top", timeout: 0, multiLine: true,
    classes: "notice offer", actions: [reload, later],
  });
}"""
_TO_FIRST_FIELD = """() => {
  const box = document.activeElement.closest("[role=dialog]");
  if (box === null || document.activeElement.matches("input, textarea")) return;
  const field = [...box.querySelectorAll("input:not([type=file], [type=hidden]), textarea")]
    .find((one) => one.checkVisibility());
  if (field) field.focus();
}"""
ERROR_MS = 20_000
"""So long can a notice be read that says what to do."""
DISCARD = "Discard changes"
KEPT = 200
"""Characters that are kept of the beginning and of the end of what is said at a field."""


def notify(text: str) -> None:
    """Show a notice of something that went well; what went wrong before it leaves."""
    close_notices()
    ui.notify(text, type="positive", position="top", classes="notice")


@contextmanager
def notice_while(text: str) -> Iterator[None]:
    """Show a notice for as long as something takes."""
    shown = ui.notification(text, timeout=None)
    try:
        yield
    finally:
        shown.dismiss()


def close_notices() -> None:
    """Take away what went wrong before, once a person tries again."""
    ui.run_javascript(_CLOSE_NOTICES)


def advise(text: str) -> None:
    """Show a notice of something that was not done, or not as a person may think."""
    _notify_at_length(text, "warning")


def offer_reload(client: Client, why: str) -> None:
    """Show a notice with a button that loads a page again, which stays until it is answered. What
    is not saved there is kept: the browser asks."""
    client.run_javascript(call_expression(_OFFER_RELOAD, why))


def show_error(error: Exception) -> None:
    """Show an error as a notice, which leaves when it was read: what a person can mend, or that it
    is a bug, which is logged as well. Whoever is signed out is led to the page that says so; what a
    field tells already is not told twice."""
    if isinstance(error, SignedOutError):
        ui.navigate.reload()
    elif isinstance(error, ToldError):
        return
    else:
        _notify_at_length(stand_alone(as_sentence(error)), "negative")


class ToldError(AssayError):
    """What was wrong is said at a field; it ends what was being done."""


def _notify_at_length(text: str, kind: Literal["warning", "negative"]) -> None:
    """A notice that says what to do: it stays while it is read, and can be closed."""
    ui.notify(
        quote_typed(text),
        type=kind,
        timeout=ERROR_MS,
        close_button="Close",
        multi_line=True,
        position="top",
        classes="notice",
    )


@contextmanager
def open_dialog(title: str, under: str = "", style: str = "") -> Iterator[ui.dialog]:
    """An open dialog with a heading. `submit` closes it, `read_choice` waits for that.

    It is deleted once it is hidden: only one that hides gives the focus back to where it was.
    """
    with ui.dialog(value=True) as dialog, ui.card().classes("studio").classes(style):
        dialog.on("hide", dialog.delete)
        type_at_once(dialog)
        w.heading(title, under)
        yield dialog


def type_at_once(dialog: ui.dialog) -> None:
    """Put the cursor into a dialog's first field, if it has one, whenever it is shown."""
    dialog.on("show", js_handler=_TO_FIRST_FIELD)


def keep_open_once_changed(
    dialog: ui.dialog, inputs: Iterable[ValueElement[Any]], close: ui.button
) -> None:
    """From the first change of an input on, only buttons close a dialog: Escape would lose it, and
    says so, and the browser asks before the page is left.

    It is persistent from the start, and what would have closed it (its "shake") is decided here:
    behind the changes that were made before, however slow the connection is.

    Args:
        close: closes the dialog; from the first change on it is called by what it does then.
    """
    changed = False

    def change() -> None:
        nonlocal changed
        if not changed:
            ask_before_leaving(True)
        changed = True
        close.text = DISCARD

    def shake() -> None:
        if changed:
            ui.notify(
                f"Your changes are not saved. Press “Save” or “{DISCARD}”.",
                type="warning",
                position="top",
                classes="notice",
            )
        else:
            dialog.close()

    def end() -> None:
        if changed:
            ask_before_leaving(False)

    for made in inputs:
        made.on_value_change(change)
    dialog.props("persistent")
    dialog.on("shake", shake)
    dialog.on_value_change(end)


def ask_before_leaving(is_changed: bool) -> None:
    """Have the browser ask before the page is left, where something would be lost, or not."""
    ui.run_javascript(call_expression(_ASK, is_changed))


@contextmanager
def errors_at(
    field: ValidationElement[Any], *kinds: type[AssayError], say: Callable[[Any], object] = str
) -> Iterator[None]:
    """Says at a field what is wrong with its value, and takes away what was said before.

        with errors_at(name, UsageError):
            await context.do(rename, name.value)

    Args:
        kinds: that are of the field; all, if none is named, but that a person may not do it.
        say: an error of these in the words of the form.

    Raises:
        ToldError: in the place of an error that the field tells, which ends the handler.
    """
    field.error = None
    try:
        yield
    except (SignedOutError, NotAllowedError, StoreError, ToldError):
        raise  # of no field
    except AssayError as error:
        if kinds and not isinstance(error, kinds):
            raise
        tell_at(field, str(say(error)))
        raise ToldError(error.what) from error


def tell_at(field: ValidationElement[Any], wrong: AssayError | str) -> None:
    """Say at a field what is wrong with its value."""
    field.error = say_at(str(wrong))
    lead_to(field)


def say_at(text: str) -> str:
    """A sentence as it stands at a field: what it quotes of a long value is left out."""
    if len(text) > 2 * KEPT:
        text = f"{text[:KEPT]} … {text[-KEPT:]}"
    return quote_typed(stand_alone(text))


def add_choices(
    dialog: ui.dialog,
    yes: str,
    value: Callable[[], Any] = lambda: True,
    *,
    is_ready: Callable[[], bool] = lambda: True,
) -> None:
    """A button that answers a dialog with a value, and one that cancels it.

    Args:
        is_ready: whether it can be answered so; what is wrong is said at its fields.
    """

    def submit() -> None:
        if is_ready():
            dialog.submit(value())

    with w.row():
        w.button(yes, submit, kind="primary")
        w.button("Cancel", lambda: dialog.submit(None))


async def read_choice(dialog: ui.dialog) -> Any:
    """Wait for what a dialog is answered with. None: it was closed, perhaps before it was ready."""
    return await dialog if dialog.value else None


async def confirm(question: str, consequences: str, yes: str) -> bool:
    """Ask before something that cannot be taken back; whoever closes the dialog has said no."""
    with open_dialog(question, consequences) as dialog:
        add_choices(dialog, yes)
    return bool(await read_choice(dialog))


async def ask_value(
    title: str,
    label: str,
    make: Callable[[], V],
    yes: str,
    act: Callable[[Any], Awaitable[T]],
    *,
    under: str = "",
    name: str = "",
) -> T | None:
    """Ask for one value and do something with it; what is wrong with it is said at its field, where
    it can be corrected.

    Args:
        make: makes the input, with the value to begin with.
        act: is given the value.
        name: of the input for screen readers; the label, if empty.

    Returns:
        What was done. None: the dialog was closed.
    """
    with open_dialog(title, under) as dialog:
        made = w.field(label, make(), name=name)

        async def submit() -> None:
            if made.validate():
                with errors_at(made):
                    dialog.submit((await act(made.value),))

        enter_or_click(made, yes, submit, lambda: dialog.submit(None))
    done = await read_choice(dialog)
    return None if done is None else done[0]


def enter_or_click(
    field: Element,
    yes: str,
    act: Callable[[], Awaitable[Any]],
    cancel: Callable[[], object] | None = None,
    *,
    icon: str | None = None,
) -> ui.button:
    """A button, and Enter in a field, that do something; both together do it once.

    Args:
        cancel: of a second button.
    """
    once = w.one_by_one(act)
    field.on("keydown.enter", once)
    with w.row():
        made = w.button(yes, once, kind="primary", icon=icon)
        if cancel is not None:
            w.button("Cancel", cancel)
    return made


def query_row(
    name: str, label: str, icon: str, act: Callable[[str], Awaitable[None]], placeholder: str
) -> ui.input:
    """An input with a button beside it; `act` is given what was typed, if it is not empty. What is
    wrong with it is said at the input.

    Args:
        name, label: of the input, for screen readers, and of the button.
    """
    with w.row("ask"):
        entry = w.label_input(ui.input(placeholder=placeholder), name)

        async def submit() -> None:
            words = (entry.value or "").strip()
            entry.error = None if words else "This cannot be empty."
            if words:
                with errors_at(entry):
                    await act(words)

        once = w.one_by_one(submit)
        entry.on("keydown.enter", once)
        w.button(label, once, kind="primary", icon=icon)
    return entry


async def show_record(
    title: str,
    what: str,
    reading: Awaitable[T],
    show: Callable[[T], None],
    *,
    under: str = "",
) -> None:
    """Read something and show it in a dialog.

    Args:
        what: is being done meanwhile, as "Reading it".
        show: makes the content.
    """
    with open_dialog(title, under, "wide-dialog") as dialog:
        found = await w.load(what, reading)
        if not dialog.value:  # closed while it was read
            return
        if found is not None:
            show(found)
        with w.row():
            w.button("Close", dialog.close)
    await read_choice(dialog)
