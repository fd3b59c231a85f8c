"""Clients that fill the disk of a server: by files, parts, and documents, one after the other and
many at once."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.figures import Figure
from tests.serve.running import Running, running
from tests.serve.scripted import ScriptedEngines

from assay.accounts.quota import Quota
from assay.models.stored_versions import versions_folder
from assay.project.workspace import Workspace
from assay.store.tables import ServedNameRow

MOST = 1_000_000
FILE = b"x" * 150_000


def engines(workspace: Workspace) -> ScriptedEngines:
    workspace.quota = Quota(workspace.store, MOST)
    return ScriptedEngines()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, engines) as server:
        yield server


def upload(client: httpx.Client, data: bytes = FILE) -> httpx.Response:
    return client.post(
        "/v1/files", data={"purpose": "user_data"}, files={"file": ("a.txt", io.BytesIO(data))}
    )


def code(reply: httpx.Response) -> str | None:
    if reply.status_code == 200:
        return None
    assert reply.status_code == 413
    return str(reply.json()["error"]["code"])


def on_disk(server: Running) -> int:
    folder = server.workspace.store.folder
    return sum(
        file.stat().st_size
        for name in ("files", "uploads")
        for file in (folder / name).rglob("*")
        if file.is_file()
    )


FULL = "storage_quota_exceeded"


def test_files_end_at_the_quota_one_after_the_other_and_at_once(
    server: Running, figure: Figure
) -> None:
    with server.http() as client:
        with ThreadPoolExecutor(20) as pool:
            codes = list(pool.map(lambda _: code(upload(client)), range(40)))
        assert set(codes) == {None, FULL}
        assert on_disk(server) == len(FILE) * codes.count(None) <= MOST
        while code(upload(client)) is None:
            assert on_disk(server) <= MOST
        told = client.get("/v1/storage").json()
        assert told["files"] == told["total"] == on_disk(server)
        assert told["most"] == MOST
        [first, *_] = client.get("/v1/files").json()["data"]
        client.delete(f"/v1/files/{first['id']}")  # what is deleted is room again
        assert code(upload(client)) is None
    # Another project has a quota of its own.
    with server.http(server.new_key("files", project="other")) as client:
        assert code(upload(client)) is None
    share = len(FILE) * codes.count(None) / MOST
    figure("of a project's quota, what 40 uploads at once have got", f"{share:.0%}")


def test_parts_of_uploads_that_never_end_count(server: Running) -> None:
    """Each upload was to have a byte; each part may have 64 MB."""
    with server.http() as client:
        body = {"bytes": 1, "filename": "a", "purpose": "user_data", "mime_type": "text/plain"}
        codes: set[str | None] = set()
        for _ in range(12):
            made = client.post("/v1/uploads", json=body)
            if (refused := code(made)) is not None:
                codes.add(refused)
                continue
            parts = f"/v1/uploads/{made.json()['id']}/parts"
            codes.add(code(client.post(parts, files={"data": ("a", io.BytesIO(FILE))})))
        assert codes == {None, FULL}
        assert on_disk(server) <= MOST
        assert code(client.post("/v1/uploads", json={**body, "bytes": MOST})) == FULL


def test_one_file_in_many_vector_stores_counts_each_time(server: Running) -> None:
    with server.http() as client:
        file = upload(client).json()["id"]
        codes = [
            code(client.post("/v1/vector_stores", json={"file_ids": [file]})) for _ in range(10)
        ]
        assert codes.count(None) == 5
        assert client.get("/v1/storage").json()["total"] == 6 * len(FILE)
        stores = client.get("/v1/vector_stores").json()["data"]
        assert len(stores) == 5  # a refused one is not there
        one = stores[0]["id"]
        empty = client.post("/v1/vector_stores", json={}).json()["id"]
        assert code(client.post(f"/v1/vector_stores/{empty}/files", json={"file_id": file})) == FULL
        client.delete(f"/v1/vector_stores/{one}")
        again = client.post(f"/v1/vector_stores/{empty}/files", json={"file_id": file})
        assert code(again) is None


def test_a_body_without_a_length_is_held_to_the_most_that_it_may_have(server: Running) -> None:
    head = {"Content-Type": "multipart/form-data; boundary=b"}
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

    def body() -> Iterator[bytes]:
        yield start
        yield FILE
        yield b"\r\n--b--\r\n"

    with server.http() as client:
        assert code(client.post("/v1/files", content=body(), headers=head)) == FULL


def test_a_full_project_trains_nothing(server: Running) -> None:
    with server.http() as client:
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        rows = (json.dumps({"messages": turns}) + "\n").encode() * 20
        made = client.post(
            "/v1/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", rows)}
        ).json()
        server.workspace.quota.most = len(rows)
        job = {"model": "smollm2-135m-instruct", "training_file": made["id"]}
        assert code(client.post("/v1/fine_tuning/jobs", json=job)) == FULL


def test_a_model_that_is_removed_while_it_is_counted_takes_nothing(tmp_path: Path) -> None:
    store = Workspace(tmp_path).store
    folder = versions_folder(store.folder) / "gone"
    folder.mkdir(parents=True)
    (folder / "adapter").write_bytes(b"x" * 7)
    (folder / "removed").symlink_to(tmp_path / "nowhere")  # listed, and not there
    with store.session() as session:
        session.add(ServedNameRow(name="ft:a", project="p", target="version:gone"))
    assert Quota(store, MOST).storage("p").models == 7
