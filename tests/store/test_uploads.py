"""Files that come in parts: what is refused leaves nothing on disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assay.errors import StateError, UsageError
from assay.store import uploads
from assay.store.store import Store


def kept(store: Store) -> int:
    return len([path for path in (store.folder / "uploads").rglob("*") if path.is_file()])


def test_a_part_that_is_refused_leaves_no_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", 4)
    store = Store(tmp_path)
    id = uploads.create(store, "p", "a.jsonl", "fine-tune", 4).id
    for data in (b"", b"12345"):
        with pytest.raises(UsageError, match="part"):
            uploads.add_part(store, "p", id, [data])
    assert kept(store) == 0
    for _ in range(3):  # each part may be sent again
        part = uploads.add_part(store, "p", id, [b"1234"])
    for _ in range(5):
        with pytest.raises(UsageError, match="was created for 4"):
            uploads.add_part(store, "p", id, [b"1234"])
    assert kept(store) == 3
    assert uploads.complete(store, "p", id, [part.id]).status == "completed"
    assert kept(store) == 0


def test_parts_come_at_the_same_time(tmp_path: Path, database: str) -> None:
    store = Store(tmp_path, database)
    id = uploads.create(store, "p", "a.jsonl", "fine-tune", 16).id
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda n: uploads.add_part(store, "p", id, [b"%02d" % n]), range(8)))
    done = uploads.complete(store, "p", id, [part.id for part in parts])
    assert done.status == "completed"


def test_what_is_over_takes_no_part(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = uploads.create(store, "p", "a.jsonl", "fine-tune", 4).id
    assert uploads.cancel(store, "p", id).status == "cancelled"
    with pytest.raises(StateError):
        uploads.add_part(store, "p", id, [b"1"])
    with pytest.raises(StateError):
        uploads.cancel(store, "p", id)
