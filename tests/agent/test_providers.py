"""Providers are remembered for a while; a change is seen at once by all that look through one."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.agent.providers import Providers
from assay.config import Provider
from assay.errors import UsageError
from assay.store.secrets import SecretError
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


def test_a_consent_is_forgotten_where_nothing_else_is_kept(tmp_path: Path) -> None:
    far = Provider(base_url="https://far.example.com/v1")
    providers = Providers({"far": far}, Store(tmp_path), "p")
    with pytest.raises(UsageError, match="nothing is stored"):
        providers.remove("far")
    providers.agree("far")
    assert providers.has_consent("far")
    providers.remove("far")
    assert not providers.has_consent("far")


def test_a_remembered_key_goes_to_no_other_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "master.key"))
    first = {"base_url": "https://first.example.com/v1"}
    second = {"base_url": "https://second.example.com/v1"}
    here, other = (Providers({}, Store(tmp_path / "state"), "p") for _ in range(2))
    here.add("far", first, "sk-of-the-first")
    before = other["far"]
    assert other.key("far") == "sk-of-the-first"
    here.add("far", second, None)  # another process moves it
    other._added.until = 0.0  # the address is looked up again; the key is still remembered
    with pytest.raises(SecretError, match="was given for https://first"):
        other.key("far")
    # Who still speaks to the first address is given no key of the second.
    here.add("far", None, "sk-of-the-second")
    with pytest.raises(SecretError, match="was given for https://second"):
        Providers({}, other.store, "p").key("far", before)
