"""Figures of requests that were answered; see `bench/fleet.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_model import Done


@dataclass(frozen=True)
class Summary:
    """Seconds until answers were whole, and shares of the requests by where the adapter was."""

    mean: float
    median: float
    p95: float
    refused: int
    memory: float
    disk: float
    bucket: float


def summary(done: Sequence[Done]) -> Summary:
    """Of at least one request that was answered."""
    seconds = [one.seconds for one in done if one.seconds is not None]
    tiers = [
        sum(one.tier == tier for one in done) / len(done) for tier in ("memory", "disk", "bucket")
    ]
    median, p95 = np.quantile(seconds, (0.5, 0.95))
    return Summary(
        float(np.mean(seconds)), float(median), float(p95), len(done) - len(seconds), *tiers
    )
