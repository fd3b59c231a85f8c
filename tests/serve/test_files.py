"""Files and uploads over HTTP: what goes in comes out, whole, and only to its owner."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assay.errors import StateError
from assay.store import stored_files, uploads
from assay.store.tables import FileRow, UploadRow, now
from tests.serve.running import Running


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def test_a_file_goes_in_and_comes_out(server: Running, client: openai.OpenAI) -> None:
    data = b'{"a": 1}\n' * 100
    made = client.files.create(file=("rows.jsonl", data), purpose="fine-tune")
    assert (made.filename, made.bytes, made.purpose) == ("rows.jsonl", 900, "fine-tune")
    assert (made.object, made.status, made.expires_at) == ("file", "processed", None)
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == data
    assert client.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError) as missing:
        client.files.retrieve(made.id)
    assert missing.value.code == "not_found"
    assert not stored_files.path_of(server.workspace.store, made.id).exists()


def test_pages_of_files(server: Running) -> None:
    client = server.client(server.new_key("files", project="pages"))
    ids = [
        client.files.create(file=(f"{n}.txt", b"x"), purpose=("batch", "user_data")[n % 2]).id
        for n in range(5)
    ]
    assert [f.id for f in client.files.list(limit=2)] == ids[::-1]
    assert [f.id for f in client.files.list(order="asc", after=ids[1])] == ids[2:]
    assert [f.id for f in client.files.list(purpose="batch")] == ids[::2][::-1]
    page = client.files.list(limit=2)
    assert (page.has_more, page.data[-1].id) == (True, ids[3])
    with pytest.raises(openai.NotFoundError):
        client.files.list(after="file-none")


def test_a_file_that_has_expired_is_gone(server: Running, client: openai.OpenAI) -> None:
    made = client.files.create(
        file=("a.txt", b"x"),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.expires_at == made.created_at + 3600
    store = server.workspace.store
    with store.session() as session:
        session.query(FileRow).where(FileRow.id == made.id).update({"expires": now()})
    with pytest.raises(openai.NotFoundError):
        client.files.content(made.id)
    path = stored_files.path_of(store, made.id)
    assert path.exists()
    forgotten: list[tuple[str, str]] = []
    stored_files.sweep(store, lambda *file: forgotten.append(file))
    assert forgotten == [(server.workspace.name, made.id)]
    with store.session() as session:
        assert session.query(FileRow).where(FileRow.id == made.id).count() == 0


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"files": {"file": ("a", b"x")}}, "purpose"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "party"}}, "purpose"),
        ({"files": {"file": ("a", b"x")}, "data": {"purpose": "vision"}}, "purpose"),
        ({"data": {"purpose": "batch"}, "files": {"other": ("a", b"x")}}, "file"),
        ({"data": {"purpose": "batch", "file": "text"}}, "file"),
        ({"files": {"file": ("a" * 300, b"x")}, "data": {"purpose": "batch"}}, "filename"),
        (
            {
                "files": {"file": ("a", b"x")},
                "data": {"purpose": "batch", "expires_after[seconds]": "9"},
            },
            "expires_after",
        ),
    ],
)
def test_a_form_that_is_wrong_is_refused(
    server: Running, fields: dict[str, Any], param: str
) -> None:
    answer = server.http().post("/v1/files", **fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("seconds", ["1e999", "[]", "null", "7", '"x"'])
def test_a_lifetime_that_is_none_is_refused(server: Running, seconds: str) -> None:
    expiry = f'{{"anchor": "created_at", "seconds": {seconds}}}'
    body = '{"bytes": 1, "filename": "a", "mime_type": "x", "purpose": "batch", "expires_after": '
    headers = {"Content-Type": "application/json"}
    answer = server.http().post("/v1/uploads", content=body + expiry + "}", headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "expires_after")


def test_bodies_that_are_no_forms(server: Running) -> None:
    for headers, body in (
        ({"Content-Type": "application/json"}, b"{}"),
        ({"Content-Type": "multipart/form-data"}, b"x"),
        ({"Content-Type": "multipart/form-data; boundary=b"}, b"--b\r\nbroken"),
        ({}, b""),
    ):
        answer = server.http().post("/v1/files", content=body, headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]


def test_a_file_that_is_too_large_is_refused_and_leaves_nothing(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.serve.files.FILE_BYTES", 10)
    before = set((server.workspace.store.folder / "files").glob("*"))
    answer = server.http().post(
        "/v1/files", files={"file": ("a", b"x" * 11)}, data={"purpose": "batch"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "file_too_large")
    assert set((server.workspace.store.folder / "files").glob("*")) == before


def test_parts_become_a_file_in_the_order_that_is_told(
    server: Running, client: openai.OpenAI
) -> None:
    upload = client.uploads.create(
        bytes=6, filename="b.jsonl", mime_type="text/jsonl", purpose="fine-tune"
    )
    assert (upload.status, upload.expires_at - upload.created_at) == ("pending", 3600)
    last, first = (client.uploads.parts.create(upload.id, data=d).id for d in (b"def", b"abc"))
    whole = client.uploads.complete(
        upload.id, part_ids=[first, last], md5=hashlib.md5(b"abcdef").hexdigest()
    )
    assert whole.status == "completed"
    assert whole.file is not None
    assert client.files.content(whole.file.id).read() == b"abcdef"
    assert whole.file.filename == "b.jsonl"
    assert not (server.workspace.store.folder / "uploads" / upload.id).exists()
    for over in (
        lambda: client.uploads.parts.create(upload.id, data=b"x"),
        lambda: client.uploads.complete(upload.id, part_ids=[first, last]),
        lambda: client.uploads.cancel(upload.id),
    ):
        with pytest.raises(openai.BadRequestError, match="completed"):
            over()


def test_the_clients_own_way_to_upload_in_parts(client: openai.OpenAI) -> None:
    data = bytes(range(256)) * 40
    done = client.uploads.upload_file_chunked(
        file=data,
        filename="c.bin",
        bytes=len(data),
        mime_type="application/octet-stream",
        purpose="user_data",
        part_size=1000,
    )
    assert done.file is not None
    assert client.files.content(done.file.id).read() == data


def test_what_cannot_be_completed(server: Running, client: openai.OpenAI) -> None:
    upload = client.uploads.create(bytes=4, filename="b", mime_type="x", purpose="batch")
    part = client.uploads.parts.create(upload.id, data=b"ab").id
    for ids, md5, says in (
        ([part], None, "have 2 bytes"),
        ([part, part], None, "named twice"),
        ([part, "part_x"], None, "has no part"),
    ):
        with pytest.raises(openai.BadRequestError, match=says):
            client.uploads.complete(upload.id, part_ids=ids, md5=md5 or openai.omit)
    more = client.uploads.parts.create(upload.id, data=b"cd").id
    with pytest.raises(openai.BadRequestError, match="md5"):
        client.uploads.complete(upload.id, part_ids=[part, more], md5="0" * 32)
    assert client.uploads.complete(upload.id, part_ids=[part, more]).status == "completed"


def test_an_upload_is_cancelled_or_expires(server: Running, client: openai.OpenAI) -> None:
    upload = client.uploads.create(bytes=4, filename="b", mime_type="x", purpose="batch")
    client.uploads.parts.create(upload.id, data=b"ab")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    store = server.workspace.store
    late = client.uploads.create(bytes=4, filename="b", mime_type="x", purpose="batch")
    client.uploads.parts.create(late.id, data=b"ab")
    with store.session() as session:
        past = now() - timedelta(hours=2)
        session.query(UploadRow).where(UploadRow.id == late.id).update({"expires": past})
    with pytest.raises(StateError, match="expired"):
        uploads.complete(store, server.workspace.name, late.id, [])
    uploads.sweep(store)
    assert uploads.find(store, server.workspace.name, late.id).status == "expired"
    assert not (store.folder / "uploads" / late.id).exists()


def test_an_upload_that_was_cancelled_by_another_project_is_not_there(server: Running) -> None:
    mine, other = server.client(), server.client(server.new_key("files", project="other"))
    upload = mine.uploads.create(bytes=1, filename="b", mime_type="x", purpose="batch")
    for call in (
        lambda: other.uploads.cancel(upload.id),
        lambda: other.uploads.complete(upload.id, part_ids=["p"]),
        lambda: other.uploads.parts.create(upload.id, data=b"x"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    file = mine.files.create(file=io.BytesIO(b"x"), purpose="batch")
    for look in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError):
            look(file.id)
    assert file.id not in {f.id for f in other.files.list()}
    chat = server.client(server.new_key("chat"))
    with pytest.raises(openai.PermissionDeniedError):
        chat.files.list()


@pytest.fixture(scope="module")
def http(shared_server: Running) -> Iterator[httpx.Client]:
    with shared_server.http() as http:
        yield http


@given(
    parts=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    claimed=st.integers(-2, 2),
)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_parts_in_any_order_are_one_file_or_refused(
    http: httpx.Client, parts: list[bytes], order: Any, claimed: int
) -> None:
    size = max(1, sum(map(len, parts)) + claimed)
    body = {"bytes": size, "filename": "f", "mime_type": "x", "purpose": "batch"}
    id = http.post("/v1/uploads", json=body).json()["id"]
    sent = list(enumerate(parts))
    order.shuffle(sent)
    ids: dict[int, str] = {}
    for place, data in sent:
        answer = http.post(f"/v1/uploads/{id}/parts", files={"data": data})
        assert answer.status_code == 200, answer.text
        ids[place] = answer.json()["id"]
    named = [ids[place] for place in range(len(parts))]
    answer = http.post(f"/v1/uploads/{id}/complete", json={"part_ids": named})
    if size != sum(map(len, parts)):
        assert answer.status_code == 400
        return
    file = answer.json()["file"]["id"]
    assert http.get(f"/v1/files/{file}/content").content == b"".join(parts)


@given(
    name=st.text(max_size=40),
    data=st.binary(max_size=2000),
    purpose=st.sampled_from(["fine-tune", "batch"]) | st.text(max_size=10),
)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_file_is_kept_whole_or_refused(
    http: httpx.Client, name: str, data: bytes, purpose: str
) -> None:
    try:
        answer = http.post("/v1/files", files={"file": (name, data)}, data={"purpose": purpose})
    except UnicodeEncodeError:  # a name that the client itself cannot send
        return
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        made = answer.json()
        assert http.get(f"/v1/files/{made['id']}/content").content == data
        assert made["bytes"] == len(data)


@given(body=st.binary(max_size=300))
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_bytes_as_a_form(http: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    for content in (body, b"--b\r\n" + body, b"--b\r\nContent-Disposition: " + body):
        answer = http.post("/v1/files", content=content, headers=headers)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["message"]
