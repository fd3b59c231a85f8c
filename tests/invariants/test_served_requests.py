"""What was evaluated is what is target: one function makes both requests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.agent import runtime
from assay.agent.agent import Agent, Nearest
from assay.agent.answering import GenerationOptions, Target, prepare
from assay.agent.runtime import assemble
from assay.example import Example, Message, dump_examples
from assay.store import blobs
from assay.store.store import Store

TEXT = st.text(min_size=1, max_size=20)
POOL = [Example.of(f"question {n}", f"answer {n}", id=str(n)) for n in range(5)]


class ByLength:
    """An embedder that looks at the length of a text."""

    identity = "length"

    def encode(self, texts: list[str]) -> np.ndarray:
        return np.array([[np.cos(len(t)), np.sin(len(t))] for t in texts], dtype=np.float32)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(runtime, "get_embedder", lambda name: ByLength())
    return Store(tmp_path / "state")


@given(
    system=st.none() | TEXT,
    turns=st.lists(st.tuples(TEXT, TEXT), max_size=2),
    question=TEXT,
    prompt=st.just("") | TEXT,
    shown=st.lists(st.tuples(TEXT, TEXT), max_size=2),
    k=st.integers(0, 2),
    choices=st.none() | st.just(("x", "y")),
    constrained=st.booleans(),
    temperature=st.sampled_from([0.0, 0.7]),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_request_is_made_as_it_was_measured(
    store: Store,
    system: str | None,
    turns: list[tuple[str, str]],
    question: str,
    prompt: str,
    shown: list[tuple[str, str]],
    k: int,
    choices: tuple[str, ...] | None,
    constrained: bool,
    temperature: float,
) -> None:
    pool = blobs.put(store, "".join(dump_examples(POOL)).encode())
    agent = Agent(
        model="m",
        system_prompt=prompt,
        shown=tuple(
            ({"role": "user", "content": a}, {"role": "assistant", "content": b}) for a, b in shown
        ),
        nearest=Nearest(k=k, pool=pool, embedder="e") if k else None,
        choices=choices,
        constrained=constrained,
        temperature=temperature,
        max_new_tokens=7,
        seed=3,
    )
    said = [Message("system", system)] if system else []
    for a, b in turns:
        said += [Message("user", a), Message("assistant", b)]
    said.append(Message("user", question))
    [measured] = assemble(agent, [Example("1", (*said, Message("assistant", "z")))], store)
    [asked] = prepare(Target("a@1", "m", agent), said, (), GenerationOptions(), store)
    assert asked.messages == measured.messages
    sampling = asked.sampling
    assert (sampling.max_new_tokens, sampling.temperature, sampling.seed) == (
        measured.max_new_tokens,
        measured.temperature,
        measured.seed,
    )
    assert (sampling.schema, sampling.choices) == (measured.schema, measured.choices)
    assert (sampling.top_p, sampling.stop, sampling.logit_bias) == (1.0, (), {})
