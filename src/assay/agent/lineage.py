"""Which rows an agent was made of: those it shows, looks up or has learned from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from assay.agent.agent import Agent, Knowledge, messages_of
from assay.agent.learned import load_router
from assay.agent.route import LearnedRoute, Rules
from assay.agent.routing import arm, leaves
from assay.example import Example, load_examples
from assay.generate.call_extraction import CallModel, load_calls
from assay.generate.classical import ClassicalModel, load_classical
from assay.generate.embedding_classifier import EmbeddingClassifier, load_embedding_classifier
from assay.generate.extraction import ExtractModel, load_extract
from assay.generate.nearest import NearestModel, load_nearest
from assay.models.embed import Embedder, Reranker
from assay.models.lineage import rows_of, rows_seen
from assay.models.tuned_encoder import SCHEME, rows_behind_tuned
from assay.models.versions import find_version, version_id
from assay.store import blobs
from assay.store.store import Store

HANDFUL = 16
"""Rows that somebody writes down along with a prompt; more of them have to be collected."""
_RowModel = NearestModel | ExtractModel | CallModel | EmbeddingClassifier | ClassicalModel
_MADE_OF_ROWS: Mapping[str, Callable[[bytes], _RowModel]] = {
    "classical": load_classical,
    "embedded": load_embedding_classifier,
    "nearest": load_nearest,
    "extract": load_extract,
    "calls": load_calls,
}
"""Models that know their rows, by scheme, and what reads them."""


def rows_behind(agent: Agent, store: Store) -> Iterator[str]:
    """Hashes of the rows that an agent was made of, as far as they are known; with those of its
    version and of a route's arms."""
    yield from rows_held(agent, store)
    if agent.route is not None:
        for id in agent.route.arms:
            yield from rows_behind(arm(store, id), store)
    elif (named := version_id(agent.model)) is not None:
        version = find_version(store, named)
        for data in rows_seen(version).values():
            yield from rows_of(store, data) or ()


def inputs_shown(agent: Agent, store: Store) -> Iterator[str]:
    """The inputs (`Example.input`) of the rows that an agent, or an arm of its route, shows."""
    for one in leaves(agent, store).values():
        for shown in one.shown:
            yield Example("shown", messages_of(shown)).input


def is_made_of_many_rows(agent: Agent, store: Store) -> bool:
    """Whether more than a handful of rows are behind an agent, so that it could not be had without
    collecting and checking them; as far as its rows are known."""
    seen: set[str] = set()
    for row in rows_behind(agent, store):
        seen.add(row)
        if len(seen) > HANDFUL:
            return True
    return False


def is_tuned(agent: Agent, store: Store) -> bool:
    """Whether a version answers, or may answer, for an agent."""
    return any(version_id(one.model) is not None for one in leaves(agent, store).values())


def is_retrained(agent: Agent, store: Store) -> bool:
    """Whether an agent is made again as its job changes: a version answers for it, or what was made
    of more than a handful of rows: a classical model, or what finds its passages."""
    fitted = (
        one
        for one in leaves(agent, store).values()
        if one.kind == "classical" or any(True for _ in _tuned_models(one.knowledge))
    )
    return is_tuned(agent, store) or any(is_made_of_many_rows(one, store) for one in fitted)


def rows_held(agent: Agent, store: Store) -> Iterator[str]:
    """Hashes of the rows that an agent itself shows, looks up or has learned from."""
    route = agent.route
    if isinstance(route, LearnedRoute):
        yield from load_router(blobs.get(store, route.model)).rows
    if isinstance(route, Rules) and route.classifier is not None:
        yield from _rows_of("classical", route.classifier, store)
    scheme, _, blob = agent.model.partition(":")
    if scheme in _MADE_OF_ROWS:
        yield from _rows_of(scheme, blob, store)
    for name, kind in _tuned_models(agent.knowledge):
        rows = rows_behind_tuned(name, store, kind)
        yield from (rows_of(store, rows) if rows is not None else None) or []
    if agent.nearest is not None:
        for example in load_examples(blobs.get(store, agent.nearest.pool)):
            yield example.content_hash()
    for shown in agent.shown:
        yield Example("shown", messages_of(shown)).content_hash()


def _tuned_models(
    knowledge: Knowledge | None,
) -> Iterator[tuple[str, type[Embedder] | type[Reranker]]]:
    """The models of a search that were trained on rows."""
    if knowledge is None:
        return
    if knowledge.embedder is not None:
        yield knowledge.embedder, Embedder
    if knowledge.rerank is not None and knowledge.rerank.startswith(SCHEME):
        yield knowledge.rerank, Reranker


def _rows_of(scheme: str, blob: str, store: Store) -> list[str]:
    rows = _MADE_OF_ROWS[scheme](blobs.get(store, blob)).rows
    return [] if rows is None else rows_of(store, rows) or []
