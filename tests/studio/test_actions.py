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
from assay.studio.visit import ACTIONS, Visit
from tests.studio.browsing import Studio

READING = {
    "assay.studio.beginning.documents_of",
    "assay.studio.staleness.standing",
    "assay.studio.staleness.to_judge",
    "assay.studio.streams.begin",
    "assay.studio.streams.still_there",
    "assay.studio.editing.validate",
    "assay.studio.editing.count",
    "assay.studio.editing.newest",
    "assay.studio.agent_history.versions",
    "assay.studio.agent_history.differ",
    "assay.studio.pages.agent.arms_of",
    "assay.studio.pages.agent.listed",
    "assay.studio.pages.agent.choices",
    "assay.studio.pages.agent.bases",
    "assay.studio.pages.knowledge.names",
    "assay.studio.pages.knowledge.contents",
    "assay.studio.pages.knowledge.look",
    "assay.studio.pages.knowledge.search",
    "assay.studio.pages.data.division",
    "assay.studio.pages.data.page_of",
    "assay.studio.pages.data.problems_of",
    "assay.studio.pages.data.record_of",
    "assay.studio.questions_card.standing",
    "assay.studio.questions_card.listed",
    "assay.studio.pages.settings.newest",
    "assay.studio.pages.settings.validate",
    "assay.studio.pages.settings.models",
    "assay.studio.upkeep.settings",
    "assay.studio.pages.models.listed",
    "assay.studio.pages.models.describe",
    "assay.studio.model_versions.listed",
    "assay.studio.model_versions.facts",
    "assay.studio.model_versions.differ",
    "assay.studio.model_versions.saw",
    "assay.studio.exporting.listed",
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
