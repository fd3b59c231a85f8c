"""What was removed is nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lancedb
import pytest
from tests.knowledge.wordy import Wordy

from assay.knowledge.base import KnowledgeBase
from assay.store.store import Store

CANARY = "xylophonquartz"
"""A word that stands nowhere else; its stem and parts are looked for too."""


def opened(folder: Path) -> KnowledgeBase:
    store = Store(folder / ".assay")
    return KnowledgeBase(store, "shop", "manuals", embedders=lambda _: Wordy())


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
