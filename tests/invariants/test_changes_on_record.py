"""Whoever may do what, and what serves, never changes without a line in the log: both or neither.

Each change is tried once with a log that cannot be written, after which the whole database must be
as before, and once as it should be, after which there is one line more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select
from tests.release.shelf import PROJECT, shelf

from assay.accounts import costs, keys, people
from assay.project.settings.providers import add_provider
from assay.project.workspace import Workspace
from assay.release import changes, policies
from assay.store.audit import entries
from assay.store.tables import AuditRow
from assay.store.tables.base import Table

FORCED = {"who": "ann", "force": "a test"}
URL = "https://far.example.com/v1"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "elsewhere" / "master.key"))
    (tmp_path / "folder").mkdir()
    return Workspace(tmp_path / "folder")


@contextmanager
def unwritable() -> Iterator[None]:
    """The log cannot be written to."""

    def refuse(*_: Any) -> None:
        raise OSError("the disk is full")

    event.listen(AuditRow, "before_insert", refuse)
    try:
        yield
    finally:
        event.remove(AuditRow, "before_insert", refuse)


def everything(workspace: Workspace) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    with workspace.store.engine.connect() as connection:
        tables = Table.metadata.sorted_tables
        return {t.name: sorted(map(tuple, connection.execute(select(t))), key=repr) for t in tables}


def both_or_neither(workspace: Workspace, change: Callable[[], Any]) -> Any:
    before = everything(workspace)
    with unwritable(), pytest.raises(OSError, match="full"):
        change()
    assert everything(workspace) == before
    done = change()
    after = everything(workspace)
    assert len(after["audit"]) == len(before["audit"]) + 1
    assert {name for name in after if after[name] != before[name]} > {"audit"}
    return done


def test_keys_and_budgets(workspace: Workspace) -> None:
    store = workspace.store
    key, _ = both_or_neither(
        workspace, lambda: keys.create_key(store, "support", "ann's", ["chat"])
    )
    both_or_neither(workspace, lambda: keys.rename_key(store, key.id, "bob's"))
    both_or_neither(workspace, lambda: costs.set_budget(store, key.id, 5.0))
    both_or_neither(workspace, lambda: costs.set_budget(store, key.id, 6.0))
    both_or_neither(workspace, lambda: keys.revoke_key(store, key.id))


def test_people(workspace: Workspace) -> None:
    both_or_neither(workspace, lambda: people.add(workspace, "ann", "admin"))
    bob = both_or_neither(workspace, lambda: people.add(workspace, "bob", "editor"))
    both_or_neither(workspace, lambda: people.set_role(workspace, bob.id, "viewer"))
    secret = both_or_neither(workspace, lambda: people.sign_in_secret(workspace, bob.id))
    assert both_or_neither(workspace, lambda: people.redeem(workspace, secret))[0].name == "bob"
    both_or_neither(workspace, lambda: people.remove(workspace, bob.id))


def test_providers_their_keys_and_the_consent(workspace: Workspace) -> None:
    providers = workspace.providers
    both_or_neither(workspace, lambda: providers.add("far", {"base_url": URL}, None))
    both_or_neither(workspace, lambda: providers.add("far", None, "a-key"))
    both_or_neither(workspace, lambda: providers.rotate("far", "another-key"))
    assert providers.key("far") == "another-key"
    both_or_neither(workspace, lambda: providers.agree("far"))
    both_or_neither(workspace, lambda: add_provider(providers, "far", {"base_url": URL}, None))
    told = entries(workspace.store, workspace.name, 1)[0].details
    assert told == {"origin": "https://far.example.com:443", "key": False, "key_erased": True}
    assert providers.key("far") is None
    both_or_neither(workspace, lambda: providers.remove("far"))


def test_releases_and_traces(workspace: Workspace) -> None:
    store, _ = shelf(workspace.store.folder)
    here = (store, PROJECT, "tickets")
    both_or_neither(workspace, lambda: changes.promote(*here, "tuned@1", **FORCED))
    both_or_neither(workspace, lambda: changes.canary(*here, 0.1, "tuned@2", **FORCED))
    both_or_neither(workspace, lambda: changes.rollback(*here, who="ann"))
    both_or_neither(workspace, lambda: policies.switch_on(*here, who="ann"))
    both_or_neither(workspace, lambda: policies.switch_off(*here, who="ann"))
