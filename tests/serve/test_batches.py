"""Batches of requests over HTTP, by OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from assay.accounts.keys import find_key, revoke_key
from assay.errors import ModelError, ObjectsAwayError
from assay.generate.stream import BusyError
from assay.jobs import batch_answers, batches, queue, shared_answers
from assay.jobs.left_batches import settle_left
from assay.jobs.recovery import MOST_ATTEMPTS
from assay.project.jobs import batches as project_batches
from assay.serve import batch_input, batch_lines, batch_requests, batch_run
from assay.store import archives
from assay.store.audit import entries
from assay.store.store import Store
from assay.store.stored_files import path_of
from assay.store.tables import BatchRow, JobRow, now
from tests.s3 import S3Server
from tests.serve.running import PATIENCE_S, STARTER, Running, running
from tests.serve.scripted import ThreeNumbers
from tests.serve.two_servers import soon

CHAT = "/v1/chat/completions"
OVER = ("failed", "completed", "expired", "cancelled")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def line(id: str, text: str = "", url: str = CHAT, **body: Any) -> dict[str, Any]:
    asked = {"model": STARTER, "messages": [{"role": "user", "content": text or id}], **body}
    return {"custom_id": id, "method": "POST", "url": url, "body": asked}


def uploaded(client: openai.OpenAI, lines: Sequence[Any] | bytes) -> str:
    data = lines if isinstance(lines, bytes) else jsonl(lines)
    return client.files.create(file=("requests.jsonl", data), purpose="batch").id


def jsonl(lines: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def created(
    client: openai.OpenAI, lines: Sequence[Any] | bytes, endpoint: Any = CHAT, **more: Any
) -> Any:
    file = uploaded(client, lines)
    return client.batches.create(
        input_file_id=file, endpoint=endpoint, completion_window="24h", **more
    )


def waited(client: openai.OpenAI, id: str, *statuses: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while (batch := client.batches.retrieve(id)).status not in (statuses or OVER):
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)
    return batch


def assert_job(server: Running, id: str, status: str) -> None:
    """Its job ends a moment after it."""
    deadline = time.monotonic() + PATIENCE_S
    while (job := queue.read(server.workspace.store, id)).status == "running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert job.status == status


def read(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    """The lines of an output file by their custom_id, each of which is there once."""
    assert file is not None
    lines = [json.loads(one) for one in client.files.content(file).text.splitlines()]
    found = {one["custom_id"]: one for one in lines}
    assert len(found) == len(lines) == len({one["id"] for one in lines})
    return found


def test_a_batch_from_its_file_to_its_answers(server: Running, client: openai.OpenAI) -> None:
    lines = [line(f"id-{n}", f"question {n}") for n in range(30)]
    lines[7]["body"]["temperature"] = "hot"
    traced: list[Any] = []
    server.workspace.watchers.append(traced.append)
    made = created(
        client,
        lines,
        metadata={"a": "b"},
        output_expires_after={"anchor": "created_at", "seconds": 7200},
    )
    assert (made.object, made.status, made.endpoint) == ("batch", "validating", CHAT)
    assert (made.metadata, made.completion_window) == ({"a": "b"}, "24h")
    assert made.expires_at == made.created_at + 24 * 3600
    batch = waited(client, made.id)
    assert batch.status == "completed", batch
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (30, 29, 1)
    assert (batch.model, batch.errors) == (STARTER, None)
    assert batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    assert batch.usage.output_tokens == 29 * 2
    assert len(traced) == 29
    good = read(client, batch.output_file_id)
    assert list(good) == [f"id-{n}" for n in range(30) if n != 7]
    for id, one in good.items():
        assert one["error"] is None
        assert one["response"]["status_code"] == 200
        completion = openai.types.chat.ChatCompletion.model_validate(one["response"]["body"])
        assert completion.choices[0].message.content == id.replace("id-", "question ")
    bad = read(client, batch.error_file_id)["id-7"]
    assert (bad["error"], bad["response"]["status_code"]) == (None, 400)
    assert bad["response"]["body"]["error"]["param"] == "temperature"
    output = client.files.retrieve(batch.output_file_id)
    assert (output.purpose, output.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    assert output.expires_at == output.created_at + 7200
    assert not batch_answers.folder_of(server.workspace.store, batch.id).exists()
    told = [row.action for row in entries(server.workspace.store, server.workspace.name)]
    assert "batch.create" in told
    assert_job(server, batch.id, "succeeded")


def test_its_files_may_be_in_a_bucket(
    server: Running, client: openai.OpenAI, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = server.workspace.store
    monkeypatch.setattr(store, "bucket", bucket)
    monkeypatch.setattr(store, "objects", None)
    batch = waited(client, created(client, [line(f"id-{n}") for n in range(3)]).id)
    assert batch.status == "completed", batch
    assert len(read(client, batch.output_file_id)) == 3
    assert not path_of(store, batch.input_file_id).exists()
    assert not path_of(store, batch.output_file_id).exists()


def test_a_server_without_its_folder_goes_on_behind_the_answers_in_the_bucket(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_OBJECTS", "s3://bkt/here")
    monkeypatch.setattr(batch_lines, "SHARE_S", 0.05)
    with running(tmp_path) as server, server.client() as client:
        store = server.workspace.store
        server.engine.pause_s = 0.05
        made = created(client, [line(f"id-{n}") for n in range(40)])
        folder = batch_answers.folder_of(store, made.id)
        soon(lambda: len(shared(store)) >= 2)  # while it is under way
        queue.ask(store, made.id, "pause")
        assert_job(server, made.id, "paused")
        here = batch_answers.collect(store, made.id).places
        assert len(shared(store)) == len(batch_answers.logs(store, made.id))
        assert 0 < len(here) < 40
        shutil.rmtree(folder)
        queue.resume(store, made.id)
        batch = waited(client, made.id)
        assert batch.status == "completed", batch
        assert list(read(client, batch.output_file_id)) == [f"id-{n}" for n in range(40)]
        assert batch.usage.output_tokens == 40
        asked = Counter(messages[-1].content for messages, _, _ in server.engine.asked)
        assert set(asked) == {f"id-{n}" for n in range(40)}
        assert {asked[f"id-{number - 1}"] for number in here} == {1}  # nothing is asked again
        assert_job(server, made.id, "succeeded")
        assert shared(store) == []
        assert not [name for name in s3.objects if "/archives/" in name]


def test_a_batch_is_left_though_its_answers_cannot_be_copied_in_time(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_OBJECTS", "s3://bkt/here")
    monkeypatch.setattr(batch_lines, "SHARE_S", 0.05)
    monkeypatch.setattr(batch_lines, "LAST_S", 0.05)
    asked, answering = threading.Event(), threading.Event()

    def share(*_: Any, **_named: Any) -> None:
        asked.set()
        assert answering.wait(PATIENCE_S)

    monkeypatch.setattr(shared_answers, "share", share)
    with running(tmp_path) as server, server.client() as client:
        server.engine.pause_s = 0.05
        made = created(client, [line(f"id-{n}") for n in range(40)])
        try:
            assert asked.wait(PATIENCE_S)
            queue.ask(server.workspace.store, made.id, "pause")
            assert_job(server, made.id, "paused")
            assert not answering.is_set()
        finally:
            answering.set()


def shared(store: Store) -> list[str]:
    return [row.path for row in archives.rows_below(store, "work")]


def test_it_outlives_a_place_for_files_that_is_away(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "AWAY_S", 0.0)
    away = iter(range(MOST_ATTEMPTS + 2))
    write = batch_answers.write_output

    def written(*arguments: Any) -> Any:
        if next(away, None) is not None:
            raise ObjectsAwayError("the object storage cannot be used.")
        return write(*arguments)

    monkeypatch.setattr(batch_answers, "write_output", written)
    batch = waited(client, created(client, [line("a"), line("b")]).id)
    assert next(away, None) is None
    assert batch.status == "completed", batch
    assert len(read(client, batch.output_file_id)) == 2
    assert len(server.engine.asked) == 2  # nothing is asked again


def test_all_endpoints(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(server.workspace), "embedder", lambda *_: ThreeNumbers())
    embedder = "all-minilm-l6-v2"
    bodies = {
        "/v1/completions": {"model": STARTER, "prompt": "Once"},
        "/v1/responses": {"model": STARTER, "input": "hello there"},
        "/v1/embeddings": {"model": embedder, "input": "hello"},
    }
    for url, body in bodies.items():
        one = {"custom_id": "a", "method": "POST", "url": url, "body": body}
        batch = waited(client, created(client, [one], url).id)
        assert batch.status == "completed", batch
        assert batch.request_counts.completed == 1, client.files.content(batch.error_file_id).text
        answer = read(client, batch.output_file_id)["a"]["response"]["body"]
        assert answer["object"] in ("text_completion", "response", "list")
        assert batch.usage.total_tokens > 0
    one = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": STARTER}}
    assert waited(client, created(client, [one], "/v1/embeddings").id).status == "failed"


def test_a_bad_line_fails_the_batch_before_anything_is_answered(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = line("a")
    bad: list[tuple[bytes, str, str | None]] = [
        (b'{"custom_id": "b", ', "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (b'{"custom_id": NaN}', "invalid_json_line", None),
        (b"\xff\xfe{}", "invalid_json_line", None),
        (b"[" * 100_000, "invalid_json_line", None),
        (jsonl([{**good, "custom_id": None}]), "missing_required_parameter", "custom_id"),
        (jsonl([{**good, "custom_id": 3}]), "invalid_value", "custom_id"),
        (jsonl([good]), "duplicate_custom_id", "custom_id"),
        (jsonl([{**line("c"), "method": "GET"}]), "invalid_method", "method"),
        (jsonl([{**line("d"), "url": "/v1/keys"}]), "url_mismatch", "url"),
        (jsonl([{**line("e"), "body": None}]), "missing_required_parameter", "body"),
        (jsonl([{**line("f"), "body": []}]), "invalid_value", "body"),
        (jsonl([line("g", model=None)]), "missing_required_parameter", "body.model"),
        (jsonl([line("h", model="nobody")]), "model_not_found", "body.model"),
        (jsonl([line("i", stream=True)]), "invalid_value", "body.stream"),
        (jsonl([line("j", "x" * batch_answers.LINE_BYTES)]), "request_too_large", None),
        (jsonl([line("k", logit_bias={str(n): 0 for n in range(160_000)})]),
         "request_too_large", None),
    ]  # fmt: skip
    data = jsonl([good]) + b"\n" + b"\n".join(one.strip() for one, _, _ in bad) + b"\n"
    batch = waited(client, created(client, data).id)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    assert batch.failed_at is not None
    found = [(one.line, one.code, one.param) for one in batch.errors.data]
    assert found == [(n + 3, code, param) for n, (_, code, param) in enumerate(bad)]
    assert all(one.message for one in batch.errors.data)
    assert server.engine.asked == []

    def only_error(data: bytes) -> Any:
        batch = waited(client, created(client, data).id)
        assert batch.status == "failed"
        [error] = batch.errors.data
        return error.code

    assert only_error(b"\n") == "empty_file"
    monkeypatch.setattr(batch_input, "MOST_LINES", 3)
    assert only_error(jsonl([line(str(n)) for n in range(4)])) == "too_many_tasks"
    monkeypatch.setattr(project_batches, "MOST_BYTES", 100)
    with pytest.raises(openai.BadRequestError) as refused:
        created(client, [line("a")])
    assert refused.value.code == "file_too_large"
    assert server.engine.asked == []


def test_a_million_lines_are_not_read_to_their_end(server: Running, client: openai.OpenAI) -> None:
    short = b'{"custom_id": "%d", "method": "POST", "url": "/v1/completions", "body": '
    short += b'{"model": "%s"}}\n' % STARTER.encode()
    file = uploaded(client, b"".join(short % n for n in range(1_000_000)))
    begun = time.monotonic()
    made = client.batches.create(
        input_file_id=file, endpoint="/v1/completions", completion_window="24h"
    )
    batch = waited(client, made.id)
    assert [one.code for one in batch.errors.data] == ["too_many_tasks"]
    assert time.monotonic() - begun < PATIENCE_S / 2
    assert server.engine.asked == []


def test_what_cannot_be_created(server: Running, client: openai.OpenAI) -> None:
    file = uploaded(client, [line("a")])
    other = client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune").id
    fine: dict[str, Any] = {
        "input_file_id": file, "endpoint": CHAT, "completion_window": "24h"
    }  # fmt: skip
    for change, status, param in (
        ({"input_file_id": "file-nobody"}, 404, "input_file_id"),
        ({"input_file_id": other}, 400, "input_file_id"),
        ({"endpoint": "/v1/keys"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"metadata": {str(n): "" for n in range(17)}}, 400, "metadata"),
        ({"output_expires_after": {"anchor": "x", "seconds": 1}}, 400, "expires_after"),
        ({"extra_body": {"priority": 1}}, 400, "priority"),
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            client.batches.create(**{**fine, **change})
        assert (refused.value.status_code, refused.value.param) == (status, param)
    for scopes in (["files"], ["chat"], ["fine_tuning", "releases"]):
        with pytest.raises(openai.PermissionDeniedError):
            server.client(server.new_key(*scopes)).batches.create(**fine)
    stranger = server.client(server.new_key("admin", project="elsewhere"))
    made = created(client, [line("a")])
    assert stranger.batches.list().data == []
    for attempt in (
        lambda: stranger.batches.create(**fine),
        lambda: stranger.batches.retrieve(made.id),
        lambda: stranger.batches.cancel(made.id),
        lambda: stranger.batches.list(after=made.id),
        lambda: client.batches.retrieve("batch_nobody"),
    ):
        with pytest.raises(openai.NotFoundError):
            attempt()
    assert waited(client, made.id).status == "completed"


def test_listing(client: openai.OpenAI) -> None:
    made = [created(client, [line("a")]).id for _ in range(3)]
    page = client.batches.list(limit=2)
    assert [one.id for one in page.data] == made[:0:-1]
    assert page.has_more
    assert page.get_next_page().data[0].id == made[0]
    assert [one.id for one in client.batches.list(limit=1)][:3] == made[::-1]
    for id in made:
        waited(client, id)


def test_a_busy_model_is_waited_for_and_a_missing_one_is_not(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_requests, "LONGEST_PAUSE_S", 0.01)
    asked: Counter[str] = Counter()

    def answer(messages: Any, tools: Any, sampling: Any) -> str:
        text: str = messages[-1].content
        asked[text] += 1
        if text.startswith("busy") and asked[text] < 6:
            raise BusyError("too many wait.", 10)
        if text.startswith("gone"):
            raise ModelError("it is away.")
        return text

    server.engine.script = answer
    batch = waited(client, created(client, [line("busy 1"), line("busy 2")]).id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 2)
    batch = waited(client, created(client, [line(f"gone {n}") for n in range(30)]).id)
    assert (batch.status, batch.request_counts.failed) == ("completed", 30)
    assert batch.output_file_id is None
    bad = read(client, batch.error_file_id)
    assert {one["response"]["status_code"] for one in bad.values()} == {503}
    tries = [asked[f"gone {n}"] for n in range(30)]
    assert max(tries) == batch_lines.TRIES
    assert tries[-10:] == [1] * 10


def test_a_batch_leaves_room_for_direct_requests() -> None:
    async def most(others: int) -> int:
        places, together, highest = batch_requests.Places(4, lambda: others), 0, 0

        async def one() -> None:
            nonlocal together, highest
            async with places:
                together += 1
                highest = max(highest, together)
                await asyncio.sleep(0.01)
                together -= 1

        await asyncio.gather(*(one() for _ in range(12)))
        return highest

    assert [asyncio.run(most(others)) for others in (0, 1, 3, 100)] == [4, 2, 1, 1]


def test_a_project_without_room_keeps_what_was_answered(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "ROOM_BEATS", 1)
    server.engine.pause_s = 0.1
    made = created(client, [line(f"id-{n}") for n in range(200)])
    while waited(client, made.id, "in_progress").request_counts.completed < 2:
        time.sleep(0.02)
    monkeypatch.setattr(server.workspace.quota, "most", 1)
    batch = waited(client, made.id)
    assert batch.status == "failed"
    assert [one.code for one in batch.errors.data] == ["storage_quota_exceeded"]
    good, left = read(client, batch.output_file_id), read(client, batch.error_file_id)
    assert 2 <= len(good) == 200 - len(left)
    with pytest.raises(openai.APIStatusError) as refused:
        client.batches.create(
            input_file_id=made.input_file_id, endpoint=CHAT, completion_window="24h"
        )
    assert refused.value.code == "storage_quota_exceeded"


def test_cancelling_keeps_what_was_answered(server: Running, client: openai.OpenAI) -> None:
    server.engine.pause_s = 0.2
    made = created(client, [line(f"id-{n}") for n in range(200)])
    while waited(client, made.id, "in_progress").request_counts.completed < 4:
        time.sleep(0.02)
    with pytest.raises(openai.BadRequestError, match="reads the file"):
        client.files.delete(made.input_file_id)
    asked = client.batches.cancel(made.id)
    assert asked.status == "cancelling"
    assert client.batches.cancel(made.id).status in ("cancelling", "cancelled")
    batch = waited(client, made.id)
    assert batch.status == "cancelled"
    assert batch.cancelling_at <= batch.cancelled_at
    good, left = read(client, batch.output_file_id), read(client, batch.error_file_id)
    assert 4 <= len(good) == batch.request_counts.completed < 50
    assert good.keys() | left.keys() == {f"id-{n}" for n in range(200)}
    assert len(good) + len(left) == 200
    assert {one["error"]["code"] for one in left.values()} == {"batch_cancelled"}
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(made.id)
    client.files.delete(made.input_file_id)
    assert_job(server, made.id, "cancelled")


def test_a_revoked_key_and_a_window_that_ends_stop_it(
    server: Running, client: openai.OpenAI
) -> None:
    server.engine.pause_s = 0.1
    store = server.workspace.store
    secret = server.new_key("chat", "files")
    key = find_key(store, secret)
    assert key is not None
    lines = [line(f"id-{n}") for n in range(200)]
    made = created(server.client(secret), lines)
    late = created(client, lines)
    for id in (made.id, late.id):
        while waited(client, id, "in_progress").request_counts.completed < 2:
            time.sleep(0.02)
    revoke_key(store, key.id)
    with store.session() as session:
        row = session.query(BatchRow).filter(BatchRow.id == late.id).one()
        row.expires = now()
    stopped = waited(client, made.id)
    assert stopped.status == "failed"
    assert [one.code for one in stopped.errors.data] == ["invalid_api_key"]
    assert len(read(client, stopped.output_file_id)) == stopped.request_counts.completed >= 2
    expired = waited(client, late.id)
    assert (expired.status, expired.expired_at is not None) == ("expired", True)
    good, left = read(client, expired.output_file_id), read(client, expired.error_file_id)
    assert len(good) + len(left) == 200
    assert {one["error"]["code"] for one in left.values()} == {"batch_expired"}


def test_an_answer_that_is_deep_or_looks_like_its_frame_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    usage = b'{"usage": {"prompt_tokens": 2, "completion_tokens": 1}'
    log = batch_answers.new_log(store, "batch_x")
    log.parent.mkdir(parents=True)
    bodies = [
        usage + b', "deep": ' + b"[" * 200 + b"]" * 200 + b"}",
        usage + b', "text": ", \\"body\\": {}}, \\"error\\": null}"}',
    ]
    odd = '", "body": {"usage": 1}, "error": null}'
    log.write_bytes(
        b"".join(
            batch_answers.format_answer(n, odd, "req", 200, body, True)
            for n, body in enumerate(bodies, 1)
        )
    )
    found = batch_answers.collect(store, "batch_x")
    assert found.good == {1, 2}
    assert found.usage["total_tokens"] == 3
    written = batch_answers.write_output(store, found)
    assert written is not None
    lines = path_of(store, written.id).read_bytes().splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["custom_id"] == odd
    assert json.loads(lines[1])["response"]["body"] == json.loads(bodies[1])


def test_batches_that_nobody_works_on_end_too(server: Running, client: openai.OpenAI) -> None:
    """As after a server that is gone for good: with the answers that are on disk."""
    store = server.workspace.store
    secret = server.new_key("chat", "files")
    key = find_key(store, secret)
    assert key is not None
    file = uploaded(client, [line("a"), line("b"), line("c")])
    request = batches.BatchRequest(input_file_id=file, endpoint=CHAT, completion_window="24h")
    ends = {"cancelled": "batch_cancelled", "expired": "batch_expired", "failed": "server_error"}
    for outcome, code in ends.items():
        id = batches.create(store, server.workspace.name, request, key.id, None)
        with store.session() as session:
            session.get(JobRow, id).status = "paused"
            row = session.query(BatchRow).filter(BatchRow.id == id).one()
            row.begun, row.total = now(), 3
            row.expires = now() if outcome == "expired" else row.expires
        batches.link_input(store, batches.read(store, id))
        body = json.dumps({"usage": {"prompt_tokens": 2, "completion_tokens": 1}}).encode()
        for number, good in ((2, True), (2, True), (1, False)):
            kept = batch_answers.format_answer(number, "ab"[number - 1], "req", 200, body, good)
            with batch_answers.new_log(store, id).open("wb") as log:
                log.write(kept + kept[:20])
        if outcome == "failed":
            with store.session() as session:
                job = session.get(JobRow, id)
                job.status, job.error = "failed", "5 workers ended."
        if outcome == "cancelled":
            assert client.batches.cancel(id).status == "cancelled"
        else:
            settle_left(store)
        batch = client.batches.retrieve(id)
        assert batch.status == outcome
        assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
        assert batch.usage.total_tokens == 3
        assert list(read(client, batch.output_file_id)) == ["b"]
        left = read(client, batch.error_file_id)
        assert left["a"]["error"] is None
        assert left["c"]["error"]["code"] == code
        assert not batch_answers.folder_of(store, id).exists()
    assert path_of(store, file).exists()
