"""S3 as moto's server speaks it, a process of the session, behind a proxy that can misbehave.

moto has an environment of its own (`make .venv-moto/installed`), for it needs an older
python-dateutil than the rest. The proxy does what moto cannot: outages, conditional writes that are
taken for others, access keys that nobody knows. It lets one request through at a time, for moto
looks whether a name is free and takes it in two steps.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from tests.services import missing

if TYPE_CHECKING:
    from obstore.store import S3Store

KEY, SECRET = "AKIATESTKEY", "test/secret+word"
BUCKETS = ("bkt", "one", "two")
"""That are there, empty, when a test begins."""
MOTO = Path(__file__).parent.parent / ".venv-moto" / "bin" / "python"
START_S = ANSWER_S = 60
_SERVE = """
import ctypes, runpy, signal
if prctl := getattr(ctypes.CDLL(None), "prctl", None):
    prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: end with a pytest that is killed
runpy.run_module("moto.server", run_name="__main__")
"""
_ADDRESS = re.compile(r"Running on http://(127\.0\.0\.1:\d+)")
_OF_A_CONNECTION = {"connection", "content-length", "transfer-encoding"}


class Objects(MutableMapping[str, bytes]):
    """What moto keeps, by `BUCKET/KEY`, read and changed behind the back of who is tested."""

    def __init__(self, moto: str) -> None:
        from obstore.store import S3Store

        self._stores = {
            name: S3Store(
                name,
                endpoint=f"http://{moto}",
                region="us-east-1",
                access_key_id=KEY,
                secret_access_key=SECRET,
                client_options={"allow_http": True},
            )
            for name in BUCKETS
        }

    def __getitem__(self, key: str) -> bytes:
        import obstore
        from obstore.exceptions import NotFoundError

        try:
            return bytes(obstore.get(*self._at(key)).bytes())
        except NotFoundError:
            raise KeyError(key) from None

    def __setitem__(self, key: str, data: bytes) -> None:
        import obstore

        obstore.put(*self._at(key), data)

    def __delitem__(self, key: str) -> None:
        import obstore

        obstore.delete(*self._at(key))

    def __iter__(self) -> Iterator[str]:
        import obstore

        for name, store in self._stores.items():
            for listed in obstore.list(store):
                yield from (f"{name}/{one['path']}" for one in listed)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _at(self, key: str) -> tuple[S3Store, str]:
        name, _, path = key.partition("/")
        return self._stores[name], path


@dataclass
class S3Server:
    """What moto keeps, and how the proxy before it misbehaves.

    Attributes:
        is_replacing: conditional requests are taken for unconditional ones.
        before: called with method and path of each request, may return an HTTP status to fail with.
    """

    objects: Objects
    is_replacing: bool = False
    before: Callable[[str, str], int | None] = lambda method, path: None
    endpoint: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self.objects if key.startswith(prefix))


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Host and port of moto's server."""
    if not MOTO.exists():
        missing("no moto here (make .venv-moto/installed)")
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as output:
        command = [str(MOTO), "-I", "-c", _SERVE, "-H", "127.0.0.1", "-p", "0"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        until = time.monotonic() + START_S
        while (found := _ADDRESS.search(log.read_text())) is None:
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"moto's server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield found[1]
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """moto with empty buckets, which the environment names, as it does the credentials."""
    with closing(HTTPConnection(moto, timeout=ANSWER_S)) as connection:
        for method, path in (("POST", "/moto-api/reset"), *(("PUT", f"/{b}") for b in BUCKETS)):
            connection.request(method, path)
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    with proxy(moto) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """s3://NAME/PREFIX of an empty place."""
    return "s3://bkt/here"


@contextmanager
def proxy(moto: str) -> Iterator[S3Server]:
    state, is_over = S3Server(Objects(moto)), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def fail(self, status: int, code: str) -> None:
            words = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>".encode()
            body = b"" if self.command == "HEAD" else words
            self.reply(status, {"Content-Length": str(len(body))}, body)

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = unquote(urlsplit(self.path).path)
            if f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
                self.fail(403, "InvalidAccessKeyId")
            elif is_over.is_set():  # a connection that was kept, of a test that has ended
                self.fail(503, "SlowDown")
            elif (status := state.before(self.command, path)) is not None:
                self.fail(status, "SlowDown")
            else:
                self.pass_on(body)

        def pass_on(self, body: bytes) -> None:
            if state.is_replacing:
                del self.headers["If-None-Match"]
            with state.lock, closing(HTTPConnection(moto, timeout=ANSWER_S)) as connection:
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
            headers = {n: v for n, v in answer.headers.items() if n.lower() not in _OF_A_CONNECTION}
            headers["Content-Length"] = answer.headers.get("Content-Length", str(len(data)))
            self.reply(answer.status, headers, data)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_one  # noqa: N815

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        is_over.set()
        server.shutdown()
        server.server_close()
        with state.lock:
            pass  # what was let through before has been answered
