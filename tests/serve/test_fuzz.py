"""Whatever is sent: no 500, no hang, no key in an answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.accounts.keys import create_key
from assay.project.workspace import Workspace
from assay.serve.app import create_app
from tests.serve.running import STARTER
from tests.serve.scripted import ScriptedEngines, ThreeNumbers

ProviderServer = tuple[TestClient, str]
_SETTINGS = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProviderServer]:
    workspace = Workspace(Path(tmp_path_factory.mktemp("fuzzed")))
    _, key = create_key(workspace.store, workspace.name, "fuzz", ["admin"])
    workspace.embedder = lambda name: ThreeNumbers()  # type: ignore[method-assign,assignment,return-value]
    app = create_app(workspace, ScriptedEngines())
    headers = {"Authorization": f"Bearer {key}"}
    with TestClient(app, headers=headers, raise_server_exceptions=False) as client:
        yield client, key


@pytest.mark.slow
def test_the_servers_own_description(served: ProviderServer) -> None:
    """Requests drawn by schemathesis from the OpenAPI document that the server gives out."""
    client, key = served
    seen: set[int] = set()
    described = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) > 5

    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(_SETTINGS, max_examples=5)
        def ask(case: Any) -> None:
            sent = case.as_transport_kwargs(base_url="http://testserver")
            answer = client.request(
                sent["method"],
                sent["url"],
                params=sent.get("params"),
                json=sent.get("json"),
                content=sent.get("data"),
            )
            _fine(answer.status_code, answer.text, key)
            seen.add(answer.status_code)

        ask()
    assert {200, 400} <= seen


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
_TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_FIELDS: dict[str, Any] = {
    "messages": [{"role": "user", "content": "hello"}],
    "temperature": 0.5,
    "top_p": 1,
    "n": 2,
    "stop": ["x"],
    "seed": 1,
    "max_tokens": 3,
    "logprobs": True,
    "top_logprobs": 2,
    "stream": True,
    "stream_options": {"include_usage": True},
    "tools": [_TOOL],
    "tool_choice": "required",
    "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}},
    "logit_bias": {"1": 2},
    "metadata": {"a": "b"},
}


@st.composite
def _bodies(draw: Any) -> dict[str, Any]:
    """A body that was good, with some of its values replaced, deep inside or whole."""
    names = draw(st.sets(st.sampled_from(sorted(_FIELDS)), max_size=5))
    body = {"model": STARTER, "messages": _FIELDS["messages"]}
    body |= {name: _FIELDS[name] for name in names}
    body = json.loads(json.dumps(body))
    for _ in range(draw(st.integers(0, 3))):
        place: Any = body
        while True:
            key = draw(
                st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))
            )
            inner = place[key]
            if not isinstance(inner, (dict, list)) or not inner or draw(st.booleans()):
                place[key] = draw(_JSON)
                break
            place = inner
    return body


@given(body=_bodies())
@settings(_SETTINGS, max_examples=60)
def test_chat_bodies(served: ProviderServer, body: dict[str, Any]) -> None:
    client, key = served
    answer = client.post("/v1/chat/completions", json=body)
    _fine(answer.status_code, answer.text, key)


@given(body=st.binary(max_size=200))
@settings(_SETTINGS, max_examples=25)
def test_any_bytes(served: ProviderServer, body: bytes) -> None:
    client, key = served
    headers = {"Content-Type": "application/json"}
    for path in ("/v1/chat/completions", "/v1/responses", "/v1/embeddings"):
        answer = client.post(path, content=body, headers=headers)
        _fine(answer.status_code, answer.text, key)


def _fine(status: int, text: str, key: str) -> None:
    assert status < 500, text
    assert key not in text
    if status >= 400:
        said = json.loads(text)
        assert said.get("error", said)["message"]  # OTLP's form of an error is a message by itself
