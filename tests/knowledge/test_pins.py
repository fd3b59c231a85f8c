"""States that are kept for a comparison: found by it alone, and let go when it is over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest
from sqlalchemy import update
from tests.knowledge.wordy import Wordy

from assay.errors import NotFoundError
from assay.knowledge import pins, records
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.fixed_base import FixedBase
from assay.knowledge.lock import lock_of
from assay.knowledge.sources import SourceFile
from assay.knowledge.table import base_folder
from assay.store.tables import KnowledgeBuildRow
from assay.store.tables.clock import database_time

TEA = "How long is green tea steeped?"


def fixed(base: KnowledgeBase, pin: str = "pin") -> FixedBase:
    return FixedBase(base._store, base.owner, base.name, pin, embedders=lambda _: Wordy())


def names(base: KnowledgeBase) -> list[str]:
    return [Path(document.path).name for document in base.documents()]


def tables(base: KnowledgeBase) -> list[str]:
    folder = base_folder(base._store, records.base_id(base._store, base.owner, base.name))
    return sorted(path.name for path in (folder / "tables").glob("*.lance"))


def test_a_state_is_kept_without_a_copy_until_its_last_comparison_is_over(
    base: KnowledgeBase, docs: Path
) -> None:
    base.add([docs])
    snapshot, before, table = base.snapshot, base.search([TEA], k=3), tables(base)
    for pin in ("one", "two"):
        fixed(base, pin).keep()
        fixed(base, pin).fix([])
    assert tables(base) == table
    assert base.remove([str(docs / "sub" / "tea.txt")]).is_held
    base.rebuild(base.settings)
    for pin in ("one", "two"):
        assert (fixed(base, pin).snapshot, fixed(base, pin).search([TEA], k=3)) == (
            snapshot,
            before,
        )
        assert fixed(base, pin).search([TEA], k=3, snapshot=snapshot) == before
        assert table[0] in tables(base)
        named = f"{snapshot}@{pin}"  # nobody else finds it by what it is called
        for reader in (base, fixed(base, "three")):
            fixed(base, "three").fix_snapshot(named)
            with pytest.raises(NotFoundError):
                reader.search([TEA], k=3, snapshot=named)
        pins.unpin(base._store, pin)
    assert table[0] not in tables(base)
    assert names(base) == names(fixed(base)) == ["hours.txt", "refunds.md"]


def test_files_that_come_after_a_change_are_for_the_comparison_alone(
    base: KnowledgeBase, docs: Path
) -> None:
    base.add([docs / "hours.txt", docs / "refunds.md"])
    fixed(base).keep()
    base.remove([str(docs / "refunds.md")])
    fixed(base).fix([SourceFile("tea.txt", docs / "sub" / "tea.txt")])
    fixed(base).fix([SourceFile("later.txt", docs / "sub" / "tea.txt")])  # it is whole already
    assert names(fixed(base)) == ["hours.txt", "refunds.md", "tea.txt"]
    assert names(base) == ["hours.txt"]
    # Of a copy for it, others are shown what they may see.
    small = fixed(base).sized_copy(16)
    fixed(base).copy_to(small, base.settings)
    assert names(small) == names(fixed(base))
    shown = KnowledgeBase(base._store, base.owner, small.name, embedders=lambda _: Wordy())
    assert names(shown) == ["hours.txt"]
    assert shown.search(["money"], k=3, mode="bm25") == [[]]
    pins.unpin(base._store, "pin")
    assert len(tables(base)) == len(tables(shown)) == 1


def test_what_a_saved_agent_was_measured_on_is_kept_beside_it(
    base: KnowledgeBase, docs: Path
) -> None:
    base.add([docs])
    snapshot, before = base.snapshot, base.search([TEA], k=3)
    (docs / "hours.txt").write_text("The shop is closed.")
    base.add([docs])
    searched = fixed(base)
    searched.keep()
    searched.fix_snapshot(snapshot)
    base.remove([str(docs / "sub" / "tea.txt")])
    assert searched.search([TEA], k=3, snapshot=snapshot) == before
    assert searched.search(["closed"], k=1, mode="bm25")[0][0].text == "The shop is closed."


def test_the_pin_of_a_process_ends_with_it(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base.add([docs])
    store, refreshed = base._store, Event()
    monkeypatch.setattr(pins, "_REFRESH_S", 0.0)
    monkeypatch.setattr(pins, "refresh", lambda *_: refreshed.set())
    with pins.of_process(store) as pin:
        assert refreshed.wait(30)
        fixed(base, pin).keep()
        pins.unpin_left(store)
        assert pins.names(store) == {pin}
        assert pins.of_jobs(store, timedelta(0)) == set()
    assert pins.names(store) == set()
    fixed(base, "processab").keep()  # by one that was killed
    (store.folder / "pins" / "processab").touch()
    pins.unpin_left(store)
    assert pins.names(store) == set()
    assert list((store.folder / "pins").iterdir()) == []


def test_whoever_indexes_is_not_waited_for(base: KnowledgeBase, docs: Path) -> None:
    base.add([docs])
    store, snapshot = base._store, base.snapshot
    with store.lock(lock_of(records.base_id(store, base.owner, base.name))):
        with pins.of_process(store) as pin:
            fixed(base, pin).keep()
            fixed(base, pin).fix_snapshot(snapshot)
        assert not pins.unpin(store, pin)
    base.remove([str(docs / "hours.txt")])
    assert fixed(base, pin).snapshot == snapshot
    pins.unpin_left(store)
    assert pins.names(store) == set()
    assert len(tables(base)) == 1


def test_a_removal_tells_that_a_comparison_keeps_what_was_there_before(
    base: KnowledgeBase, docs: Path
) -> None:
    base.add([docs])
    fixed(base).keep()
    base.copy_to(small := base.sized_copy(16), base.settings)
    base.remove([str(docs / "hours.txt")])
    (docs / "refunds.md").write_text("Nothing comes back.")
    base.add([docs / "refunds.md"])
    assert base.remove([str(docs / "refunds.md")]).is_held  # with another content
    pins.unpin(base._store, "pin")
    fixed(small).keep()
    assert base.remove([str(docs / "sub" / "tea.txt")]).is_held  # of a copy alone


def test_what_a_killed_build_left_goes_with_the_pin(
    base: KnowledgeBase, docs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    tea = docs / "sub" / "tea.txt"
    base.add([docs])
    fixed(base).keep()
    base.remove([str(tea)])
    small = fixed(base).sized_copy(16)
    with monkeypatch.context() as killed:
        killed.setattr(pins, "pin", kill)
        with pytest.raises(KeyboardInterrupt):
            fixed(base).fix([SourceFile("later.txt", docs / "hours.txt")])
        with pytest.raises(KeyboardInterrupt):
            fixed(base).copy_to(small, base.settings)
    shown = KnowledgeBase(base._store, base.owner, small.name)
    assert [len(tables(one)) for one in (base, shown)] == [3, 2]
    pins.unpin(base._store, "pin")
    assert [len(tables(one)) for one in (base, shown)] == [1, 1]
    texts = (base._store.folder / "knowledge").glob("*/texts/*")
    assert not any("steeped" in one.read_text() for one in texts)


def test_the_pin_of_a_process_on_a_machine_that_is_gone_ends_when_it_is_silent_for_long(
    base: KnowledgeBase, docs: Path
) -> None:
    base.add([docs])
    store = base._store
    for pin in ("processalive", "processgone", "job"):
        fixed(base, pin).keep()
    with store.session() as session:
        before = database_time(-timedelta(days=2))
        session.execute(update(KnowledgeBuildRow).values(created=before))
    pins.refresh(store, "processalive")
    pins.unpin_left(store)
    assert pins.names(store) == {"processalive", "job"}


def test_a_state_of_documents_that_all_may_find_can_be_searched_after_the_comparison(
    base: KnowledgeBase, docs: Path
) -> None:
    searched = fixed(base)
    searched.keep()
    base.add([docs])
    searched.fix([SourceFile(str(path), path) for path in sorted(docs.glob("*.*"))])
    measured = searched.snapshot
    assert measured != base.snapshot
    pins.unpin(base._store, "pin")
    assert base.search(["shop"], k=3, mode="bm25", snapshot=measured) != [[]]
    base.remove([str(docs / "hours.txt")])
    assert not base.has_snapshot(measured)
    assert len(tables(base)) == 1
