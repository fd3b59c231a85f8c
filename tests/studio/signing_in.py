"""Somebody of a role on the studio, in a browser of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from playwright.sync_api import Browser

from assay.accounts import people
from assay.project.workspace import Workspace
from tests.studio.browsing import WINDOW, Studio, Tab, tab

_LEFT: WeakKeyDictionary[Browser, list[Tab]] = WeakKeyDictionary()
"""Tabs whose people have gone: the scripts of their studio are read and compiled there."""


@contextmanager
def signed_in(browser: Browser, up: Studio, role: str, name: str | None = None) -> Iterator[Tab]:
    """A page of somebody who is signed in; at the end nothing may have gone wrong in it."""
    workspace, name = Workspace(up.folder), name or role
    known = {person.name: person for person in people.people(workspace)}
    person = known.get(name) or people.add(workspace, name, role)
    made = _find_tab(browser, up.url)
    secret = people.sign_in_secret(workspace, person.id)
    made.page.goto(f"{up.url}/studio/enter?once={secret}", wait_until="domcontentloaded")
    try:
        yield made
    except BaseException:
        made.page.context.close()
        raise
    made.page.context.clear_cookies()
    for page in made.page.context.pages:
        if page is not made.page:
            page.close()
    made.leave()
    _LEFT[browser].append(made)


def _find_tab(browser: Browser, url: str) -> Tab:
    left = _LEFT.setdefault(browser, [])
    for one in left:
        if one.url == url:
            left.remove(one)
            return one
    return tab(browser.new_context(viewport=WINDOW), url)
