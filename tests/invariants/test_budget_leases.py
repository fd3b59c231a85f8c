"""What is spent and what is leased never exceed a budget, whatever becomes of the processes."""

from __future__ import annotations

import itertools
import random
import signal
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select
from tests.accounts.passing_time import Clock
from tests.preloaded import Preloaded, run_code

from assay.accounts import leases
from assay.accounts.costs import budgets, set_budget, units
from assay.accounts.keys import create_key
from assay.accounts.reservations import Reservation, Reservations, Settlement
from assay.store.store import Store
from assay.store.tables import BudgetLeaseRow, BudgetRow, UsageRow

STEPS = 250
BUDGET = 1_000_000


@dataclass
class Process:
    """One of the simulated."""

    reservations: Reservations
    under_way: list[Reservation] = field(default_factory=list)
    ended: list[Settlement] = field(default_factory=list)


class World:
    """Processes that share a budget, a clock, and what really was spent.

    Attributes:
        worst: what all requests that were sent have cost; those under way, the most they can.
        told: what `spent` of the budget must say.
    """

    def __init__(self, store: Store, seed: int) -> None:
        self.store, self.luck = store, random.Random(seed)
        self.key = create_key(store, "p", "k", ["chat"])[0].id
        set_budget(store, self.key, BUDGET / 1e9)
        self.clock = Clock(store)
        self.processes = [self.process() for _ in range(3)]
        self.worst = self.told = self.logged = 0
        self.before = self.held()

    def process(self) -> Process:
        return Process(Reservations(self.store, self.clock))

    def one(self) -> Process:
        return self.luck.choice(self.processes)

    # What can happen.

    def ask(self) -> None:
        process = self.one()
        amount = int(10 ** self.luck.uniform(2, 5))
        reservations = process.reservations
        reserved = reservations.take(self.key, amount) or reservations.lease(self.key, amount)
        if reserved is not None:
            self.worst += amount
            process.under_way.append(reserved)

    def answer(self) -> None:
        process = self.one()
        if process.under_way:
            reserved = process.under_way.pop(self.luck.randrange(len(process.under_way)))
            cost = self.luck.choice([0, None, self.luck.randint(0, reserved.amount)])
            process.ended.append(process.reservations.end(reserved, cost))
            self.worst -= 0 if cost is None else reserved.amount - cost

    def write(self) -> None:
        process = self.one()
        spent, process.ended = process.ended, []
        there = {id for id, *_ in self.held()}
        fails = bool(spent) and self.luck.random() < 0.05
        try:
            with (
                process.reservations.settling(spent) as settle,
                self.store.engine.begin() as connection,
            ):
                rows: list[dict[str, Any]] = [
                    {"project": "p", "key": self.key, "name": "m", "model": "m", "seconds": 0.0}
                    | {"cost": one.cost}
                    for one in spent
                ]
                if rows:
                    connection.execute(insert(UsageRow), rows)
                settle(connection)
                if fails:
                    raise ConnectionError
        except ConnectionError:
            return
        self.logged += sum(one.cost for one in spent)
        self.told += sum(one.cost for one in spent if one.lease.id in there)

    def look(self) -> None:
        self.one().reservations.look()

    def stop(self) -> None:
        self.one().reservations.give_back()

    def kill(self) -> None:
        self.processes[self.luck.randrange(3)] = self.process()

    def wait(self) -> None:
        self.clock.wait(timedelta(seconds=self.luck.choice([0.1, 1, 5, 20, 100])))

    def change(self) -> None:
        set_budget(self.store, self.key, self.luck.randint(0, 2 * BUDGET) / 1e9)

    # What must always hold.

    def held(self) -> list[tuple[str, int, int]]:
        columns = BudgetLeaseRow.id, BudgetLeaseRow.amount, BudgetLeaseRow.risk
        with self.store.engine.connect() as connection:
            return [(id, amount, risk) for id, amount, risk in connection.execute(select(*columns))]

    def budget(self) -> tuple[int, int, int]:
        query = select(BudgetRow.most, BudgetRow.spent, BudgetRow.reserved)
        with self.store.engine.connect() as connection:
            most, spent, reserved = connection.execute(query).one()
        return most, spent, reserved

    def step(self) -> None:
        acts = [self.ask] * 8 + [self.answer] * 7 + [self.write] * 4 + [self.look] * 3
        act = self.luck.choice([*acts, self.stop, self.kill, self.wait, self.wait, self.change])
        _, spent, reserved = self.budget()
        before = {id: (amount, risk) for id, amount, risk in self.held()}
        act()
        after = self.held()
        if act == self.ask:  # the only one that takes from others
            gone = before.keys() - {id for id, *_ in after}
            self.told += sum(min(before[id]) for id in gone)
        self.check(spent + reserved)

    def check(self, at_most: int) -> None:
        most, spent, reserved = self.budget()
        held = self.held()
        assert reserved == sum(amount for _, amount, _ in held)
        assert all(0 <= risk <= amount for _, amount, risk in held)
        assert spent + reserved <= max(most, at_most)  # a budget may be made smaller than that
        assert self.worst <= spent + reserved
        assert spent == self.told
        for process in self.processes:
            for lease in process.reservations._leases.values():
                assert 0 <= lease.under_way <= min(lease.amount, lease.risk)


@pytest.mark.parametrize("seed", range(6))
def test_random_schedules_with_kills_sleep_and_failures(
    database: str, tmp_path: Path, seed: int
) -> None:
    world = World(Store(tmp_path, database), seed)
    for _ in range(STEPS):
        world.step()
    with world.store.engine.connect() as connection:
        assert connection.scalar(select(func.sum(UsageRow.cost))) == world.logged
    # All processes die. What they held comes back, but for what may have been under way.
    at_risk = sum(min(amount, risk) for _, amount, risk in world.held())
    world.clock.wait(timedelta(seconds=1000))
    leases.reclaim(world.store)
    _, spent, reserved = world.budget()
    assert (spent, reserved) == (world.told + at_risk, 0)
    assert spent >= world.worst


SPEND = """
import os, random, sys, threading, time
from datetime import timedelta
from pathlib import Path
from assay.agent.providers import Providers
from assay.config import Provider, TokenPrice
from assay.generate.stream import End
from assay.accounts import leases, reservations, usage
from assay.accounts.costs import BudgetError
from assay.store.store import Store

folder, url, key, truth, threads, until = sys.argv[1:]
leases.LASTS, reservations._RENEW_S = timedelta(seconds=2), 0.5
usage._PAUSE_S, usage.LOOK_S = 0.02, 0.1
store = Store(Path(folder), url)
price = {"m": TokenPrice(input=1.0, output=1.0)}
far = Provider(base_url="https://far.invalid/v1", prices=price)
log = usage.UsageLog(store, Providers({"far": far}, store))
file = os.open(truth, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
print("ready", flush=True)

def spend(number):
    luck = random.Random(f"{os.getpid()} {number}")
    asked = 0
    while until == "refused" or time.time() < float(until):
        most = luck.randint(100, 3000)  # tokens, of a millionth of a USD
        try:
            held = log.take(key, most / 1e6) or log.reserve(key, most / 1e6)
        except BudgetError:
            if until == "refused" and most < 200:
                return
            continue
        asked += 1
        name = f"{os.getpid()}.{number}.{asked}"
        os.write(file, f"sent {name} {most}\\n".encode())
        time.sleep(luck.uniform(0, 0.01))
        cost = luck.randint(0, most)
        os.write(file, f"cost {name} {cost}\\n".encode())
        end = End("stop", cost, 0, model="remote:far/m")
        log.add("p", key, "m", [end], 0.0, held)

workers = [threading.Thread(target=spend, args=(n,)) for n in range(int(threads))]
for worker in workers: worker.start()
for worker in workers: worker.join()
log.close()
"""
THREADS, MOST, KILLS = 4, 3000, 4


def test_three_processes_that_are_killed_at_any_time(database: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "state", database)
    key, _ = create_key(store, "p", "k", ["chat"])
    set_budget(store, key.id, 5.0)
    truth, luck, numbers = tmp_path / "truth.txt", random.Random(1), itertools.count()

    def start(until: str, threads: int = THREADS) -> Preloaded:
        args = [str(store.folder), database, key.id, str(truth), str(threads), until]
        output = tmp_path / f"output-{next(numbers)}.txt"
        process = run_code(SPEND, *args, output=output)
        deadline = time.monotonic() + 120
        while not output.exists() or "ready\n" not in output.read_text():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.01)
        return process

    def total() -> float:
        """The most that it can have cost, in USD: a request without an answer, all of it."""
        sent: dict[str, int] = {}
        for line in truth.read_text().splitlines():
            _, name, tokens = line.split()
            sent[name] = int(tokens)
        return sum(sent.values()) / 1e6

    far = str(time.time() + 3600)
    running = [start(far) for _ in range(3)]
    for _ in range(KILLS):
        time.sleep(luck.uniform(0.1, 0.8))
        victim = running.pop(luck.randrange(3))
        victim.send_signal(signal.SIGKILL)
        victim.wait(30)
        [budget] = budgets(store).values()
        assert budget.spent + budget.reserved <= budget.most + 1e-9
        running.append(start(far))
    for process in running:
        process.kill()
        process.wait(30)
    worst = total()
    assert 0 < worst < 5.0
    time.sleep(2.5)  # longer than their leases last
    leases.reclaim(store)
    [budget] = budgets(store).values()
    with store.engine.connect() as connection:
        logged = float(connection.scalar(select(func.sum(UsageRow.cost))) or 0) / 1e9
    assert budget.reserved == 0
    assert worst <= budget.spent + 1e-9
    # A kill costs at most twice what can have been under way or not in the log yet.
    assert budget.spent - logged <= (KILLS + 3) * leases.SPARE * 4 * THREADS * MOST / 1e6
    # The last part of the budget can be spent by anyone, also by two at once.
    set_budget(store, key.id, budget.spent + 0.1)
    last = [start("refused", 1) for _ in range(2)]
    assert [process.wait(120) for process in last] == [0, 0]
    [budget] = budgets(store).values()
    assert budget.reserved == 0
    assert budget.spent <= budget.most + 1e-9
    assert budget.most - budget.spent < 2 * MOST / 1e6
    assert total() <= budget.spent + 1e-9
    assert units(budget.spent) >= units(worst)
