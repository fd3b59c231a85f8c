"""Responses that are kept, and conversations, through the unmodified client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import openai
import pytest
from sqlalchemy import func, select, update

from assay.accounts.keys import create_key
from assay.defaults import StoreResponses
from assay.errors import NotFoundError
from assay.generate.stream import End, Piece
from assay.store import conversations, stored_responses
from assay.store.conversations import NoRoomError, Owner
from assay.store.store import Store
from assay.store.stored_responses import StoredResponse
from assay.store.tables import ConversationItemRow, ConversationRow, ResponseRow
from tests.generate.remote.provider import delta, serving, streamed
from tests.many_rows import remote_project
from tests.serve.process import PRELOADED
from tests.serve.process import server as process
from tests.serve.running import STARTER, Running, running
from tests.serve.test_chat import CALL
from tests.serve.test_responses import WEATHER

MINE = Owner("support", "key_1")


def said(server: Running) -> list[tuple[str, str]]:
    """Roles and texts that the engine was asked with, the last time."""
    return [(one.role, one.content) for one in server.engine.asked[-1][0]]


def test_an_agent_goes_on_by_ids_alone(server: Running) -> None:
    """Store, call a function, answer it, read, list, delete; then the same in a conversation."""
    client = server.client()
    create: Any = client.responses.create
    server.engine.script = lambda *_: CALL
    first = create(
        model=STARTER, input="Oslo?", instructions="Be brief.", tools=[WEATHER], store=True
    )
    assert first.store is True
    [call] = first.output
    server.engine.script = lambda messages, *_: messages[-1].content
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = create(
        model=STARTER, input=[result], previous_response_id=first.id, tools=[WEATHER], store=True
    )
    assert second.output_text == "sunny"
    assert second.previous_response_id == first.id
    # What was instructed is said of one request alone.
    assert said(server) == [("user", "Oslo?"), ("assistant", ""), ("tool", "sunny")]
    assert server.engine.asked[-1][0][1].tool_calls[0].name == "weather"
    third = create(model=STARTER, input="Thanks", previous_response_id=second.id)
    assert third.store is False
    assert [role for role, _ in said(server)] == ["user", "assistant", "tool", "assistant", "user"]

    read = client.responses.retrieve(second.id)
    assert read.to_dict() == second.to_dict()
    assert read.usage == second.usage
    items: Any = list(client.responses.input_items.list(second.id, limit=1, order="asc"))
    assert [one.type for one in items] == ["message", "function_call", "function_call_output"]
    assert items[0].content[0].text == "Oslo?"
    newest: Any = list(client.responses.input_items.list(second.id, limit=2))
    assert [one.id for one in newest] == [one.id for one in reversed(items)]

    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    create(model=STARTER, input="Thanks", previous_response_id=second.id)
    assert said(server)[0] == ("user", "Oslo?")  # a later one is gone on from all the same

    server.engine.script = lambda *_: CALL
    talk = client.conversations.create(metadata={"topic": "weather"})
    one = create(model=STARTER, input="Rome?", conversation=talk.id, tools=[WEATHER])
    assert one.conversation.id == talk.id
    server.engine.script = lambda messages, *_: messages[-1].content
    result["call_id"] = one.output[0].call_id
    create(model=STARTER, input=[result], conversation={"id": talk.id}, tools=[WEATHER])
    listed: Any = list(client.conversations.items.list(talk.id, limit=3, order="asc"))
    kinds = ["message", "function_call", "function_call_output", "message"]
    assert [one.type for one in listed] == kinds
    assert listed[-1].content[0].text == "sunny"
    again = client.conversations.items.retrieve(listed[0].id, conversation_id=talk.id)
    assert again == listed[0]
    client.conversations.items.delete(listed[0].id, conversation_id=talk.id)
    added: Any = client.conversations.items.create(
        talk.id, items=[{"type": "message", "role": "user", "content": "And Bern?"}]
    )
    assert added.data[0].content[0].text == "And Bern?"
    left: Any = list(client.conversations.items.list(talk.id))
    assert [one.id for one in left] == [added.first_id, *(one.id for one in listed[:0:-1])]
    changed = client.conversations.update(talk.id, metadata={"topic": "towns"})
    assert client.conversations.retrieve(talk.id) == changed
    assert changed.metadata == {"topic": "towns"}
    assert client.conversations.delete(talk.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(talk.id)


def test_a_stream_is_kept_when_it_has_ended(server: Running) -> None:
    client = server.client()
    talk = client.conversations.create()
    with client.responses.stream(model=STARTER, input="a b c", store=True) as stream:
        whole = stream.get_final_response()
    assert client.responses.retrieve(whole.id).output_text == "a b c"
    cut = client.responses.create(model=STARTER, input="a b", max_output_tokens=1, store=True)
    assert client.responses.retrieve(cut.id).status == "incomplete"

    server.engine.pause_s = 0.05
    words: Any = {"model": STARTER, "input": " ".join("abcdefgh"), "store": True}
    for end in ("left", "broken"):
        if end == "broken":
            server.engine._say = breaks  # type: ignore[method-assign]
        ids = set()
        with client.responses.create(**words, conversation=talk.id, stream=True) as events:
            for event in events:
                ids |= {event.response.id} if event.type == "response.created" else set()
                if event.type == "response.output_text.delta" and end == "left":
                    break
        [id] = ids
        while server.engine.open:
            time.sleep(0.01)
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(id)
    assert client.conversations.items.list(talk.id).data == []


def breaks(*_: Any) -> Iterator[Piece | End]:
    yield Piece("a")
    raise RuntimeError("the model broke")


def test_ids_of_others_are_unknown(server: Running) -> None:
    client = server.client(server.new_key("chat"))
    mine = client.responses.create(model=STARTER, input="secret", store=True)
    talk = client.conversations.create(items=[{"role": "user", "content": "secret"}])
    item = client.conversations.items.list(talk.id).data[0]
    strangers = (
        server.new_key("chat"),
        server.new_key("chat", labels=["public"]),
        server.new_key("admin", project="other"),
    )
    for key in strangers:
        other = server.client(key)
        turns: Any = other.conversations
        asked: Any = partial(other.responses.create, model=STARTER, input="a")
        for ask in (
            partial(other.responses.retrieve, mine.id),
            partial(other.responses.delete, mine.id),
            partial(other.responses.cancel, mine.id),
            partial(other.responses.input_items.list, mine.id),
            partial(turns.retrieve, talk.id),
            partial(turns.update, talk.id, metadata={}),
            partial(turns.delete, talk.id),
            partial(turns.items.list, talk.id),
            partial(turns.items.create, talk.id, items=[{"role": "user", "content": "a"}]),
            partial(turns.items.retrieve, item.id, conversation_id=talk.id),
            partial(turns.items.delete, item.id, conversation_id=talk.id),
            partial(asked, conversation=talk.id),
        ):
            with pytest.raises(openai.NotFoundError):
                ask()
        with pytest.raises(openai.BadRequestError) as told:
            asked(previous_response_id=mine.id)
        assert told.value.code == "previous_response_not_found"
        assert told.value.param == "previous_response_id"
        own = turns.create()
        with pytest.raises(openai.NotFoundError):
            turns.items.retrieve(item.id, conversation_id=own.id)
    assert server.engine.asked[1:] == []
    admin = server.client()  # of the same project
    assert admin.responses.retrieve(mine.id).output_text == "secret"
    assert client.conversations.items.list(talk.id).data == [item]
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        client.responses.cancel(mine.id)


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, 400, "mutually_exclusive"),
        ({"previous_response_id": "a\0/../%s"}, 400, "previous_response_not_found"),
        ({"conversation": {"id": "\0"}}, 404, "not_found"),
        ({"conversation": {}}, 400, "missing_required_parameter"),
        ({"store": True, "input": [{"role": "user", "content": "a"}] * 2048}, 200, None),
    ],
)
def test_what_cannot_be_gone_on_from_or_kept(
    server: Running, more: dict[str, Any], status: int, code: str | None
) -> None:
    server.engine.context_length = 10**7
    with server.http() as http:
        told = http.post("/v1/responses", json={"model": STARTER, "input": "a", **more})
        assert told.status_code == status, told.text
        if code is not None:
            assert told.json()["error"]["code"].startswith(code)
            return
        # All that may be said was said: the next is told so, before the model is asked.
        asked = len(server.engine.asked)
        body = {"model": STARTER, "input": "b", "store": True, "instructions": "é" * 1_500_000}
        long = http.post("/v1/responses", json={**body, "input": "b"})
        full = {"2,048 are the most": told, "4 MB are the most": long}
        for what, before in full.items():
            last = before.json()["id"]
            told = http.post("/v1/responses", json={**body, "previous_response_id": last})
            assert told.status_code == 413
            assert what in told.json()["error"]["message"]
        assert len(server.engine.asked) == asked + 1


def test_what_a_server_keeps_is_its_owners_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {}
    for policy in get_args(StoreResponses):
        with running(tmp_path, store_responses=policy) as server:
            create: Any = server.client().responses.create
            for store in (None, True, False):
                given = {} if store is None else {"store": store}
                kept[policy, store] = create(model=STARTER, input="a", **given).store
    assert [key for key, is_kept in kept.items() if is_kept] == [
        ("asked", True),
        ("unless-refused", None),
        ("unless-refused", True),
    ]
    never = running(tmp_path, store_responses="never")
    with never as server, pytest.raises(openai.PermissionDeniedError):
        server.client().conversations.create()
    with Store(tmp_path / ".assay").session() as session:
        assert session.scalar(select(func.count(ResponseRow.key))) == 3
    monkeypatch.setattr(conversations, "PROJECT_BYTES", 0)
    with running(tmp_path, store_responses="unless-refused") as server:
        create = server.client().responses.create
        assert create(model=STARTER, input="a").store is False  # answered all the same
        with pytest.raises(openai.APIStatusError, match="this project has all"):
            create(model=STARTER, input="a", store=True)


def body(id: str, text: str = "yes", store: bool = True) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text}]
    output = [{"id": f"msg_{id}", "type": "message", "role": "assistant", "content": content}]
    return {"id": id, "store": store, "output": output}


def asked(text: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"id": f"msg_{text}", "type": "message", "role": "user", "content": content}


def chain_of(store: Store, *ids: str, previous: StoredResponse | None = None) -> StoredResponse:
    for id in ids:
        assert stored_responses.keep(store, MINE, body(id), [asked(f"q{id}")], previous=previous)
        previous = stored_responses.find(store, MINE, id)
    assert previous is not None
    return previous


def expire(store: Store, *ids: str) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=1)
    with store.session() as session:
        for kind in (ResponseRow, ConversationRow):
            session.execute(update(kind).where(kind.id.in_(ids)).values(expires=long_ago))


def left(store: Store) -> list[str]:
    with store.session() as session:
        return list(session.scalars(select(ResponseRow.id).order_by(ResponseRow.key)).all())


def test_a_chain_is_erased_when_nothing_goes_on_from_it(database: str, tmp_path: Path) -> None:
    store = Store(tmp_path, database)
    last = chain_of(store, "a", "b", "c")
    chain_of(store, "d", previous=stored_responses.find(store, MINE, "b"))
    assert (last.chain_items, len(stored_responses.items_until(store, last))) == (6, 6)
    stored_responses.remove(store, MINE, "b")
    expire(store, "a")
    for id in ("a", "b"):
        with pytest.raises(NotFoundError):
            stored_responses.find(store, MINE, id)
        with pytest.raises(NotFoundError):
            stored_responses.remove(store, MINE, id)
    stored_responses.sweep(store)
    assert left(store) == ["a", "b", "c", "d"]  # two go on from them
    assert len(stored_responses.items_until(store, last)) == 6
    stored_responses.remove(store, MINE, "c")
    assert left(store) == ["a", "b", "d"]
    stored_responses.remove(store, MINE, "d")
    assert left(store) == []
    # One that was deleted while the next was answered: that one is not kept, and nobody loses.
    gone = chain_of(store, "e")
    stored_responses.remove(store, MINE, "e")
    assert not stored_responses.keep(store, MINE, body("f"), [asked("f")], previous=gone)
    # Deleted while eight go on from it: none of them leads to nothing, and nothing is left over.
    busy = chain_of(store, "busy")

    def go_on(number: int) -> str | None:
        id = f"next{number}"
        return id if stored_responses.keep(store, MINE, body(id), [], previous=busy) else None

    with ThreadPoolExecutor(9) as threads:
        made = [threads.submit(go_on, number) for number in range(16)]
        stored_responses.remove(store, MINE, "busy")
    for id in [kept for one in made if (kept := one.result()) is not None]:
        found = stored_responses.find(store, MINE, id)
        assert len(stored_responses.items_until(store, found)) == 3
        stored_responses.remove(store, MINE, id)
    assert left(store) == []
    # All of a long chain expires together.
    ids = [f"long{n}" for n in range(600)]
    chain_of(store, *ids)
    expire(store, *ids)
    chain_of(store, "young")
    stored_responses.sweep(store)
    assert left(store) == ["young"]


def test_a_conversation_is_added_to_and_deleted_at_once(database: str, tmp_path: Path) -> None:
    store = Store(tmp_path, database)
    talk = conversations.create(store, MINE, {"a": "b"}, [asked("first")])

    def add(number: int) -> None:
        said = body(f"resp_{number}", store=False)
        stored_responses.keep(store, MINE, said, [asked(str(number))], conversation=talk.id)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(40)))
    items = conversations.all_items(store, MINE, talk.id)
    found = conversations.find(store, MINE, talk.id)
    assert (len(items), found.items) == (81, 81)
    assert found.bytes == conversations.size_of({"a": "b"}) + sum(map(conversations.size_of, items))
    # Question and answer stand together, whoever came in between.
    pairs = [(one["id"], two["id"]) for one, two in pairwise(items[1:])][::2]
    assert sorted(pairs) == sorted((f"msg_{n}", f"msg_resp_{n}") for n in range(40))
    for one in items[:2]:
        found = conversations.remove_item(store, MINE, talk.id, one["id"])
    assert found.items == 79
    with ThreadPoolExecutor(8) as threads:
        for number in range(40, 60):
            threads.submit(add, number)
        conversations.remove(store, MINE, talk.id)
    with store.session() as session:
        assert session.scalar(select(func.count(ConversationItemRow.key))) == 0
    old = conversations.create(store, MINE, {}, [asked("old")])
    expire(store, old.id)
    with pytest.raises(NotFoundError):
        conversations.extend(store, MINE, old.id, [asked("more")])
    conversations.sweep(store)
    assert conversations.used_bytes(store, MINE.project) == 0


def test_a_conversation_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    talk = conversations.create(store, MINE, {}, [])
    thousands = [asked(str(n)) for n in range(conversations.MOST_ITEMS)]
    conversations.extend(store, MINE, talk.id, thousands)
    with pytest.raises(NoRoomError, match="2,048 are the most"):
        conversations.extend(store, MINE, talk.id, [asked("more")])
    found, more = conversations.items_of(
        store, MINE, talk.id, after="msg_2000", limit=100, order="asc"
    )
    assert (len(found), found[0]["id"], more) == (47, "msg_2001", False)
    talk = conversations.create(store, MINE, {}, [])
    with pytest.raises(NoRoomError, match="4 MB"):
        conversations.extend(store, MINE, talk.id, [asked("a" * conversations.MOST_BYTES)])
    monkeypatch.setattr(conversations, "PROJECT_BYTES", 100)
    with pytest.raises(NoRoomError, match="this project has all"):
        conversations.extend(store, MINE, talk.id, [asked("a")])


@pytest.mark.slow
def test_a_killed_server_leaves_no_half_response(tmp_path: Path) -> None:
    def answer(said: dict[str, Any], number: int) -> Any:
        words = (delta(f"{said['messages'][-1]['content']} "), 0.1)
        return streamed(*words * 20, delta(finish="stop"))

    folder = tmp_path / "served"
    folder.mkdir()
    ask: Any = {"model": "remote:far/big-1", "store": True, "stream": True}
    with serving(answer) as far:
        workspace = remote_project(folder, far.port)
        _, key = create_key(workspace.store, workspace.name, "test", ["chat"])
        with process(folder, command=PRELOADED) as one:
            client = openai.OpenAI(base_url=f"{one.url}/v1", api_key=key, max_retries=0)
            talk = client.conversations.create()
            *_, last = client.responses.create(**ask, input="a", conversation=talk.id)
            assert last.type == "response.completed"
            events = client.responses.create(**ask, input="b", conversation=talk.id)
            [half] = (
                e.response.id
                for e, _ in zip(events, range(5), strict=False)
                if e.type == "response.created"
            )
            one.process.kill()
            one.process.wait()
        with process(folder, command=PRELOADED) as one:
            client = openai.OpenAI(base_url=f"{one.url}/v1", api_key=key, max_retries=0)
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(half)
            assert client.responses.retrieve(last.response.id).output_text == "a " * 20
            found: Any = client.conversations.items.list(talk.id, order="asc").data
            assert [item.role for item in found] == ["user", "assistant"]
            assert one.stop() == 0
