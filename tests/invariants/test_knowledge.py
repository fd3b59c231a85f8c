"""What was removed is nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import lancedb
import pytest
from tests.knowledge.wordy import Wordy

from assay.errors import NotFoundError
from assay.knowledge import base as base_module
from assay.knowledge import records
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.records import Build, names
from assay.knowledge.sources import SourceFile
from assay.store.store import Store

CANARY = "xylophonquartz"
"""A word that stands nowhere else; its stem and parts are looked for too."""


def opened(folder: Path, name: str = "manuals") -> KnowledgeBase:
    store = Store(folder / ".assay")
    return KnowledgeBase(store, "shop", name, embedders=lambda _: Wordy())


def traces(folder: Path) -> Iterator[str]:
    """Every place under a folder where the canary can be read, files decoded by their reader.

    Strings in Lance files are compressed, so bytes alone show nothing: every table is opened at
    every version there is, and every index file is read as the Lance file it is.
    """
    for file in (folder / ".assay").rglob("*"):
        if file.is_file() and CANARY.encode() in file.read_bytes().lower():
            yield f"bytes of {file}"
    for tables in (folder / ".assay").rglob("tables"):
        database = lancedb.connect(tables)
        for name in database.table_names(limit=10_000):
            table = database.open_table(name)
            for version in table.list_versions():
                table.checkout(version["version"])
                if CANARY in str(table.to_arrow().to_pydict()).lower():
                    yield f"{name} at version {version['version']}"
                indexed = bool(table.list_indices())
                if indexed and table.search(CANARY, query_type="fts").limit(1).to_list():
                    yield f"BM25 of {name} at version {version['version']}"


@pytest.mark.parametrize("by", ["name", "folder", "all", "after an interrupted change"])
def test_a_removed_document_is_nowhere_on_disk(tmp_path: Path, by: str) -> None:
    docs = tmp_path / "docs"
    (docs / "private").mkdir(parents=True)
    for number in range(40):
        (docs / f"{number}.txt").write_text(f"An ordinary document, number {number}. " * 20)
    secret = docs / "private" / "secret.txt"
    text = f"The {CANARY} is kept here. "
    secret.write_text(text * 30)
    base = opened(tmp_path)
    base.add([docs])
    secret.write_text(text * 20)  # another state holds another content of it
    base.add([docs])
    (docs / "new.txt").write_text("A third state.")
    base.add([docs])
    base.search([CANARY], k=3)
    found = list(traces(tmp_path))
    assert any(place.startswith("BM25") for place in found)  # the look can see what there is
    assert any("at version" in place and "BM25" not in place for place in found)
    if by == "after an interrupted change":
        (docs / "0.txt").write_text("Changed.")

        class Stops(Wordy):
            def encode(self, texts: object) -> object:  # type: ignore[override]
                raise KeyboardInterrupt

        stopped = KnowledgeBase(
            Store(tmp_path / ".assay"),
            "shop",
            "manuals",
            embedders=lambda _: Stops(),  # type: ignore[arg-type, return-value]
        )
        with pytest.raises(KeyboardInterrupt):
            stopped.add([docs])
    if by == "all":
        base.delete()
    else:
        base.remove([str(secret.parent if by == "folder" else secret)])
        assert len(base.documents()) == 41
        assert base.search(["ordinary document"], k=3)[0]
        for mode in ("bm25", "dense", "hybrid"):
            [left] = base.search([CANARY], k=50, mode=mode)  # type: ignore[arg-type]
            assert CANARY not in str(left)
    assert list(traces(tmp_path)) == []
    state = b"".join(f.read_bytes() for f in (tmp_path / ".assay").glob("assay.db*"))
    assert b"secret.txt" not in state


TUNED = f"tuned:{'a' * 64}"
"""An embedder that a comparison has trained; `Wordy` is in its place."""


def copy_everywhere(base: KnowledgeBase) -> None:
    """Make what comparisons make: a copy in smaller passages, and a tuned copy of each."""
    small = base.sized_copy(50)
    base.copy_to(small, replace(base.settings, chunk_tokens=50))
    for one in (base, small):
        one.copy_to(one.tuned_copy(TUNED), replace(one.settings, embedder=TUNED))


def documents_everywhere(base: KnowledgeBase) -> list[list[str]]:
    """Names of the documents of the knowledge base and of its copies."""
    everything = [opened(base._store.folder.parent, name) for name in names(base._store, "shop")]
    return [[Path(document.path).name for document in one.documents()] for one in everything]


def test_a_document_that_was_renamed_is_removed_from_copies_made_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "secret.txt").write_text(f"The {CANARY} is kept here.")
    (docs / "other.txt").write_text("Something else.")
    base = opened(tmp_path)
    monkeypatch.chdir(tmp_path)
    base.add(["docs/secret.txt", "docs/other.txt"])
    copy_everywhere(base)
    monkeypatch.chdir(docs)
    base.add(["secret.txt"])
    assert [d.path for d in base.documents()] == ["docs/other.txt", "secret.txt"]
    base.remove(["secret.txt"])
    assert list(traces(tmp_path)) == []
    assert documents_everywhere(base) == [["other.txt"]] * 4


def test_a_file_that_is_two_documents_stays_the_other_one_in_copies(tmp_path: Path) -> None:
    file = tmp_path / "file.txt"
    file.write_text("What two names stand for.")
    base = opened(tmp_path)
    base.add([SourceFile(name, file) for name in ("first.txt", "second.txt")])
    copy_everywhere(base)
    base.remove(["first.txt"])
    assert documents_everywhere(base) == [["second.txt"]] * 4


@pytest.mark.parametrize(
    ("swaps", "written"), [(0, False), (0, True), (1, True), (2, True), (3, True)]
)
def test_a_removal_that_was_killed_is_finished_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: int, written: bool
) -> None:
    """It swaps four tables: of the tuned copies, of the copy in between, and its own, last."""
    secret = tmp_path / "docs" / "secret.txt"
    secret.parent.mkdir()
    secret.write_text(f"The {CANARY} is kept here.")
    (tmp_path / "docs" / "other.txt").write_text("Something else.")
    base = opened(tmp_path)
    base.add([secret.parent])
    copy_everywhere(base)
    assert documents_everywhere(base) == [["other.txt", "secret.txt"]] * 4
    swap, done = records.swap, 0

    def stops(*arguments: Any, **settings: Any) -> Build:
        nonlocal done
        if done == swaps and not written:
            raise KeyboardInterrupt
        made = swap(*arguments, **settings)
        done += 1
        if done > swaps:
            raise KeyboardInterrupt
        return made

    with monkeypatch.context() as patch:
        patch.setattr(records, "swap", stops)
        with pytest.raises(KeyboardInterrupt):
            base.remove([str(secret)])
    assert list(traces(tmp_path))
    with suppress(NotFoundError):  # where nothing but sweeping was left to do
        opened(tmp_path).remove([str(secret)])
    assert list(traces(tmp_path)) == []
    assert documents_everywhere(base) == [["other.txt"]] * 4


@pytest.mark.parametrize("erased", range(4))
def test_a_deletion_that_was_killed_leaves_nothing_behind_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, erased: int
) -> None:
    """It erases four folders, its own last, after the rows that name them."""
    secret = tmp_path / "docs" / "secret.txt"
    secret.parent.mkdir()
    secret.write_text(f"The {CANARY} is kept here.")
    base = opened(tmp_path)
    base.add([secret.parent])
    copy_everywhere(base)
    erase, done = base_module.erase, 0

    def stops(folder: Path) -> None:
        nonlocal done
        if done == erased:
            raise KeyboardInterrupt
        done += 1
        erase(folder)

    with monkeypatch.context() as patch:
        patch.setattr(base_module, "erase", stops)
        with pytest.raises(KeyboardInterrupt):
            base.delete()
    with suppress(NotFoundError):
        opened(tmp_path).delete()
    assert list(traces(tmp_path)) == []
    assert names(base._store, "shop") == []


def test_a_removal_while_a_copy_is_made_reaches_it(tmp_path: Path) -> None:
    secret = tmp_path / "docs" / "secret.txt"
    secret.parent.mkdir()
    secret.write_text(f"The {CANARY} is kept here.")
    base = opened(tmp_path)
    base.add([secret.parent])
    removal = Thread(target=lambda: opened(tmp_path).remove([str(secret)]))
    copy = base.tuned_copy(TUNED)
    make = copy.create

    def create() -> None:
        removal.start()
        removal.join(1)
        make()

    copy.create = create  # type: ignore[method-assign]
    base.copy_to(copy, replace(base.settings, embedder=TUNED))
    removal.join()
    assert documents_everywhere(base) == [[], []]
    assert list(traces(tmp_path)) == []
