"""One project at a time is created in a folder, and everybody sees how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from tests.small import write_csv, write_model
from tests.store.test_locks import cut

from assay.errors import DataError, StateError
from assay.progress import Progress
from assay.project import new_project
from assay.project.project import Project
from assay.project.start import creation, example_file, from_file
from assay.project.start.from_file import FileProjectOptions
from assay.project.start.running_creation import (
    INTERRUPTED,
    Creation,
    begin_creation,
    check_idle,
    read_creation,
)
from assay.project.workspace import Workspace
from assay.store import locks
from assay.store.store import Store


def test_while_one_is_created_nothing_of_it_changes_and_no_other_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(from_file, "STARTER_MODEL", str(write_model(tmp_path / "model")))
    (folder := tmp_path / "served").mkdir()
    workspace, source = Workspace(folder), write_csv(tmp_path / "pets.csv")
    file = example_file.keep_file(workspace, "pets.csv", source)
    wanted = FileProjectOptions(candidates=("prompt",))
    other = Workspace(folder)  # another tab, or another server
    changes: list[Callable[[], Any]] = [
        lambda: from_file.create_from(other, file, FileProjectOptions()),
        lambda: example_file.keep_file(other, "other.csv", source),
        lambda: example_file.remove_repeats(other, None),
        lambda: from_file.discard(other),
    ]

    def slowly(drafted: Any, *, folder: Path, progress: Progress) -> Project:
        progress.say("Downloading it.")
        assert read_creation(other) == Creation("Downloading it.")
        with progress.task("Downloading", 10, "MB") as task:
            monkeypatch.setattr("assay.project.start.running_creation.WRITTEN_EVERY_S", 0)
            task.advance(5)
        assert read_creation(other) == Creation("Downloading", 0.5)
        for change in changes:
            with pytest.raises(StateError, match="a project is being created"):
                change()
        return creation.create(drafted, folder=folder, progress=progress)

    monkeypatch.setattr(from_file, "create", slowly)
    from_file.create_from(workspace, file, wanted)
    assert read_creation(other) is None
    assert other.config is not None
    assert other.config.candidates == ["prompt"]
    with pytest.raises(StateError, match=r"already a project. Reload the page"):
        from_file.create_from(other, file, FileProjectOptions())


def test_of_two_servers_with_folders_of_their_own_one_creates_a_project(
    tmp_path: Path, empty_postgres: str
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two, again = (Workspace(tmp_path / name) for name in ("one", "two", "two"))
    for workspace in (one, two, again):
        workspace.__dict__["store"] = Store(workspace.root / ".assay", empty_postgres)
    left = two.store.folder / "creation.json"  # by a server that was killed
    left.write_text('{"doing": "Reading the file", "share": null}')
    with begin_creation(one):
        assert read_creation(two) == Creation(error=INTERRUPTED)
        for act in (lambda: begin_creation(two).__enter__(), lambda: check_idle(two)):
            with pytest.raises(StateError, match="created, here or on another server"):
                act()
        with pytest.raises(StateError, match="Reload the page"):
            check_idle(one)
    with begin_creation(two):
        cut(one.store)  # the database is started again
        assert read_creation(two) == Creation("Reading the file")
        with pytest.raises(StateError, match="Reload the page"):
            check_idle(again)  # by another server of the same folder
    assert read_creation(two) is None


def test_looks_at_the_same_moment_do_not_take_each_other_for_a_creation(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, other = Workspace(tmp_path), Store(tmp_path / ".assay", database)
    workspace.__dict__["store"] = Store(tmp_path / ".assay", database)
    left = tmp_path / ".assay" / "creation.json"  # by a server that was killed
    left.write_text('{"doing": "Reading the file", "share": null}')
    for look, seen in ((read_creation, Creation(error=INTERRUPTED)), (check_idle, None)):
        with ExitStack() as held:
            held.enter_context(other.lock("creation.lock"))
            clock = SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: held.close())
            monkeypatch.setattr(locks, "time", clock)
            assert look(workspace) == seen


def test_parts_that_were_left_are_moved_by_one_server_at_a_time(
    tmp_path: Path, empty_postgres: str
) -> None:
    parts = tmp_path / "served" / ".assay" / "new-project"
    parts.mkdir(parents=True)
    (parts / "assay.yaml").write_text("name: pets\n")
    here, there = Store(parts.parent, empty_postgres), Store(tmp_path / "there", empty_postgres)
    waits = text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )

    def is_waited_for() -> bool:
        with there.session() as session:
            return bool(session.scalar(waits))

    with ThreadPoolExecutor(1) as pool:
        with there.lock("new-project.lock"):
            moved = pool.submit(new_project.finish, tmp_path / "served", lambda: here)
            while not is_waited_for():
                assert not moved.done()
                time.sleep(0.02)
            assert parts.exists()
        moved.result(timeout=60)
    assert (tmp_path / "served" / "assay.yaml").exists()
    assert not parts.exists()


def test_why_one_failed_is_told_until_the_next(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    failure = DataError("it has no rows.", where=str(tmp_path / "data" / "pets.csv"))
    with pytest.raises(DataError), begin_creation(workspace):
        raise failure
    assert read_creation(workspace) == Creation(error="data/pets.csv: it has no rows.")
    with pytest.raises(KeyboardInterrupt), begin_creation(workspace):
        raise KeyboardInterrupt  # as a kill, it leaves no word of itself
    assert read_creation(workspace) == Creation(error=INTERRUPTED)
    with begin_creation(workspace):
        assert read_creation(workspace) == Creation("Reading the file")
    assert read_creation(workspace) is None
