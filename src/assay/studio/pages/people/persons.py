"""People who use the studio: let in by a link, each with a role, sent away again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from assay.accounts import people
from assay.accounts.people import ROLES, Person
from assay.studio.access import ENTER
from assay.studio.dialogs import say, sure, telling
from assay.studio.session import Visit, action
from assay.studio.widgets import (
    button,
    card,
    cells,
    code,
    field,
    heading,
    labelled,
    moment,
    named,
    row,
    table,
    text,
)

Refresh = Callable[[], Awaitable[None]]
MEANINGS = {
    "viewer": "looks, and tries things out",
    "editor": "changes agents and data, runs comparisons, promotes",
    "admin": "also gives out keys and lets people in",
}


@action("admin")
def listed(visit: Visit) -> list[Person]:
    """Everybody."""
    return people.people(visit.workspace)


@action("admin")
def add(visit: Visit, name: str, role: str) -> tuple[Person, str]:
    """Let somebody in; the secret of their link."""
    person = people.add(visit.workspace, name, role)
    return person, people.sign_in_secret(visit.workspace, person.id)


@action("admin")
def new_link(visit: Visit, id: str) -> str:
    """The secret of another link."""
    return people.sign_in_secret(visit.workspace, id)


@action("admin")
def set_role(visit: Visit, id: str, role: str) -> Person:
    """Give somebody another role."""
    return people.set_role(visit.workspace, id, role)


@action("admin")
def remove(visit: Visit, id: str) -> Person:
    """Let somebody in no more."""
    return people.remove(visit.workspace, id)


async def persons(visit: Visit) -> None:
    """The table, and a form for another one."""
    linked = ui.element("div").classes("stack")
    shown = ui.element("div").classes("stack gap")

    def show_link(name: str, secret: str) -> None:
        linked.clear()
        with linked, card("accent"):
            heading(f"A link for {name}", "Give it to nobody else: it is good once, for an hour.")
            code(f"{visit.address}{ENTER}?once={secret}", f"The link for {name}")

    async def refresh() -> None:
        found = await visit.do(listed)
        shown.clear()
        with shown, card():
            heading("People")
            with table("Name", "Role", "Since", "", label="People"):
                for person in found:
                    _line(visit, person, show_link, refresh)
            for role, meaning in MEANINGS.items():
                text(f"{role.capitalize()}: {meaning}.", "soft note")

    await refresh()
    _make(visit, show_link, refresh)


def _line(
    visit: Visit, person: Person, show_link: Callable[[str, str], None], refresh: Refresh
) -> None:
    async def link() -> None:
        with telling():
            show_link(person.name, await visit.do(new_link, person.id))

    async def away() -> None:
        why = "They are signed out at once."
        if await sure(f"Let {person.name} in no more?", why, "Remove"):
            with telling():
                await visit.do(remove, person.id)
                say(f"{person.name} is removed.")
                await refresh()

    async def change(event: object) -> None:
        with telling():
            await visit.do(set_role, person.id, role.value)
            say(f"{person.name} is {role.value} now.")
        await refresh()

    with cells(person.name):
        with ui.element("td"):
            role = ui.select(list(ROLES), value=person.role, on_change=change)
            named(role, f"Role of {person.name}").classes("narrow")
        text(moment(person.created), tag="td")
        with ui.element("td"), row("acts"):
            labelled(button("New link", link, kind="link"), f"New link for {person.name}")
            labelled(button("Remove", away, kind="link"), f"Remove {person.name}")


def _make(visit: Visit, show_link: Callable[[str, str], None], refresh: Refresh) -> None:
    with card():
        heading("Let somebody in", "They get a link; there are no passwords.")
        with ui.element("div").classes("split"):
            with field("Name"):
                name = ui.input()
                named(name, "Name of the person")
            with field("Role"):
                role = ui.select(list(ROLES), value="viewer")
                named(role, "Role of the person")

        async def click() -> None:
            with telling():
                person, secret = await visit.do(add, name.value or "", role.value)
                show_link(person.name, secret)
                name.value = ""
                await refresh()

        name.on("keydown.enter", click)
        with row():
            button("Make a link", click, kind="primary", icon="person_add")
