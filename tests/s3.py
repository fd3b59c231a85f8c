"""A server that speaks as much of S3 as Assay uses, kept in memory; it can misbehave on purpose.

`ASSAY_TEST_S3=http://127.0.0.1:PORT` names another server for the tests that need no misbehaviour,
such as `moto_server`, which needs an older python-dateutil than the rest of the environment.
"""

from __future__ import annotations

import itertools
import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

import pytest

KEY, SECRET = "AKIATESTKEY", "test/secret+word"
_numbers = itertools.count(1)


@dataclass
class S3Server:
    """What is kept, by `/bucket/key`, and how it misbehaves.

    Attributes:
        is_replacing: conditional requests are taken for unconditional ones.
        before: called with method and path of each request, may return an HTTP status to fail with.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    is_replacing: bool = False
    before: Callable[[str, str], int | None] = lambda method, path: None
    endpoint: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keys(self, prefix: str = "") -> list[str]:
        with self.lock:
            return sorted(key for key in self.objects if key.startswith(f"/{prefix}"))


@contextmanager
def s3_server() -> Iterator[S3Server]:
    state = S3Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def fail(self, status: int, code: str) -> None:
            words = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>"
            self.reply(status, words.encode())

        def handle_one(self) -> None:
            parts = urlsplit(self.path)
            path, query = unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
                return self.fail(403, "InvalidAccessKeyId")
            if (status := state.before(self.command, path)) is not None:
                return self.fail(status, "SlowDown")
            with state.lock:
                if self.command == "PUT":
                    is_create = self.headers.get("If-None-Match") == "*"
                    if is_create and path in state.objects and not state.is_replacing:
                        return self.fail(412, "PreconditionFailed")
                    state.objects[path] = body
                    return self.reply(200, ETag='"1"')
                if "list-type" in query:
                    return self.reply(200, self.listing(path, query["prefix"][0]))
                if self.command in ("GET", "HEAD"):
                    if path not in state.objects:
                        return self.fail(404, "NoSuchKey")
                    return self.reply(
                        200,
                        state.objects[path],
                        ETag='"1"',
                        Last_Modified="Fri, 27 Nov 2026 10:00:00 GMT",
                    )
                if self.command == "DELETE":
                    state.objects.pop(path, None)
                    return self.reply(204)
                keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
                for key in keys:
                    state.objects.pop(f"{path.rstrip('/')}/{unescape(key)}", None)
                gone = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
                return self.reply(200, f"<DeleteResult>{gone}</DeleteResult>".encode())

        def listing(self, path: str, prefix: str) -> bytes:
            bucket = path.rstrip("/")
            found = "".join(
                f"<Contents><Key>{escape(key[len(bucket) + 1 :])}</Key><Size>{len(data)}</Size>"
                '<LastModified>2026-11-27T10:00:00.000Z</LastModified><ETag>"1"</ETag></Contents>'
                for key, data in state.objects.items()
                if key.startswith(f"{bucket}/{prefix}")
            )
            return (
                f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>"
            ).encode()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server of its own, which the environment names, as it does the credentials."""
    with s3_server() as server:
        _name(monkeypatch, server.endpoint)
        yield server


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """s3://NAME/PREFIX of an empty place, on the server of `ASSAY_TEST_S3` or one of its own."""
    if (endpoint := os.environ.get("ASSAY_TEST_S3")) is None:
        request.getfixturevalue("s3")
        return "s3://assay-test/here"
    _name(monkeypatch, endpoint)
    import httpx

    name = f"assay-test-{os.getpid()}-{next(_numbers)}"
    headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20261127/us-east-1/s3/aws4"}
    httpx.put(f"{endpoint}/{name}", headers=headers).raise_for_status()
    return f"s3://{name}/here"


def _name(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
