"""A small model hub on loopback that speaks the protocol of the Hugging Face hub.

What it knows of the protocol: model info with files, sizes, hashes, card and gate; the tree of a
revision; `resolve` by HEAD and GET with ETag, X-Repo-Commit, X-Linked-Etag and X-Linked-Size; large
files by a redirect to another host, which serves ranges; renamed repositories; the refusals with
their X-Error-Code; and what is sent (`hub_uploads`). Xet, the hub's other way to send large files,
is not among it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub.utils.sha import git_hash
from tests.models.hub_uploads import WRITER, RefusalError, Uploads, is_large

TOKEN = "hf_a_reader_who_has_accepted"
_INFO = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?")
_TREE = re.compile(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)")
_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LARGE = re.compile(r"/large/([0-9a-f]{64})")


@dataclass
class Repository:
    """A model with its files; the newest commit is named by their contents.

    Attributes:
        licence: as the card states it.
        gated: whether only those who have accepted its terms get large
            files; the others are for all.
        lost: a commit that `main` points at and nothing else knows, as after a forced push.
    """

    files: dict[str, bytes]
    licence: str | None = None
    gated: Literal[False, "auto", "manual"] = False
    lost: bool = False
    private: bool = False

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()

    def listing(self, name: str) -> dict[str, Any]:
        """A file as model info tells of it, with `oid` and `path` as the tree calls them."""
        content = self.files[name]
        told = {"rfilename": name, "size": len(content), "blobId": git_hash(content)}
        if is_large(name):
            digest = hashlib.sha256(content).hexdigest()
            told["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
        return told


@dataclass(frozen=True, slots=True)
class ContentRequest:
    """One request for the content of a file."""

    name: str
    start: int
    token: str | None


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens once instead of a file being sent.

    Attributes:
        kind: `cut` closes the connection after `after` bytes, `stall` sends no more after them,
            `changed` sends other bytes, `short` announces and sends only `after` of them,
            `whole` sends all of it although a part was asked for.
    """

    kind: Literal["cut", "stall", "changed", "short", "whole"]
    after: int = 0


@dataclass
class LocalHub:
    """A running hub.

    Attributes:
        moved: new names of repositories by their old ones.
        faults: what goes wrong with a file, request by request.
        asked: requests for contents, in order.
        requests: `METHOD /path` of every request.
        silent_trees: how many requests for a list of files are not answered, ever.
        stored: large files that were sent, by their sha256.
        failing_stores: how many of them are refused when they come.
        is_full: the account has no room for large files.
        status: what every request is answered with instead, such as 503; 0: nothing is, ever.
    """

    port: int = 0
    repositories: dict[str, Repository] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    asked: list[ContentRequest] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    silent_trees: int = 0
    stored: dict[str, bytes] = field(default_factory=dict)
    failing_stores: int = 0
    is_full: bool = False
    status: int | None = None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def create(self, name: str, *, private: bool) -> None:
        """Make an empty repository."""
        if name in self.repositories:
            raise RefusalError(409, message="You already created this model repo")
        self.repositories[name] = Repository({".gitattributes": b"*.bin filter=lfs\n"})
        self.repositories[name].private = private

    def add(self, name: str, folder: Path, licence: str = "apache-2.0") -> Repository:
        """Publish the files of a folder, and of its subfolders, with a card."""
        files = {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        files["README.md"] = f"---\nlicense: {licence}\n---\n# {name}\n".encode()
        files[".gitattributes"] = b"*.safetensors filter=lfs\n"
        self.repositories[name] = Repository(files, licence)
        return self.repositories[name]


class _Handler(Uploads, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: LocalHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    @property
    def _token(self) -> str | None:
        return (self.headers["Authorization"] or "").removeprefix("Bearer ") or None

    def _answer(self, body: bytes | None = None) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        try:
            if self.hub.status == 0:
                self.hub.ended.wait()
            if self.hub.status is not None:
                raise RefusalError(self.hub.status)
            if self._token not in (None, TOKEN, WRITER, "hf_a_stranger"):
                raise RefusalError(401, message="Invalid credentials in Authorization header")
            if body is None:
                self._route(path)
            else:
                self.receive(body)
        except RefusalError as refusal:
            self._send(refusal.status, b"{}", refusal.headers)

    def _route(self, path: str) -> None:
        if path == "/":
            self._send(200, b"")
        elif found := _INFO.fullmatch(path):
            self._info(found[1], found[2])
        elif found := _TREE.fullmatch(path):
            if self.hub.silent_trees:
                self.hub.silent_trees -= 1
                self.hub.ended.wait()
                self.close_connection = True
                return
            self._tree(self._repository(found[1], found[2]))
        elif found := _FILE.fullmatch(path):
            self._resolve(self._repository(found[1], found[2]), found[3])
        elif found := _LARGE.fullmatch(path):
            self._large(found[1])
        else:
            raise RefusalError(404)

    def _repository(self, name: str, revision: str | None) -> Repository:
        if name not in self.hub.repositories:  # nobody is told whether it is private
            raise RefusalError(404 if self._token else 401, "RepoNotFound", "Repository not found")
        repository = self.hub.repositories[name]
        known = ("main", None) if repository.lost else ("main", None, repository.commit)
        if revision not in known:
            raise RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository

    def _info(self, name: str, revision: str | None) -> None:
        if name in self.hub.moved:
            place = self.path.replace(name, self.hub.moved[name])
            return self._send(307, b"", {"Location": place})
        repository = self._repository(name, revision)
        told = {
            "id": name,
            "sha": repository.commit,
            "gated": repository.gated,
            "private": repository.private,
            "cardData": {"license": repository.licence} if repository.licence else None,
            "siblings": [repository.listing(file) for file in sorted(repository.files)],
            "tags": [],
            "downloads": 0,
        }
        return self._send(200, json.dumps(told).encode())

    def _tree(self, repository: Repository) -> None:
        told = []
        for name in repository.files:
            entry = repository.listing(name)
            entry |= {"type": "file", "path": entry.pop("rfilename"), "oid": entry.pop("blobId")}
            if "lfs" in entry:
                entry["lfs"]["oid"] = entry["lfs"].pop("sha256")
            told.append(entry)
        self._send(200, json.dumps(told).encode())

    def _resolve(self, repository: Repository, name: str) -> None:
        if repository.gated and is_large(name) and self._token != TOKEN:
            message = "Access to model is restricted."
            raise RefusalError(403 if self._token else 401, "GatedRepo", message)
        if name not in repository.files:
            raise RefusalError(404, "EntryNotFound", "Entry not found")
        content = repository.files[name]
        headers = {"X-Repo-Commit": repository.commit}
        if not is_large(name):
            return self._content(name, content, {**headers, "ETag": f'"{git_hash(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        elsewhere = f"http://localhost:{self.hub.port}/large/{digest}"
        return self._send(302, b"", {**headers, "Location": elsewhere})

    def _large(self, digest: str) -> None:
        for repository in self.hub.repositories.values():
            for name, content in repository.files.items():
                if hashlib.sha256(content).hexdigest() == digest:
                    return self._content(name, content, {"ETag": f'"{digest}"'})
        raise RefusalError(404)

    def _content(self, name: str, content: bytes, headers: dict[str, str]) -> None:
        if self.command == "HEAD":
            return self._send(200, content, headers)
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(found[1]) if found else 0
        self.hub.asked.append(ContentRequest(name, start, self._token))
        waiting = self.hub.faults.get(name)
        fault = waiting.pop(0) if waiting else None
        status = 200
        if found and not (fault and fault.kind == "whole"):
            status, size = 206, len(content)
            headers = {**headers, "Content-Range": f"bytes {start}-{size - 1}/{size}"}
            content = content[start:]
        if fault and fault.kind == "changed":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault and fault.kind == "short":
            content = content[: fault.after]
        if fault and fault.kind in ("cut", "stall"):
            return self._send(status, content, headers, fault)
        return self._send(status, content, {**headers, "Accept-Ranges": "bytes"})

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        fault: Fault | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if fault is None else body[: fault.after])
        self.wfile.flush()
        if fault is not None:
            if fault.kind == "stall":
                self.hub.ended.wait()
            self.close_connection = True


@contextmanager
def local_hub() -> Iterator[LocalHub]:
    """A hub that runs within the block."""
    hub = LocalHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            hub.ended.set()
            server.shutdown()
            thread.join()


def use(hub: LocalHub, monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> None:
    """Let the hub's client of this process ask it, as HF_ENDPOINT would; no token is known."""
    from huggingface_hub import close_session

    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in (
        ("ENDPOINT", hub.endpoint),
        ("HUGGINGFACE_CO_URL_TEMPLATE", template),
        ("HF_HUB_OFFLINE", False),
        ("HF_TOKEN_PATH", str(nowhere)),
    ):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    close_session()  # so that the next one reads these
