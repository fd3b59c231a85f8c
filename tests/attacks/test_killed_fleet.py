"""Two servers and two workers on one PostgreSQL, each killed in turn while there is work: what is
changed meanwhile holds everywhere, and nothing is lost or done twice."""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.figures import Figure
from tests.generate.remote.provider import Reply, delta, streamed
from tests.jobs.tiny_tuning import MODEL, lines, write_cache
from tests.preloaded import Preloaded
from tests.serve.test_batches import created, line, read, waited
from tests.serve.two_servers import TOKENS, USD, Pair, long_answer, soon, two_servers

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
from assay.store import stored_files

pytestmark = pytest.mark.slow
FAR = "remote:far/big-1"
LINES, AT_ONCE = 32, 4
BUDGET = 12 * USD
PATIENCE_S = 300.0


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
    """Two servers and two workers.

    Attributes:
        admin, caller: keys to them; that of `caller` has a budget.
        session: of a person who has signed in.
        batch: that one of the servers does.
        tunings: ids of two fine-tunings that the workers do.
    """

    pair: Pair
    far: Provider
    workers: list[Preloaded]
    admin: str
    caller: str
    session: str
    batch: str
    tunings: list[str]

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

    def answer(self, server: int) -> str:
        told = self.pair.post(server, self.admin)
        assert told.status_code == 200, told.text
        return str(told.json()["choices"][0]["message"]["content"])

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
        [secret] = re.findall(r"once=(\S+)", pair.servers[0].output.read_text())
        entered = httpx.get(f"{pair.servers[0].url}/studio/enter?once={secret}", timeout=90)
        [session] = entered.cookies.values()
        requests = [line(f"id-{n}", f"line {n}", model=FAR) for n in range(LINES)]
        with openai.OpenAI(base_url=f"{pair.servers[0].url}/v1", api_key=admin) as client:
            batch = created(client, requests).id
        workers = [worker(pair) for _ in range(2)]
        try:
            yield Fleet(pair, far, workers, admin, caller, session, batch, tunings)
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


def promote(pair: Pair, said: str) -> None:
    """From now on the release says this, in all its answers."""
    store, name = pair.workspace.store, pair.workspace.name
    made = save_agent(store, "echo", Agent(model=FAR, system_prompt=said), message="test")
    changes.promote(store, name, "support", made.label, who="test", force="a test")


def test_each_of_four_is_killed_and_nothing_is_lost(fleet: Fleet, figure: Figure) -> None:
    pair, began = fleet.pair, time.monotonic()
    store = pair.workspace.store
    promote(pair, "before all")
    for number in (0, 1):
        kill_worker(fleet, number)
    victims = [kill_server(fleet) for _ in range(2)]
    assert set(victims) == {0, 1}
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

    # What the two may have spent that died is still set aside; the rest is there for both.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda number: spend(fleet, number), range(2)))
    [budget] = [one for one in budgets(store).values() if one.spent]
    assert 2 * USD < budget.spent + budget.reserved <= BUDGET + 1e-9
    figure("four processes killed in turn, seconds", f"{time.monotonic() - began:.1f}")


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


def kill_server(fleet: Fleet) -> int:
    """The one that does the batch, while it answers and so does the other; it is started again.

    Returns:
        Which it was.
    """
    pair, store = fleet.pair, fleet.pair.workspace.store
    soon(fleet.is_waiting)
    pids = [one.process.pid for one in pair.servers]
    victim = pids.index(fleet.holder(fleet.batch))
    other, said = 1 - victim, f"without {victim}"
    key, revoked = create_key(store, pair.workspace.name, said, ["chat"])
    assert [pair.post(n, revoked).status_code for n in (0, 1)] == [200, 200]
    fleet.far.go.clear()
    asked = fleet.far.asked["wait"]
    with ThreadPoolExecutor(1) as pool:
        wait = [{"role": "user", "content": "wait"}]
        under_way = pool.submit(pair.post, other, fleet.admin, messages=wait)
        soon(lambda: fleet.far.asked["wait"] > asked)
        with long_answer(pair.servers[victim], fleet.caller):
            pair.servers[victim].process.kill()
            pair.servers[victim].process.wait(30)
        promote(pair, said)
        revoke_key(store, key.id)
        assert fleet.answer(other) == said
        assert fleet.is_signed_in(other)
        assert pair.post(other, fleet.caller, max_tokens=TOKENS).status_code == 200
        fleet.far.go.set()
        assert under_way.result(PATIENCE_S).status_code == 200

    fleet.far.let += LINES // 4
    soon(lambda: fleet.kept() == fleet.far.let)
    assert fleet.holder(fleet.batch) == pids[other]
    pair.restart(victim)
    assert fleet.answer(victim) == said
    assert fleet.is_signed_in(victim)
    soon(lambda: [pair.post(n, revoked).status_code for n in (0, 1)] == [401, 401])
    return victim


def spend(fleet: Fleet, server: int) -> None:
    """Until the budget is spent."""
    while (told := fleet.pair.post(server, fleet.caller, max_tokens=TOKENS)).status_code == 200:
        pass
    assert told.status_code == 429, told.text
    assert "budget" in told.text
