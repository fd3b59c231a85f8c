"""However many requests come at once, together they never spend more than their key's budget."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.agent.routes import cascade
from tests.generate.remote.provider import Reply, refused, said, serving, streamed
from tests.serve.running import Running, running

from assay.accounts.costs import BudgetError, budgets, set_budget, usage
from assay.accounts.keys import create_key, free_name
from assay.accounts.usage import UsageLog
from assay.agent.engines import StreamEngines
from assay.agent.providers import Providers
from assay.agent.versions import save_agent
from assay.config import TokenPrice
from assay.store.store import Store

BODY = {
    "model": "remote:far/big-1",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 1000,
}
USAGE = {"prompt_tokens": 500, "completion_tokens": 1000}
COST = 0.0015  # of such an answer, at a USD a million tokens
PRICES = {"big-1": TokenPrice(input=1.0, output=1.0)}


def test_a_hundred_reservations_at_once_keep_to_the_budget(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key, _ = create_key(store, "p", "k", ["chat"])
    set_budget(store, key.id, 1.0)
    log = UsageLog(store, Providers({}, store))

    def spend(_: int) -> float:
        try:
            held = log.take(key.id, 0.05) or log.reserve(key.id, 0.05)
        except BudgetError:
            return 0.0
        log.add("p", key.id, "m", [], 0.0, held, is_complete=False)
        return 0.05

    with ThreadPoolExecutor(20) as pool:
        spent = sum(pool.map(spend, range(100)))
    assert spent == pytest.approx(1.0)
    log.close()
    [budget] = budgets(store).values()
    assert (budget.spent, budget.reserved) == (1.0, 0.0)


def served(folder: Path, far: Any, prices: dict[str, TokenPrice] = PRICES) -> Any:
    return running(folder, lambda workspace: _engines(workspace, far, prices))


def _engines(workspace: Any, far: Any, prices: dict[str, TokenPrice]) -> StreamEngines:
    described = {"far": far.provider(prices=prices, retries=0)}
    workspace.providers = Providers(described, workspace.store, workspace.name)
    return StreamEngines(workspace.store, None, workspace.providers)  # type: ignore[arg-type]


def budgeted(server: Running, usd: float) -> httpx.Client:
    store, project = server.workspace.store, server.workspace.name
    key, secret = create_key(store, project, free_name(store, project, "b"), ["chat"])
    set_budget(store, key.id, usd)
    return httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=60
    )


def budget_of(server: Running) -> tuple[float, float]:
    """What is spent, and what is set aside for requests under way."""
    server.workspace.usage.close()
    [budget] = budgets(server.workspace.store).values()
    return budget.spent, budget.reserved


def test_a_hundred_requests_at_once_keep_to_the_budget(tmp_path: Path) -> None:
    answered = 0

    def rule(_: dict[str, Any], number: int) -> Reply:
        nonlocal answered
        answered = max(answered, number)
        reply = said("x", usage=USAGE)
        reply.wait = 0.05
        return reply

    with serving(rule) as far, served(tmp_path, far) as server:
        with budgeted(server, 0.03) as client, ThreadPoolExecutor(100) as pool:
            codes = list(
                pool.map(
                    lambda _: client.post("/v1/chat/completions", json=BODY).status_code, range(100)
                )
            )
        assert set(codes) <= {200, 429}
        assert codes.count(200) == answered
        spent, reserved = budget_of(server)
        assert spent == pytest.approx(codes.count(200) * COST)
        assert spent <= 0.03
        assert reserved == 0
        assert codes.count(200) >= 8  # each may cost 0.0021 USD until it is known
        server.workspace.usage.flush()
        [line] = usage(server.workspace.store, server.workspace.name)
        assert line["usd"] == pytest.approx(spent)
        assert line["answers"] == codes.count(200)


@pytest.mark.parametrize(
    ("reply", "spent"),
    [
        (said("x", usage=USAGE), COST),
        (said("x"), None),  # nobody knows: all that was reserved
        (streamed(done=False), None),
        (refused(503, "down"), 0.0),
        (refused(429, "later"), 0.0),
    ],
    ids=["told", "untold", "cut", "down", "busy"],
)
def test_what_is_unknown_counts_in_full_and_what_never_was_counts_nothing(
    tmp_path: Path, reply: Reply, spent: float | None
) -> None:
    with serving(lambda *_: reply) as far, served(tmp_path, far) as server:
        with budgeted(server, 1.0) as client:
            client.post("/v1/chat/completions", json=BODY)
        told, reserved = budget_of(server)
        assert reserved == 0
        if spent is None:
            assert told > COST
        else:
            assert told == pytest.approx(spent)


def test_without_a_price_or_a_budget_nothing_leaves(tmp_path: Path) -> None:
    with serving(lambda *_: said("x")) as far, served(tmp_path, far, {}) as server:
        with budgeted(server, 1.0) as client:
            reply = client.post("/v1/chat/completions", json=BODY)
        assert reply.status_code == 429
        assert reply.json()["error"]["code"] == "insufficient_quota"
        assert "not known" in reply.json()["error"]["message"]
        with httpx.Client(base_url=server.url) as client:
            headers = {"Authorization": f"Bearer {server.key}"}  # a key without a budget
            assert (
                client.post("/v1/chat/completions", json=BODY, headers=headers).status_code == 200
            )
    assert len(far.asked) == 1


@pytest.mark.parametrize(
    ("strong", "status", "spent"),
    [
        (said("y", usage=USAGE), 200, 2 * COST),
        (refused(429, "later"), 429, COST),
        (refused(401, "no such key"), 503, COST),
        (streamed(done=False), 503, None),  # the second call may have cost anything
    ],
    ids=["answered", "busy", "refused", "cut"],
)
def test_a_paid_call_of_a_route_counts_whatever_becomes_of_the_next_one(
    tmp_path: Path, strong: Reply, status: int, spent: float | None
) -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        return said("x", usage=USAGE) if body["model"] == "big-1" else strong

    prices = {**PRICES, "strong": PRICES["big-1"]}
    with serving(rule) as far, served(tmp_path, far, prices) as server:
        store = server.workspace.store
        both = cascade(store, "remote:far/big-1", "remote:far/strong")
        save_agent(store, "both", both, message="m")
        with budgeted(server, 1.0) as client:
            body = {**BODY, "model": "both@1"}
            assert client.post("/v1/chat/completions", json=body).status_code == status
        assert [asked["model"] for asked in far.asked] == ["big-1", "strong"]
        counted, reserved = budget_of(server)
        assert reserved == 0
        lines = {line["model"]: line for line in usage(store, server.workspace.name)}
        cheap = lines.pop("remote:far/big-1")
        assert (cheap["answers"], cheap["usd"]) == (1, pytest.approx(COST))
        assert set(lines) == ({"remote:far/strong"} if status == 200 else set())
        if spent is None:
            assert counted > 2 * COST
        else:
            assert counted == pytest.approx(spent)


def test_who_hangs_up_while_the_second_call_is_asked_has_paid_the_first(tmp_path: Path) -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        reply = said("x", usage=USAGE)
        reply.wait = 0.0 if body["model"] == "big-1" else 90.0
        return reply

    prices = {**PRICES, "strong": PRICES["big-1"]}
    with serving(rule) as far, served(tmp_path, far, prices) as server:
        store = server.workspace.store
        save_agent(
            store, "both", cascade(store, "remote:far/big-1", "remote:far/strong"), message="m"
        )
        with budgeted(server, 1.0) as client:
            line = HTTPConnection(client.base_url.host, client.base_url.port)
            body = json.dumps({**BODY, "model": "both@1"})
            headers = {**client.headers, "Content-Type": "application/json"}
            line.request("POST", "/v1/chat/completions", body, headers)
            _wait_for(lambda: [one["model"] for one in far.asked] == ["big-1", "strong"])
            line.close()
        _wait_for(lambda: _lines(server))
        lines = _lines(server)
        assert [(line["model"], line["usd"]) for line in lines] == [
            ("remote:far/big-1", pytest.approx(COST))
        ]
        spent, reserved = budget_of(server)
        assert spent > 2 * COST  # what the second one has cost, nobody knows
        assert reserved == 0


def _wait_for(seen: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lines(server: Running) -> list[dict[str, Any]]:
    server.workspace.usage.flush()
    return usage(server.workspace.store, server.workspace.name)
