"""How fast a candidate answers, measured on validation prompts, before the holdout is opened."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from assay import json_reader
from assay.agent.agent import Agent
from assay.agent.prices import cost_usd
from assay.agent.providers import provider_of
from assay.agent.routing import arm, paths
from assay.compare.shared_results import bring_figures, share
from assay.config import is_remote, split_reference
from assay.errors import OutageError
from assay.evaluate.measure import Bench
from assay.evaluate.run import Latency, incomplete, measure_latency
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.generate.stream_batch import StreamBatchEngine
from assay.store.files import write_json

LATENCY_PROMPTS, LATENCY_SECONDS = 6, 5.0
ROUTED_LATENCY_PROMPTS, ROUTED_LATENCY_SECONDS = 20, 15.0
"""Prompts that are asked one by one; fewer, once they have taken so long."""
THROUGHPUT_PROMPTS = 24
_BUSY = "The vLLM server had no room for a request that was timed: {} is not known."


@dataclass(frozen=True, slots=True)
class Performance:
    """Latency, throughput, tokens and price of one agent's answers.

    Attributes:
        p50_s, p95_s: at concurrency 1, assembling the request included, of `timed` requests.
        seconds_per_answer: of this machine, or of the project's vLLM server, at full load, the
            reciprocal of the throughput; what an answer costs. None where a provider's machine
            answers, whose price is its own, and where a request waited for a server that had no
            room for it; of a route the part that falls on one's own machines.
        prompt_tokens, completion_tokens: means; None where the engine does not count.
        asked: of a route, the share of the requests that each agent is asked, by its id; in a
            cascade they add up to more than 1.
        usd_per_answer: mean of what a provider takes, of a route over all requests; None where it
            is not known or nothing goes to one.
    """

    p50_s: float | None
    p95_s: float | None
    seconds_per_answer: float | None
    prompt_tokens: float | None
    completion_tokens: float | None
    asked: dict[str, float] = field(default_factory=dict)
    usd_per_answer: float | None = None
    timed: int | None = None


def measure_performance(
    agent: Agent, validation: tuple[Example, ...], bench: Bench, folder: Path
) -> Performance:
    """Time an agent on validation prompts; figures that are kept in `folder` are read back.

    One that an outage or a wait for a busy server fell into is not kept: a comparison that is
    concluded anew takes it anew.

    Raises:
        OutageError: nothing was answered.
    """
    kept = bring_figures(bench.store, _file(folder, agent.id))
    if kept.exists():
        return Performance(**json_reader.read(kept.read_text(encoding="utf-8")))
    if agent.kind == "outside" or not validation:
        return Performance(None, None, None, None, None)
    timed = _timed if agent.route is None else _timed_route
    performance, whole = timed(agent, validation, bench, folder)
    if whole:
        write_json(kept, asdict(performance))
        share(bench.store, kept)
    return performance


def _file(folder: Path, agent: str) -> Path:
    return folder / "performance" / f"{agent}.json"


def _timed(
    agent: Agent, validation: tuple[Example, ...], bench: Bench, _folder: Path
) -> tuple[Performance, bool]:
    """The figures, and whether every prompt was answered or refused, and none waited for room."""
    engine = bench.engines.for_agent(agent)
    at_once = engine.at_once if isinstance(engine, StreamBatchEngine) else 0
    prompts = validation[: max(THROUGHPUT_PROMPTS, at_once)]  # as many as a full load is
    waits, start = bench.engines.waits, time.perf_counter()
    requests = bench.assemble(agent, prompts)
    answers = engine.answer(requests)
    each: float | None = (time.perf_counter() - start) / len(prompts)
    if bench.engines.waits != waits:
        bench.progress.say(_BUSY.format("the throughput"))
        each = None
    latency = _latency(agent, requests, answers, bench, LATENCY_PROMPTS, LATENCY_SECONDS)
    whole = latency is not None and each is not None and not incomplete(answers)
    answers = [answer for answer in answers if answer.has_answered]
    performance = Performance(
        p50_s=latency.p50_s if latency else None,
        p95_s=latency.p95_s if latency else None,
        timed=latency.requests if latency else None,
        seconds_per_answer=None if is_remote(agent.model) else each,
        prompt_tokens=_mean([answer.prompt_tokens for answer in answers]),
        completion_tokens=_mean([answer.completion_tokens for answer in answers]),
        usd_per_answer=_usd(agent, answers, bench),
    )
    return performance, whole


def _timed_route(
    agent: Agent, validation: tuple[Example, ...], bench: Bench, folder: Path
) -> tuple[Performance, bool]:
    """A route: each agent's own figures, as often as it is asked on all of validation.

    The latency is that of whole requests, the deciding and every call included, of more prompts
    than otherwise: it is a mixture.
    """
    measured = bench.measure(agent, validation)
    asked = measured.asked or ()
    calls = Counter(id for path in asked for id in path)
    shares = {id: count / len(validation) for id, count in calls.items()}
    agents = {id: arm(bench.store, id) for id in shares}
    parts = {id: measure_performance(one, validation, bench, folder) for id, one in agents.items()}
    elsewhere = {id for id, one in agents.items() if is_remote(one.model)}
    prompts = validation[:THROUGHPUT_PROMPTS]
    paths(agent, prompts[:1], bench.store)  # what is loaded lazily is loaded now
    start = time.perf_counter()
    paths(agent, prompts, bench.store)
    deciding = (time.perf_counter() - start) / len(prompts)
    requests, few = bench.assemble(agent, validation), ROUTED_LATENCY_PROMPTS
    latency = _latency(agent, requests, measured.answers, bench, few, ROUTED_LATENCY_SECONDS)

    def blended(name: str, ids: Collection[str] = shares) -> float | None:
        values = [(shares[id], getattr(parts[id], name)) for id in ids]
        known = [share * value for share, value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    each = blended("seconds_per_answer", shares.keys() - elsewhere)
    performance = Performance(
        p50_s=latency.p50_s if latency else None,
        p95_s=latency.p95_s if latency else None,
        timed=latency.requests if latency else None,
        seconds_per_answer=None if each is None else each + deciding,
        prompt_tokens=blended("prompt_tokens"),
        completion_tokens=blended("completion_tokens"),
        usd_per_answer=blended("usd_per_answer", elsewhere) if elsewhere else None,
        asked=shares,
    )
    return performance, latency is not None and all(_file(folder, id).exists() for id in shares)


def _latency(
    agent: Agent,
    requests: Sequence[Request],
    answers: Sequence[Answer],
    bench: Bench,
    n: int,
    seconds: float,
) -> Latency | None:
    """Of the requests that had an answer before; None where the model refuses them all, and where
    one waited for room.

    Raises:
        OutageError: none has one now, so that the holdout would be opened for nothing.
    """
    answered = [one for one, answer in zip(requests, answers, strict=True) if answer.has_answered]
    engine, waits = bench.engines.for_agent(agent), bench.engines.waits
    latency = measure_latency(answered, engine, n, seconds=seconds, progress=bench.progress)
    if latency is None and (answered or incomplete(answers)):
        reason = next((a.error for a in answers if a.finish == "error"), "it answered before")
        left = f"{agent.model} left every request unanswered while it was timed"
        raise OutageError(
            f"{left} ({reason}).",
            plain=f"{left}.",
            fix="The holdout is left as it is. Run the same command again once it answers.",
        )
    if bench.engines.waits != waits:
        bench.progress.say(_BUSY.format("the latency"))
        return None
    return latency


def _usd(agent: Agent, answers: list[Answer], bench: Bench) -> float | None:
    if not is_remote(agent.model):
        return None
    name, model = split_reference(agent.model)
    provider = provider_of(bench.engines.providers, name)
    return _mean(
        [
            cost_usd(provider, model, a.prompt_tokens, a.completion_tokens, a.cached_tokens)
            for a in answers
        ]
    )


def _mean(counts: Sequence[float | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known and len(known) == len(counts) else None
