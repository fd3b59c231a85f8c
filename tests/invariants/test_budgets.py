"""However many requests come at once, together they never spend more than their key's budget."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.agent.routes import cascade
from tests.generate.provider import Reply, refused, said, serving, streamed
from tests.serve.running import Running, running

from assay.agent.providers import Providers
from assay.agent.serving import AgentEngines
from assay.agent.versions import save_agent
from assay.config import TokenPrice
from assay.project.access import create_key
from assay.project.spending import BudgetError, budgets, reserve, set_budget, settle, usage
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

    def spend(_: int) -> float:
        try:
            held = reserve(store, key.id, 0.05)
        except BudgetError:
            return 0.0
        settle(store, held, 0.05)
        return 0.05

    with ThreadPoolExecutor(20) as pool:
        spent = sum(pool.map(spend, range(100)))
    assert spent == pytest.approx(1.0)
    [budget] = budgets(store).values()
    assert (budget.spent, budget.reserved) == (1.0, 0.0)


def served(folder: Path, far: Any, prices: dict[str, TokenPrice] = PRICES) -> Any:
    return running(folder, lambda workspace: _engines(workspace, far, prices))


def _engines(workspace: Any, far: Any, prices: dict[str, TokenPrice]) -> AgentEngines:
    described = {"far": far.provider(prices=prices, retries=0)}
    workspace.providers = Providers(described, workspace.store, workspace.name)
    return AgentEngines(workspace.store, None, workspace.providers)  # type: ignore[arg-type]


def budgeted(server: Running, usd: float) -> httpx.Client:
    key, secret = create_key(server.workspace.store, server.workspace.name, "b", ["chat"])
    set_budget(server.workspace.store, key.id, usd)
    return httpx.Client(
        base_url=server.url, headers={"Authorization": f"Bearer {secret}"}, timeout=60
    )


def budget_of(server: Running) -> tuple[float, float]:
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
            for _ in range(100):
                if budget_of(server)[1] == 0:
                    break
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


def test_a_killed_process_leaves_its_reservation_standing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key, _ = create_key(store, "p", "k", ["chat"])
    set_budget(store, key.id, 1.0)
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from assay.store.store import Store; from assay.project.spending import reserve\n"
        "reserve(Store(Path(sys.argv[1])), sys.argv[2], 0.6); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), key.id], env=dict(os.environ), check=False
    )
    assert done.returncode == -signal.SIGKILL
    with pytest.raises(BudgetError):
        reserve(store, key.id, 0.6)


def test_a_paid_call_of_a_route_counts_although_the_next_one_is_refused(tmp_path: Path) -> None:
    def rule(body: dict[str, Any], _: int) -> Reply:
        return said("x", usage=USAGE) if body["model"] == "big-1" else refused(429, "later")

    prices = {**PRICES, "strong": PRICES["big-1"]}
    with serving(rule) as far, served(tmp_path, far, prices) as server:
        store = server.workspace.store
        both = cascade(store, "remote:far/big-1", "remote:far/strong")
        save_agent(store, "both", both, message="m")
        with budgeted(server, 1.0) as client:
            body = {**BODY, "model": "both@1"}
            assert client.post("/v1/chat/completions", json=body).status_code == 429
        for _ in range(100):
            if budget_of(server)[1] == 0:
                break
        assert [asked["model"] for asked in far.asked] == ["big-1", "strong"]
        spent, reserved = budget_of(server)
        assert reserved == 0
        assert spent >= COST
