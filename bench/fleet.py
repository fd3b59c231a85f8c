"""A fleet of replicas before 10,000 tenants with five adapters each, simulated.

    python bench/fleet.py --measured bench/fleet_times.json [--out docs/fleet.svg] [--quick]

What a request takes was measured on two real replicas (`bench/fleet_replicas.py`). First the
simulation is checked: misses of its LRU cache against Che's approximation, and latencies against
those that the two replicas showed: what they were asked is simulated again. A policy whose mean
latency is more than 15 % off, and everything if misses are more than 1 % off, is not printed.
`copies` was not asked of real replicas: it is printed where `bounded` is, and named so.
Figures are of four seeds: the least and the greatest.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fleet_load import (
    ADAPTERS,
    WITHIN,
    Bursts,
    Shares,
    adapter_shares,
    che_misses,
    draw_load,
    home_counts,
    lru_misses,
    tenant_shares,
)
from fleet_model import POLICIES, Arrival, Fleet, Outcome, Policy, Router, Times, simulate
from fleet_summary import Summary, summary
from line_chart import LEFT, PANEL, TALL, TOP, Curve, chart, panel

TENANTS, ZIPFS, HELD, SEEDS = 10_000, (0.8, 1.0, 1.2), 20, range(4)
RATE, FAST_S, SLOW_S, MOST, REPLICAS_LOST = 10.0, 3.0, 10.0, 64, 38
"""Requests a second of the whole fleet; seconds that an answer may take on average; most that are
drawn; most replicas tried; replicas of which one is lost."""
BEFORE_S = 5 * 3600.0
"""Of traffic before the one that counts."""
CHE, LATENCY = 0.01, 0.15
"""What a simulation may be off."""
NAMES = {
    "random": "random",
    "least": "fewest under way",
    "affinity": "by key",
    "bounded": "by key, with a bound",
    "copies": "with a bound and copies (simulated only)",
}


def check_misses(quick: bool) -> float:
    """The largest difference from Che's approximation, as a share of it."""
    worst = 0.0
    for zipf in ZIPFS:
        shares = adapter_shares(tenant_shares(TENANTS, zipf))
        for held in (32, 256) if quick else (32, 64, 256, 1024, 4096):
            expected = che_misses(shares, held)
            counted = lru_misses(shares, held, 100_000 if quick else 1_000_000, 0)
            worst = max(worst, abs(counted / expected - 1))
            print(f"Zipf {zipf}, {held:4} held: {counted:.4f} missed, by Che {expected:.4f}")
    return worst


def check_latency(times: Times, measured: dict[str, Any]) -> list[Policy]:
    """The policies whose simulated latencies are near enough to the measured ones."""
    near: list[Policy] = []
    before = [list(one) for one in measured["before"]]
    for one in measured["replays"]:
        load = [Arrival(*values) for *values, _, _ in one["requests"]]
        fleet = Fleet(len(before), HELD, one["policy"], before=[list(asked) for asked in before])
        replicas = [replica for *_, replica, _ in one["requests"]]
        real = [
            Outcome(arrival, seconds, "", replica)
            for arrival, (*_, replica, seconds) in zip(load, one["requests"], strict=True)
        ]
        taken, simulated = summary(real), summary(simulate(load, fleet, times))
        mean, p95 = simulated.mean / taken.mean - 1, simulated.p95 / taken.p95 - 1
        is_near = abs(mean) <= LATENCY and not simulated.refused
        near += [one["policy"]] if is_near else []
        print(
            f"{one['policy']}, {len(load)} requests: mean {taken.mean:.2f} s, simulated "
            f"{simulated.mean:.2f} ({mean:+.0%}); p95 {taken.p95:.2f} s, simulated "
            f"{simulated.p95:.2f} ({p95:+.0%}){'' if is_near else ': NOT NEAR'}"
        )
        for arrival, replica in zip(load, replicas, strict=True):
            before[replica].append(arrival.adapter)
    return near


def history(fleet: Fleet, shares: Shares, count: int, seed: int) -> list[list[int]]:
    """What each replica was asked for before, by a load that leaves nobody waiting."""
    drawn, router = np.random.default_rng(seed + 1), Router(fleet, seed)
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

    def _run(self, policy: Policy, zipf: float, replicas: int, rate: float, seed: int) -> Summary:
        """Traffic with bursts, after some hours of it."""
        shares = tenant_shares(TENANTS, zipf)
        load = draw_load(shares, rate, self.seconds, seed, Bursts())
        fleet = Fleet(replicas, HELD, policy, homes=home_counts(shares, replicas))
        fleet = replace(fleet, before=history(fleet, shares, round(rate * BEFORE_S), seed))
        return summary(simulate(load, fleet, self.times, seed))

    def needed(self, policy: Policy, zipf: float, seed: int) -> int | None:
        """Fewest replicas by which answers are fast enough on average and none is refused."""

        def is_enough(replicas: int) -> bool:
            found = self.run(policy, zipf, replicas, RATE, seed)
            return found.mean <= FAST_S and not found.refused

        counts = range(4, MOST + 1, 2)
        place = bisect_left(counts, True, key=is_enough)
        return counts[place] if place < len(counts) else None


def lost_hour(
    times: Times, policy: Policy, replicas: int, seconds: float, seed: int
) -> list[Summary]:
    """Before, while and after a replica is away, which begins with an empty memory then."""
    shares = tenant_shares(TENANTS, 1.0)
    load = draw_load(shares, RATE, 3 * seconds, seed, Bursts())
    homes = home_counts(shares, replicas)
    fleet = Fleet(replicas, HELD, policy, lost=(seconds, 2 * seconds), homes=homes)
    fleet = replace(fleet, before=history(fleet, shares, round(RATE * BEFORE_S), seed))
    outcomes = simulate(load, fleet, times, seed)
    return [
        summary([one for one in outcomes if hour <= one.arrival.at / seconds < hour + 1])
        for hour in range(3)
    ]


def on_disk(policy: Policy, zipf: float, replicas: int, days: float) -> float:
    """Adapters on a replica's disk, mean, after so many days at `RATE`: whatever was asked."""
    shares = tenant_shares(TENANTS, zipf)
    router = Router(Fleet(replicas, HELD, policy, homes=home_counts(shares, replicas)), 0)
    homes = np.repeat([len(router.usual(tenant)) for tenant in range(TENANTS)], ADAPTERS)
    each = adapter_shares(shares) * RATE * 86400 * days
    return float((-np.expm1(-each / homes) * homes).sum() / replicas)


def row(*cells: object) -> str:
    """A line of a table in Markdown."""
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
    near = check_latency(times, measured)
    near += ["copies"] if "bounded" in near else []
    policies = [policy for policy in POLICIES if policy in near]
    seconds, away_s, seeds = (60.0, 120.0, SEEDS[:2]) if given.quick else (600.0, 3600.0, SEEDS)
    found = Experiments(times, seconds)

    print(f"\nReplicas for {RATE:g} requests a second, {FAST_S:g} s an answer:")
    print(row("", *(f"Zipf {zipf}" for zipf in ZIPFS)))
    for policy in policies:
        counts = ([found.needed(policy, zipf, seed) for seed in seeds] for zipf in ZIPFS)
        said = (spread([n or math.inf for n in several], ".0f") for several in counts)
        print(row(NAMES[policy], *said), flush=True)

    curves = load_curves(found, policies, seeds, given.quick)
    charts = [
        *panel(LEFT, TOP, "requests a second, 32 servers, Zipf 1.0", "seconds an answer", curves),
        *panel(
            LEFT + PANEL,
            TOP,
            "versions held by a server, Zipf 1.0",
            "% of requests whose version is not held",
            misses_curves(),
        ),
    ]
    print(f"\nOne of {REPLICAS_LOST} replicas away, Zipf 1.0:")
    for policy in policies:
        hours = zip(
            *(lost_hour(times, policy, REPLICAS_LOST, away_s, seed) for seed in seeds), strict=True
        )
        said = (spread([one.mean for one in several], ".1f") for several in hours)
        print(row(NAMES[policy], *said), flush=True)
    print("\nAdapters on a replica's disk after 1 and 30 days, 32 replicas, Zipf 1.0:")
    for policy in policies:
        print(row(NAMES[policy], *(f"{on_disk(policy, 1.0, 32, d):.0f}" for d in (1, 30))))
    if given.out is not None:
        image = chart(LEFT + 2 * PANEL, TOP + TALL + 20, "a fleet of servers, simulated", charts)
        given.out.write_text(image, encoding="utf-8")


def spread(values: Sequence[float], form: str) -> str:
    """The least and the greatest."""
    low, high = (f"{one:{form}}" for one in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def load_curves(
    found: Experiments, policies: Sequence[Policy], seeds: Sequence[int], quick: bool
) -> list[Curve]:
    """Seconds by load, on 32 replicas, up to `SLOW_S` and to where a request is refused."""
    curves = []
    for number, policy in enumerate(policies):
        points = []
        print(NAMES[policy])
        for rate in (2, 8) if quick else range(2, 19, 2):
            runs = [found.run(policy, 1.0, 32, float(rate), seed) for seed in seeds]
            means, refused = [one.mean for one in runs], sum(one.refused for one in runs)
            print(f"  {rate}/s: {spread(means, '.2f')} s, {refused} refused", flush=True)
            if refused or max(means) > SLOW_S:
                break
            points.append((float(rate), float(np.mean(means))))
        curves.append(Curve(f"c{number}", NAMES[policy], points))
    return curves


def misses_curves() -> list[Curve]:
    """How often an adapter is not in memory, by Che's approximation, with room for more."""
    rooms = (1, 4, 16, 64, 256, 512, 768, 1024)
    tenants = tenant_shares(TENANTS, 1.0)
    shares = adapter_shares(tenants)
    router = Router(Fleet(32, HELD, "affinity"), 0)
    owner = np.repeat([router.order(tenant)[0] for tenant in range(TENANTS)], ADAPTERS)
    parts = [shares[owner == number] for number in range(32)]
    any_one = [(float(held), 100 * che_misses(shares, held)) for held in rooms]
    by_key = [
        (float(held), 100 * sum(float(p.sum()) * che_misses(p, held) for p in parts))
        for held in rooms
    ]
    for name, points in (("any replica", any_one), ("by key", by_key)):
        print(name, *(f"{held:.0f} held: {missed:.1f} %" for held, missed in points), sep="\n  ")
    return [Curve("c0", "any server", any_one), Curve("c2", "by key", by_key)]


if __name__ == "__main__":
    main()
