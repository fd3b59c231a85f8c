"""Turns inputs into requests: the same way in a comparison and behind an endpoint."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from assay.agent.agent import Agent, as_shown, messages_of
from assay.agent.passages import find_passages, query_of, with_passages
from assay.example import Example, Message, dump_examples, load_examples
from assay.generate.batch import Request
from assay.knowledge.search import Passage
from assay.models.embed import Vectors, get_embedder
from assay.store import blobs
from assay.store.files import write_atomic
from assay.store.store import Store


def assemble(
    agent: Agent,
    examples: Sequence[Example],
    store: Store,
    owner: str = "",
    seen: frozenset[str] | None = None,
    pin: str | None = None,
) -> list[Request]:
    """One request for the input of each example; targets are never looked at.

    Args:
        owner: the project that asks; only its own documents are looked into.
        seen: labels of the documents that whoever asks may see; None: all of the project's.
        pin: of the comparison that asks, see `find_passages`.
    """
    shown = tuple(messages_of(turns) for turns in agent.shown)
    nearest = _nearest(agent, examples, store) if agent.nearest else [()] * len(examples)
    found: list[list[Passage]] = [[] for _ in examples]
    if agent.knowledge is not None and examples:
        found = find_passages(agent.knowledge, examples, store, owner, seen, pin)
    return [
        _request(agent, example, (*shown, *extra), passages)
        for example, extra, passages in zip(examples, nearest, found, strict=True)
    ]


def assemble_plain(agent: Agent, examples: Sequence[Example]) -> list[Request]:
    """As `assemble`, of an agent that looks nothing up: neither examples nor documents."""
    assert agent.nearest is None
    assert agent.knowledge is None
    shown = tuple(messages_of(turns) for turns in agent.shown)
    return [_request(agent, example, shown, ()) for example in examples]


def _request(
    agent: Agent,
    example: Example,
    shown: tuple[tuple[Message, ...], ...],
    passages: Sequence[Passage],
) -> Request:
    prompt = example.with_system(agent.prompt).prompt
    system = tuple(m for m in prompt if m.role in ("system", "developer"))
    turns = tuple(m for m in prompt if m.role not in ("system", "developer"))
    messages = (*system, *(m for turn in shown for m in turn), *turns)
    if agent.knowledge is not None and query_of(example):
        messages = with_passages(messages, passages, agent.knowledge)
    held = agent.constrained
    calls = agent.output_schema is None and agent.choices is None and bool(example.tools)
    return Request(
        messages=messages,
        tools=example.tools,
        max_new_tokens=agent.max_new_tokens,
        schema=agent.output_schema if held else None,
        choices=agent.choices if held else None,
        calls=held and calls,
        temperature=agent.temperature,
        seed=agent.seed,
    )


def _nearest(
    agent: Agent, examples: Sequence[Example], store: Store
) -> list[tuple[tuple[Message, ...], ...]]:
    """The k examples of the pool most like each input, the most similar last."""
    assert agent.nearest is not None
    setting = agent.nearest
    pool = _pool(store, setting.pool)

    pool_vectors = _pool_vectors(pool, setting.pool, setting.embedder, store)
    vectors = get_embedder(setting.embedder).encode([example.input for example in examples])
    similarity = vectors @ pool_vectors.T
    # Stable order: equal similarities keep the pool's order whatever the batch.
    order = np.argsort(-similarity, axis=1, kind="stable")
    chosen: list[tuple[tuple[Message, ...], ...]] = []
    for example, ranks in zip(examples, order, strict=True):
        # An example is never shown to itself (it would be when validating on its own pool).
        near = [pool[i] for i in ranks[: setting.k + 1] if pool[i].messages != example.messages]
        chosen.append(tuple(messages_of(as_shown(e)) for e in reversed(near[: setting.k])))
    return chosen


# A server asks for one example at a time: what stays the same is read once.
@lru_cache(maxsize=8)
def _pool(store: Store, name: str) -> tuple[Example, ...]:
    return tuple(load_examples(blobs.get(store, name)))


def vectors_of(store: Store, examples: Sequence[Example], embedder: str) -> Vectors:
    """[len(examples), D] vectors of the inputs, kept with those of pools (see `Nearest`)."""
    name = hashlib.sha256("".join(dump_examples(examples)).encode()).hexdigest()
    return _pool_vectors(examples, name, embedder, store)


def _pool_vectors(pool: Sequence[Example], name: str, embedder: str, store: Store) -> Vectors:
    """Vectors of a pool [N, D]; kept beside the store, since neither it nor what an embedder's
    identity stands for ever changes."""
    model = get_embedder(embedder)
    path = store.folder / "cache" / "vectors" / f"{model.identity[:16]}-{name}.npy"
    if path.exists():
        vectors: Vectors = np.load(path, allow_pickle=False)
        return vectors
    vectors = model.encode([example.input for example in pool])
    buffer = io.BytesIO()
    np.save(buffer, vectors, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
    return vectors
