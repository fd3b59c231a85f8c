"""Two servers and two workers on one PostgreSQL, each killed in turn while there is work: what is
changed meanwhile holds everywhere, nothing is lost or done twice, what a server held comes free,
and a page of the studio goes on at the other one."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.generate.remote.provider import Reply, delta, streamed
from tests.jobs.tiny_tuning import MODEL, lines, write_cache
from tests.preloaded import Preloaded
from tests.serve.balancer import Balancer, balancer
from tests.serve.request_leases import begin, end, held, running
from tests.serve.test_batches import created, line, read, waited
from tests.serve.two_servers import TOKENS, USD, Pair, long_answer, soon, two_servers
from tests.studio.browsing import chromium, tab

from assay.accounts.costs import budgets, set_budget
from assay.accounts.keys import create_key, revoke_key
from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.cli import main
from assay.jobs import batch_answers, fine_tuning, queue
from assay.jobs.events import read_events
from assay.jobs.fine_tuning import CHECK, TRAIN
from assay.jobs.service import work_on
from assay.jobs.tuning_request import MOST_EPOCHS, TuningRequest
from assay.release import changes
from assay.release.releases import history, place
from assay.serve.auth import REQUESTS_AT_ONCE
from assay.store import stored_files

pytestmark = pytest.mark.slow
FAR = "remote:far/big-1"
LINES, AT_ONCE = 32, 4
LEASE = timedelta(seconds=10)
"""For how long at most a server that was killed holds requests (docs/fleet.md)."""
BUDGET = 12 * USD
PATIENCE_S = 300.0
CANARY = re.compile("^canary: ")


@dataclass
class Provider:
    """Says the prompt again.

    Attributes:
        go: answers to "wait" are given once it is set.
        let: so many lines of the batch, the first ones, are answered.
        asked: how often it was asked each text.
    """

    go: threading.Event = field(default_factory=threading.Event)
    let: int = LINES // 4
    asked: Counter[str] = field(default_factory=Counter)

    def answer(self, body: dict[str, Any], number: int) -> Reply:
        text = body["messages"][-1]["content"]
        self.asked[text] += 1
        if text == "wait":
            self.go.wait(PATIENCE_S)
        if text.startswith("line "):
            soon(lambda: int(text[5:]) < self.let)
        pauses = [0.2] * 300 if text == "slowly" else []
        parts = [part for pause in pauses for part in (delta("word "), pause)]
        usage = {"prompt_tokens": TOKENS, "completion_tokens": TOKENS}
        last = {"choices": [], "usage": usage}
        said = body["messages"][0]["content"]
        return streamed(*parts, delta(said), delta(finish="stop"), last)

    def lines(self) -> list[int]:
        """How often each line was asked that was."""
        return [count for text, count in list(self.asked.items()) if text.startswith("line ")]


@dataclass
class Fleet:
    """Two servers and two workers, a balancer before the servers and a browser before that.

    Attributes:
        admin, caller: keys to them; that of `caller` has a budget.
        callers: further keys; the canary answers two of the four.
        share: of the canary.
        session: of a person who has signed in.
        batch: that one of the servers does.
        tunings: ids of two fine-tunings that the workers do.
        busy: by each server that was killed, the id of a key and the key, which had all its
            requests at once there.
    """

    pair: Pair
    far: Provider
    workers: list[Preloaded]
    admin: str
    caller: str
    callers: list[str]
    share: float
    session: str
    batch: str
    tunings: list[str]
    balancer: Balancer
    browser: Browser
    busy: dict[int, tuple[str, str]] = field(default_factory=dict)

    def holder(self, job: str) -> int:
        """The process that has a job; 0: none has."""
        found = queue.read(self.pair.workspace.store, job)
        named = found.worker if found.status == "running" else None
        return int(named.rsplit(":", 4)[1]) if named else 0

    def kept(self) -> int:
        """Lines of the batch whose answers are on disk."""
        return len(batch_answers.collect(self.pair.workspace.store, self.batch).places)

    def figures(self, job: str) -> list[Any]:
        """Of a training: the steps that were told."""
        events = read_events(self.pair.workspace.store, job)
        return [e.data["step"] for e in events if e.data and "train_loss" in e.data]

    def answer(self, server: int, key: str = "") -> str:
        told = self.pair.post(server, key or self.admin)
        assert told.status_code == 200, told.text
        return str(told.json()["choices"][0]["message"]["content"])

    def answers(self, server: int) -> list[str]:
        """To each of the callers, by their places: the canary's come first."""
        return [self.answer(server, key) for key in self.callers]

    def is_free(self, server: int, key: str) -> bool:
        """Whether a request of a key may begin."""
        with ExitStack() as stack:
            return end(begin(stack, self.pair, server, key)) == 400  # its body is no request

    def change(self, server: int, what: str, **body: Any) -> None:
        """Change the release, as asked of a server."""
        url = f"{self.pair.servers[server].url}/v1/releases/support/{what}"
        headers = {"Authorization": f"Bearer {self.admin}"}
        told = httpx.post(url, json=body, headers=headers, timeout=90)
        assert told.status_code == 200, told.text

    def open_page(self, server: int) -> Page:
        """Of the release, in a browser that the balancer sends to a server."""
        context = self.browser.new_context()
        for one in self.pair.servers:  # a cookie is called by its server's port
            name = f"assay_session_{httpx.URL(one.url).port}"
            context.add_cookies([{"name": name, "value": self.session, "url": self.balancer.url}])
        self.balancer.server = self.pair.servers[server].url
        return tab(context, self.balancer.url).open("/releases")

    def is_signed_in(self, server: int) -> bool:
        url = self.pair.servers[server].url
        cookies = {f"assay_session_{httpx.URL(url).port}": self.session}
        return httpx.get(f"{url}/studio/", cookies=cookies, timeout=90).status_code == 200

    def is_waiting(self) -> bool:
        """Whether all lines that were let go are kept, and so many are asked as may be at once."""
        return (self.kept(), len(self.far.lines())) == (self.far.let, self.far.let + AT_ONCE)


@pytest.fixture
def fleet(tmp_path: Path, empty_postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setenv("ASSAY_CACHE", str(write_cache(tmp_path / "cache")))
    far = Provider()
    with ExitStack() as stack:
        start = two_servers(
            tmp_path,
            url=empty_postgres,
            monkeypatch=monkeypatch,
            options=("--no-train", "--batch-requests", str(AT_ONCE)),
            answer=far.answer,
        )
        pair = stack.enter_context(start)
        store, name = pair.workspace.store, pair.workspace.name
        stack.callback(far.go.set)
        tunings = [tuning(pair, number) for number in range(2)]
        [admin] = [one.key for one in pair.servers if one.key]
        key, caller = create_key(store, name, "caller", ["chat"])
        set_budget(store, key.id, BUDGET)
        made = [create_key(store, name, f"caller {number}", ["chat"]) for number in range(4)]
        places = sorted((place(name, "support", key.id), secret) for key, secret in made)
        [secret] = re.findall(r"once=(\S+)", pair.servers[0].output.read_text())
        entered = httpx.get(f"{pair.servers[0].url}/studio/enter?once={secret}", timeout=90)
        [session] = entered.cookies.values()
        requests = [line(f"id-{n}", f"line {n}", model=FAR) for n in range(LINES)]
        with openai.OpenAI(base_url=f"{pair.servers[0].url}/v1", api_key=admin) as client:
            batch = created(client, requests).id
        workers = [worker(pair) for _ in range(2)]
        try:
            yield Fleet(
                pair,
                far,
                workers,
                admin,
                caller,
                [secret for _, secret in places],
                (places[1][0] + places[2][0]) / 2,
                session,
                batch,
                tunings,
                stack.enter_context(balancer(pair.servers[0].url)),
                stack.enter_context(chromium()),
            )
        finally:
            far.let = LINES
            for one in workers:
                one.kill()


def tuning(pair: Pair, number: int) -> str:
    """A fine-tuning whose file was checked; the servers leave the training to workers."""
    store, name = pair.workspace.store, pair.workspace.name
    rows = stored_files.keep(store, name, [lines(shift=number)], "rows.jsonl", "fine-tune")
    body = {
        "model": MODEL,
        "training_file": rows.id,
        "hyperparameters": {"n_epochs": MOST_EPOCHS, "batch_size": 3},
    }
    id = fine_tuning.create(store, name, TuningRequest.model_validate(body), seed=7)
    work_on(store, [CHECK]).once(id)
    return id


def worker(pair: Pair) -> Preloaded:
    root = pair.workspace.root
    command = ["assay", "worker", "--folder", str(root), "--kind", TRAIN]
    return Preloaded(main.run, command, root, root.parent / "workers.txt", os.environ)


def save_echo(pair: Pair, said: str) -> str:
    """An agent that says this in all its answers; its label."""
    agent = Agent(model=FAR, system_prompt=said)
    return save_agent(pair.workspace.store, "echo", agent, message="test").label


def test_each_of_four_is_killed_and_nothing_is_lost(fleet: Fleet) -> None:
    pair = fleet.pair
    store = pair.workspace.store
    label = save_echo(pair, "before all")
    changes.promote(store, pair.workspace.name, "support", label, who="test", force="a test")
    for number in (0, 1):
        kill_worker(fleet, number)
    kill_server(fleet, "promote")
    kill_server(fleet, "rollback")
    assert set(fleet.busy) == {0, 1}
    fleet.far.let = LINES

    with openai.OpenAI(base_url=f"{pair.servers[0].url}/v1", api_key=fleet.admin) as client:
        over = waited(client, fleet.batch)
        good = read(client, over.output_file_id)
    assert (over.status, over.request_counts.completed) == ("completed", LINES)
    assert list(good) == [f"id-{n}" for n in range(LINES)]
    # Lines whose answers were not there when a server died are asked once more, and no others.
    assert Counter(fleet.far.lines()) == {1: LINES - 2 * AT_ONCE, 2: 2 * AT_ONCE}

    jobs = [fleet.batch, *fleet.tunings]
    soon(lambda: all(queue.read(store, id).status in queue.OVER for id in jobs))
    assert [queue.read(store, id).status for id in jobs] == ["succeeded"] * 3
    for id in jobs:
        assert [e.message for e in read_events(store, id)].count("Done.") == 1
    for id in fleet.tunings:
        steps = fleet.figures(id)
        assert steps == list(range(1, len(steps) + 1))
        assert fine_tuning.find(store, pair.workspace.name, id).result

    soon(lambda: not any(leased(fleet, id) for id, _ in fleet.busy.values()))
    for number, (_, key) in fleet.busy.items():
        soon(partial(fleet.is_free, 1 - number, key))
    # What the two may have spent that died is still set aside; the rest is there for both.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: spend(fleet, number), range(2)))
    [budget] = [one for one in budgets(store).values() if one.spent]
    assert 2 * USD < budget.spent + budget.reserved <= BUDGET + 1e-9


def kill_worker(fleet: Fleet, number: int) -> None:
    """In the middle of a training; another one takes its place."""
    victim = fleet.workers[number]
    soon(lambda: victim.pid in map(fleet.holder, fleet.tunings))
    [job] = [one for one in fleet.tunings if fleet.holder(one) == victim.pid]
    told = len(fleet.figures(job))
    soon(lambda: len(fleet.figures(job)) > told + 1)
    victim.kill()
    victim.wait(30)
    assert queue.read(fleet.pair.workspace.store, job).status not in queue.OVER
    fleet.workers[number] = worker(fleet.pair)


def kill_server(fleet: Fleet, change: Literal["promote", "rollback"]) -> None:
    """The one that does the batch, while it answers and so does the other; it is started again.

    Args:
        change: what the other is asked while it is alone, of a canary that runs.
    """
    pair, store, name = fleet.pair, fleet.pair.workspace.store, fleet.pair.workspace.name
    soon(fleet.is_waiting)
    pids = [one.process.pid for one in pair.servers]
    victim = pids.index(fleet.holder(fleet.batch))
    other, before = 1 - victim, fleet.answer(victim)
    key, revoked = create_key(store, name, f"without {victim}", ["chat"])
    assert [pair.post(n, revoked).status_code for n in (0, 1)] == [200, 200]
    new = save_echo(pair, f"new, without {victim}")
    fleet.change(victim, "canary", share=fleet.share, agent=new, force="a test")
    shared = [f"new, without {victim}"] * 2 + [before] * 2
    assert [fleet.answers(n) for n in (0, 1)] == [shared, shared]
    page = fleet.open_page(victim)
    expect(page.get_by_text(CANARY)).to_be_visible(timeout=PATIENCE_S * 1000)
    fleet.far.go.clear()
    asked = fleet.far.asked["wait"]
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        wait = [{"role": "user", "content": "wait"}]
        under_way = pool.submit(pair.post, other, fleet.admin, messages=wait)
        soon(lambda: fleet.far.asked["wait"] > asked)
        sent = occupy(fleet, victim, stack)
        soon(partial(is_occupied, fleet, victim, sent))
        with long_answer(pair.servers[victim], fleet.caller):
            soon(partial(is_occupied, fleet, victim, sent))
            pair.servers[victim].process.kill()
            pair.servers[victim].process.wait(30)
        # By the database's clock, however long the rest takes here.
        assert all(left <= LEASE for _, left in held(store, fleet.busy[victim][0]))
        assert fleet.answers(other) == shared
        force = {"agent": new, "force": "a test"} if change == "promote" else {}
        fleet.change(other, change, **force)
        said = shared[0] if change == "promote" else before
        revoke_key(store, key.id)
        fleet.balancer.server = pair.servers[other].url
        assert fleet.answers(other) == [said] * 4
        assert fleet.is_signed_in(other)
        assert pair.post(other, fleet.caller, max_tokens=TOKENS).status_code == 200
        fleet.far.go.set()
        assert under_way.result(PATIENCE_S).status_code == 200

    last = page.get_by_role("cell", name=str(history(store, name, "support")[0].number), exact=True)
    expect(last).to_be_visible(timeout=PATIENCE_S * 1000)
    expect(page.get_by_text(CANARY)).to_have_count(0)
    page.context.close()
    fleet.far.let += LINES // 4
    soon(lambda: fleet.kept() == fleet.far.let)
    assert fleet.holder(fleet.batch) == pids[other]
    pair.restart(victim)
    assert fleet.answers(victim) == [said] * 4
    assert fleet.is_signed_in(victim)
    soon(lambda: [pair.post(n, revoked).status_code for n in (0, 1)] == [401, 401])


def occupy(fleet: Fleet, server: int, stack: ExitStack) -> list[socket.socket]:
    """Begin as many requests at a server as a key may have at once; their bodies are coming."""
    pair = fleet.pair
    key, busy = create_key(pair.workspace.store, pair.workspace.name, f"busy {server}", ["chat"])
    fleet.busy[server] = key.id, busy
    return [begin(stack, pair, server, busy) for _ in range(REQUESTS_AT_ONCE)]


def is_occupied(fleet: Fleet, server: int, sent: list[socket.socket]) -> bool:
    """Whether a server holds all that a key may have at once, as the other one sees."""
    id, key = fleet.busy[server]
    are_there = running(sent) == leased(fleet, id) == REQUESTS_AT_ONCE
    return are_there and not fleet.is_free(1 - server, key)


def leased(fleet: Fleet, key: str) -> int:
    """Of a key: what servers hold, and have not ceased to renew."""
    leases = held(fleet.pair.workspace.store, key)
    return sum(amount for amount, left in leases if left > timedelta(0))


def spend(fleet: Fleet, server: int) -> None:
    """Until the budget is spent."""
    while (told := fleet.pair.post(server, fleet.caller, max_tokens=TOKENS)).status_code == 200:
        pass
    assert told.status_code == 429, told.text
    assert "budget" in told.text
