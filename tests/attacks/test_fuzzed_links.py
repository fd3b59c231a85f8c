"""Requests drawn from the OpenAPI document, each going on with what earlier ones have made.

pytest -m soak tests/attacks/test_fuzzed_links.py      # thousands of requests
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from starlette.types import Receive, Scope, Send
from tests.figures import Figure
from tests.serve.scripted import ScriptedEngines, ThreeNumbers

from assay.accounts.keys import create_key
from assay.project.workspace import Workspace
from assay.serve.app import create_app

_SETTINGS = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # a shorter example would take minutes more
)


def with_links(described: dict[str, Any]) -> int:
    """Says of every route that makes something that its id goes into the routes below it; how
    many such links there are."""
    found_links = 0
    for path, made in described["paths"].items():
        if "post" not in made:
            continue
        below = re.compile(re.escape(path) + r"/\{(\w+)\}(/.*)?")
        for other, operations in described["paths"].items():
            if not (found := below.fullmatch(other)):
                continue
            given = {name: f"$request.path.{name}" for name in re.findall(r"\{(\w+)\}", path)}
            for method, operation in operations.items():
                links = made["post"]["responses"]["200"].setdefault("links", {})
                links[f"{method} {other}"] = {
                    "operationId": operation["operationId"],
                    "parameters": {**given, found[1]: "$response.body#/id"},
                }
                found_links += 1
    return found_links


def fuzz(folder: Path, rounds: int, steps: int) -> Counter[int]:
    """How often each status was answered. Every example has a server of its own, so that what it
    draws follows from itself alone."""
    seen: Counter[int] = Counter()
    number = count(1)
    served: dict[str, Any] = {}

    def begin() -> None:
        own = folder / str(next(number))
        own.mkdir()
        workspace = Workspace(own)
        _, served["key"] = create_key(workspace.store, workspace.name, "fuzz", ["admin"])
        workspace.embedder = lambda name: ThreeNumbers()  # type: ignore[method-assign,assignment,return-value]
        served["app"] = create_app(workspace, ScriptedEngines())

    def headers() -> dict[str, str]:
        return {"Authorization": f"Bearer {served['key']}"}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await served["app"](scope, receive, send)

    begin()
    document = served["app"].openapi()
    assert with_links(document) > 20
    described = schemathesis.openapi.from_dict(document)
    described.app = app

    class Machine(described.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            begin()

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers(), "timeout": 120}  # a busy machine is no hang

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            assert response.status_code < 500, (case.method, case.path, response.content)
            assert served["key"].encode() not in response.content
            seen[response.status_code] += 1

    bounds = settings(_SETTINGS, max_examples=5, stateful_step_count=steps)
    for start in range(rounds):
        # Ids of what is made are random, so that what follows from them is not the same when it is
        # drawn again, which Hypothesis minds; what was answered has been looked at by then.
        with suppress(FlakyStrategyDefinition):
            run_state_machine_as_test(seed(start)(Machine), settings=bounds)
    return seen


@pytest.mark.slow
def test_what_is_made_is_gone_on_with(tmp_path: Path) -> None:
    seen = fuzz(tmp_path, 3, 10)
    assert seen.total() > 30
    assert {200, 404} <= set(seen)


@pytest.mark.soak
def test_thousands_of_requests_without_a_500(tmp_path: Path, figure: Figure) -> None:
    seen = fuzz(tmp_path, 100, 25)
    assert seen.total() > 1000
    figure("requests fuzzed without a 500, with stateful links", seen.total())
