"""Two who do one thing at the same moment, on each kind of database: one of them, or one after the
other, and what must hold holds afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.figures import Figure

from assay.accounts import keys, people
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.errors import AssayError, NotFoundError, StateError
from assay.project.knowledge import vector_stores
from assay.project.workspace import Workspace
from assay.release import changes, releases
from assay.store.audit import entries
from assay.store.store import Store

ROUNDS = 8


@pytest.fixture
def workspace(database: str, tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    made.store = Store(tmp_path / ".assay", database)
    return made


def at_once(*work: Callable[[], object]) -> list[object]:
    """What each returns, or the error of ours that it raises; they begin together."""
    met = threading.Barrier(len(work))

    def one(what: Callable[[], object]) -> object:
        met.wait()
        try:
            return what()
        except AssayError as error:
            return error

    with ThreadPoolExecutor(len(work)) as pool:
        return list(pool.map(one, work))


def test_two_admins_who_demote_each_other_leave_one(workspace: Workspace, figure: Figure) -> None:
    """Each saw that the other was left."""
    for number in range(ROUNDS):
        ann, bob = (people.add(workspace, f"{n}{number}", "admin") for n in ("ann", "bob"))
        for person in people.people(workspace):
            if person.role == "admin" and person.id not in (ann.id, bob.id):
                people.remove(workspace, person.id)
        change = [people.remove, lambda w, id: people.set_role(w, id, "viewer")][number % 2]
        at_once(
            lambda ann=ann, change=change: change(workspace, ann.id),
            lambda bob=bob, change=change: change(workspace, bob.id),
        )
        left = [person for person in people.people(workspace) if person.role == "admin"]
        assert len(left) == 1
    figure("two admins who demote each other at once, one left", f"{ROUNDS} of {ROUNDS}")


def test_a_link_signs_in_once(workspace: Workspace) -> None:
    ann = people.add(workspace, "ann", "admin")
    for _ in range(ROUNDS):
        secret = people.sign_in_secret(workspace, ann.id)
        found = at_once(*[lambda secret=secret: people.redeem(workspace, secret)] * 4)
        assert sum(one is not None for one in found) == 1


def test_servers_that_begin_at_once_make_one_key_and_one_owner(workspace: Workspace) -> None:
    name = workspace.name
    found = at_once(*[lambda: keys.first_key(workspace.store, name)] * 4)
    assert sum(isinstance(one, str) for one in found) == 1
    assert found.count(None) == 3
    links = at_once(*[lambda: people.owner_secret(workspace)] * 4)
    assert len({one for one in links if isinstance(one, str)}) == 4
    assert [person.name for person in people.people(workspace)] == [people.OWNER]


def test_two_names_alike_become_one_person(workspace: Workspace) -> None:
    for number in range(ROUNDS):
        name = f"carl{number}"
        found = at_once(*[lambda name=name: people.add(workspace, name, "viewer")] * 3)
        assert sum(not isinstance(one, AssayError) for one in found) == 1
        assert [p.name for p in people.people(workspace)].count(name) == 1


def test_of_two_promotions_one_is_refused(workspace: Workspace) -> None:
    store = workspace.store
    labels = [
        save_agent(store, "a", Agent(model="m", system_prompt=str(n)), message="m").label
        for n in range(2)
    ]
    for number in range(ROUNDS):
        name = f"release-{number}"

        def promote(label: str, name: str = name) -> Any:
            return changes.promote(store, "p", name, label, who="x", force="a test")

        found = at_once(*(lambda label=label: promote(label) for label in labels))  # type: ignore[misc]
        made = [one for one in found if not isinstance(one, AssayError)]
        assert 1 <= len(made) <= 2
        assert len(releases.history(store, "p", name)) == len(made)
        [now] = [r for r in releases.history(store, "p", name) if r.number == len(made)]
        assert now.label in labels


def test_a_key_is_revoked_once(workspace: Workspace) -> None:
    for _ in range(ROUNDS):
        key, secret = keys.create_key(workspace.store, "p", "k", ["chat"])
        found = at_once(*[lambda key=key: keys.revoke_key(workspace.store, key.id)] * 3)
        assert not [one for one in found if isinstance(one, Exception)]
        assert keys.find_key(workspace.store, secret) is None
        lines = [e for e in entries(workspace.store, "p") if e.action == "key.revoke"]
        assert [line.what for line in lines].count(key.id) == 1


def test_a_vector_store_that_is_removed_by_many_is_gone(workspace: Workspace) -> None:
    """Who waited for the lock found the folder of the lock removed."""
    for _ in range(ROUNDS):
        made = vector_stores.create(workspace, "p", "x")

        def remove(id: str = made.id) -> None:
            vector_stores.remove(workspace, "p", id, "x")

        found = at_once(*[remove] * 4)
        assert None in found
        assert {type(one) for one in found if one is not None} <= {NotFoundError, StateError}
        with pytest.raises(NotFoundError):
            vector_stores.get(workspace, "p", made.id)
    assert not list((workspace.store.folder / "knowledge").glob("*"))
