"""A release is changed as a whole or not at all, and remembers everything."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.release.shelf import PROJECT, compared, right, shelf

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.defaults import STARTER_MODEL
from assay.errors import AssayError, UsageError
from assay.release import changes, releases
from assay.release.evidence import UnprovenError
from assay.release.releases import ReleaseError, resolve
from assay.store.audit import entries, record
from assay.store.store import Store
from assay.store.tables import AuditRow

NAME = "tickets"
FORCED = {"who": "ann", "force": "a test"}


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Store, list[str]]:
    return shelf(tmp_path)


def test_promoted_on_a_comparison_and_logged(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, _) = saved
    assert resolve(store, PROJECT, NAME, "k") is None
    compared(store, {a: right(0.5), b: right(0.9)})
    with pytest.raises(UnprovenError):
        changes.promote(store, PROJECT, NAME, "tuned@1", who="ann")
    assert releases.releases(store, PROJECT) == []
    done = changes.promote(store, PROJECT, NAME, "tuned@2", who="ann")
    assert (done.agent, done.number, done.comparison) == (b, 1, "c" * 64)
    assert resolve(store, PROJECT, NAME, "k") == b
    assert resolve(store, "other", NAME, "k") is None
    with pytest.raises(UnprovenError, match="candidate-0 is worse than candidate-1"):
        changes.promote(store, PROJECT, NAME, "tuned@1", who="ann")
    forced = changes.promote(store, PROJECT, NAME, "tuned@1", who="bob", force="an outage")
    assert (forced.agent, forced.reason, forced.comparison) == (a, "an outage", "c" * 64)
    with store.session() as session:
        log = session.scalars(select(AuditRow).order_by(AuditRow.key)).all()
    assert [(row.who, row.action, row.what) for row in log] == [
        ("ann", "release.promote", NAME),
        ("bob", "release.promote", NAME),
    ]
    said = log[1].details.pop("not_shown")
    assert "candidate-0 is worse than candidate-1" in said
    assert log[1].details == {
        "to": "tuned@1",
        "from": "tuned@2",
        "forced": "an outage",
        "comparison": "c" * 64,
    }
    assert log[0].details["comparison"] == "c" * 64


def test_refused_in_a_sentence(saved: tuple[Store, list[str]]) -> None:
    store, _ = saved
    outside = Agent(kind="outside", model="outside:x")
    save_agent(store, "vendor", outside, message="answers")
    with pytest.raises(UsageError, match="NAME@VERSION"):
        changes.promote(store, PROJECT, NAME, "tuned", **FORCED)
    with pytest.raises(AssayError, match=r"tuned has versions 1 to 3"):
        changes.promote(store, PROJECT, NAME, "tuned@4", **FORCED)
    with pytest.raises(AssayError, match="There are: tuned, vendor"):
        changes.promote(store, PROJECT, NAME, "other@1", **FORCED)
    with pytest.raises(ReleaseError, match="stored answers"):
        changes.promote(store, PROJECT, NAME, "vendor@1", **FORCED)
    with pytest.raises(UsageError, match="needs a reason"):
        changes.promote(store, PROJECT, NAME, "tuned@1", who="ann", force=" ")
    for name in ("", "Tickets", "a/b", "-a", "a" * 101, "ft:x"):
        with pytest.raises(UsageError, match="release name") as refused:
            changes.promote(store, PROJECT, name, "tuned@1", **FORCED)
        assert ("OpenAI" in str(refused.value)) == name.startswith("ft:")
    with pytest.raises(UsageError, match="base model"):
        changes.promote(store, PROJECT, STARTER_MODEL, "tuned@1", **FORCED)
    with pytest.raises(ReleaseError, match="no release"):
        changes.rollback(store, PROJECT, NAME, who="ann")
    changes.promote(store, PROJECT, NAME, "tuned@1", **FORCED)
    with pytest.raises(ReleaseError, match="already"):
        changes.promote(store, PROJECT, NAME, "tuned@1", **FORCED)
    with pytest.raises(ReleaseError, match="no other agent"):
        changes.rollback(store, PROJECT, NAME, who="ann")
    with pytest.raises(UsageError, match="no canary"):
        changes.canary(store, PROJECT, NAME, 0.1, who="ann")
    with pytest.raises(ReleaseError, match="no canary"):
        changes.canary(store, PROJECT, NAME, 0.0, who="ann")
    for share in (-0.1, 1.0, 10, float("nan")):
        with pytest.raises(UsageError, match="not a valid share"):
            changes.canary(store, PROJECT, NAME, share, "tuned@2", **FORCED)
    assert len(releases.history(store, PROJECT, NAME)) == 1


def test_parity_is_asked_last_and_can_refuse(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, _) = saved
    asked: list[str] = []

    def refuses(agent: Agent) -> None:
        asked.append(agent.id)
        raise AssayError("the engine answers otherwise: 'cat' for 'dog'.")

    compared(store, {a: right(0.5), b: right(0.9)})
    with pytest.raises(UnprovenError):
        changes.promote(store, PROJECT, NAME, "tuned@1", who="ann", parity=refuses)
    assert asked == []
    with pytest.raises(AssayError, match="answers otherwise"):
        changes.promote(store, PROJECT, NAME, "tuned@2", who="ann", parity=refuses)
    with pytest.raises(AssayError, match="answers otherwise"):
        changes.promote(store, PROJECT, NAME, "tuned@1", parity=refuses, **FORCED)
    assert asked == [b, a]
    assert releases.releases(store, PROJECT) == []
    changes.promote(store, PROJECT, NAME, "tuned@2", who="ann", parity=lambda agent: None)


def test_where_requests_go_is_asked_first_and_kept_with_the_change(
    saved: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = saved
    asked: list[str] = []

    def refuses(label: str) -> dict[str, str]:
        asked.append(label)
        raise AssayError("nobody agreed.")

    for _ in range(2):
        with pytest.raises(AssayError, match="nobody agreed"):
            changes.promote(
                store, PROJECT, NAME, "tuned@1", leaving=refuses, parity=pytest.fail, **FORCED
            )
    far = {"far": "https://far.example.com:443"}
    changes.promote(store, PROJECT, NAME, "tuned@1", leaving=lambda label: far, **FORCED)
    newest, before = entries(store, PROJECT)
    assert (newest.action, newest.who) == ("release.sends_away", "ann")
    assert newest.details == {"agent": "tuned@1", "providers": far}
    assert before.action == "release.promote"
    with pytest.raises(AssayError, match="nobody agreed"):
        changes.canary(store, PROJECT, NAME, 0.1, "tuned@2", leaving=refuses, **FORCED)
    changes.promote(store, PROJECT, NAME, "tuned@2", leaving=lambda label: {}, **FORCED)
    with pytest.raises(AssayError, match="nobody agreed"):
        changes.rollback(store, PROJECT, NAME, who="ann", leaving=refuses)
    assert asked == ["tuned@1", "tuned@1", "tuned@2", "tuned@1"]

    def fails(*entry: object) -> None:
        if "release.sends_away" in entry:
            raise OSError("the disk is full")
        record(*entry)

    monkeypatch.setattr(changes, "record", fails)
    with pytest.raises(OSError, match="full"):
        changes.rollback(store, PROJECT, NAME, who="ann", leaving=lambda label: far)
    assert releases.current(store, PROJECT, NAME).label == "tuned@2"
    assert len(entries(store, PROJECT)) == 3  # neither the change nor its line


def test_rolled_back_step_by_step(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, c) = saved
    for label in ("tuned@1", "tuned@2", "tuned@3"):
        changes.promote(store, PROJECT, NAME, label, **FORCED)
    assert changes.rollback(store, PROJECT, NAME, who="ann").agent == b
    assert changes.rollback(store, PROJECT, NAME, who="ann").agent == a
    with pytest.raises(ReleaseError, match="no other agent"):
        changes.rollback(store, PROJECT, NAME, who="ann")
    changes.promote(store, PROJECT, NAME, "tuned@3", **FORCED)
    assert resolve(store, PROJECT, NAME, "k") == c
    with pytest.raises(ReleaseError, match=r"changed meanwhile \(promoted: tuned@3\)"):
        changes.rollback(store, PROJECT, NAME, who="ann", seen=5)  # of a page that shows less
    assert resolve(store, PROJECT, NAME, "k") == c
    assert changes.rollback(store, PROJECT, NAME, who="ann", seen=6).agent == a
    made = releases.history(store, PROJECT, NAME)
    assert [change.number for change in made] == list(range(7, 0, -1))
    assert [change.action for change in made][:3] == ["rollback", "promote", "rollback"]


def test_a_canary_begins_grows_and_ends(saved: tuple[Store, list[str]]) -> None:
    store, (a, b, c) = saved
    keys = [f"user {n}" for n in range(600)]

    def served() -> dict[str, str | None]:
        return {key: resolve(store, PROJECT, NAME, key) for key in keys}

    changes.promote(store, PROJECT, NAME, "tuned@1", **FORCED)
    with pytest.raises(UnprovenError):
        changes.canary(store, PROJECT, NAME, 0.1, "tuned@2", who="ann")
    with pytest.raises(ReleaseError, match="already"):
        changes.canary(store, PROJECT, NAME, 0.1, "tuned@1", **FORCED)
    changes.canary(store, PROJECT, NAME, 0.1, "tuned@2", **FORCED)
    tenth = served()
    assert tenth == served()
    assert set(tenth.values()) == {a, b}
    assert 0.05 < sum(agent == b for agent in tenth.values()) / len(keys) < 0.16
    changes.canary(store, PROJECT, NAME, 0.5, who="ann")
    half = served()
    assert all(half[key] == b for key, agent in tenth.items() if agent == b)
    assert 0.4 < sum(agent == b for agent in half.values()) / len(keys) < 0.6
    # A rollback takes the canary back, not the agent below it.
    assert changes.rollback(store, PROJECT, NAME, who="ann").canary is None
    assert set(served().values()) == {a}
    # A promoted canary answers everyone, and a rollback returns to what it replaced.
    changes.canary(store, PROJECT, NAME, 0.1, "tuned@2", **FORCED)
    changes.promote(store, PROJECT, NAME, "tuned@2", **FORCED)
    assert set(served().values()) == {b}
    assert changes.rollback(store, PROJECT, NAME, who="ann").agent == a
    changes.canary(store, PROJECT, NAME, 0.1, "tuned@3", **FORCED)
    changes.canary(store, PROJECT, NAME, 0, who="ann")
    assert set(served().values()) == {a}
    assert c not in served().values()
    told = [change.done for change in releases.history(store, PROJECT, NAME)]
    assert told[:4] == ["canary ended", "canary set", "rolled back", "promoted"]
    # Promoting what is served already ends a canary.
    changes.canary(store, PROJECT, NAME, 0.9, "tuned@3", **FORCED)
    kept = changes.promote(store, PROJECT, NAME, "tuned@1", who="ann")
    assert (kept.agent, kept.canary) == (a, None)


def test_of_two_who_decide_at_once_one_is_refused(saved: tuple[Store, list[str]]) -> None:
    store, _ = saved
    changes.promote(store, PROJECT, NAME, "tuned@1", **FORCED)
    meeting = threading.Barrier(2)
    outcomes: list[str] = []

    def meet(agent: Agent) -> None:
        meeting.wait(10)  # both have read what holds before either changes it

    def change(label: str) -> None:
        try:
            changes.promote(store, PROJECT, NAME, label, parity=meet, **FORCED)
            outcomes.append(label)
        except ReleaseError as error:
            outcomes.append(str(error))

    both = [threading.Thread(target=change, args=(f"tuned@{n}",)) for n in (2, 3)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    won = [outcome for outcome in outcomes if outcome.startswith("tuned@")]
    assert len(won) == 1
    assert any("another process" in outcome for outcome in outcomes)
    assert [c.label for c in releases.history(store, PROJECT, NAME)] == [won[0], "tuned@1"]
