"""OpenTelemetry: a collector on loopback gets a span for each request, and no text of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from assay.serve.app import telemetry_wanted
from tests.serve.process import server
from tests.serve.running import PATIENCE_S

SECRET = "a word that no span may hold"


@contextmanager
def _collector() -> Iterator[tuple[str, list[bytes]]]:
    """Its address, and the bodies of what came to `/v1/traces`."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/traces":
                bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}", bodies
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def _spans(bodies: list[bytes]) -> list[dict[str, str]]:
    """The attributes of every server span, as text."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.kind == span.SPAN_KIND_SERVER
    ]
    return [
        {a.key: a.value.string_value or str(a.value.int_value) for a in span.attributes}
        for span in spans
    ]


@pytest.mark.slow
def test_a_span_for_each_request_comes_to_the_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    with _collector() as (address, bodies):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        with server(tmp_path) as running:
            headers = {"Authorization": f"Bearer {running.key}"}
            with httpx.Client(base_url=running.url, headers=headers, timeout=PATIENCE_S) as http:
                for _ in range(3):
                    assert http.get("/v1/models").status_code == 200
                body = {"model": "none", "messages": [{"role": "user", "content": SECRET}]}
                assert http.post("/v1/chat/completions", json=body).status_code == 404
            end = time.monotonic() + PATIENCE_S
            while len(_spans(bodies)) < 4:
                assert time.monotonic() < end, _spans(bodies)
                time.sleep(0.05)
            assert running.stop() == 0
        spans = _spans(bodies)
    routes = sorted((span["http.route"], span["http.response.status_code"]) for span in spans)
    assert routes == [("/v1/chat/completions", "404")] + [("/v1/models", "200")] * 3
    whole = b"".join(bodies)
    assert SECRET.encode() not in whole
    assert running.key.encode() not in whole


def test_without_its_variables_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert not telemetry_wanted()
