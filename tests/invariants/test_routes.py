"""What must hold of every route: an answer is an arm's own, the target plays no part, and what
was evaluated is what is target."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.agent.routes import ByWords, by_rules, cascade, learned, saved
from tests.candidates.test_routes import Scripted
from tests.evaluate.scripted import ScriptedEngine

from assay.agent import routing
from assay.agent.agent import Agent
from assay.agent.answering import GenerationOptions, RouteStream, Target, prepare
from assay.agent.route import Rule
from assay.agent.routing import arm, leaves, paths
from assay.agent.runtime import assemble
from assay.config import Config
from assay.evaluate.measure import Bench
from assay.example import Example, Message
from assay.generate.batch import Answer, Request
from assay.generate.stream import End, Piece, Sampling
from assay.store.store import Store

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
INPUT = st.builds(
    lambda word, rest: f"{word} {rest}", st.sampled_from(["hard", "easy", ""]), TEXT
).filter(str.strip)


def sureness(model: str, text: str) -> float:
    """Between 0 and 1, by content alone."""
    return hashlib.sha256(f"{model}{text}".encode()).digest()[0] / 256 + 1e-3


def say(model: str) -> ScriptedEngine:
    def rule(asked: Request, _call: int) -> Answer:
        text = asked.messages[-1].content
        said = f"{asked.messages[0].content} {text}"
        return Answer(said, "stop", 9, 2, math.log(sureness(model, text)))

    return ScriptedEngine(rule, identity={"engine": model})


class Streaming:
    """The same answers, as a server gets them."""

    context_length = 1000

    def __init__(self, model: str) -> None:
        self.model = model

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        text = messages[-1].content
        yield Piece(messages[0].content)
        yield Piece(f" {text}")
        logprob = math.log(sureness(self.model, text)) if sampling.confidence else None
        yield End("stop", 9, 2, logprob=logprob, scored_tokens=2)

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        raise NotImplementedError


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("routes")
    store = Store(folder / ".assay")
    config = Config.model_validate(
        {
            "name": "p",
            "task": "text",
            "data": {"file": "f"},
            "graders": [{"name": "exact"}],
            "primary": "exact",
            "candidates": ["prompt"],
        }
    )
    engines = Scripted(config, store, **{name: say(name) for name in ("a", "b", "c")})
    return Bench(config, folder, store, engines)


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "get_embedder", lambda name: ByWords())


def routes(store: Store, threshold: float) -> list[Agent]:
    inner = saved(store, "inner", cascade(store, "a", "b", threshold))
    return [
        cascade(store, "a", "b", threshold),
        learned(store, "a", "b", threshold - 0.5),
        by_rules(inner, Rule(pattern="hard", to=saved(store, "c"))),
        by_rules(saved(store, "a"), Rule(longer_than=8, to=inner)),
    ]


@given(
    inputs=st.lists(INPUT, min_size=1, max_size=6, unique=True),
    targets=st.lists(TEXT, min_size=6, max_size=6),
    threshold=st.floats(0, 1),
    kind=st.integers(0, 3),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_routed_answer_is_the_arms_own_whoever_asks(
    bench: Bench, inputs: list[str], targets: list[str], threshold: float, kind: int
) -> None:
    agent = routes(bench.store, threshold)[kind]
    examples = [Example.of(text, "x", id=str(i)) for i, text in enumerate(inputs)]
    measured = bench.measure(agent, examples)
    assert measured.asked is not None
    # Its own answer, from a run in which nothing was routed.
    own = {
        id: bench.measure(one, examples).answers for id, one in leaves(agent, bench.store).items()
    }
    for place, asked in enumerate(measured.asked):
        assert measured.answers[place].text == own[asked[-1]][place].text
        spent = [own[id][place] for id in asked]
        assert measured.answers[place].prompt_tokens == sum(a.prompt_tokens or 0 for a in spent)

    # The engine that is timed, one request at a time.
    engine = bench.engines.for_agent(agent)
    one_by_one = [engine.answer([request])[0] for request in assemble(agent, examples, bench.store)]
    assert [a.text for a in one_by_one] == [a.text for a in measured.answers]
    assert [a.prompt_tokens for a in one_by_one] == [a.prompt_tokens for a in measured.answers]

    # A server, whose stream ends by saying who was asked.
    for example, answer, asked in zip(examples, measured.answers, measured.asked, strict=True):
        said = list(example.prompt)
        calls = prepare(Target("n", "routed", agent), said, (), GenerationOptions(), bench.store)
        *pieces, end = RouteStream(Streaming, calls)
        assert isinstance(end, End)
        assert end.agents == asked
        assert "".join(p.text for p in pieces if isinstance(p, Piece)) == answer.text

    # Other targets change nothing.
    others = [
        Example.of(text, target, id=str(i))
        for i, (text, target) in enumerate(zip(inputs, targets, strict=False))
    ]
    assert paths(agent, others, bench.store) == paths(agent, examples, bench.store)
    assert bench.measure(agent, others).asked == measured.asked


@given(text=INPUT, threshold=st.floats(0, 1), kind=st.integers(0, 3))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_an_input_goes_the_same_way_alone_and_among_others(
    bench: Bench, text: str, threshold: float, kind: int
) -> None:
    agent = routes(bench.store, threshold)[kind]
    one = Example("1", (Message("user", text), Message("assistant", "x")))
    others = [Example.of(f"hard {i}", "x") for i in range(3)]
    assert paths(agent, [one], bench.store)[0] == paths(agent, [*others, one], bench.store)[-1]
    assert arm(bench.store, leaves(agent, bench.store).popitem()[0]).route is None
