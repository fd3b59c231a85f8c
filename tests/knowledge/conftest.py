from __future__ import annotations

from pathlib import Path

import pytest
from tests.knowledge.wordy import Wordy

from assay.knowledge.base import KnowledgeBase
from assay.store.store import Store


@pytest.fixture
def encoder() -> Wordy:
    return Wordy()


@pytest.fixture
def base(tmp_path: Path, encoder: Wordy) -> KnowledgeBase:
    """An empty knowledge base; its state is in `tmp_path/.assay`."""
    store = Store(tmp_path / ".assay")
    return KnowledgeBase(store, "shop", "manuals", embedders=lambda _: encoder)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """Three documents in a folder."""
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "refunds.md").write_text("# Refunds\n\nMoney comes back within fourteen days.")
    (folder / "hours.txt").write_text("The shop opens at nine and closes at six.")
    (folder / "sub" / "tea.txt").write_text("Green tea is steeped for two minutes.")
    return folder
