"""What a comparison is known by, and what its tests on the holdout rest on.

Costs and the number of requests say which of the candidates that qualify is the cheapest. No test
asks for them, so that a comparison in which only they differ is judged in the opening of the one
before: the holdout is used once for both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from assay.agent.engines import BatchEngines
from assay.agent.passages import searched_snapshot
from assay.agent.routing import leaves
from assay.agent.versions import load_agent
from assay.candidates.building import Candidate
from assay.compare.environment import VLLM, environment
from assay.compare.result import Result
from assay.config import Config
from assay.data.unlabelled import UnlabelledInputs
from assay.errors import AssayError
from assay.evaluate.graders import grader_files
from assay.evaluate.measure import Bench
from assay.example import canonical_json
from assay.version import VERSION


@dataclass(frozen=True, slots=True)
class Identity:
    """Three hashes, each of what it is the same for.

    Attributes:
        comparison: candidates, holdout, graders, terms and costs.
        tests: the same without costs: answers, scores and every test on them. With
            `margin_for_cheaper` or unlabelled inputs costs count as well (`costs_open`).
        speeds: what an answer takes: without costs, but for the prices of providers, on this
            machine, or by the vLLM server at this address.
    """

    comparison: str
    tests: str
    speeds: str


def costs_open(config: Config) -> bool:
    """Whether other costs take another opening: with `margin_for_cheaper` they say what is tested
    of a pair, and with unlabelled inputs a comparison reads those of its own time."""
    return config.margin_for_cheaper is not None or config.unlabelled is not None


def identify(
    holdout: str,
    built: Sequence[Candidate],
    bench: Bench,
    unlabelled: UnlabelledInputs | None,
    tools: Mapping[str, str],
) -> Identity:
    """The identity of a comparison of `built`.

    Args:
        holdout: sha256 that it was locked with.
        unlabelled: inputs that the annotator of assay.yaml labels.
        tools: sha256 of each file of the tools that answer in whole dialogues.
    """
    config = bench.config
    value = {
        "holdout": holdout,
        "candidates": {candidate.name: candidate.agent.id for candidate in built},
        "graders": [grader.model_dump(mode="json") for grader in config.graders],
        "primary": config.primary,
        "margin": config.margin,
        "good_enough": config.good_enough,
        "dtype": bench.engines.dtype,
        "version": VERSION,
    }
    if config.vllm is not None and _is_served(built, bench):  # as a provider: by its address
        value["vllm"] = config.vllm.base_url
    if files := grader_files(config, bench.root):
        value["grader_files"] = files
    if config.margin_for_cheaper is not None:
        value["margin_for_cheaper"] = config.margin_for_cheaper
    if (settings := config.unlabelled) is not None and unlabelled is not None:
        source: dict[str, Any] = {"release": settings.release, "most": settings.most}
        if settings.release is None:  # traces come in all the time, which is no reason to open
            source = {"inputs": [one.content_hash() for one in unlabelled.examples]}
        value["unlabelled"] = {"model": settings.model, **source}
    if config.rollout is not None:
        value["rollout"] = {"tools": dict(tools) or None}
    if config.knowledge is not None:
        value["abstain"] = config.knowledge.abstain
    if documents := _present_documents(built, bench):
        value["documents"] = documents
    prices = {
        name: {model: price.model_dump() for model, price in provider.prices.items()}
        for name, provider in config.providers.items()
        if provider.prices
    }
    priced = {"prices": prices} if prices else {}
    costs = {
        "monthly_requests": config.monthly_requests,
        "costs": config.costs.model_dump(mode="json"),
        **priced,
    }
    whole = value | costs
    about = environment()
    machine = {name: about[name] for name in ("processor", "cores")}
    return Identity(
        comparison=_sha256(whole),
        tests=_sha256(whole if costs_open(config) else value),
        speeds=_sha256(value | priced | {"machine": machine}),
    )


def was_served(result: Result, engines: BatchEngines) -> bool:
    """Whether a vLLM server answered in a comparison, or would now in the same one."""
    if VLLM in result.environment:
        return True
    for one in result.candidates:
        with suppress(AssayError):  # one that is gone
            if engines.serves(load_agent(engines.store, one.agent)):
                return True
    return False


def _is_served(built: Sequence[Candidate], bench: Bench) -> bool:
    """Whether the project's vLLM server answers for somebody that takes part."""
    engines, unlabelled = bench.engines, bench.config.unlabelled
    if unlabelled is not None and engines.is_served(unlabelled.model):
        return True
    return any(engines.serves(candidate.agent) for candidate in built)


def _present_documents(built: Sequence[Candidate], bench: Bench) -> dict[str, str]:
    """The states that agents search which name none, or one that is given up: by the candidate's
    name, and of an arm of a route by its id behind it."""
    found: dict[str, str] = {}
    for candidate in built:
        if candidate.agent.kind == "outside":
            continue
        for id, agent in leaves(candidate.agent, bench.store).items():
            named = agent.knowledge
            if named is not None:
                searched = searched_snapshot(named, bench.store, bench.owner, bench.pin)
                if searched != named.snapshot:
                    arm = "" if agent is candidate.agent else f" {id}"
                    found[f"{candidate.name}{arm}"] = searched
    return found


def _sha256(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
