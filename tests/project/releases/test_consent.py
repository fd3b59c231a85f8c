"""A release sends requests to a provider only where somebody has agreed to that, on record."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.routes import saved

from assay.agent.agent import Agent, make_routed
from assay.agent.consent import ConsentError
from assay.agent.route import Rule, Rules
from assay.errors import NotFoundError, UsageError
from assay.project import releases
from assay.project.releases.consent import find_providers
from assay.project.workspace import Workspace
from assay.release.releases import ReleaseError
from assay.store.audit import entries

URL = "https://far.example.com/v1"
FORCE = "a test"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path).act_as("user:ann")
    made.providers.add("far", {"base_url": URL}, None)
    saved(made.store, "near", Agent(model="smollm2-135m-instruct"))
    return made


def test_it_is_refused_until_it_is_agreed_to_and_both_are_kept(workspace: Workspace) -> None:
    saved(workspace.store, "away", Agent(model="remote:far/big"))
    with pytest.raises(ConsentError) as refused:
        releases.promote(workspace, "desk", "away@1", force=FORCE)
    assert refused.value.provider == "far"
    for part in ("away@1", f"far ({URL})", "remote:far/big", "--consent far", "consent: true"):
        assert part in str(refused.value)
    assert releases.list_releases(workspace) == []
    with pytest.raises(UsageError, match="no provider 'fra'"):
        releases.promote(workspace, "desk", "away@1", force=FORCE, consent=["fra"])
    done = releases.promote(workspace, "desk", "away@1", force=FORCE, consent=["far"])
    assert done.label == "away@1"
    log = {entry.action: entry for entry in entries(workspace.store, workspace.name)}
    assert (log["provider.consent"].what, log["provider.consent"].who) == ("far", "user:ann")
    sent = log["release.sends_away"]
    assert (sent.what, sent.who) == ("desk", "user:ann")
    assert sent.details == {"agent": "away@1", "providers": {"far": "https://far.example.com:443"}}
    workspace.providers.add("idle", {"base_url": "https://idle.example.com/v1"}, None)
    releases.promote(workspace, "desk", "near@1", force=FORCE, consent=["idle"])
    assert not workspace.providers.has_consent("idle")  # nothing goes there
    assert entries(workspace.store, workspace.name)[0].action != "release.sends_away"
    again = releases.promote(workspace, "desk", "away@1", force=FORCE)  # the consent is kept
    assert again.label == "away@1"


def test_a_trial_asks_too_and_what_is_not_there_is_said_first(workspace: Workspace) -> None:
    saved(workspace.store, "away", Agent(model="remote:far/big"))
    releases.promote(workspace, "desk", "near@1", force=FORCE)
    with pytest.raises(ConsentError, match="desk away from this machine"):
        releases.canary(workspace, "desk", 0.1, "away@1", force=FORCE)
    releases.canary(workspace, "desk", 0.1, "away@1", force=FORCE, consent=["far"])
    releases.canary(workspace, "desk", 0.2, force=FORCE)
    with pytest.raises((NotFoundError, UsageError)):
        releases.promote(workspace, "desk", "nobody@1", force=FORCE)


def test_going_back_asks_where_the_consent_is_for_another_address(workspace: Workspace) -> None:
    saved(workspace.store, "away", Agent(model="remote:far/big"))
    releases.promote(workspace, "desk", "away@1", force=FORCE, consent=["far"])
    releases.promote(workspace, "desk", "near@1", force=FORCE)
    workspace.providers.remove("far")
    workspace.providers.add("far", {"base_url": "https://elsewhere.example.com/v1"}, None)
    with pytest.raises(ConsentError, match="elsewhere"):
        releases.rollback(workspace, "desk")
    assert releases.rollback(workspace, "desk", consent=["far"]).label == "away@1"
    assert entries(workspace.store, workspace.name)[0].action == "release.sends_away"
    with pytest.raises(ReleaseError, match="no other agent"):
        releases.rollback(workspace, "desk")


def test_a_trial_that_ends_asks_nothing(workspace: Workspace) -> None:
    saved(workspace.store, "away", Agent(model="remote:far/big"))
    releases.promote(workspace, "desk", "away@1", force=FORCE, consent=["far"])
    releases.canary(workspace, "desk", 0.1, "near@1", force=FORCE)
    workspace.providers.remove("far")
    assert releases.rollback(workspace, "desk").label == "away@1"


def test_arms_of_routes_and_fallbacks_are_seen(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = saved(workspace.store, "near", Agent(model="smollm2-135m-instruct"))
    far = saved(workspace.store, "away", Agent(model="remote:far/big"))
    assert find_providers(workspace, "near@1") == {}
    rules = Rules(rules=(Rule(to=far, pattern="hard"),), otherwise=near)
    saved(workspace.store, "both", make_routed(rules))
    assert find_providers(workspace, "both@1") == {"far": ["remote:far/big"]}
    chains = {"smollm2-135m-instruct": ["smollm2-135m-instruct", "remote:far/small"]}
    monkeypatch.setattr(Workspace, "chain", lambda _, model: chains.get(model, [model]))
    behind = "remote:far/small, if smollm2-135m-instruct fails"
    assert find_providers(workspace, "near@1") == {"far": [behind]}
    with pytest.raises(ConsentError, match="remote:far/small, if smollm2"):
        releases.promote(workspace, "desk", "near@1", force=FORCE)
