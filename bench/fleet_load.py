"""What many tenants ask, and how often an adapter is not in memory; see `bench/fleet.py`."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from fleet_model import Arrival

ADAPTERS = 5
WITHIN = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16)
"""Shares of a tenant's adapters in its requests."""
COPY = 0.25
"""Of a replica's mean load, most that one tenant asks of each of its home replicas (`copies`)."""
PROMPT, ANSWER = (30, 110), (8, 40)
"""Fewest and most tokens, evenly drawn."""

Shares = NDArray[np.float64]


def tenant_shares(tenants: int, zipf: float) -> Shares:
    """Of each tenant in all requests, the hottest first."""
    weights = np.arange(1, tenants + 1, dtype=np.float64) ** -zipf
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def adapter_shares(tenants: Shares) -> Shares:
    """Of each adapter; those of tenant 0 first."""
    return np.outer(tenants, WITHIN).ravel()


def home_counts(shares: Shares, replicas: int) -> list[int]:
    """Replicas that share each tenant, so that none is asked by one tenant for more than `COPY` of
    what a replica is asked on average; of tenants with more than one."""
    counts = np.minimum(np.ceil(shares * replicas / COPY), replicas).astype(int)
    return [count for count in counts.tolist() if count > 1]


@dataclass(frozen=True)
class Bursts:
    """Every `every_s` seconds on average, for `lasting_s`, one tenant, whichever, asks as much as
    `share` of all others together."""

    every_s: float = 150.0
    lasting_s: float = 60.0
    share: float = 0.25


def draw_load(
    shares: Shares, rate: float, seconds: float, seed: int, bursts: Bursts | None = None
) -> list[Arrival]:
    """Requests that do not depend on each other, `rate` a second, and bursts beside them."""
    draw = np.random.default_rng(seed)
    count = draw.poisson(rate * seconds)
    times = [draw.uniform(0, seconds, count)]
    tenants = [draw.choice(len(shares), count, p=shares)]
    if bursts is not None:
        for start in draw.uniform(0, seconds, draw.poisson(seconds / bursts.every_s)):
            more = draw.poisson(rate * bursts.share * bursts.lasting_s)
            times.append(start + draw.uniform(0, bursts.lasting_s, more))
            tenants.append(np.full(more, draw.integers(len(shares))))
    at, whose = np.concatenate(times), np.concatenate(tenants)
    which = draw.choice(ADAPTERS, len(at), p=WITHIN)
    prompts = draw.integers(PROMPT[0], PROMPT[1] + 1, len(at))
    answers = draw.integers(ANSWER[0], ANSWER[1] + 1, len(at))
    rows = zip(at, whose, whose * ADAPTERS + which, prompts, answers, strict=True)
    found = [Arrival(float(t), int(w), int(a), int(p), int(n)) for t, w, a, p, n in rows]
    return sorted((one for one in found if one.at < seconds), key=lambda one: one.at)


def che_misses(shares: Shares, held: int) -> float:
    """The share of requests that an LRU cache of `held` adapters does not have, by Che's
    approximation (Che, Tung, Wang 2002; Fricker, Robert, Roberts 2012).

    Args:
        shares: of requests to this cache; they need not add up to 1.
    """
    asked = shares[shares > 0] / shares.sum()
    if held >= len(asked):
        return 0.0

    def excess(log_time: float) -> float:
        return float(-np.expm1(-asked * math.exp(log_time)).sum() - held)

    time = math.exp(brentq(excess, -5.0, 60.0))
    return float((asked * np.exp(-asked * time)).sum())


def lru_misses(shares: Shares, held: int, requests: int, seed: int) -> float:
    """The same of a cache that is asked one request after the other, after as many to fill it."""
    asked = np.random.default_rng(seed).choice(len(shares), 2 * requests, p=shares / shares.sum())
    cache: OrderedDict[int, None] = OrderedDict()
    missed = 0
    for number, adapter in enumerate(asked.tolist()):
        if adapter in cache:
            cache.move_to_end(adapter)
            continue
        missed += number >= requests
        cache[adapter] = None
        if len(cache) > held:
            cache.popitem(last=False)
    return missed / requests
