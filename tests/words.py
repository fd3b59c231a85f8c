"""Knowledge without a model: every base embeds by words."""

from __future__ import annotations

import pytest

from assay.knowledge import base
from tests.knowledge.wordy import Wordy


def by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every knowledge base embed by words."""
    monkeypatch.setattr(base, "get_embedder", lambda name: Wordy())
