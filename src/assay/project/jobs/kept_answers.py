"""Answers that were kept, as items of a run: what clients have stored, or traces.

found = find(store, caller, source, metadata={})
for one in found.each:
    one["item"]["input"], one["sample"]["output_text"]

What was stored goes first: traces are read where nothing that was stored fits, and the source asks
for nothing that traces have no value of, or where it names them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any

from assay.accounts.keys import Caller, owner_of
from assay.chat.response_items import join_parts, join_turns, message_of
from assay.errors import NotFoundError
from assay.example import Message
from assay.jobs.eval_request import (
    MOST_ITEMS,
    KeptAnswers,
    StoredCompletions,
    StoredResponses,
    Traces,
)
from assay.project.jobs.requests import ADMIN, TRACES, RefusedError
from assay.release import traces
from assay.release.traces import Trace
from assay.store import kept_answers, stored_responses
from assay.store.conversations import LIFETIME
from assay.store.kept_answers import Filters
from assay.store.store import Store
from assay.store.stored_completions import StoredCompletion
from assay.store.stored_responses import StoredResponse

_OF_RESPONSES = ("instructions_search", "temperature", "top_p", "users", "tools")
"""Fields of a source that choose by what no trace has a value of."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was found, and what holds for copies of it.

    Attributes:
        each: the newest first, each with `item` and `sample`.
        lifetime_s: that copies are kept.
        scope: that reads them, see `Caller.may_read`.
        source: what was read: traces, where the one that was asked for had nothing.
    """

    each: Iterator[dict[str, Any]]
    lifetime_s: int
    scope: str
    source: KeptAnswers


def find(store: Store, caller: Caller, source: KeptAnswers, metadata: dict[str, str]) -> Kept:
    """What a source stands for.

    Args:
        metadata: that it must have, beside the source's own.

    Raises:
        RefusedError: the source and `metadata` want two values of one key, or the caller may not
            read what it stands for.
    """
    own = None if isinstance(source, Traces) else source.metadata
    wanted = {**metadata, **(own or {})}
    for name, value in metadata.items():
        if wanted[name] != value:
            raise RefusedError(
                f"the eval is of requests whose metadata {name!r} is {value!r}.",
                "data_source.source.metadata",
                "invalid_value",
            )
    no_traces = bool(wanted) or any(
        getattr(source, name, None) is not None for name in _OF_RESPONSES
    )
    if not isinstance(source, Traces):
        if caller.may("chat"):
            each = _stored(store, caller, source, wanted)
            if (first := next(each, None)) is not None:
                scope = ADMIN if caller.may(ADMIN) else caller.key_id
                lifetime_s = int(LIFETIME.total_seconds())
                return Kept(chain([first], each), lifetime_s, scope, source)
        elif no_traces:
            what = "what was stored is read by a key with the scope chat."
            raise RefusedError(what, "data_source.source", "insufficient_permissions")
    if no_traces:
        return Kept(iter(()), 0, caller.key_id, source)
    if not caller.may(TRACES):
        nothing = (
            "" if isinstance(source, Traces) else "nothing that this key has stored fits, and "
        )
        what = f"{nothing}traces are read by a key with the scope {TRACES}."
        raise RefusedError(what, "data_source.source", "insufficient_permissions")
    return _find_traces(store, caller.project, source)


def _find_traces(store: Store, project: str, source: KeptAnswers) -> Kept:
    """Traces of the model and the time that a source names."""
    found = traces.select_traces(
        store,
        project,
        source.model,
        after=source.created_after,
        before=source.created_before,
        limit=source.limit or MOST_ITEMS,
    )
    days = traces.shortest_days(store, project, source.model)
    read = Traces(
        type="traces",
        model=source.model,
        created_after=source.created_after,
        created_before=source.created_before,
        limit=source.limit,
    )
    return Kept((_of_trace(one) for one in found), days * 24 * 3600, TRACES, read)


def _stored(
    store: Store,
    caller: Caller,
    source: StoredCompletions | StoredResponses,
    metadata: dict[str, str],
) -> Iterator[dict[str, Any]]:
    owner = owner_of(caller)
    filters = Filters(
        model=source.model,
        after=source.created_after,
        before=source.created_before,
        metadata=metadata,
    )
    most = source.limit or MOST_ITEMS
    if isinstance(source, StoredCompletions):
        completions = kept_answers.completions(store, owner, filters)
        return (_of_completion(one) for one in islice(completions, most))
    filters = replace(
        filters, users=source.users, temperature=source.temperature, top_p=source.top_p
    )
    responses = kept_answers.responses(store, owner, filters)
    chosen = (one for one in responses if _fits(one, source))
    return islice(_of_responses(store, chosen), most)


def _fits(response: StoredResponse, source: StoredResponses) -> bool:
    """Whether a response is as is said in what no database can be asked for."""
    body, sought = response.body, source.instructions_search
    if sought is not None and sought.casefold() not in (body["instructions"] or "").casefold():
        return False
    offered = {tool["name"] for tool in body["tools"]}
    return source.tools is None or not offered.isdisjoint(source.tools)


def _of_completion(kept: StoredCompletion) -> dict[str, Any]:
    """The first answer, where there are several."""
    messages = [{**turn, "content": join_parts(turn.get("content"))} for turn in kept.messages]
    answer = kept.body["choices"][0]["message"]
    item = _item(kept.id, messages, kept.body["tools"], kept.client_metadata)
    return {"item": item, "sample": _sample(kept.body["model"], answer)}


def _of_responses(store: Store, found: Iterator[StoredResponse]) -> Iterator[dict[str, Any]]:
    for kept in found:
        body = kept.body
        try:
            said = stored_responses.items_until(store, kept)
        except NotFoundError:  # erased since it was found
            continue
        before = said[: len(said) - len(body["output"])]
        turns = join_turns([message_of(item) for item in before])
        if body["instructions"]:
            turns = [Message("system", body["instructions"]), *turns]
        tools = [
            {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}
            for tool in body["tools"]
        ]
        item = _item(kept.id, [turn.to_dict() for turn in turns], tools, body["metadata"])
        given = join_turns([message_of(item) for item in body["output"]])
        answer = given[-1].to_dict() if given else {}
        yield {"item": item, "sample": _sample(body["model"], answer)}


def _of_trace(kept: Trace) -> dict[str, Any]:
    item = _item(kept.id, kept.messages, kept.tools, {})
    if kept.corrected is not None:
        item["corrected"] = kept.corrected
    return {"item": item, "sample": _sample(kept.release, kept.answer)}


def _item(id: str, messages: Any, tools: Any, metadata: dict[str, str]) -> dict[str, Any]:
    more = {"tools": tools, "metadata": metadata}
    return {"id": id, "input": messages, **{name: value for name, value in more.items() if value}}


def _sample(model: str, answer: dict[str, Any]) -> dict[str, Any]:
    calls = answer.get("tool_calls")
    sample = {"output_text": answer.get("content") or "", "model": model}
    return {**sample, "output_tools": calls} if calls else sample
