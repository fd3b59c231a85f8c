"""Vector stores over HTTP, by OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from assay.agent.agent import Agent, Knowledge
from assay.agent.versions import save_agent
from assay.jobs.service import work_on
from assay.knowledge.base import KnowledgeBase
from assay.knowledge.records import base_id
from assay.project.knowledge import vector_stores
from assay.store import stored_files
from assay.store.tables import FileRow, now
from tests.serve.running import Running
from tests.words import by_words

PETS = b"# Pets\n\nDogs travel in the hold of the ferry. Cats travel in the cabin.\n"
MEALS = b"# Meals\n\nBreakfast is served in the saloon from seven until ten.\n"


@pytest.fixture(autouse=True)
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    by_words(monkeypatch)


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def uploaded(client: openai.OpenAI, name: str, data: bytes) -> str:
    return client.files.create(file=(name, data), purpose="assistants").id


def worked(server: Running) -> None:
    """What a worker beside the server would do."""
    worker = work_on(server.workspace.store)
    while worker.once():
        pass


def test_what_an_expired_file_has_become_goes_with_it(
    server: Running, client: openai.OpenAI
) -> None:
    data = b"The warranty lasts seven years. " * 3
    made = client.files.create(
        file=("a.txt", data),
        purpose="assistants",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    there = client.vector_stores.create(name="Terms", file_ids=[made.id])
    worked(server)
    assert client.vector_stores.search(there.id, query="warranty").data
    store = server.workspace.store
    with store.session() as session:
        session.query(FileRow).where(FileRow.id == made.id).update({"expires": now()})
    forget = partial(vector_stores.forget_file, server.workspace, who="expired")
    stored_files.sweep(store, forget)
    assert client.vector_stores.search(there.id, query="warranty").data == []
    assert client.vector_stores.retrieve(there.id).file_counts.total == 0


def test_from_files_to_passages(server: Running, client: openai.OpenAI) -> None:
    pets, meals = uploaded(client, "pets.md", PETS), uploaded(client, "meals.md", MEALS)
    made = client.vector_stores.create(name="Ferry", file_ids=[pets], metadata={"of": "docs"})
    assert (made.object, made.name, made.metadata) == ("vector_store", "Ferry", {"of": "docs"})
    assert (made.status, made.file_counts.in_progress) == ("in_progress", 1)
    added = client.vector_stores.files.create(
        made.id, file_id=meals, attributes={"kind": "food", "year": 2024, "new": True}
    )
    assert (added.status, added.object) == ("in_progress", "vector_store.file")
    worked(server)
    made = client.vector_stores.retrieve(made.id)
    assert (made.status, made.file_counts.completed, made.file_counts.total) == ("completed", 2, 2)
    assert made.usage_bytes == len(PETS) + len(MEALS)
    assert client.vector_stores.files.poll(meals, vector_store_id=made.id).status == "completed"

    found = client.vector_stores.search(made.id, query="Where do dogs travel?").data
    assert (found[0].file_id, found[0].filename) == (pets, "pets.md")
    assert "hold of the ferry" in found[0].content[0].text
    assert found[0].score >= found[-1].score
    both = client.vector_stores.search(made.id, query=["dogs", "breakfast"], max_num_results=1)
    assert len(both.data) == 1
    texts = client.vector_stores.files.content(meals, vector_store_id=made.id).data
    assert "saloon" in str(texts[0].text)


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"type": "eq", "key": "kind", "value": "food"}, True),
        ({"type": "eq", "key": "kind", "value": "pets"}, False),
        ({"type": "ne", "key": "missing", "value": "x"}, True),
        ({"type": "gte", "key": "year", "value": 2024}, True),
        ({"type": "lt", "key": "year", "value": 2024}, False),
        ({"type": "gt", "key": "kind", "value": 3}, False),
        ({"type": "in", "key": "kind", "value": ["food", "drink"]}, True),
        ({"type": "nin", "key": "kind", "value": ["food", "drink"]}, False),
        ({"type": "eq", "key": "new", "value": 1}, False),
        (
            {
                "type": "and",
                "filters": [
                    {"type": "eq", "key": "new", "value": True},
                    {
                        "type": "or",
                        "filters": [
                            {"type": "eq", "key": "kind", "value": "x"},
                            {"type": "lte", "key": "year", "value": 2024},
                        ],
                    },
                ],
            },
            True,
        ),
    ],
)
def test_filters_hold_a_search_to_some_files(
    food: tuple[openai.OpenAI, str], filter: Any, found: bool
) -> None:
    client, id = food
    hits = client.vector_stores.search(id, query="breakfast and dogs", filters=filter).data
    assert {hit.filename for hit in hits} <= ({"meals.md"} if found else set())
    assert bool(hits) == found


@pytest.fixture(scope="module")
def food(
    shared_server: Running, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[openai.OpenAI, str]]:
    with pytest.MonkeyPatch.context() as patch:
        by_words(patch)
        client = shared_server.client()
        id = client.vector_stores.create().id
        meals = uploaded(client, "meals.md", MEALS)
        client.vector_stores.files.create(
            id, file_id=meals, attributes={"kind": "food", "year": 2024, "new": True}
        )
        worked(shared_server)
        yield client, id
        client.close()


def test_a_removed_file_is_found_no_more(server: Running, client: openai.OpenAI) -> None:
    pets, meals = uploaded(client, "pets.md", PETS), uploaded(client, "meals.md", MEALS)
    id = client.vector_stores.create(file_ids=[pets, meals]).id
    worked(server)
    gone = client.vector_stores.files.delete(pets, vector_store_id=id)
    assert (gone.id, gone.deleted) == (pets, True)
    assert {h.file_id for h in client.vector_stores.search(id, query="dogs").data} <= {meals}
    assert client.files.retrieve(pets).id == pets, "the file itself stays"
    client.files.delete(meals)
    assert client.vector_stores.search(id, query="breakfast").data == []
    assert client.vector_stores.retrieve(id).file_counts.total == 0
    store = server.workspace.store
    folder = store.folder / "knowledge" / base_id(store, server.workspace.name, id)
    assert folder.exists()
    assert client.vector_stores.delete(id).deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(id)
    assert not folder.exists()


def test_a_file_taken_out_before_it_was_read_never_gets_in(
    server: Running, client: openai.OpenAI
) -> None:
    pets = uploaded(client, "pets.md", PETS)
    id = client.vector_stores.create(file_ids=[pets]).id
    client.vector_stores.files.delete(pets, vector_store_id=id)
    worked(server)
    assert client.vector_stores.search(id, query="dogs").data == []


def test_a_store_deleted_while_it_is_filled_does_not_come_back(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets = uploaded(client, "pets.md", PETS)
    id = client.vector_stores.create(file_ids=[pets]).id
    add = KnowledgeBase.add

    def slow(self: KnowledgeBase, *arguments: Any, **named: Any) -> Any:
        client.vector_stores.delete(id)
        return add(self, *arguments, **named)

    monkeypatch.setattr(KnowledgeBase, "add", slow)
    worked(server)
    assert id not in {one.id for one in client.vector_stores.list(limit=100)}


def test_a_file_without_text_has_failed_and_says_why(
    server: Running, client: openai.OpenAI
) -> None:
    broken = uploaded(client, "broken.pdf", b"%PDF-1.4 this is no document")
    id = client.vector_stores.create(file_ids=[broken]).id
    worked(server)
    file = client.vector_stores.files.retrieve(broken, vector_store_id=id)
    assert file.status == "failed"
    assert file.last_error is not None
    assert file.last_error.message
    assert client.vector_stores.retrieve(id).file_counts.failed == 1


def test_lists_and_changes(server: Running) -> None:
    client = server.client(server.new_key("knowledge", "files", project="lists"))
    ids = [client.vector_stores.create(name=str(n)).id for n in range(4)]
    assert [one.id for one in client.vector_stores.list(order="asc", limit=2)] == ids
    assert [one.id for one in client.vector_stores.list(limit=2)] == ids[::-1]
    page = client.vector_stores.list(order="asc", before=ids[3], limit=2)
    assert [one.id for one in page.data] == ids[1:3]
    changed = client.vector_stores.update(ids[0], name="New", metadata={"a": "b"})
    assert (changed.name, changed.metadata) == ("New", {"a": "b"})
    file = uploaded(client, "a.md", PETS)
    client.vector_stores.files.create(ids[0], file_id=file)
    files = client.vector_stores.files
    updated = files.update(file, vector_store_id=ids[0], attributes={"x": 1})
    assert updated.attributes == {"x": 1.0}
    assert [f.id for f in files.list(ids[0], filter="in_progress")] == [file]
    assert [f.id for f in files.list(ids[0], filter="failed")] == []
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.list(after="vs_none")


def test_others_find_nothing(server: Running, client: openai.OpenAI) -> None:
    file = uploaded(client, "pets.md", PETS)
    id = client.vector_stores.create(file_ids=[file]).id
    worked(server)
    other = server.client(server.new_key("admin", project="other"))
    for call in (
        lambda: other.vector_stores.retrieve(id),
        lambda: other.vector_stores.update(id, name="mine"),
        lambda: other.vector_stores.delete(id),
        lambda: other.vector_stores.search(id, query="dogs"),
        lambda: other.vector_stores.files.list(id),
        lambda: other.vector_stores.files.retrieve(file, vector_store_id=id),
        lambda: other.vector_stores.files.content(file, vector_store_id=id),
        lambda: other.vector_stores.files.delete(file, vector_store_id=id),
        lambda: other.vector_stores.create(file_ids=[file]),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    assert id not in {one.id for one in other.vector_stores.list()}
    own = other.vector_stores.create().id
    with pytest.raises(openai.NotFoundError):
        other.vector_stores.files.create(own, file_id=file)
    with pytest.raises(openai.PermissionDeniedError):
        server.client(server.new_key("chat")).vector_stores.search(id, query="dogs")
    assert client.vector_stores.search(id, query="dogs").data


def test_what_cannot_be_followed_is_refused(server: Running, client: openai.OpenAI) -> None:
    refused: tuple[tuple[dict[str, Any], str], ...] = (
        ({"expires_after": {"anchor": "last_active_at", "days": 3}}, "expires_after"),
        ({"description": "x"}, "description"),
        (
            {
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100},
                }
            },
            "chunking_strategy",
        ),
    )
    for body, param in refused:
        with pytest.raises(openai.BadRequestError) as error:
            client.vector_stores.create(**body)
        assert str(error.value.param).startswith(param)
    id = client.vector_stores.create().id
    with pytest.raises(openai.BadRequestError):
        client.vector_stores.search(id, query="x", rewrite_query=True)
    with pytest.raises(openai.BadRequestError):
        client.vector_stores.search(id, query=[])
    with pytest.raises(openai.BadRequestError):
        client.vector_stores.search(id, query="x", max_num_results=51)
    assert client.vector_stores.search(id, query="x").data == [], "an empty one finds nothing"


def test_a_filter_without_end_is_refused(server: Running, client: openai.OpenAI) -> None:
    id = client.vector_stores.create().id
    filter: dict[str, Any] = {"type": "eq", "key": "a", "value": 1}
    for _ in range(180):
        filter = {"type": "and", "filters": [filter]}
    with server.http() as http:
        path = f"/v1/vector_stores/{id}/search"
        answer = http.post(path, json={"query": "x", "filters": filter})
    assert answer.status_code in (200, 400)


def test_documents_of_the_command_line_are_there_too(
    server: Running, client: openai.OpenAI, tmp_path: Path
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "meals.md").write_bytes(MEALS)
    base = KnowledgeBase(server.workspace.store, server.workspace.name, "manuals")
    base.add([tmp_path / "docs"])
    assert "manuals" in {one.id for one in client.vector_stores.list()}
    [hit] = client.vector_stores.search("manuals", query="breakfast").data
    assert hit.filename.endswith("docs/meals.md")
    assert client.vector_stores.update("manuals", name="Manuals").name == "Manuals"
    client.vector_stores.files.delete(hit.file_id, vector_store_id="manuals")
    assert base.documents() == []


def test_an_agent_answers_from_its_documents(server: Running, client: openai.OpenAI) -> None:
    pets = uploaded(client, "pets.md", PETS)
    id = client.vector_stores.create(file_ids=[pets]).id
    worked(server)
    knowledge = Knowledge(name=id, k=1, mode="bm25", characters=4000)
    agent = Agent(model="smollm2-135m-instruct", knowledge=knowledge)
    save_agent(server.workspace.store, "informed", agent, message="with documents")
    answer = client.chat.completions.create(
        model="informed@1", messages=[{"role": "user", "content": "Where do dogs travel?"}]
    )
    said = answer.choices[0].message.content or ""
    assert said.startswith(f"<passages>\n[1] {pets}/pets.md")
    assert said.endswith("Where do dogs travel?")


def test_a_key_with_labels_sees_only_documents_with_one_of_them(
    server: Running, client: openai.OpenAI, tmp_path: Path
) -> None:
    base = KnowledgeBase(server.workspace.store, server.workspace.name, "house")
    for label, place in (("public", "hold"), ("staff", "bridge")):
        (tmp_path / label).mkdir()
        (tmp_path / label / f"{label}.md").write_text(f"# Dogs\n\nDogs travel in the {place}.")
        base.add([tmp_path / label], labels=[label])
    hidden, shown = (d.path for d in sorted(base.documents(), key=lambda d: d.path, reverse=True))
    key = server.new_key("chat", "knowledge", labels=["public"])
    guest = server.client(key)
    assert [hit.file_id for hit in guest.vector_stores.search("house", query="dogs").data] == [
        shown
    ]
    assert [file.id for file in guest.vector_stores.files.list("house")] == [shown]
    assert guest.vector_stores.retrieve("house").file_counts.total == 1
    files = guest.vector_stores.files
    assert files.content(shown, vector_store_id="house").data
    for call in (
        lambda: files.retrieve(hidden, vector_store_id="house"),
        lambda: files.content(hidden, vector_store_id="house"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    for call in (
        lambda: guest.vector_stores.create(),
        lambda: guest.vector_stores.update("house", name="x"),
        lambda: guest.vector_stores.delete("house"),
        lambda: files.create("house", file_id="file-x"),
        lambda: files.update(shown, vector_store_id="house", attributes={}),
        lambda: files.delete(shown, vector_store_id="house"),
    ):
        with pytest.raises(openai.PermissionDeniedError):
            call()

    knowledge = Knowledge(name="house", k=5, mode="bm25", characters=4000)
    agent = Agent(model="smollm2-135m-instruct", knowledge=knowledge)
    save_agent(server.workspace.store, "purser", agent, message="with documents")

    def said(asking: openai.OpenAI) -> str:
        turns: Any = [{"role": "user", "content": "Where do dogs travel?"}]
        answer = asking.chat.completions.create(model="purser@1", messages=turns)
        return answer.choices[0].message.content or ""

    assert "bridge" in said(client)
    assert "hold" in said(guest)
    assert "bridge" not in said(guest)
    with guest.responses.stream(model="purser@1", input="Where do dogs travel?") as stream:
        assert "bridge" not in stream.get_final_response().output_text


def test_a_client_s_file_has_no_label_that_a_key_could_see(
    server: Running, client: openai.OpenAI
) -> None:
    file = uploaded(client, "pets.md", PETS)
    id = client.vector_stores.create(file_ids=[file]).id
    worked(server)
    guest = server.client(server.new_key("knowledge", labels=["public"]))
    assert guest.vector_stores.search(id, query="dogs").data == []
    filter: Any = {"type": "ne", "key": "a", "value": 1}
    assert guest.vector_stores.search(id, query="dogs", filters=filter).data == []
    assert list(guest.vector_stores.files.list(id)) == []
