"""Routes: arms, thresholds chosen on validation, and what is refused. No model."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.agent.routes import ByWords, saved
from tests.evaluate.scripted import ScriptedEngine

from assay.agent import routing
from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.agent.learned import load_router
from assay.agent.route import Cascade, LearnedRoute, Rules
from assay.candidates import router
from assay.candidates.building import Candidate, Context
from assay.candidates.registry import build, check_candidates, taking_part
from assay.config import Config
from assay.errors import AssayError, ConfigError, DataError
from assay.evaluate.measure import Bench
from assay.example import Example
from assay.generate.batch import Answer, BatchEngine, Request
from assay.store import blobs
from assay.store.store import Store

ROWS = tuple(
    Example.of(f"{'hard' if i % 4 == 0 else 'easy'} card {i}", "right", id=str(i))
    for i in range(80)
)


def cheap(asked: Request, _call: int) -> Answer:
    """Wrong where it is hard, and less sure there."""
    hard = "hard" in asked.messages[-1].content
    return Answer("wrong" if hard else "right", "stop", 10, 2, math.log(0.3 if hard else 0.8))


def strong(asked: Request, _call: int) -> Answer:
    """Wrong at every eighth, which nobody foresees."""
    number = int(asked.messages[-1].content.split()[-1])
    return Answer("wrong" if number % 8 == 1 else "right", "stop", 20, 2, math.log(0.9))


class Scripted(BatchEngines):
    """An engine for each model; routes are the real ones'."""

    def __init__(self, config: Config, store: Store, **engines: ScriptedEngine) -> None:
        super().__init__(store, providers=config.providers)
        self._scripted = engines

    def for_agent(self, agent: Agent) -> BatchEngine:
        return super().for_agent(agent) if agent.route is not None else self._scripted[agent.model]


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "get_embedder", lambda name: ByWords())
    monkeypatch.setattr(router, "get_embedder", lambda name: ByWords())


def context_of(folder: Path, route: dict[str, Any] | None, **fields: Any) -> Context:
    """Two models, `cheap` and `strong`, on eighty rows."""
    config = Config.model_validate(
        {
            "name": "sums",
            "task": "text",
            "data": {"file": "sums.csv"},
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["cascade"] if route and "cheap" in route else ["rules"],
            "route": route,
            **fields,
        }
    )
    store = Store(folder / ".assay")
    engines = Scripted(
        config,
        store,
        cheap=ScriptedEngine(cheap, identity={"engine": "cheap"}),
        strong=ScriptedEngine(strong, identity={"engine": "strong"}),
    )
    return Context((), ROWS, Bench(config, folder, store, engines))


ARMS = {"cheap": "cheap", "strong": "strong"}


def test_a_cascade_asks_the_strong_one_where_the_cheap_one_is_not_sure(tmp_path: Path) -> None:
    context = context_of(tmp_path, {**ARMS, "target": 1.0})
    made = build("cascade", context)
    route = made.agent.route
    assert isinstance(route, Cascade)
    assert 0.3 < route.threshold < 0.9
    measured = context.measure(made.agent)
    assert measured.score == pytest.approx(1.0)
    assert tuple(measured.primary_scores) == made.scores
    assert measured.asked is not None
    assert [len(path) for path in measured.asked] == [2 if i % 4 == 0 else 1 for i in range(80)]
    assert [t.chosen for t in made.tried].count(True) == 1
    assert {part.name for part in made.arms.values()} == {"cheap", "strong"}


def test_the_threshold_follows_target_and_budget(tmp_path: Path) -> None:
    def share(**asked: float) -> float:
        context = context_of(tmp_path, {**ARMS, **asked})
        measured = context.measure(build("cascade", context).agent)
        assert measured.asked is not None
        return sum(len(path) == 2 for path in measured.asked) / 80

    # The cheap arm alone has .75 of the strong one's .875.
    assert share(target=0.85) == 0.0
    assert share(target=1.0) == 0.25
    assert share(most_strong=0.1) == 0.0
    assert share(most_strong=0.5) == 0.25


def test_a_router_learns_where_the_strong_one_gains(tmp_path: Path) -> None:
    context = context_of(tmp_path, {**ARMS, "target": 1.0})
    made = build("router", context)
    route = made.agent.route
    assert isinstance(route, LearnedRoute)
    measured = context.measure(made.agent)
    assert measured.score == pytest.approx(1.0)
    kept = load_router(blobs.get(context.store, route.model))
    assert set(kept.rows) == {example.content_hash() for example in ROWS}
    assert (made.curated, made.retrained) == (True, True)
    again = build("router", context)
    assert again.agent.id == made.agent.id
    with pytest.raises(DataError, match="too few"):
        build("router", replace(context, validation=ROWS[:10]))


def test_a_router_learns_from_train_only_what_no_arm_was_made_of(tmp_path: Path) -> None:
    train = tuple(Example.of(f"hard card {i}", "right", id=str(i)) for i in range(100, 140))
    context = replace(context_of(tmp_path, {**ARMS}), train=train)

    def rows(context: Context) -> int:
        route = build("router", context).agent.route
        assert isinstance(route, LearnedRoute)
        return len(load_router(blobs.get(context.store, route.model)).rows)

    assert rows(context) == 120
    turns = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})
    shown = Candidate(Agent(model="cheap", shown=(turns,)), (), (), name="cheap")
    assert rows(replace(context, built={"cheap": shown})) == 80


def test_rules_are_taken_as_they_stand(tmp_path: Path) -> None:
    rules = [{"pattern": r"^hard", "to": "strong"}]
    context = context_of(tmp_path, {"rules": rules, "otherwise": "cheap"})
    made = build("rules", context)
    assert isinstance(made.agent.route, Rules)
    assert context.measure(made.agent).score == 1.0
    by_label = {"rules": [{"labels": ["a"], "to": "cheap"}], "otherwise": "cheap"}
    with pytest.raises(ConfigError, match="rules by label need a label task"):
        build("rules", context_of(tmp_path, by_label))


def test_a_strong_arm_that_is_no_better_is_said_to_be_so(tmp_path: Path) -> None:
    made = build("cascade", context_of(tmp_path, {"cheap": "strong", "strong": "cheap"}))
    assert "no better than the cheap arm" in made.warnings[0]


def test_arms_are_candidates_saved_agents_or_models(tmp_path: Path) -> None:
    context = context_of(tmp_path, {"cheap": "mine", "strong": "kept@1"})
    saved(context.store, "kept", Agent(model="strong", system_prompt="kept"))
    mine = Candidate(Agent(model="cheap"), (), (), name="mine", setup_seconds=7.0, fine_tuned=True)
    made = build("cascade", replace(context, built={"mine": mine}))
    assert made.setup_seconds == 7.0
    assert made.fine_tuned
    assert sorted(part.name for part in made.arms.values()) == ["kept", "mine"]
    for name, said in (("gone@1", "no agent gone@1"), ("@", "is not a version")):
        with pytest.raises(AssayError, match=said):
            build("cascade", context_of(tmp_path, {"cheap": name, "strong": "strong"}))


def test_rows_go_to_a_provider_only_where_the_project_agrees(tmp_path: Path) -> None:
    provider = {"base_url": "https://models.example/v1", "consent": False}
    context = context_of(
        tmp_path, {"cheap": "cheap", "strong": "remote:big/model"}, providers={"big": provider}
    )
    with pytest.raises(ConfigError, match=r"not agreed to send .* 80 rows"):
        build("router", context)


def test_an_arm_that_tells_no_probability_cannot_begin_a_cascade(tmp_path: Path) -> None:
    context = context_of(tmp_path, ARMS)
    silent = ScriptedEngine(lambda asked, call: replace(cheap(asked, call), logprob=None))
    context.bench.engines._scripted["cheap"] = silent  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="does not report the probability"):
        build("cascade", context)
    build("router", context)


@pytest.mark.parametrize(
    ("candidate", "route", "said"),
    [
        ("cascade", None, "needs cheap and strong"),
        ("rules", ARMS, "needs rules and otherwise"),
        ("router", {"rules": [{"pattern": "x", "to": "a"}], "otherwise": "b"}, "needs cheap"),
        ("cascade", {"cheap": "a", "strong": "a"}, "must be different"),
        (
            "cascade",
            {"cheap": "router", "strong": "a"},
            "is itself a route, which would be circular",
        ),
        ("cascade", {"cheap": "a"}, "give both"),
        (
            "rules",
            {"rules": [{"pattern": "(", "to": "a"}], "otherwise": "b"},
            "not a valid regular expression",
        ),
        ("rules", {"rules": [{"to": "a"}], "otherwise": "b"}, "needs a condition"),
        ("rules", {"otherwise": "b"}, "must be given together"),
    ],
)
def test_a_route_that_cannot_be_followed_is_told_at_once(
    tmp_path: Path, candidate: str, route: dict[str, Any] | None, said: str
) -> None:
    with pytest.raises((ValidationError, ConfigError), match=said):
        check_candidates(context_of(tmp_path, route, candidates=[candidate]).config)


def test_routes_are_built_last(tmp_path: Path) -> None:
    named = ["cascade", "prompt", "router", "few-shot"]
    context = context_of(tmp_path, ARMS, candidates=named, baselines=False)
    assert taking_part(context.config) == ["prompt", "few-shot", "cascade", "router"]
