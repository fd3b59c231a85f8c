"""Providers are remembered for a while; a change is seen at once by all that look through one."""

from __future__ import annotations

from pathlib import Path

from assay.agent.providers import Providers
from assay.store.store import Store


def test_what_one_adds_or_removes_all_see_at_once(tmp_path: Path) -> None:
    all_ = Providers({}, Store(tmp_path), "p")
    assert list(all_) == []
    ann = all_.by("ann")
    ann.add("far", {"base_url": "https://far.example.com/v1"}, None)
    assert list(all_) == ["far"]
    assert all_.by("bob")["far"].origin == "https://far.example.com:443"
    ann.remove("far")
    assert list(all_) == []
