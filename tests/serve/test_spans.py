"""`POST /v1/traces`: spans come in by file and by wire alike, and nothing is taken unbounded."""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from assay.project.imported import import_traces, list_jobs, receiving
from assay.release.imported import folder as imported
from assay.release.imported.folder import opened
from assay.release.imported.otel_messages import INPUT, OUTPUT
from assay.serve import otlp, spans
from tests.serve.running import Running, running

PATH, FOLDER = "/v1/traces", "imported-traces"
SECRET = "john.doe@acme-corp.com"
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    INPUT: json.dumps([{"role": "user", "parts": [{"type": "text", "content": f"Ask {SECRET}"}]}]),
    OUTPUT: json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "cards"}]}]),
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as server:
        yield server


def request(*called: dict[str, Any], start: int = 1) -> dict[str, Any]:
    """A request to export spans with these attributes."""
    every = [
        {
            "traceId": f"{number:032X}",
            "spanId": f"{number:016X}",
            "attributes": [
                {"key": key, "value": {"stringValue": one}} for key, one in given.items()
            ],
        }
        for number, given in enumerate(called, start=start)
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": every}]}]}


def send(server: Running, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with server.http(key or server.new_key("spans")) as http:
        return http.post(
            PATH, content=content, headers={"Content-Type": "application/json", **headers}
        )


def kept(server: Running) -> list[str]:
    file = server.workspace.root / FOLDER / imported.TRACES
    return file.read_text().splitlines() if file.exists() else []


def test_what_an_sdk_sends_is_what_a_file_brings(server: Running, tmp_path: Path) -> None:
    headers = {"authorization": f"Bearer {server.new_key('spans')}"}
    exporter = OTLPSpanExporter(server.url + PATH, headers=headers, compression=Compression.Gzip)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("a program")
    with tracer.start_as_current_span("GET /"), tracer.start_as_current_span("chat") as span:
        span.set_attributes(CALL)
        ids = span.get_span_context()
    provider.shutdown()
    (line,) = kept(server)
    assert SECRET not in line
    assert "cards" in line

    # The same span once more: in a collector's file, in a request of JSON, and beside a new one.
    record = request(CALL)
    known = record["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    known |= {"traceId": f"{ids.trace_id:032x}", "spanId": f"{ids.span_id:016x}"}
    file = tmp_path / "spans.jsonl"
    file.write_text(f"{json.dumps(record)}\n{json.dumps(request(CALL, start=7))}\n")
    folder = server.workspace.root / FOLDER
    (report,) = import_traces([file], folder, None)
    assert (report.added, report.known) == (1, 1)
    for body in (record, request(CALL, start=7), request(CALL, CALL, start=7)):
        assert send(server, body).json() == {}
    assert len(kept(server)) == 3
    (job,) = list_jobs(folder, {})
    assert job.calls == 3

    (folder / imported.TRACES).unlink()  # the owner starts anew
    assert send(server, record).json() == {}
    assert len(kept(server)) == 1


def test_what_cannot_be_used_is_told_and_the_rest_is_kept(server: Running) -> None:
    body = request(CALL, {"gen_ai.operation.name": "chat"}, {"http.route": "/"}, {INPUT: "x"})
    told = send(server, body).json()["partialSuccess"]
    assert told["rejectedSpans"] == "1"
    assert "CAPTURE_MESSAGE_CONTENT" in told["errorMessage"]
    assert len(kept(server)) == 1

    sent = service.ExportTraceServiceRequest()
    span = sent.resource_spans.add().scope_spans.add().spans.add(trace_id=b"1" * 16)
    span.attributes.add(key="gen_ai.operation.name").value.string_value = "chat"
    reply = send(server, sent.SerializeToString(), **{"Content-Type": otlp.PROTOBUF})
    assert reply.headers["content-type"] == otlp.PROTOBUF
    answer = service.ExportTraceServiceResponse.FromString(reply.content)
    assert answer.partial_success.rejected_spans == 1

    with opened(server.workspace.root / FOLDER):  # as `assay traces import` holds it
        busy = send(server, body)
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "2")
    assert busy.json()["code"] == 14
    assert str(server.workspace.root) not in busy.text
    long = request({**CALL, INPUT: "[" + "[]," * 10**6 + "[]]"})
    assert "longer than 256 KiB" in send(server, long).json()["partialSuccess"]["errorMessage"]


def test_what_is_wrong_with_the_folder_is_the_servers_to_mend(
    server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    folder = server.workspace.root / FOLDER
    folder.mkdir()
    (folder / "theirs.txt").write_text("x")
    reply = send(server, request(CALL))
    assert (reply.status_code, str(folder) in reply.text) == (503, False)
    assert str(folder) in caplog.text
    (folder / "theirs.txt").unlink()
    (folder / imported.TRACES).write_text("no line\n")
    (folder / imported.IMPORTS).touch()
    reply = send(server, request(CALL))
    assert reply.status_code == 503
    assert "database" not in reply.text
    assert "line 1" in caplog.text


def test_traces_count_among_what_a_project_may_have(server: Running) -> None:
    assert send(server, request(CALL)).status_code == 200
    quota = server.workspace.quota
    used = quota.storage(server.workspace.name)
    assert used.traces == used.total > 0
    assert quota.storage("another").traces == 0
    quota.most = used.total + 100
    with server.http() as http:  # neither files nor spans
        file = {"file": ("a.txt", b"x" * 200)}
        assert http.post("/v1/files", data={"purpose": "user_data"}, files=file).status_code == 413
    refused = send(server, request(CALL, start=7))
    assert (refused.status_code, "imported traces" in refused.text) == (413, True)
    assert len(kept(server)) == 1


def test_one_body_at_a_time_and_each_within_its_time(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, at_once = threading.Event(), [0, 0]  # now, and at most

    class Slow:
        def add(self, record: dict[str, Any], size: int) -> imported.RecordReport:
            at_once[0] += 1
            at_once[1] = max(at_once)
            go.wait(10)
            at_once[0] -= 1
            return imported.RecordReport(1, 0, 0, [], is_cut=False)

    async def sent() -> None:
        queue = spans.SpanQueue(cast("receiving.TraceReceiver", Slow()))
        body = json.dumps(request(CALL)).encode()
        waiting = [asyncio.create_task(queue.add(body, "application/json", None)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(otlp.ApiError, match="Other spans"):
            queue.check()
        go.set()
        await asyncio.gather(*waiting)

    monkeypatch.setattr(spans, "WAITING", 2)
    asyncio.run(sent())
    assert at_once == [0, 1]

    monkeypatch.setattr(receiving, "MOST_S", -1.0)  # the time is over before the first span
    cut = send(server, request(CALL))
    assert (cut.status_code, "sent again" in cut.text) == (503, True)
    assert not kept(server)


def test_only_a_key_of_its_scope_may_send_and_it_reads_nothing(server: Running) -> None:
    body = request(CALL)
    for scope in ("chat", "traces", "mcp"):
        assert send(server, b"no json", server.new_key(scope)).status_code == 403
    assert send(server, b"no json", "assay-wrong").status_code == 401
    assert send(server, body, server.new_key("spans", project="another")).status_code == 404
    assert not (server.workspace.root / FOLDER).exists()
    with server.http(server.new_key("spans")) as http:
        for path in (PATH, "/v1/models", "/v1/files"):
            assert http.get(path).status_code == 403, path


def nested(levels: int) -> bytes:
    """An attribute in protobuf whose value is lists in lists, one a level."""
    made = b""
    for tag in (b"\x0a", b"\x2a") * levels:  # ArrayValue.values, AnyValue.array_value
        size = len(made)
        length = b""
        while size > 127:
            length, size = length + bytes([size & 127 | 128]), size >> 7
        made = tag + length + bytes([size]) + made
    return made


HOSTILE: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "a bomb": (gzip.compress(bytes(2**25)), {"Content-Encoding": "gzip"}, 413, "16 MB"),
    "packed twice": (
        gzip.compress(b""),
        {"Content-Encoding": "gzip, gzip"},
        415,
        "gzip",
    ),
    "cut gzip": (gzip.compress(b"{}")[:-3], {"Content-Encoding": "gzip"}, 400, "cut off"),
    "no gzip": (b"{}", {"Content-Encoding": "gzip"}, 400, "not gzip"),
    "too long": (b'"' + b"a" * (4 * 2**20) + b'"', {}, 413, "4 MB"),
    "many objects": (
        gzip.compress(b'{"resourceSpans":[' + b"{}," * 70_000 + b"{}]}"),
        {"Content-Encoding": "gzip"},
        413,
        "60,000 objects",
    ),
    "deep": (b'{"resourceSpans":' + b"[" * 10**5, {}, 400, "deep"),
    "no object": (b"[1]", {}, 400, "no object"),
    "logs": (b'{"resourceLogs": []}', {}, 400, "resourceSpans"),
    "a form": (b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "protobuf"),
    "many messages": (b"\x0a\x00" * 100_000, {"Content-Type": otlp.PROTOBUF}, 413, "60,000"),
    "many values": (b"\x10\x01" * 400_000, {"Content-Type": otlp.PROTOBUF}, 413, "300,000"),
    "no protobuf": (b"\x0a\xff\xff\xff\xff\x0f", {"Content-Type": otlp.PROTOBUF}, 400, "protobuf"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_made_of_what_takes_too_much(name: str, shared_server: Running) -> None:
    body, headers, status, word = HOSTILE[name]
    reply = send(shared_server, body, **headers)
    assert reply.status_code == status
    assert word in reply.text
    assert not kept(shared_server)


def test_no_more_of_a_bomb_is_unpacked_than_may_be_sent() -> None:
    bomb = gzip.compress(bytes(8 * otlp.MOST_BYTES))
    tracemalloc.start()
    try:
        with pytest.raises(otlp.ApiError, match="16 MB"):
            otlp.decode(bomb, "application/json", "gzip")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * otlp.MOST_BYTES


def test_protobuf_is_counted_to_its_depth() -> None:
    fields = otlp.fields_of(service.ExportTraceServiceRequest.DESCRIPTOR)
    value = fields[1][1][1][2]  # type: ignore[index]  # of an attribute of a resource
    otlp.check_wire(nested(20), value)
    with pytest.raises(otlp.ApiError, match="deep"):
        otlp.check_wire(nested(80), value)


def test_without_its_library_protobuf_is_refused_with_what_to_do(
    shared_server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
    monkeypatch.setitem(sys.modules, name, None)
    reply = send(shared_server, b"", **{"Content-Type": otlp.PROTOBUF})
    assert reply.status_code == 415
    assert "assay[telemetry]" in reply.json()["message"]
