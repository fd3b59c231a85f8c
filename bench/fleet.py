"""A fleet of replicas before 10,000 tenants with five adapters each, simulated.

    python bench/fleet.py --measured bench/fleet_times.json [--out docs/fleet.svg] [--quick]

What a request takes was measured on two real replicas (`bench/fleet_replicas.py`). First the
simulation is checked: misses of its LRU cache against Che's approximation, and latencies against
those that the two replicas showed when they were asked the same. A policy whose mean latency was
more than 15 % off, and everything if misses are more than 1 % off, is not printed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fleet_chart import Panel, draw
from fleet_load import (
    ADAPTERS,
    WITHIN,
    Bursts,
    Shares,
    adapter_shares,
    che_misses,
    draw_load,
    lru_misses,
    tenant_shares,
)
from fleet_model import POLICIES, Fleet, Policy, Router, Times, simulate
from fleet_summary import Summary, summary

TENANTS, ZIPFS, HELD, SEED = 10_000, (0.8, 1.0, 1.2), 20, 0
RATE, FAST_S, MOST, BOUND = 10.0, 3.0, 64, 2.0
"""Requests a second of the whole fleet; seconds that an answer may take on average; most replicas
tried; the bound of `bounded`."""
BEFORE_S = 5 * 3600.0
"""Of traffic before the one that counts."""
CHE, LATENCY = 0.01, 0.15
"""What a simulation may be off."""
NAMES = {
    "random": "random",
    "least": "fewest under way",
    "affinity": "by key",
    "bounded": "by key, with a bound",
}


def check_misses(quick: bool) -> float:
    """The largest difference from Che's approximation, as a share of it."""
    worst = 0.0
    for zipf in ZIPFS:
        shares = adapter_shares(tenant_shares(TENANTS, zipf))
        for held in (32, 256) if quick else (32, 64, 256, 1024, 4096):
            expected = che_misses(shares, held)
            counted = lru_misses(shares, held, 100_000 if quick else 1_000_000, SEED)
            worst = max(worst, abs(counted / expected - 1))
            print(f"Zipf {zipf}, {held:4} held: {counted:.4f} missed, by Che {expected:.4f}")
    return worst


def check_latency(replays: Sequence[dict[str, Any]]) -> list[Policy]:
    """The policies whose simulated replay was near enough to the real one."""
    near: list[Policy] = []
    for one in replays:
        off = {name: one["simulated"][name] / one["real"][name] - 1 for name in ("mean", "p95")}
        is_near = abs(off["mean"]) <= LATENCY
        near += [one["policy"]] if is_near else []
        print(
            f"{one['policy']}, {one['requests']} requests: mean {one['real']['mean']:.2f} s, "
            f"simulated {one['simulated']['mean']:.2f} ({off['mean']:+.0%}); p95 "
            f"{one['real']['p95']:.2f} s, simulated {one['simulated']['p95']:.2f} "
            f"({off['p95']:+.0%}){'' if is_near else ': NOT NEAR'}"
        )
    return near


def history(fleet: Fleet, shares: Shares, count: int) -> list[list[int]]:
    """What each replica was asked for before, by a load that leaves nobody waiting."""
    drawn, router = np.random.default_rng(SEED + 1), Router(fleet, shares.tolist(), SEED)
    tenants = drawn.choice(len(shares), count, p=shares)
    adapters = tenants * ADAPTERS + drawn.choice(ADAPTERS, count, p=WITHIN)
    usual = [router.usual(tenant) for tenant in range(len(shares))]
    which = drawn.integers(1 << 30, size=count)
    asked: list[list[int]] = [[] for _ in range(fleet.replicas)]
    rows = zip(tenants.tolist(), adapters.tolist(), which.tolist(), strict=True)
    for tenant, adapter, number in rows:
        asked[usual[tenant][number % len(usual[tenant])]].append(adapter)
    return asked


class Experiments:
    """Simulations of the same tenants, each run once."""

    def __init__(self, times: Times, seconds: float) -> None:
        self.times, self.seconds = times, seconds
        self.run = cache(self._run)

    def _run(self, policy: Policy, zipf: float, replicas: int, rate: float) -> Summary:
        """Traffic with bursts, after some hours of it."""
        shares = tenant_shares(TENANTS, zipf)
        load = draw_load(shares, rate, self.seconds, SEED, Bursts())
        fleet = Fleet(replicas, HELD, policy, BOUND)
        fleet = replace(fleet, before=history(fleet, shares, round(rate * BEFORE_S)))
        return summary(simulate(load, fleet, self.times, shares.tolist(), SEED).done)

    def needed(self, policy: Policy, zipf: float) -> int | None:
        """Fewest replicas by which answers are fast enough on average and none is refused."""

        def is_enough(replicas: int) -> bool:
            found = self.run(policy, zipf, replicas, RATE)
            return found.mean <= FAST_S and not found.refused

        counts = range(4, MOST + 1, 2)
        place = bisect_left(counts, True, key=is_enough)
        return counts[place] if place < len(counts) else None


def lost_hour(
    times: Times, policy: Policy, replicas: int, seconds: float
) -> Iterator[tuple[str, Summary]]:
    """Before, while and after a replica is away, which begins with an empty memory then."""
    shares = tenant_shares(TENANTS, 1.0)
    load = draw_load(shares, RATE, 3 * seconds, SEED, Bursts())
    fleet = Fleet(replicas, HELD, policy, BOUND, lost=(seconds, 2 * seconds))
    fleet = replace(fleet, before=history(fleet, shares, round(RATE * BEFORE_S)))
    done = simulate(load, fleet, times, shares.tolist(), SEED).done
    for number, name in enumerate(("before", "away", "after")):
        part = [one for one in done if number <= one.arrival.at / seconds < number + 1]
        yield name, summary(part)


def on_disk(policy: Policy, zipf: float, replicas: int, days: float) -> float:
    """Adapters on a replica's disk, mean, after so many days at `RATE`: whatever was asked."""
    shares = adapter_shares(tenant_shares(TENANTS, zipf))
    each = shares * RATE * 86400 * days
    if policy in ("random", "least"):
        return float(-np.expm1(-each / replicas).sum())
    return float(-np.expm1(-each).sum() / replicas)


def row(*cells: object) -> str:
    """Of a table in Markdown."""
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Check, simulate, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--measured", type=Path, default=Path(__file__).with_name("fleet_times.json")
    )
    parser.add_argument("--out", type=Path, help="the chart")
    parser.add_argument("--quick", action="store_true", help="a minute of traffic, few points")
    given = parser.parse_args()
    measured = json.loads(given.measured.read_text())
    raw = measured["times"]
    times = Times(**{**raw, "speed": tuple(raw["speed"])})
    if (worst := check_misses(given.quick)) > CHE and not given.quick:
        sys.exit(f"misses are {worst:.1%} off: nothing is published")
    print(f"misses are at most {worst:.2%} off")
    near = check_latency(measured["replays"])
    policies = [policy for policy in POLICIES if policy in near]
    seconds, away_s = (60.0, 120.0) if given.quick else (600.0, 3600.0)
    found = Experiments(times, seconds)

    print(f"\nReplicas for {RATE:g} requests a second, {FAST_S:g} s an answer:")
    print(row("", *(f"Zipf {zipf}" for zipf in ZIPFS)))
    for policy in policies:
        print(
            row(NAMES[policy], *(found.needed(policy, z) or f"> {MOST}" for z in ZIPFS)), flush=True
        )

    panels = [load_panel(found, policies, given.quick), misses_panel()]
    print(f"\nOne of {replicas_of(found, policies)} replicas away, Zipf 1.0:")
    for policy in policies:
        parts = dict(lost_hour(times, policy, replicas_of(found, policies), away_s))
        print(
            row(NAMES[policy], *(f"{one.mean:.1f}" for one in parts.values())),
            flush=True,
        )
    print("\nAdapters on a replica's disk after 1 and 30 days, 32 replicas, Zipf 1.0:")
    for policy in policies:
        print(row(NAMES[policy], *(f"{on_disk(policy, 1.0, 32, d):.0f}" for d in (1, 30))))
    if given.out is not None:
        given.out.write_text(draw(panels, "a fleet of servers, simulated"), encoding="utf-8")


def replicas_of(found: Experiments, policies: Sequence[Policy]) -> int:
    """As many as the most careful policy needs, and a quarter more."""
    least = min(n for p in policies if (n := found.needed(p, 1.0)) is not None)
    return math.ceil(1.25 * least)


def load_panel(found: Experiments, policies: Sequence[Policy], quick: bool) -> Panel:
    """How slow answers become with load, on 32 replicas."""
    rates = (2, 8) if quick else (2, 6, 10, 13, 16, 19)
    lines: dict[str, list[tuple[float, float]]] = {}
    for policy in policies:
        runs = [(rate, found.run(policy, 1.0, 32, float(rate))) for rate in rates]
        lines[NAMES[policy]] = [(rate, one.mean if not one.refused else 99.0) for rate, one in runs]
        said = (f"{rate}/s: {one.mean:.2f} s, {one.refused} refused" for rate, one in runs)
        print(NAMES[policy], *said, sep="\n  ", flush=True)
    return Panel(
        "seconds an answer, mean",
        "requests a second, 32 servers, Zipf 1.0",
        lines,
        10.0,
        (0, 4, 8, 12, 16, 20),
    )


def misses_panel() -> Panel:
    """How often an adapter is not in memory, by Che's approximation, with room for more."""
    rooms = (1, 4, 16, 64, 256, 512, 768, 1024)
    tenants = tenant_shares(TENANTS, 1.0)
    shares = adapter_shares(tenants)
    router = Router(Fleet(32, HELD, "affinity"), tenants.tolist(), SEED)
    owner = np.repeat([router.order(tenant)[0] for tenant in range(TENANTS)], ADAPTERS)
    parts = [shares[owner == number] for number in range(32)]
    any_one = [(float(held), 100 * che_misses(shares, held)) for held in rooms]
    by_key = [
        (float(held), 100 * sum(float(p.sum()) * che_misses(p, held) for p in parts))
        for held in rooms
    ]
    for name, points in (("any replica", any_one), ("by key", by_key)):
        print(name, *(f"{held:.0f} held: {missed:.1f} %" for held, missed in points), sep="\n  ")
    return Panel(
        "% of requests whose version is not held",
        "versions held by a server, Zipf 1.0",
        {"any of 32 servers": any_one, "by key": by_key},
        100.0,
        (0, 256, 512, 768, 1024),
        (0, 2),
    )


if __name__ == "__main__":
    main()
