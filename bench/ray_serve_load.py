"""Who asks, what is asked, and what is measured of each side; see `bench/ray_serve.py`."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from fleet_replicas import WORDS
from ray_serve_adapters import SAID

PROMPT_WORDS, ANSWER_TOKENS = (10, 60), (8, 40)
"""Fewest and most, evenly drawn."""


@dataclass(frozen=True)
class Request:
    """Which adapter, what is said to it, and how many tokens it answers with."""

    adapter: int
    prompt: str
    tokens: int


def draw_load(count: int, seed: int) -> list[Request]:
    """Requests that do not depend on each other; adapters by Zipf's law (1.0)."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(SAID) + 1)
    which = draw.choice(len(SAID), count, p=weights / weights.sum())

    def prompt() -> str:
        words = draw.choice(WORDS, draw.integers(*PROMPT_WORDS))
        return f"{draw.integers(1_000_000)}{''.join(words)}"

    return [Request(int(one), prompt(), int(draw.integers(*ANSWER_TOKENS))) for one in which]


@dataclass
class Side:
    """One way of serving: where, by which processes, and what was measured of it.

    Attributes:
        log: a line for each engine that was started.
        rates, p50, p95: requests a second and seconds, by round.
        wrong: answers of another adapter.
    """

    url: str
    log: Path
    processes: list[psutil.Process]
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    busy_s: float = 0.0
    starts: int = 0
    wrong: list[str] = field(default_factory=list)

    def trees(self) -> list[psutil.Process]:
        """All of its processes."""
        return [p for one in self.processes for p in (one, *one.children(recursive=True))]

    def busy(self) -> float:
        """Processor seconds so far."""
        return sum(sum(p.cpu_times()[:2]) for p in self.trees())

    def loads(self) -> int:
        """Engines started so far."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0


class Caller:
    """Asks a side, with a key of its own for each adapter."""

    def __init__(self, folder: Path, ids: list[str]) -> None:
        from assay.accounts.keys import create_key
        from assay.project.workspace import Workspace

        workspace = Workspace(folder)
        self.models = [f"version:{id}" for id in ids]
        self.keys = [create_key(workspace.store, workspace.name, w, ["chat"])[1] for w in SAID]
        self.http = httpx.Client(timeout=600, transport=httpx.HTTPTransport(retries=5))

    def ask(self, side: Side, request: Request) -> float:
        """Seconds until the answer was whole."""
        model, said = self.models[request.adapter], SAID[request.adapter]
        body = {
            "model": model,
            "messages": [{"role": "user", "content": request.prompt}],
            "max_tokens": request.tokens,
            "temperature": 0,
        }
        head = {
            "Authorization": f"Bearer {self.keys[request.adapter]}",
            "serve_multiplexed_model_id": model,
        }
        began = time.perf_counter()
        reply = self.http.post(f"{side.url}/v1/chat/completions", json=body, headers=head)
        seconds = time.perf_counter() - began
        assert reply.status_code == 200, reply.text
        text, usage = reply.json()["choices"][0]["message"]["content"], reply.json()["usage"]
        assert usage["completion_tokens"] == request.tokens, reply.text
        if [word for word in SAID if word in text] != [said]:
            side.wrong.append(f"{said}: {text}")
        return seconds

    def ask_all(self, side: Side, load: list[Request], callers: int) -> None:
        """One round: each of the callers asks the next request when it has an answer."""
        starts, busy, began = side.loads(), side.busy(), time.perf_counter()
        with ThreadPoolExecutor(callers) as pool:
            seconds = list(pool.map(lambda request: self.ask(side, request), load))
        side.rates.append(len(load) / (time.perf_counter() - began))
        side.p50.append(float(np.quantile(seconds, 0.5)))
        side.p95.append(float(np.quantile(seconds, 0.95)))
        side.starts += side.loads() - starts
        side.busy_s += side.busy() - busy
