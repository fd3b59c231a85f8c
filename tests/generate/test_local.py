"""Models of this machine: what a batch engine has opened is freed with it."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assay.generate import local_pool
from assay.generate.registry import EngineResources, open_batch
from assay.generate.server_engine import ServerEngine
from assay.generate.stream import End, Piece, Sampling
from assay.store.store import Store


class Served(ServerEngine):
    def __init__(self) -> None:
        self.template: Any = SimpleNamespace(sha256="template")

    def stream(self, ids: Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        raise NotImplementedError


def test_the_pool_of_a_version_in_fewer_bits_is_closed_with_its_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Pool:
        def __init__(self, state: Path) -> None:
            self.itself = self  # as a pool and its servers hold each other

        def engine(self, model: str) -> ServerEngine:
            return Served()

        def close(self) -> None:
            closed.append("pool")

    monkeypatch.setattr(local_pool, "LocalPool", Pool)
    made = open_batch("version:3f9a01/8", EngineResources(Store(tmp_path / ".assay")))
    gc.disable()  # as where it is exempted from collections
    try:
        assert made.identity["model"] == "version:3f9a01/8"
        assert closed == []
        del made
        assert closed == ["pool"]
    finally:
        gc.enable()
