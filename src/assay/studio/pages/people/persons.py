"""People who use the studio: let in by a link, each with a role, sent away again."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from nicegui import ui

from assay.accounts import people
from assay.accounts.people import ROLES, Person
from assay.config.hosts import is_loopback
from assay.errors import AssayError, UsageError
from assay.studio import widgets as w
from assay.studio.access import ENTER
from assay.studio.browser import lead_to
from assay.studio.dialogs import confirm, enter_or_click, errors_at, notify
from assay.studio.session import PageContext, Refresh, action, workspace_action
from assay.studio.words import format_time

MEANINGS = {
    "viewer": "can view the pages and try out models and releases",
    "editor": "can also change agents and data, run comparisons and promote releases",
    "admin": "can also create keys and add people",
}


ONLY_HERE = (
    "This link works on this computer only. To be reached from others, start the server with "
    "`assay serve --host` and a certificate, or put a proxy that ends TLS before it; a link that "
    "is created at that address works there."
)


def is_of_this_computer(address: str) -> bool:
    """Whether an address, such as http://127.0.0.1:8000, leads each computer to itself."""
    host = urlsplit(address).hostname or ""
    return is_loopback(host) or host.endswith(".localhost")


@action("admin")
def add_person(context: PageContext, name: str, role: str) -> tuple[Person, str]:
    """Add a person; the secret of the link that signs them in."""
    person = people.add(context.workspace, name, role)
    return person, people.sign_in_secret(context.workspace, person.id)


create_link = workspace_action("admin", people.sign_in_secret)
change_role = workspace_action("admin", people.set_role)
remove_person = workspace_action("admin", people.remove)


async def people_tab(context: PageContext) -> None:
    """The table, and a form for another one."""
    linked = ui.element("div").classes("stack")
    shown = ui.element("div").classes("stack gap")
    link_of = ""

    def forget_link(name: str) -> None:
        if name == link_of:
            linked.clear()

    def show_link(name: str, secret: str) -> None:
        nonlocal link_of
        link_of = name
        with (
            w.refill(linked),
            w.section(
                f"Sign-in link for {name}",
                "Give it to nobody else: it works once, within an hour.",
                style="accent",
            ) as card,
        ):
            w.code(f"{context.address}{ENTER}?once={secret}", f"Sign-in link for {name}")
            if is_of_this_computer(context.address):
                w.sentence(ONLY_HERE, "warn note")
        lead_to(card.props("tabindex=-1"))

    async def refresh() -> None:
        found = await context.read(people.people)
        with w.refill(shown), w.section("People"):
            with w.table("Name", "Role", "Added", "", label="People"):
                for person in found:
                    _show_person(context, person, show_link, forget_link, refresh)
            for role, meaning in MEANINGS.items():
                w.text(f"{role.capitalize()}: {meaning}.", "soft note")

    await refresh()
    _show_form(context, show_link, refresh)


def _show_person(
    context: PageContext,
    person: Person,
    show_link: Callable[[str, str], None],
    forget_link: Callable[[str], None],
    refresh: Refresh,
) -> None:
    async def link() -> None:
        show_link(person.name, await context.do(create_link, person.id))

    async def away() -> None:
        why = "They are signed out immediately."
        if await confirm(f"Remove {person.name}'s access?", why, "Remove"):
            await context.do(remove_person, person.id)
            forget_link(person.name)
            notify(f"{person.name} was removed.")
            await refresh()

    async def change(event: object) -> None:
        if role.value == person.role:
            return
        try:
            await context.do(change_role, person.id, role.value)
        except AssayError:
            role.value = person.role  # and no longer the one that was refused
            raise
        notify(f"{person.name} now has the role {role.value}.")
        await refresh()

    with w.cells(person.name):
        with ui.element("td"):
            role = ui.select(list(ROLES), value=person.role, on_change=change)
            w.label_input(role, f"Role of {person.name}").classes("narrow")
        w.text(format_time(person.created), tag="td")
        with w.cell("acts"):
            w.button("Create link", link, kind="link", name=f"Create link for {person.name}")
            w.button("Remove", away, kind="link danger", name=f"Remove {person.name}")


def _show_form(
    context: PageContext, show_link: Callable[[str, str], None], refresh: Refresh
) -> None:
    with w.section("Add a person", "They sign in with a link; there are no passwords."):
        with ui.element("div").classes("split"):
            name = w.field("Name", ui.input(), name="Name of the person")
            role = w.field(
                "Role", ui.select(list(ROLES), value="viewer"), name="Role of the person"
            )

        async def click() -> None:
            with errors_at(name, UsageError):
                person, secret = await context.do(add_person, name.value or "", role.value)
            show_link(person.name, secret)
            name.value = ""
            await refresh()

        enter_or_click(name, "Add person", click, icon="person_add")
