"""All that a row brings along is looked at, before it may leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.agent.consent import ConsentError, check_consent
from assay.agent.providers import Providers
from assay.config import Provider
from assay.errors import UsageError
from assay.example import Message, ToolCall
from assay.generate.batch import Request
from assay.progress import SILENT
from assay.store.store import Store

URL = "https://far.example.com/v1"


def test_calls_and_tools_are_counted_too(tmp_path: Path) -> None:
    call = ToolCall("c1", "write", '{"to": "ann.lee@mail.org"}')
    tool = {"type": "function", "function": {"name": "write", "description": "bob.lee@mail.org"}}
    turns = (
        Message("user", "Write to cat.lee@mail.org"),
        Message("assistant", "", tool_calls=(call,)),
    )
    requests = [Request(messages=turns, tools=(tool,))] * 2
    providers = Providers({"far": Provider(base_url=URL)}, Store(tmp_path), "p")
    check_consent("smollm2-135m-instruct", providers, requests, SILENT)  # stays on this machine
    with pytest.raises(ConsentError) as caught:
        check_consent("remote:far/m", providers, requests, SILENT)
    assert caught.value.provider == "far"
    # Two addresses in each row, and one in the tool that goes along with both.
    assert "2 rows to the provider far" in str(caught.value)
    assert "e-mail address: 5" in str(caught.value)
    assert "lee" not in str(caught.value)


def test_consent_is_kept_for_a_provider_at_its_address(tmp_path: Path) -> None:
    store, asked = Store(tmp_path), [Request(messages=(Message("user", "hi"),))]
    here = Providers({"far": Provider(base_url=URL)}, store, "p")
    here.agree("far")
    check_consent("remote:far/m", here, asked, SILENT)
    again = Providers({"far": Provider(base_url=URL)}, store, "p")
    assert again.has_consent("far")
    moved = Providers({"far": Provider(base_url="https://other.example.com/v1")}, store, "p")
    elsewhere = Providers({"far": Provider(base_url=URL)}, store, "other-project")
    for providers in (moved, elsewhere):
        with pytest.raises(ConsentError, match="has not agreed"):
            check_consent("remote:far/m", providers, asked, SILENT)
    with pytest.raises(UsageError, match="no provider 'near'"):
        here.agree("near")
