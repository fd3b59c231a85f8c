"""Chat completions that are kept, through the unmodified client."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import func, select, update

from assay.errors import StoreError
from assay.store import conversations, stored_completions
from assay.store.store import Store
from assay.store.tables import ChatCompletionRow
from assay.store.tables.clock import database_time
from tests.serve.running import STARTER, Running, running
from tests.serve.test_chat import CALL
from tests.serve.test_responses import WEATHER

SAID: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Oslo?"}]},
]


def ask(client: openai.OpenAI, text: str = "a b", **more: Any) -> Any:
    create: Any = client.chat.completions.create
    said = [{"role": "user", "content": text}]
    return create(**{"model": STARTER, "messages": said, "store": True, **more})


def test_what_is_stored_is_read_listed_changed_and_deleted(server: Running) -> None:
    client = server.client(server.new_key("chat"))
    stored = client.chat.completions
    server.engine.script = lambda *_: CALL
    tool = {
        "type": "function",
        "function": {"name": "weather", "parameters": WEATHER["parameters"]},
    }
    first = ask(client, messages=SAID, tools=[tool], n=2, seed=7, metadata={"topic": "towns"})
    server.engine.script = lambda messages, *_: messages[-1].content
    second = ask(client, "a b", metadata={"topic": "letters", "it's 100%": "ä"}, logprobs=True)
    ask(client, "not kept", store=False)
    ask(client, "not kept", store=None)
    chunks = list(ask(client, "c d", stream=True))

    read: Any = stored.retrieve(first.id)
    assert [one.to_dict() for one in read.choices] == [one.to_dict() for one in first.choices]
    assert (read.usage, read.metadata, read.seed) == (first.usage, {"topic": "towns"}, 7)
    assert read.tools[0]["function"]["name"] == "weather"
    assert second.choices[0].logprobs is not None
    assert stored.retrieve(second.id).choices[0].logprobs is None
    assert stored.retrieve(chunks[0].id).choices[0].message.content == "c d"

    listed = list(stored.list(limit=1))  # three pages
    assert [one.id for one in listed] == [first.id, second.id, chunks[0].id]
    assert [one.id for one in stored.list(order="desc", after=chunks[0].id)] == [
        second.id,
        first.id,
    ]
    assert stored.list(model="another").data == []
    for chosen, ids in (
        ({"topic": "letters"}, [second.id]),
        ({"topic": "letters", "it's 100%": "ä"}, [second.id]),
        ({"topic": "letters", "it's 100%": "a"}, []),
        ({"topic') or 1=1 --": "letters"}, []),
    ):
        assert [one.id for one in stored.list(metadata=chosen).data] == ids

    said: Any = list(stored.messages.list(first.id, limit=1))
    assert [(one.role, one.content) for one in said] == [("system", "Be brief."), ("user", None)]
    assert said[1].content_parts[0].text == "Oslo?"
    [last] = stored.messages.list(first.id, order="desc", after=said[1].id).data
    assert last.id == said[0].id
    with pytest.raises(openai.NotFoundError, match="message"):
        stored.messages.list(first.id, after="not one of them")

    changed: Any = stored.update(first.id, metadata={"topic": "weather"})
    assert changed.metadata == {"topic": "weather"}
    assert [one.id for one in stored.list(metadata={"topic": "weather"})] == [first.id]
    assert stored.delete(first.id).deleted
    for gone in (stored.retrieve, stored.delete, stored.messages.list):
        with pytest.raises(openai.NotFoundError):
            gone(first.id)
    assert first.id not in [one.id for one in stored.list()]
    store = server.workspace.store
    with store.session() as session:
        mine = update(ChatCompletionRow).where(ChatCompletionRow.id == second.id)
        session.execute(mine.values(expires=database_time()))
    stored_completions.sweep(store)
    with store.session() as session:
        left = set(session.scalars(select(ChatCompletionRow.id)).all())
    assert left & {first.id, second.id, chunks[0].id} == {chunks[0].id}


def test_completions_of_others_are_unknown(server: Running) -> None:
    client = server.client(server.new_key("chat"))
    mine = ask(client, "secret")
    for key in (server.new_key("chat"), server.new_key("admin", project="other")):
        other = server.client(key).chat.completions
        for read in (
            partial(other.retrieve, mine.id),
            partial(other.update, mine.id, metadata={}),
            partial(other.delete, mine.id),
            partial(other.messages.list, mine.id),
            partial(other.list, after=mine.id),
        ):
            with pytest.raises(openai.NotFoundError):
                read()
        assert other.list().data == []
    admin = server.client()
    assert [one.id for one in admin.chat.completions.list(order="desc", limit=1).data] == [mine.id]
    admin.chat.completions.delete(mine.id)
    with server.http() as http:
        lines = http.get("/v1/audit", params={"limit": 100}).json()["data"]
    told = [line["action"] for line in reversed(lines) if line["what"] == mine.id]
    assert told == ["completion.list", "completion.delete"]


@pytest.mark.parametrize(
    "query", ["metadata[a%22b]=c", "metadata=c", "metadata[a]=1&metadata[a]=2", "metadata[]=c"]
)
def test_a_filter_that_cannot_be_followed_is_refused(server: Running, query: str) -> None:
    with server.http() as http:
        told = http.get(f"/v1/chat/completions?{query}")
    assert (told.status_code, told.json()["error"]["param"]) == (400, "metadata")


def test_what_cannot_be_kept_takes_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, store_responses="never") as server:
        assert ask(server.client()).choices[0].message.content == "a b"
        with pytest.raises(openai.PermissionDeniedError):
            server.client().chat.completions.update("chatcmpl-1", metadata={})

    def away(*_: Any) -> None:
        raise StoreError("the database is locked")

    with running(tmp_path) as server, monkeypatch.context() as broken:
        broken.setattr(stored_completions, "keep", away)
        assert ask(server.client()).choices[0].message.content == "a b"
        *_, last = ask(server.client(), stream=True)
        assert last.choices[0].finish_reason == "stop"
    with Store(tmp_path / ".assay").session() as session:
        assert session.scalar(select(func.count(ChatCompletionRow.key))) == 0
    monkeypatch.setattr(conversations, "PROJECT_BYTES", 0)
    with running(tmp_path) as server:
        with pytest.raises(openai.APIStatusError, match="this project has all"):
            ask(server.client())
        assert server.engine.asked == []
