"""A fleet of replicas that serve many tenants' adapters, event by event; see `bench/fleet.py`.

    outcomes = simulate(load, Fleet(replicas=32, held=64, policy="bounded"), times)

A replica is one core. Its engine answers for one adapter at a time: requests of the adapter that is
being answered join it, others wait for their turn. An adapter that the engine does not hold comes
with a new engine, which is started beside the one that answers, one start at a time, and holds the
adapters used last; one that was never asked of the replica is fetched and converted before. All
that a replica does at the same time shares its core.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

Policy = Literal["random", "least", "affinity", "bounded", "copies"]
POLICIES: tuple[Policy, ...] = ("random", "least", "affinity", "bounded", "copies")
SLOTS, WAITING = 8, 128
"""Of an engine; one more request is refused, as `assay serve` does."""
BOUND = 1.25
"""Of a replica, most requests under way, in means over all replicas (`bounded`, `copies`)."""


@dataclass(frozen=True)
class Times:
    """Seconds of a core, measured.

    Attributes:
        request: of each request, whatever is asked.
        prompt, token: of each token of a prompt, of an answer.
        start: to start an engine without adapters.
        adapter: more for each adapter that it holds.
        fetch: to get an adapter from the bucket and convert it.
        speed: of `n` answers of one adapter together, against one after the other; by n - 1.
    """

    request: float
    prompt: float
    token: float
    start: float
    adapter: float
    fetch: float
    speed: tuple[float, ...]


@dataclass(frozen=True)
class Arrival:
    """A request: when, whose, for which adapter, and how many tokens."""

    at: float
    tenant: int
    adapter: int
    prompt: int
    answer: int


@dataclass(frozen=True)
class Fleet:
    """Replicas, and how one of them is chosen.

    Attributes:
        held: most adapters in an engine.
        lost: first and last second without replica 0.
        before: adapters that were asked of each replica before, by its number, the last one last.
        homes: replicas that share each tenant (`copies`); those beyond have one.
    """

    replicas: int
    held: int
    policy: Policy
    lost: tuple[float, float] | None = None
    before: Sequence[Sequence[int]] = ()
    homes: Sequence[int] = ()


@dataclass
class Work:
    """A request under way.

    Attributes:
        tier: where its adapter was found: memory, disk or bucket.
        left: seconds of a core until its answer is whole, alone.
    """

    arrival: Arrival
    left: float
    tier: str = "memory"


@dataclass
class Outcome:
    """What became of a request; `seconds` is None where it was refused."""

    arrival: Arrival
    seconds: float | None
    tier: str
    replica: int


@dataclass
class Engine:
    """What answers, with the adapters it was started with."""

    adapters: frozenset[int]
    slots: list[Work | None] = field(default_factory=lambda: [None] * SLOTS)
    last: list[tuple[int, int]] = field(default_factory=lambda: [(-1, 0)] * SLOTS)
    waiting: deque[Work] = field(default_factory=deque)
    running: int | None = None
    turns: int = 0

    def take(self, work: Work) -> None:
        """Into a free slot: one that answered for its adapter before, else the one longest idle."""
        free = [number for number, other in enumerate(self.slots) if other is None]
        if not free:
            self.waiting.append(work)
            return
        adapter = work.arrival.adapter
        slot = max(free, key=lambda n: (self.last[n][0] == adapter, -self.last[n][1]))
        self.turns += 1
        self.slots[slot], self.last[slot] = work, (adapter, self.turns)
        if self.running is None:
            self.running = adapter

    def group(self) -> list[Work]:
        """Those that are being answered: all of one adapter."""
        return [w for w in self.slots if w is not None and w.arrival.adapter == self.running]

    def finish(self, work: Work) -> None:
        """Free its slot for whoever waits; another adapter has its turn when none is left."""
        self.slots[self.slots.index(work)] = None
        if self.waiting:
            self.take(self.waiting.popleft())
        if not self.group():
            busy = [other for other in self.slots if other is not None]
            self.running = busy[0].arrival.adapter if busy else None


class Replica:
    """One core; `at` is up to when it has been reckoned.

    Args:
        before: adapters that it was asked for, the last one last.
    """

    def __init__(self, times: Times, held: int, before: Sequence[int]) -> None:
        self.times, self.held, self.disk = times, held, set(before)
        self.at, self.event = 0.0, 0
        self.under_way: dict[int, Work] = {}
        self.restart()
        for adapter in before:
            self.recent[adapter] = None
            self.recent.move_to_end(adapter)
        self.engines = [Engine(frozenset(islice(reversed(self.recent), held)))]

    def restart(self) -> list[Work]:
        """Memory is empty, the disk as it was; returns what was under way."""
        lost = list(self.under_way.values())
        self.under_way.clear()
        self.recent: OrderedDict[int, None] = OrderedDict()
        self.engines = [Engine(frozenset())]
        self.fetches: dict[int, tuple[float, list[Work]]] = {}
        self.load: tuple[float, Engine] | None = None
        self.loads: deque[Work] = deque()
        return lost

    def ask(self, arrival: Arrival) -> Work:
        """Begin a request; the replica has to be reckoned up to now."""
        times = self.times
        left = times.request + arrival.prompt * times.prompt + arrival.answer * times.token
        work = Work(arrival, left)
        self.under_way[id(work)] = work
        if arrival.adapter in self.disk:
            self._find(work)
            return work
        work.tier = "bucket"
        left, waiting = self.fetches.get(arrival.adapter, (times.fetch, []))
        self.fetches[arrival.adapter] = (left, [*waiting, work])
        return work

    def advance(self, now: float) -> list[Work]:
        """Reckon up to `now`, at which something may be over; returns answers that are whole."""
        passed, self.at = now - self.at, now
        lanes = self._lanes()
        if not lanes:
            return []
        share = passed / lanes
        done: list[tuple[Engine, Work]] = []
        for engine in self.engines:
            group = engine.group()
            for work in group:
                work.left -= share * self._speed(len(group))
                if work.left < 1e-9:
                    done.append((engine, work))
        for engine, work in done:
            engine.finish(work)
            del self.under_way[id(work)]
        if self.load is not None:
            self.load = (self.load[0] - share, self.load[1])
            if self.load[0] < 1e-9:
                self._loaded(self.load[1])
        for adapter, (left, waiting) in list(self.fetches.items()):
            self.fetches[adapter] = (left - share, waiting)
            if left - share < 1e-9:
                del self.fetches[adapter]
                self.disk.add(adapter)
                for work in waiting:
                    self._find(work)
        self.engines = [e for e in self.engines[:-1] if e.running is not None] + self.engines[-1:]
        return [work for _, work in done]

    def next(self) -> float | None:
        """When the first of all that is under way is over, if nothing comes in between."""
        lanes = self._lanes()
        if not lanes:
            return None
        left = [left for left, _ in self.fetches.values()]
        left += [self.load[0]] if self.load is not None else []
        for engine in self.engines:
            if group := engine.group():
                left.append(min(w.left for w in group) / self._speed(len(group)))
        return self.at + max(min(left), 0.0) * lanes

    def _lanes(self) -> int:
        busy = sum(engine.running is not None for engine in self.engines)
        return busy + len(self.fetches) + (self.load is not None)

    def _speed(self, together: int) -> float:
        """Of each of so many answers of one adapter."""
        return self.times.speed[together - 1] / together

    def _find(self, work: Work) -> None:
        """Its adapter is on disk: to the engine that holds it, else in the line for a new one."""
        adapter = work.arrival.adapter
        self.recent[adapter] = None
        self.recent.move_to_end(adapter)
        if adapter in self.engines[-1].adapters:
            self.engines[-1].take(work)
            return
        if work.tier == "memory":
            work.tier = "disk"
        self.loads.append(work)
        self._begin_load()

    def _begin_load(self) -> None:
        while self.load is None and self.loads:
            work = self.loads[0]
            if work.arrival.adapter in self.engines[-1].adapters:
                self.engines[-1].take(self.loads.popleft())
                continue
            others = (a for a in reversed(self.recent) if a != work.arrival.adapter)
            held = frozenset([work.arrival.adapter, *islice(others, self.held - 1)])
            seconds = self.times.start + self.times.adapter * len(held)
            self.load = (seconds, Engine(held))

    def _loaded(self, engine: Engine) -> None:
        self.load = None
        self.engines.append(engine)
        engine.take(self.loads.popleft())
        self._begin_load()


class Router:
    """Which replica is asked. Affinity is by tenant: what a balancer sees is the key."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet = fleet
        self._draw = random.Random(seed)
        self._orders: dict[int, list[int]] = {}

    def order(self, tenant: int) -> list[int]:
        """All replicas, those of a tenant first, the same for ever: where one is lost, its tenants
        alone move (as with consistent hashing)."""
        if tenant not in self._orders:
            count = self.fleet.replicas
            self._orders[tenant] = random.Random(tenant).sample(range(count), count)
        return self._orders[tenant]

    def usual(self, tenant: int) -> Sequence[int]:
        """The replicas that are asked for a tenant where nothing is lost and nobody waits."""
        if self.fleet.policy in ("random", "least"):
            return range(self.fleet.replicas)
        return self.order(tenant)[: self.homes(tenant)]

    def homes(self, tenant: int) -> int:
        """How many replicas share a tenant: one, unless its adapters have copies."""
        has_copies = self.fleet.policy == "copies" and tenant < len(self.fleet.homes)
        return self.fleet.homes[tenant] if has_copies else 1

    def choose(self, tenant: int, under_way: Sequence[int], alive: Sequence[int]) -> int:
        """Of the replicas that are alive.

        Args:
            under_way: requests of each replica, alive or not.
        """
        if self.fleet.policy == "random":
            return self._draw.choice(alive)
        if self.fleet.policy == "least":
            fewest = min(under_way[n] for n in alive)
            return self._draw.choice([n for n in alive if under_way[n] == fewest])
        order = [n for n in self.order(tenant) if n in alive]
        if self.fleet.policy == "affinity":
            return order[0]
        most = math.ceil(BOUND * (1 + sum(under_way[n] for n in alive)) / len(alive))
        homes = self.homes(tenant)
        order[:homes] = sorted(order[:homes], key=lambda n: under_way[n])
        return next(n for n in order if under_way[n] < most)


def simulate(load: Sequence[Arrival], fleet: Fleet, times: Times, seed: int = 0) -> list[Outcome]:
    """Let a fleet answer; requests on a replica that is lost are asked again at once, of others."""
    router = Router(fleet, seed)
    before = fleet.before or [()] * fleet.replicas
    replicas = [Replica(times, fleet.held, before[n]) for n in range(fleet.replicas)]
    alive, under_way = list(range(fleet.replicas)), [0] * fleet.replicas
    done: list[Outcome] = []
    events: list[tuple[float, int, int]] = []  # when, replica, its number of event

    def schedule(number: int) -> None:
        replica = replicas[number]
        replica.event += 1
        if (at := replica.next()) is not None:
            heapq.heappush(events, (at, number, replica.event))

    def reckon(number: int, now: float) -> None:
        for work in replicas[number].advance(now):
            under_way[number] -= 1
            seconds = now - work.arrival.at
            done.append(Outcome(work.arrival, seconds, work.tier, number))

    def ask(arrival: Arrival, now: float) -> None:
        number = router.choose(arrival.tenant, under_way, alive)
        reckon(number, now)
        if under_way[number] >= SLOTS + WAITING:
            done.append(Outcome(arrival, None, "refused", number))
            return
        replicas[number].ask(arrival)
        under_way[number] += 1
        schedule(number)

    for now, arrival in _merged(load, fleet.lost):
        while events and events[0][0] <= now:
            at, number, event = heapq.heappop(events)
            if event == replicas[number].event:
                reckon(number, at)
                schedule(number)
        if arrival is not None:
            ask(arrival, now)
        elif 0 in alive:
            reckon(0, now)
            alive.remove(0)
            under_way[0] = 0
            lost = replicas[0].restart()
            schedule(0)
            for work in lost:
                ask(work.arrival, now)
        else:
            replicas[0].at = now
            alive.insert(0, 0)
    while events:
        at, number, event = heapq.heappop(events)
        if event == replicas[number].event:
            reckon(number, at)
            schedule(number)
    return done


def _merged(
    load: Sequence[Arrival], lost: tuple[float, float] | None
) -> Iterator[tuple[float, Arrival | None]]:
    """Arrivals in their order, and None where replica 0 goes or comes back."""
    changes: list[tuple[float, Arrival | None]] = [(at, None) for at in lost or ()]
    arrivals: Iterator[tuple[float, Arrival | None]] = ((one.at, one) for one in load)
    return heapq.merge(arrivals, changes, key=lambda pair: pair[0])
