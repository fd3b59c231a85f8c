"""What a learned router is worth on the answers of two models to 1319 sums (RouteLLM's GSM8K).

    python bench/routing.py

Both models' answers are replayed: nothing is generated. Half of the prompts are validation, on
which the candidate `router` is built as in a comparison; the other half is the holdout. Then every
prompt is routed once by a router that has not seen it, which leaves a narrower interval. Data are
looked for in ASSAY_TEST_DATA, else in ../shared/data.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.agent.learned import GRID, out_of_fold
from assay.candidates.building import Candidate, Context
from assay.candidates.router import build
from assay.compare.report import wording
from assay.compare.routes import routing_of
from assay.config import Config
from assay.evaluate.measure import Bench
from assay.evaluate.routing import RoutingCurve, curve, oracle
from assay.example import Example, Message
from assay.generate.batch import BatchEngine, Request
from assay.generate.replay import ReplayEngine
from assay.models.embed import STARTER, get_embedder
from assay.store.store import Store

ARMS = {"mixtral-8x7b": "weak_ok", "gpt-4-1106": "strong_ok"}
FOLDS = 5


class Replayed(BatchEngines):
    """The engine of a model is the file of its answers."""

    def __init__(self, store: Store, engines: dict[str, ReplayEngine]) -> None:
        super().__init__(store)
        self._replayed = engines

    def for_agent(self, agent: Agent) -> BatchEngine:
        """See `BatchEngines`."""
        return self._replayed[agent.model]


def data_folder() -> Path:
    """Where the public data are."""
    named = os.environ.get("ASSAY_TEST_DATA")
    return Path(named) if named else Path(__file__).parents[2] / "shared" / "data"


def rows() -> list[dict[str, Any]]:
    """The prompts, and whether each model solved them."""
    path = data_folder() / "routellm_gsm8k" / "gsm8k.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def bench_of(found: Sequence[dict[str, Any]], folder: Path) -> Bench:
    """Both models as agents: their answer is whether they were right."""
    store = Store(folder)
    engines = {}
    for name, field in ARMS.items():
        requests = [Request((Message("user", row["prompt"]),)) for row in found]
        outputs = ["right" if row[field] else "wrong" for row in found]
        engines[name] = ReplayEngine.of(name, requests, outputs)
    config = Config.model_validate(
        {
            "name": "gsm8k",
            "task": "text",
            "data": {"file": "gsm8k.jsonl"},
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["router"],
            "route": {"cheap": "mixtral-8x7b", "strong": "gpt-4-1106", "target": 0.95},
        }
    )
    return Bench(config, folder, store, Replayed(store, engines))


def halves(found: Sequence[dict[str, Any]], seed: int) -> tuple[list[Example], list[Example]]:
    """Validation and holdout."""
    examples = [Example.of(row["prompt"], "right", id=row["id"]) for row in found]
    random.Random(seed).shuffle(examples)
    return examples[: len(examples) // 2], examples[len(examples) // 2 :]


def say(drawn: RoutingCurve) -> None:
    """The curve as a table, beside random mixing at the same share."""
    print("  strong   quality  95 % interval   random")
    for point in sorted(drawn.points, key=lambda p: p.share):
        quality = point.quality
        print(
            f"  {100 * point.share:5.1f} %  {quality.value:.3f}    {quality.low:.3f}–"
            f"{quality.high:.3f}     {point.random:.3f}"
        )
    area = drawn.area
    print(
        f"  area above random {100 * area.difference.value:+.2f} points "
        f"({100 * area.difference.low:+.2f} to {100 * area.difference.high:+.2f}): {area.call}"
    )


def main() -> None:
    """Both curves."""
    found = rows()
    scores = np.array([[float(row[field]) for field in ARMS.values()] for row in found])
    best = oracle(scores)
    print(
        f"{len(found)} prompts: weak {scores[:, 0].mean():.3f}, strong {scores[:, 1].mean():.3f}, "
        f"oracle {best.quality:.3f} at {100 * best.share:.0f} % strong"
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = bench_of(found, Path(folder))
        validation, holdout = halves(found, seed=0)
        candidate: Candidate = build(Context((), tuple(validation), bench))
        print(f"\nThe candidate `router`, built on {len(validation)} prompts:")
        for tried in candidate.tried:
            print(f"  {'*' if tried.chosen else ' '} {tried.setting}, quality {tried.score:.3f}")
        measured = bench.measure(candidate.agent, holdout)
        costs: dict[str, float | None] = {}
        routing = routing_of(candidate, measured, holdout, None, costs, bench)
        assert routing is not None
        assert routing.curve is not None
        print(f"on the {len(holdout)} others:")
        print(f"  {wording.routing(routing)}")
        say(routing.curve)
    vectors = get_embedder(STARTER).encode([row["prompt"] for row in found])
    order = np.random.default_rng(0).permutation(len(found))
    folds = (order % FOLDS).astype(float)
    for settings in GRID:
        print(f"\nAll {len(found)} prompts, each routed unseen, by {settings}:")
        say(curve(scores, out_of_fold(vectors, scores, settings, folds)))


if __name__ == "__main__":
    main()
