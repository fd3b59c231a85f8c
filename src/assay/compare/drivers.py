"""What decides the cost of a candidate, read from its agent and from how fast it answers."""

from __future__ import annotations

from assay.agent.routing import leaves
from assay.candidates.building import Candidate
from assay.compare.costs import CostDrivers, price
from assay.compare.performance import Performance
from assay.config import is_remote
from assay.evaluate.measure import Bench


def cost_drivers(candidate: Candidate, performance: Performance, bench: Bench) -> CostDrivers:
    """Of a candidate; a route is what the agents are that it may ask in the end."""
    agent = candidate.agent
    known = agent.kind != "outside"
    asked = list(leaves(agent, bench.store).values()) if known else []
    return CostDrivers(
        prompted=any(one.kind == "chat" for one in asked),
        curated=candidate.curated,
        retrained=candidate.retrained,
        setup_seconds=candidate.setup_seconds,
        seconds_per_answer=performance.seconds_per_answer,
        known=known,
        on_machine=any(not is_remote(one.model) for one in asked),
        at_provider=any(is_remote(one.model) for one in asked),
        usd_per_answer=performance.usd_per_answer,
    )


def usd_per_request(candidate: Candidate, performance: Performance, bench: Bench) -> float | None:
    """USD of one more request: machine time, and what a provider takes; None when not known."""
    drivers = cost_drivers(candidate, performance, bench)
    return price(drivers, bench.config.costs, bench.config.monthly_requests).per_request


def tokens_per_second(drivers: CostDrivers, performance: Performance) -> float | None:
    """Tokens of answers a second, of this machine at full load; None where a provider answers or
    answers some."""
    each, tokens = performance.seconds_per_answer, performance.completion_tokens
    return tokens / each if each and tokens and not drivers.at_provider else None
