"""Somebody of a role on the studio, in a browser of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser

from assay.accounts import people
from assay.project.workspace import Workspace
from tests.studio.browsing import Studio, Tab, tab


@contextmanager
def signed_in(browser: Browser, up: Studio, role: str, name: str | None = None) -> Iterator[Tab]:
    """A page of somebody who is signed in; at the end nothing may have gone wrong in it."""
    workspace, name = Workspace(up.folder), name or role
    known = {person.name: person for person in people.people(workspace)}
    person = known.get(name) or people.add(workspace, name, role)
    context = browser.new_context(viewport={"width": 1320, "height": 900})
    made = tab(context, up.url)
    secret = people.sign_in_secret(workspace, person.id)
    made.page.goto(f"{up.url}/studio/enter?once={secret}", wait_until="domcontentloaded")
    try:
        yield made
    finally:
        context.close()
    made.check()
