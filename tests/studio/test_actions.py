"""Every action, and every page, against every role."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import httpx
import pytest

from assay.accounts import people
from assay.accounts.people import ROLES, NotAllowedError, Role, SignedOutError
from assay.project.workspace import Workspace
from assay.studio.pages import PAGES
from assay.studio.session import ACTIONS, PageContext
from tests.studio.browsing import Studio

READING = {
    "assay.studio.pages.releases.staleness.read_staleness",
    "assay.studio.shared.streams.open_answer",
    "assay.studio.shared.streams.check_session",
    "assay.studio.pages.agent.page.list_arms",
    "assay.studio.pages.knowledge.page.read_contents",
    "assay.studio.pages.data.page.open_division",
    "assay.studio.pages.data.row_table.read_page",
    "assay.studio.pages.data.row_table.count_rows",
    "assay.studio.pages.data.row_table.list_problems",
    "assay.studio.pages.data.row_table.read_texts",
    "assay.studio.pages.data.row_table.read_turns",
    "assay.studio.pages.data.questions.read_standing",
    "assay.studio.pages.data.questions.list_questions",
    "assay.studio.pages.settings.page.read_settings",
    "assay.studio.pages.settings.page.validate_settings",
    "assay.studio.pages.knowledge.upkeep.read_settings",
    "assay.studio.pages.models.page.list_models",
    "assay.studio.pages.models.page.describe_model",
    "assay.studio.pages.models.versions.list_versions",
    "assay.studio.pages.models.versions.read_facts",
    "assay.studio.pages.models.versions.compare_versions",
    "assay.studio.pages.models.versions.find_trained_on",
}
"""Actions that change nothing, so that a viewer may take them."""


def context(workspace: Workspace, role: Role) -> PageContext:
    person = people.add(workspace, f"somebody-{role}", role)
    found = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert found is not None
    return PageContext(workspace, None, person, found[1], "http://test")  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ROLES)
def test_every_action_asks_who_takes_it(
    tmp_path: Path, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = context(Workspace(tmp_path), role)
    taken: list[str] = []
    refused: list[str] = []
    for name, act in sorted(ACTIONS.items()):
        monkeypatch.setattr(act, "work", lambda *_, name=name: taken.append(name))
        try:
            act(by)
        except NotAllowedError:
            refused.append(name)
    assert taken == sorted(name for name, act in ACTIONS.items() if by.may(act.role))
    assert refused == sorted(ACTIONS.keys() - taken)


def test_only_reading_is_for_viewers() -> None:
    assert {name for name, act in ACTIONS.items() if act.role == "viewer"} == READING


def test_a_role_is_asked_of_the_store_not_of_the_page(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    people.add(workspace, "boss", "admin")
    by = context(workspace, "editor")
    act = next(act for act in ACTIONS.values() if act.role == "editor")
    people.set_role(workspace, by.person.id, "viewer")
    with pytest.raises(SignedOutError):
        act(by)


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_a_page_is_shown_to_its_roles_alone(filled: Studio, role: Role) -> None:
    workspace = Workspace(filled.folder)
    name = f"reader-{role}"
    with contextlib.suppress(Exception):
        people.add(workspace, name, role)
    person = people.find(workspace, name)
    with httpx.Client(base_url=filled.url, follow_redirects=True, timeout=30) as client:
        secret = people.sign_in_secret(workspace, person.id)
        client.get(f"/studio/enter?once={secret}")
        for page in PAGES:
            shown = client.get(f"/studio{page.path}")
            assert shown.status_code == 200
            closed = "You cannot open this page" in shown.text
            assert closed != person.may(page.role), page.path
            entry = re.search(rf'"href":"/studio{page.path}"', shown.text)
            assert bool(entry) == person.may(page.role), page.path
