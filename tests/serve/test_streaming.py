"""Sixty-four clients stream at once from one server, for minutes.

    pytest -m soak -s tests/serve/test_streaming.py              # five minutes
    ASSAY_SOAK_SECONDS=30 pytest -m soak -s tests/serve/test_streaming.py

Every stream must be complete; its tokens are those of a run one after the other, or the two
likeliest tokens where they part were closer than `CLOSE`; and the server's memory must not grow.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.figures import Figure
from tests.serve.process import Server, server
from tests.serve.running import STARTER

CLIENTS = 64
CLOSE = 0.15
"""Nats between the two likeliest tokens at the first difference. Eight answers computed together
add numbers in another order than one alone, in 16 bits; where two tokens are as likely as each
other within that, either may come. The largest gap that was seen is in docs/serving.md."""
GROWTH = 1.05
"""Memory at the end, in the mean of the last third, against that of the first third after the
first answers; llama.cpp's slots and the allocator's arenas are filled by then."""
_TOPICS = ("rivers", "bread", "the moon", "chess", "glass", "maps", "tea", "bridges")
_ASKED = ("Name three facts about", "Write a short poem about", "Explain to a child")


@dataclass
class Said:
    """One answer: its tokens, how close the second likeliest was at each, and whether it ended."""

    tokens: list[str] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    finish: str | None = None
    usage: dict[str, Any] | None = None
    done: bool = False
    first_s: float = 0.0

    def complete(self) -> bool:
        """Whether nothing is missing."""
        used = (self.usage or {}).get("completion_tokens", 0)
        return self.done and self.finish is not None and used >= len(self.tokens) > 0


def _bodies() -> list[dict[str, Any]]:
    shared = "You answer in one or two plain sentences, without lists."
    return [
        {
            "model": STARTER,
            "messages": [
                {"role": "system", "content": shared},
                {"role": "user", "content": f"{ask} {topic}."},
            ],
            "temperature": 0,
            "max_tokens": 24,
            "logprobs": True,
            "top_logprobs": 2,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        for ask in _ASKED
        for topic in _TOPICS
    ]


async def _ask(http: httpx.AsyncClient, body: dict[str, Any]) -> Said:
    said, began = Said(), time.perf_counter()
    async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            if line == "data: [DONE]":
                said.done = True
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            assert "error" not in event, event
            said.usage = event.get("usage") or said.usage
            for choice in event["choices"]:
                said.finish = choice["finish_reason"] or said.finish
                for token in (choice["logprobs"] or {}).get("content") or ():
                    said.first_s = said.first_s or time.perf_counter() - began
                    first, second = (top["logprob"] for top in token["top_logprobs"])
                    said.tokens.append(token["token"])
                    said.gaps.append(first - second)
    return said


def _parted(alone: Said, said: Said) -> float | None:
    """How close the two likeliest tokens were at the first difference; None: there is none."""
    for ours, theirs, gap in zip(alone.tokens, said.tokens, alone.gaps, strict=False):
        if ours != theirs:
            return gap
    if len(alone.tokens) != len(said.tokens):
        shorter = min(len(alone.tokens), len(said.tokens))
        return min([*alone.gaps[shorter : shorter + 1], *said.gaps[shorter : shorter + 1]])
    return None


async def _stream_on(running: Server, seconds: float) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {running.key}"}
    limits = httpx.Limits(max_connections=CLIENTS)
    bodies, process = _bodies(), psutil.Process(running.process.pid)
    memory: list[int] = []
    async with httpx.AsyncClient(
        base_url=running.url, headers=headers, timeout=600, limits=limits
    ) as http:
        alone = [await _ask(http, body) for body in bodies]
        assert all(said.complete() for said in alone)
        end = time.monotonic() + seconds

        async def client(number: int) -> list[tuple[int, Said]]:
            found, place = [], number
            while time.monotonic() < end:
                place = (place + 7) % len(bodies)
                found.append((place, await _ask(http, bodies[place])))
            return found

        async def weigh() -> None:
            await asyncio.sleep(min(20.0, seconds / 4))  # the first answers are there
            while time.monotonic() < end:
                memory.append(process.memory_info().rss)
                await asyncio.sleep(min(1.0, seconds / 40))

        began = time.monotonic()
        *told, _ = await asyncio.gather(*(client(n) for n in range(CLIENTS)), weigh())
        took = time.monotonic() - began
    found = [one for each in told for one in each]
    gaps = [gap for place, said in found if (gap := _parted(alone[place], said)) is not None]
    third = max(1, len(memory) // 3)
    first, last = sum(memory[:third]) / third, sum(memory[-third:]) / third
    waits = sorted(said.first_s for _, said in found)
    return {
        "streams": len(found),
        "incomplete": sum(not said.complete() for _, said in found),
        "clients": CLIENTS,
        "seconds": round(took, 1),
        "tokens_per_second": round(sum(len(said.tokens) for _, said in found) / took, 1),
        "first_token_s_median": round(waits[len(waits) // 2], 2),
        "first_token_s_longest": round(waits[-1], 2),
        "other_tokens": len(gaps),
        "largest_gap_nats": round(max(gaps, default=0.0), 4),
        "memory_mb": [round(first / 1e6), round(max(memory) / 1e6), round(last / 1e6)],
        "growth": round(last / first, 4),
    }


@pytest.mark.soak
def test_sixty_four_clients_stream_for_minutes(tmp_path: Path, figure: Figure) -> None:
    seconds = float(os.environ.get("ASSAY_SOAK_SECONDS", "300"))
    with server(tmp_path) as running:
        figures = asyncio.run(_stream_on(running, seconds))
        print(json.dumps(figures))
        assert running.stop() == 0
    figure(
        f"streams of {CLIENTS} clients for {seconds:.0f} s, none incomplete",
        f"{figures['streams']}, memory {figures['growth'] - 1:+.1%}",
    )
    assert figures["incomplete"] == 0
    assert figures["streams"] >= CLIENTS
    assert figures["largest_gap_nats"] < CLOSE
    assert figures["growth"] < GROWTH
