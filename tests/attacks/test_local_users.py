"""Another user of the same machine, who may look into every folder that is open to all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.figures import Figure

from assay.accounts.keys import create_key
from assay.project.workspace import Workspace
from assay.store import backup, blobs, stored_files, uploads
from assay.store import files as writing
from assay.store.store import Store

OTHERS = stat.S_IRWXG | stat.S_IRWXO


@pytest.fixture(autouse=True)
def _usual_umask(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What most systems have: everybody may read what anybody writes."""
    before = os.umask(0o022)
    monkeypatch.setattr(writing, "_UMASK", 0o022)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[Path]:
    """Files that another user can come to: all folders above are open, and so are they."""
    found: list[Path] = []
    for path in folder.iterdir():
        if path.stat().st_mode & OTHERS:
            found += [path] if path.is_file() else open_to_others(path)
    return found


def fill(store: Store) -> None:
    create_key(store, "p", "k", ["chat"])
    stored_files.keep(store, "p", [b"secret rows"], "a.jsonl", "fine-tune")
    upload = uploads.create(store, "p", "a", "user_data", 5)
    uploads.add_part(store, "p", upload.id, [b"12345"])
    blobs.put(store, b"a trace")


def test_nobody_else_reads_the_state(tmp_path: Path, figure: Figure) -> None:
    """Uploads, traces, holdouts, the database with its hashes of keys."""
    folder = tmp_path / "project"
    folder.mkdir()
    store = Workspace(folder).store
    fill(store)
    store.engine.dispose()
    count = len([path for path in folder.rglob("*") if path.is_file()])
    assert count > 3
    assert not open_to_others(folder)
    figure("files of the state that another user of the machine can read", f"0 of {count}")


def test_nor_a_state_that_was_restored(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    store = Workspace(folder).store
    fill(store)
    backup.backup(store, tmp_path / "b.tar")
    store.engine.dispose()
    restored = tmp_path / "restored"
    restored.mkdir()
    backup.restore(tmp_path / "b.tar", restored / ".assay", lambda _: None)
    assert not open_to_others(restored)
    assert not (tmp_path / "b.tar").stat().st_mode & OTHERS


def test_who_has_opened_the_folder_to_a_group_keeps_it_open(tmp_path: Path) -> None:
    state = tmp_path / ".assay"
    state.mkdir()
    state.chmod(0o770)
    Store(state).engine.dispose()
    assert stat.S_IMODE(state.stat().st_mode) == 0o770
