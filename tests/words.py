"""Knowledge without a model: every base embeds by words; and a base of three documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.agent.agent import Knowledge
from assay.knowledge import base
from assay.knowledge.base import KnowledgeBase
from assay.store.store import Store
from tests.knowledge.wordy import Wordy

SETTING = Knowledge(name="docs", k=2, mode="bm25", characters=5000)
"""Looks into the base that `documented` makes."""
DOCUMENTS = {
    "returns.md": "# Returns\nA parcel may be sent back within thirty days of delivery.",
    "pets.md": "# Pets\nDogs travel in the hold of the ferry, cats in the cabin.",
    "meals.md": "# Meals\nBreakfast is served from seven until ten in the saloon.",
}


def by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every knowledge base embed by words."""
    monkeypatch.setattr(base, "open_embedder", lambda name, store: Wordy())


def documented(folder: Path) -> Store:
    """A store in a folder whose project `support` has `DOCUMENTS` in a base."""
    docs = folder / "docs"
    docs.mkdir()
    for name, text in DOCUMENTS.items():
        (docs / name).write_text(text)
    store = Store(folder / ".assay")
    KnowledgeBase(store, "support", "docs").add([docs])
    return store
