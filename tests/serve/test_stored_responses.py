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
from assay.errors import NotFoundError, StoreError
from assay.generate.stream import End, Piece
from assay.store import conversations, stored_responses
from assay.store.conversations import NoRoomError, Owner, TooLongError
from assay.store.store import Store
from assay.store.stored_responses import StoredResponse
from assay.store.tables import ConversationItemRow, ConversationRow, ResponseRow
from tests.generate.remote.provider import delta, serving, streamed
from tests.many_rows import remote_project
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


def test_what_an_admin_key_does_with_others_words_is_in_the_audit_log(server: Running) -> None:
    client, admin = server.client(server.new_key("chat")), server.client()
    mine = client.responses.create(model=STARTER, input="secret", store=True)
    talk = client.conversations.create(items=[{"role": "user", "content": "secret"}])
    for who in (client, admin):  # the first leaves no line
        item = who.conversations.items.list(talk.id).data[0]
        who.conversations.items.retrieve(item.id or "", conversation_id=talk.id)
        who.conversations.update(talk.id, metadata={"a": "b"})
        who.responses.retrieve(mine.id)
    admin.responses.create(model=STARTER, input="on", previous_response_id=mine.id, store=True)
    admin.conversations.items.delete(item.id or "", conversation_id=talk.id)
    admin.responses.delete(mine.id)
    admin.conversations.delete(talk.id)
    with server.http() as http:
        lines = http.get("/v1/audit", params={"limit": 100}).json()["data"]
    told = [(line["action"], line["what"]) for line in reversed(lines)]
    assert [one for one in told if one[1] in (mine.id, talk.id)] == [
        ("conversation.read", talk.id),
        ("conversation.read", talk.id),
        ("conversation.change", talk.id),
        ("response.read", mine.id),
        ("response.read", mine.id),
        ("conversation.change", talk.id),
        ("response.delete", mine.id),
        ("conversation.delete", talk.id),
    ]


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
        body = {"model": STARTER, "input": "é" * 1_500_000, "store": True}
        long = http.post("/v1/responses", json=body)
        full = {"2,048 are the most": told, "4 MB are the most": long}
        for what, before in full.items():
            last = {"previous_response_id": before.json()["id"]}
            told = http.post("/v1/responses", json={**body, **last})
            assert told.status_code == 413
            assert told.json()["error"]["code"] == "conversation_too_long"
            assert what in told.json()["error"]["message"]
            unkept = {"model": STARTER, "input": "b", **last}
            status = http.post("/v1/responses", json=unkept).status_code
            # A model is never asked with more items, whether they are kept or not.
            assert status == (413 if "items" in told.json()["error"]["message"] else 200)
        assert len(server.engine.asked) == asked + 2
        # What each request says anew does not make a conversation long.
        wordy = {"model": STARTER, "input": "b", "store": True, "instructions": "é" * 1_500_000}
        for _ in range(3):
            told = http.post("/v1/responses", json=wordy)
            wordy["previous_response_id"] = told.json()["id"]
            assert told.status_code == 200


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
    with running(tmp_path) as server:
        talk = server.client().conversations.create(items=[{"role": "user", "content": "a"}])
    with running(tmp_path, store_responses="never") as server:
        turns: Any = server.client().conversations
        create = server.client().responses.create
        for write in (
            turns.create,
            partial(turns.update, talk.id, metadata={"a": "b"}),
            partial(turns.items.create, talk.id, items=[{"role": "user", "content": "b"}]),
            partial(create, model=STARTER, input="b", conversation=talk.id, store=False),
        ):
            with pytest.raises(openai.PermissionDeniedError):
                write()
        assert server.engine.asked == []
        assert turns.retrieve(talk.id) == talk
        assert len(turns.items.list(talk.id).data) == 1
        turns.delete(talk.id)
    with Store(tmp_path / ".assay").session() as session:
        assert session.scalar(select(func.count(ResponseRow.key))) == 3
    monkeypatch.setattr(conversations, "PROJECT_BYTES", 0)
    with running(tmp_path, store_responses="unless-refused") as server:
        create = server.client().responses.create
        assert create(model=STARTER, input="a").store is False  # answered all the same
        with pytest.raises(openai.APIStatusError, match="this project has all"):
            create(model=STARTER, input="a", store=True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", ["conversation", "response", "database"])
def test_what_goes_while_it_is_answered(
    server: Running, monkeypatch: pytest.MonkeyPatch, what: str, stream: bool
) -> None:
    """The client has its answer, and is told that nothing was kept."""
    client, store = server.client(), server.workspace.store
    owner = Owner(server.workspace.name, "", sees_all=True)
    create: Any = partial(client.responses.create, model=STARTER, store=True)
    talk, first = client.conversations.create(), create(input="secret")
    create(input="b", previous_response_id=first.id)  # needs what the first has said

    def away(*_: Any, **__: Any) -> bool:
        raise StoreError("the database is locked")

    def answer(*_: Any) -> str:
        if what == "conversation":
            conversations.remove(store, owner, talk.id)
        elif what == "response":
            stored_responses.remove(store, owner, first.id)
        else:
            monkeypatch.setattr(stored_responses, "keep", away)
        return "paid for"

    server.engine.script = answer
    before = {"previous_response_id": first.id} if what == "response" else {"conversation": talk.id}
    told = create(input="c", stream=stream, **before)
    if stream:
        *_, last = told
        assert last.type == "response.completed"
        told = last.response
    assert (told.output_text, told.store, told.conversation) == ("paid for", False, None)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(told.id)


def test_what_goes_before_it_is_read(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    client = server.client()
    create: Any = partial(client.responses.create, model=STARTER)
    read = stored_responses.items_until

    def too_late(store: Store, found: StoredResponse) -> list[dict[str, Any]]:
        stored_responses.remove(store, Owner(server.workspace.name, "", True), found.id)
        stored_responses.sweep(store)
        return read(store, found)

    monkeypatch.setattr(stored_responses, "items_until", too_late)
    one, two = create(input="a", store=True), create(input="a", store=True)
    asked = len(server.engine.asked)
    with pytest.raises(openai.BadRequestError) as told:
        create(input="b", previous_response_id=one.id)
    assert told.value.code == "previous_response_not_found"
    assert len(server.engine.asked) == asked
    with pytest.raises(openai.NotFoundError):
        client.responses.input_items.list(two.id)


def test_what_is_kept_has_limits_and_no_log_probabilities(server: Running) -> None:
    client = server.client()
    create: Any = partial(client.responses.create, model=STARTER, input="a", store=True)
    for metadata in ({"k" * 65: ""}, {"k": "v" * 513}, {str(n): "" for n in range(17)}):
        with pytest.raises(openai.BadRequestError):
            create(metadata=metadata)
    talk = client.conversations.create()
    told = create(top_logprobs=2, conversation=talk.id)
    kept = client.responses.retrieve(told.id)
    item: Any = client.conversations.items.list(talk.id, limit=1).data[0]
    assert told.output[0].content[0].logprobs
    assert kept.output_text == told.output_text
    for output in (kept.output[0], item):
        assert output.content[0].logprobs == []
    with pytest.raises(openai.BadRequestError, match="not afterwards"):
        client.responses.retrieve(told.id, extra_query={"starting_after": 3})


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
    stored_responses.sweep(store)
    assert left(store) == ["a", "b", "d"]
    stored_responses.remove(store, MINE, "d")
    stored_responses.sweep(store)
    assert left(store) == []
    # One that was deleted while the next was answered: that one is not kept, and nobody loses.
    gone = chain_of(store, "e")
    chain_of(store, "needs", previous=gone)
    stored_responses.remove(store, MINE, "e")
    for needed in (True, False):
        stored_responses.sweep(store)
        assert left(store) == (["e", "needs"] if needed else [])
        assert not stored_responses.keep(store, MINE, body("f"), [asked("f")], previous=gone)
        if needed:
            stored_responses.remove(store, MINE, "needs")
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
    stored_responses.sweep(store)
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
    conversations.sweep(store)
    with store.session() as session:
        assert session.scalar(select(func.count(ConversationItemRow.key))) == 0
    old = conversations.create(store, MINE, {}, [asked("old")])
    expire(store, old.id)
    with pytest.raises(NotFoundError):
        conversations.extend(store, MINE, old.id, [asked("more")])
    conversations.sweep(store)
    assert conversations.used_bytes(store, MINE.project) == 0


def test_what_was_deleted_is_not_in_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    words = ["xylophonquartz", "brillenkarpfen", "zwetschgenkern"]
    ids = [conversations.create(store, MINE, {}, [asked(words[n])]).id for n in (0, 1)]
    chain_of(store, words[2])
    chain_of(store, "stays")

    def in_file() -> list[str]:
        state = b"".join(file.read_bytes() for file in tmp_path.glob("assay.db*"))
        return [word for word in words if word.encode() in state]

    assert in_file() == words
    conversations.remove(store, MINE, ids[0])
    conversations.remove_item(store, MINE, ids[1], f"msg_{words[1]}")
    assert conversations.all_items(store, MINE, ids[1]) == []
    stored_responses.remove(store, MINE, words[2])
    stored_responses.sweep(store)
    conversations.sweep(store)
    assert in_file() == []
    assert left(store) == ["stays"]


def test_a_conversation_has_an_end(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path, database)
    talk = conversations.create(store, MINE, {}, [])
    thousands = [asked(str(n)) for n in range(conversations.MOST_ITEMS)]
    conversations.extend(store, MINE, talk.id, thousands[:-8])

    def fill(number: int) -> bool:
        try:
            more = thousands[-8:] if number == 0 else [asked(f"{number}_{n}") for n in range(8)]
            conversations.extend(store, MINE, talk.id, more)
        except TooLongError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:  # only one of them finds room
        assert sum(threads.map(fill, range(16))) == 1
    assert conversations.find(store, MINE, talk.id).items == conversations.MOST_ITEMS
    with pytest.raises(TooLongError, match="2,048 are the most"):
        conversations.extend(store, MINE, talk.id, [asked("more")])
    found, more = conversations.items_of(
        store, MINE, talk.id, after="msg_2000", limit=100, order="asc"
    )
    assert (len(found), found[0]["id"], more) == (47, "msg_2001", False)
    talk = conversations.create(store, MINE, {}, [])
    with pytest.raises(TooLongError, match="4 MB"):
        conversations.extend(
            store, MINE, talk.id, [{**asked("a" * conversations.MOST_BYTES), "id": "msg_a"}]
        )
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
        with process(folder) as one:
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
        with process(folder) as one:
            client = openai.OpenAI(base_url=f"{one.url}/v1", api_key=key, max_retries=0)
            with pytest.raises(openai.NotFoundError):
                client.responses.retrieve(half)
            assert client.responses.retrieve(last.response.id).output_text == "a " * 20
            found: Any = client.conversations.items.list(talk.id, order="asc").data
            assert [item.role for item in found] == ["user", "assistant"]
            assert one.stop() == 0
