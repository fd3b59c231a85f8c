"""Two servers on one PostgreSQL and one folder: what one does holds at the other, and when one is
killed the other goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.serve.two_servers import TOKENS, USD, Pair, long_answer, soon, two_servers

from assay.accounts.costs import budgets, set_budget
from assay.accounts.keys import create_key, list_keys, revoke_key
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.jobs import queue
from assay.jobs.pulling import PULL
from assay.release import changes
from assay.release.releases import place

pytestmark = pytest.mark.slow
BUDGET = 0.05
FAR = "remote:far/big-1"


@pytest.fixture
def pair(tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    with two_servers(tmp_path, url=empty_postgres, monkeypatch=monkeypatch) as servers:
        yield servers


def test_two_servers_share_their_state_and_one_goes_on_alone(pair: Pair) -> None:
    store, name = pair.workspace.store, pair.workspace.name
    first, second = pair.servers
    assert not (pair.workspace.root / ".assay" / "assay.db").exists()

    # One has made the first key and said so; it is good at both.
    [admin] = [one.key for one in pair.servers if one.key]
    assert len(list_keys(store)) == 1
    save_agent(store, "echo", Agent(model=FAR, system_prompt="Say hello."), message="test")
    changes.promote(store, name, "support", "echo@1", who="test", force="a test")
    for number in (0, 1):
        told = pair.post(number, admin)
        assert told.status_code == 200, told.text
        assert told.json()["choices"][0]["message"]["content"] == "hello"

    # A link of the first signs in at the second, once; the session is one of both.
    [secret] = re.findall(r"once=(\S+)", first.output.read_text())
    entered = httpx.get(f"{second.url}/studio/enter", params={"once": secret}, timeout=90)
    assert entered.status_code == 303, entered.text
    [session] = entered.cookies.values()
    for one in pair.servers:
        assert httpx.get(f"{one.url}/studio/enter", params={"once": secret}).status_code == 403
        cookies = {f"assay_session_{httpx.URL(one.url).port}": session}
        assert httpx.get(f"{one.url}/studio/", cookies=cookies, timeout=90).status_code == 200

    # Releases: the next request at either is answered by what was promoted.
    save_agent(store, "echo", Agent(model=FAR, system_prompt="Say it again."), message="test")
    changes.promote(store, name, "support", "echo@2", who="test", force="a test")
    for number in (0, 1):
        assert pair.post(number, admin).status_code == 200
        assert pair.far.asked[-1]["messages"][0]["content"] == "Say it again."

    # A canary that is set at the first holds at the second: a caller gets one agent of both.
    save_agent(store, "echo", Agent(model=FAR, system_prompt="Say it louder."), message="test")
    callers = [create_key(store, name, f"caller {number}", ["chat"]) for number in range(4)]
    places = [place(name, "support", key.id) for key, _ in callers]
    share = sum(sorted(places)[1:3]) / 2
    asked = {"share": share, "agent": "echo@3", "force": "a test"}
    headers = {"Authorization": f"Bearer {admin}"}
    set_ = httpx.post(
        f"{first.url}/v1/releases/support/canary", json=asked, headers=headers, timeout=90
    )
    assert set_.status_code == 200, set_.text
    for (_, secret), own in zip(callers, places, strict=True):
        for number in (1, 0):
            assert pair.post(number, secret).status_code == 200
            expected = "Say it louder." if own < share else "Say it again."
            assert pair.far.asked[-1]["messages"][0]["content"] == expected

    # A key that is revoked is so at both, after the second for which it is remembered.
    key, secret = create_key(store, name, "short", ["chat"])
    assert [pair.post(number, secret).status_code for number in (0, 1)] == [200, 200]
    revoke_key(store, key.id)
    soon(lambda: [pair.post(number, secret).status_code for number in (0, 1)] == [401, 401])

    # A budget is one for both, however they are asked at once.
    key, secret = create_key(store, name, "budgeted", ["chat"])
    set_budget(store, key.id, BUDGET)
    before = len(pair.far.asked)

    def spend(number: int) -> int:
        """Until it is refused; how many were answered."""
        count = 0
        while (told := pair.post(number % 2, secret, max_tokens=TOKENS)).status_code == 200:
            count += 1
        assert told.status_code == 429, told.text
        assert "budget" in told.text
        return count

    with ThreadPoolExecutor(4) as pool:
        answered = sum(pool.map(spend, range(4)))
    assert len(pair.far.asked) - before == answered
    assert 0 < answered * USD <= BUDGET

    # One is killed while it answers. The other goes on, and so does the work.
    with long_answer(first, admin):
        first.process.kill()
    first.process.wait(30)
    assert pair.post(1, admin).status_code == 200
    id = queue.enqueue(store, name, PULL, {"model": "no-such/model"})
    soon(lambda: queue.read(store, id).status == "failed")  # somebody has looked for the model
    [budget] = [one for named, one in budgets(store).items() if named == key.id]
    assert budget.spent + budget.reserved <= budget.most + 1e-9
