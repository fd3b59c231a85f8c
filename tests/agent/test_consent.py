"""All that a row brings along is looked at, before it may leave."""

from __future__ import annotations

import pytest

from assay.agent.consent import check_consent
from assay.config import Provider
from assay.errors import ConfigError
from assay.example import Message, ToolCall
from assay.generate.engine import Request
from assay.progress import SILENT


def test_calls_and_tools_are_counted_too() -> None:
    call = ToolCall("c1", "write", '{"to": "ann.lee@mail.org"}')
    tool = {"type": "function", "function": {"name": "write", "description": "bob.lee@mail.org"}}
    turns = (
        Message("user", "Write to cat.lee@mail.org"),
        Message("assistant", "", tool_calls=(call,)),
    )
    requests = [Request(messages=turns, tools=(tool,))] * 2
    with pytest.raises(ConfigError) as caught:
        check_consent("far", Provider(base_url="https://far.example.com/v1"), requests, SILENT)
    # Two addresses in each row, and one in the tool that goes along with both.
    assert "2 rows for the provider far" in str(caught.value)
    assert "e-mail address: 5" in str(caught.value)
    assert "lee" not in str(caught.value)
