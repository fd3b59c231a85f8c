"""Routes: what is refused, which way a request goes, and when an answer is sure enough."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from tests.agent.routes import (
    ByWords,
    by_rules,
    cascade,
    forged,
    hard_goes_to_strong,
    learned,
    saved,
)

from assay.agent import routing
from assay.agent.agent import Agent, make_routed
from assay.agent.learned import (
    GRID,
    RouterModel,
    dump_router,
    fit_router,
    load_router,
    out_of_fold,
)
from assay.agent.route import Cascade, Rule, Rules
from assay.agent.routing import Step, confidence, follow, leaves, paths
from assay.errors import ConfigError, ModelError
from assay.example import Example
from assay.generate.batch import Answer
from assay.generate.classical import TfidfSettings, dump_classical, fit_tfidf
from assay.store import blobs
from assay.store.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(routing, "get_embedder", lambda name: ByWords())
    return Store(tmp_path / "state")


def _to(agent: Agent, store: Store, *texts: str) -> list[list[str]]:
    examples = [Example.of(text, "?") for text in texts]
    return [[step.agent.model for step in path] for path in paths(agent, examples, store)]


def test_an_agent_without_a_route_keeps_the_id_it_had() -> None:
    assert "route" not in Agent(model="m").canonical()
    assert Agent(model="m").id == "6c513a30f55fc5ce22f07a91b1f71608a089cf00d9a24c6940bd02a1720208fb"


def test_a_route_is_part_of_an_agents_content(store: Store) -> None:
    agent = cascade(store, "cheap", "strong")
    assert Agent.model_validate_json(agent.canonical()) == agent
    assert agent.id != cascade(store, "cheap", "strong", threshold=0.6).id
    with pytest.raises(ValidationError, match="if, and only if"):
        Agent(model="m", route=agent.route)
    with pytest.raises(ValidationError, match="if, and only if"):
        Agent(model="routed", kind="routed")


def test_rules_go_by_what_stands_in_the_input(store: Store) -> None:
    a, b, c, d = (saved(store, name) for name in "abcd")
    agent = by_rules(
        d,
        Rule(pattern=r"(?i)\brefund\b", to=a),
        Rule(longer_than=20, shorter_than=40, to=b),
        Rule(languages=("de",), to=c),
    )
    texts = {
        "A REFUND, please": "a",
        "refunds": "d",
        "x" * 20: "d",
        "x" * 21: "b",
        "x" * 39: "b",
        "x" * 40: "d",
        "Ich möchte gern wissen, warum meine Überweisung noch nicht da ist.": "c",
        "12 34": "d",
        "": "d",
        "refund " + "x" * 20: "a",
    }
    assert _to(agent, store, *texts) == [[name] for name in texts.values()]
    assert paths(agent, [], store) == []


def test_rules_go_by_a_classifiers_label(store: Store) -> None:
    rows = [Example.of(f"lost card {i}", "card") for i in range(4)]
    rows += [Example.of(f"late parcel {i}", "post") for i in range(4)]
    model = blobs.put(store, dump_classical(fit_tfidf(rows, TfidfSettings())))
    a, b = saved(store, "a"), saved(store, "b")
    agent = by_rules(b, Rule(labels=("card",), to=a), classifier=model)
    assert _to(agent, store, "my card is lost", "my parcel is late") == [["a"], ["b"]]
    with pytest.raises(ValidationError, match="need a classifier"):
        by_rules(b, Rule(labels=("card",), to=a))


def test_a_pattern_that_takes_for_ever_counts_as_not_found(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = saved(store, "a"), saved(store, "b")
    agent = by_rules(b, Rule(pattern=r"(a|aa)+$", to=a))
    start = time.monotonic()
    assert _to(agent, store, "a" * 200 + "b") == [["b"]]
    assert time.monotonic() - start < 5
    assert "too long" in caplog.text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "needs a condition"),
        ({"pattern": "("}, "not a valid regular expression"),
        ({"to": "b"}, "to"),
    ],
)
def test_a_rule_that_cannot_be_followed_is_refused(fields: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Rule.model_validate({"to": "a" * 64, **fields})


def test_a_learned_router_sends_where_it_predicts_a_gain(store: Store) -> None:
    agent = learned(store, "cheap", "strong")
    assert _to(agent, store, "a hard one", "an easy one") == [["strong"], ["cheap"]]
    always = learned(store, "cheap", "strong", threshold=-2)
    assert _to(always, store, "a hard one", "an easy one") == [["strong"], ["strong"]]


def test_routes_within_routes(store: Store) -> None:
    inner = saved(store, "inner", cascade(store, "cheap", "strong"))
    agent = by_rules(saved(store, "small"), Rule(pattern="card", to=inner))
    assert _to(agent, store, "card", "else") == [["cheap", "strong"], ["small"]]
    assert {one.model for one in leaves(agent, store).values()} == {"cheap", "strong", "small"}
    chain = make_routed(
        Cascade(cheap=saved(store, "first"), strong=inner, confidence="token", threshold=0.5)
    )
    assert _to(chain, store, "card") == [["first", "cheap", "strong"]]
    with pytest.raises(ConfigError, match="cheap arm of a cascade has a route itself"):
        leaves(
            make_routed(
                Cascade(cheap=inner, strong=saved(store, "x"), confidence="token", threshold=0.5)
            ),
            store,
        )


def test_a_circle_is_refused(store: Store) -> None:
    a, b = "a" * 64, "b" * 64
    end = saved(store, "end")
    forged(store, a, Rules(rules=(Rule(pattern="x", to=b),), otherwise=end))
    forged(store, b, Rules(rules=(Rule(pattern="x", to=a),), otherwise=end))
    for id in (a, b):
        with pytest.raises(ConfigError, match="leads back to itself"):
            paths(routing.arm(store, id), [Example.of("x", "?")], store)
    own = "c" * 64
    forged(store, own, Rules(rules=(Rule(pattern="x", to=own),), otherwise=end))
    with pytest.raises(ConfigError, match="leads back to itself"):
        leaves(routing.arm(store, own), store)


def test_depth_is_bounded_and_every_arm_must_be_able_to_answer(store: Store) -> None:
    id = saved(store, "leaf")
    for depth in range(3):
        agent = by_rules(id, Rule(pattern=str(depth), to=id))
        leaves(agent, store)
        id = saved(store, f"depth-{depth}", agent)
    with pytest.raises(ConfigError, match="nested more than 3"):
        leaves(by_rules(id, Rule(pattern="x", to=id)), store)
    brought = saved(store, "brought", Agent(kind="outside", model="outside:b"))
    with pytest.raises(ConfigError, match="stored answers"):
        leaves(by_rules(brought, Rule(pattern="x", to=brought)), store)
    with pytest.raises(ConfigError, match="not in this project"):
        leaves(by_rules("d" * 64, Rule(pattern="x", to="d" * 64)), store)


def test_confidence() -> None:
    assert confidence("token", math.log(0.25), 2) == pytest.approx(0.5)
    assert confidence("answer", math.log(0.25), 2) == pytest.approx(0.25)
    assert confidence("token", math.log(0.25), None) == pytest.approx(0.25)
    assert confidence("token", None, 2) is None
    assert confidence("token", 0.0, 0) is None  # an empty answer says nothing


def test_a_cascade_goes_on_where_the_cheap_one_is_not_sure(store: Store) -> None:
    agent = cascade(store, "cheap", "strong")
    laid = paths(agent, [Example.of(text, "?") for text in "abcd"], store)
    cheap = {0: math.log(0.5), 1: math.log(0.49), 2: None}

    def ask(step: Step, places: list[int]) -> list[Answer]:
        asked.append((step.agent.model, places))
        if step.agent.model == "strong":
            told = {"cached_tokens": 4, "reasoning_tokens": 1}
            return [Answer(f"strong {p}", "stop", 30, 3, **told) for p in places]  # type: ignore[arg-type]
        return [
            Answer("", "error", error="out") if p == 3 else Answer(f"{p}", "stop", 10, 2, cheap[p])
            for p in places
        ]

    asked: list[tuple[str, list[int]]] = []
    found = follow(laid, ask)
    assert asked == [("cheap", [0, 1, 2, 3]), ("strong", [1, 2])]
    assert [one.answer.text for one in found] == ["0", "strong 1", "strong 2", ""]
    assert [one.answer.finish for one in found] == ["stop", "stop", "stop", "error"]
    assert (found[0].answer.prompt_tokens, found[0].answer.completion_tokens) == (10, 2)
    # Both calls are paid.
    assert (found[1].answer.prompt_tokens, found[1].answer.completion_tokens) == (40, 5)
    # What one of them does not tell is unknown of both.
    assert (found[1].answer.cached_tokens, found[1].answer.reasoning_tokens) == (None, None)
    assert [len(one.calls) for one in found] == [1, 2, 2, 1]


@pytest.mark.parametrize("settings", GRID, ids=str)
def test_a_router_learns_keeps_and_reads_back_bit_for_bit(settings: object) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hard = vectors[:, 0] > 0
    scores = np.stack([1.0 - hard, np.full(200, 0.5)], axis=1)  # half right is a score, too
    router = fit_router(vectors, scores, settings, rows=("a", "b"))  # type: ignore[arg-type]
    gain = router.gain(vectors)
    assert gain[hard].mean() > gain[~hard].mean() + 0.2
    again = load_router(dump_router(router))
    assert np.array_equal(again.gain(vectors), gain)
    assert (again.rows, again.settings) == (("a", "b"), settings)
    folds = np.array([i % 5 for i in range(180)] + [-1] * 20, dtype=float)
    unseen = out_of_fold(vectors, scores, settings, folds)  # type: ignore[arg-type]
    assert np.isnan(unseen[180:]).all()
    assert unseen[:180][hard[:180]].mean() > unseen[:180][~hard[:180]].mean()


def test_a_router_of_arms_that_are_always_right() -> None:
    vectors = np.eye(4, dtype=np.float32)
    scores = np.stack([np.ones(4), np.zeros(4)], axis=1)
    for settings in GRID:
        gain = fit_router(vectors, scores, settings).gain(vectors)
        assert (gain < 0).all()


@pytest.mark.parametrize("damage", [b"", b"xx", b"\x80\x04K\x01."])
def test_what_is_no_router_is_refused(damage: bytes) -> None:
    with pytest.raises(ModelError, match="not a router"):
        load_router(damage)
    with pytest.raises(ModelError, match="not a router"):
        load_router(
            dump_router(hard_goes_to_strong()).replace(b"assay-router-1", b"assay-router-9")
        )
    broken = RouterModel(GRID[0], {"vectors": np.zeros((1, 2))})
    with pytest.raises(ModelError, match="not a router"):
        load_router(dump_router(broken))
