"""A provider is added whole, or stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.generate.remote.provider import refused, serving

from assay.agent.providers import Providers
from assay.errors import ModelError, UsageError
from assay.project.settings.providers import add_provider, try_model
from assay.project.workspace import Workspace

FIRST = {"base_url": "https://first.example.com/v1"}
SECOND = {"base_url": "https://second.example.com/v1"}


def test_who_turns_back_at_the_key_has_changed_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "elsewhere" / "master.key"))
    providers = Workspace(tmp_path).providers
    add_provider(providers, "far", FIRST, lambda: "a-key")

    def turns_back() -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_provider(providers, "far", SECOND, turns_back)
    assert providers["far"].base_url == FIRST["base_url"]
    assert providers.key("far") == "a-key"


def test_a_key_is_asked_for_only_when_all_else_is_well(tmp_path: Path) -> None:
    providers = Workspace(tmp_path).providers
    for name, settings in (("Far Away", FIRST), ("far", None)):
        with pytest.raises(UsageError):
            add_provider(providers, name, settings, pytest.fail)
    assert list(providers) == []


def test_a_provider_that_refuses_the_word_is_not_taken_to_have_answered(tmp_path: Path) -> None:
    with serving(lambda *_: refused(400, "Unsupported parameter: 'max_tokens'")) as far:
        providers = Providers({"far": far.provider()}, Workspace(tmp_path).store, "p")
        with pytest.raises(ModelError, match="max_tokens"):
            try_model(providers, "far", "big")
