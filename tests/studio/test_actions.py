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
from assay.studio.session import ACTIONS, Visit
from tests.studio.browsing import Studio

READING = {
    "assay.studio.pages.start.new_project.documents_of",
    "assay.studio.pages.releases.staleness.standing",
    "assay.studio.pages.releases.staleness.to_judge",
    "assay.studio.shared.streams.begin",
    "assay.studio.shared.streams.still_there",
    "assay.studio.pages.agent.editor.validate",
    "assay.studio.pages.agent.editor.count",
    "assay.studio.pages.agent.editor.newest",
    "assay.studio.pages.agent.history.versions",
    "assay.studio.pages.agent.history.differ",
    "assay.studio.pages.agent.page.arms_of",
    "assay.studio.pages.agent.page.listed",
    "assay.studio.pages.agent.page.choices",
    "assay.studio.pages.agent.page.bases",
    "assay.studio.pages.knowledge.page.names",
    "assay.studio.pages.knowledge.page.contents",
    "assay.studio.pages.knowledge.page.look",
    "assay.studio.pages.knowledge.page.search",
    "assay.studio.pages.data.page.division",
    "assay.studio.pages.data.page.page_of",
    "assay.studio.pages.data.page.problems_of",
    "assay.studio.pages.data.page.record_of",
    "assay.studio.pages.data.questions.standing",
    "assay.studio.pages.data.questions.listed",
    "assay.studio.pages.settings.page.newest",
    "assay.studio.pages.settings.page.validate",
    "assay.studio.pages.settings.page.models",
    "assay.studio.pages.knowledge.upkeep.settings",
    "assay.studio.pages.models.page.listed",
    "assay.studio.pages.models.page.describe",
    "assay.studio.pages.models.versions.listed",
    "assay.studio.pages.models.versions.facts",
    "assay.studio.pages.models.versions.differ",
    "assay.studio.pages.models.versions.saw",
    "assay.studio.pages.models.export.listed",
}
"""Actions that change nothing, so that a viewer may take them."""


def visit(workspace: Workspace, role: Role) -> Visit:
    person = people.add(workspace, f"somebody-{role}", role)
    found = people.redeem(workspace, people.sign_in_secret(workspace, person.id))
    assert found is not None
    return Visit(workspace, None, person, found[1], "http://test")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(ACTIONS))
@pytest.mark.parametrize("role", ROLES)
def test_an_action_asks_who_takes_it(
    tmp_path: Path, name: str, role: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    act, taken = ACTIONS[name], []
    monkeypatch.setattr(act, "work", lambda *_: taken.append(1))
    by = visit(Workspace(tmp_path), role)
    if by.may(act.role):
        act(by)
        assert taken
    else:
        with pytest.raises(NotAllowedError):
            act(by)
        assert not taken


def test_only_reading_is_for_viewers() -> None:
    assert {name for name, act in ACTIONS.items() if act.role == "viewer"} == READING


def test_a_role_is_asked_of_the_store_not_of_the_page(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    people.add(workspace, "boss", "admin")
    by = visit(workspace, "editor")
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
    person = people.named(workspace, name)
    with httpx.Client(base_url=filled.url, follow_redirects=True, timeout=30) as client:
        secret = people.sign_in_secret(workspace, person.id)
        client.get(f"/studio/enter?once={secret}")
        for page in PAGES:
            shown = client.get(f"/studio{page.path}")
            assert shown.status_code == 200
            closed = "This page is not for you" in shown.text
            assert closed != person.may(page.role), page.path
            entry = re.search(rf'"href":"/studio{page.path}"', shown.text)
            assert bool(entry) == person.may(page.role), page.path
