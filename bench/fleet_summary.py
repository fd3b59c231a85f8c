"""Figures of requests that were answered; see `bench/fleet.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleet_model import Outcome


@dataclass(frozen=True)
class Summary:
    """Seconds until answers were whole, and how many requests were refused."""

    mean: float
    p95: float
    refused: int


def summary(outcomes: Sequence[Outcome]) -> Summary:
    """Of at least one request that was answered."""
    seconds = [one.seconds for one in outcomes if one.seconds is not None]
    p95 = float(np.quantile(seconds, 0.95))
    return Summary(float(np.mean(seconds)), p95, len(outcomes) - len(seconds))
