"""What a hub does with what is sent to it, see `local_hub`: repositories, large files, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

WRITER = "hf_a_writer_of_acme"
OWNER = "acme"
"""Whom the writer writes for."""
_PREUPLOAD = re.compile(r"/api/models/([^/]+/[^/]+)/preupload/main")
_BATCH = re.compile(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_COMMIT = re.compile(r"/api/models/([^/]+/[^/]+)/commit/main")
_STORE = re.compile(r"/store/([0-9a-f]{64})")


def is_large(name: str) -> bool:
    """Whether the hub keeps a file apart from the small ones, by its sha256."""
    return name.endswith((".safetensors", "tokenizer.json", ".bin"))


class RefusalError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message}


class Uploads(BaseHTTPRequestHandler):
    """The requests with a body."""

    hub: Any

    def do_POST(self) -> None:
        self._answer(self._read())

    def do_PUT(self) -> None:
        self._answer(self._read())

    def _read(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def receive(self, body: bytes) -> None:
        """Answer a request with a body."""
        path = unquote(urlsplit(self.path).path)
        if found := _STORE.fullmatch(path):
            return self._store(found[1], body)
        if path == "/api/validate-yaml":
            return self._tell({"errors": [], "warnings": []})
        if self._token != WRITER:
            raise RefusalError(403 if self._token else 401, message="Forbidden: a reader's token")
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        for pattern, act in (
            (_PREUPLOAD, self._preupload),
            (_BATCH, self._batch),
            (_COMMIT, self._commit),
        ):
            if found := pattern.fullmatch(path):
                return act(found[1], body)
        raise RefusalError(404)

    def _create(self, asked: dict[str, Any]) -> None:
        if asked["organization"] != OWNER:
            raise RefusalError(403, message=f"You cannot create under {asked['organization']}")
        self.hub.create(f"{OWNER}/{asked['name']}", private=asked["visibility"] == "private")
        self._tell({"url": f"{self.hub.endpoint}/{OWNER}/{asked['name']}"})

    def _preupload(self, name: str, body: bytes) -> None:
        files = [file["path"] for file in json.loads(body)["files"]]
        self._tell(
            {
                "files": [
                    {
                        "path": file,
                        "uploadMode": "lfs" if is_large(file) else "regular",
                        "shouldIgnore": False,
                    }
                    for file in files
                ]
            }
        )

    def _batch(self, name: str, body: bytes) -> None:
        told = []
        for object in json.loads(body)["objects"]:
            if self.hub.is_full:
                object["error"] = {"code": 413, "message": "Private storage limit reached"}
            elif object["oid"] not in self.hub.stored:
                href = f"{self.hub.endpoint}/store/{object['oid']}"
                object["actions"] = {"upload": {"href": href}}
            told.append(object)
        self._tell({"objects": told, "transfer": "basic"})

    def _store(self, digest: str, body: bytes) -> None:
        if self.hub.failing_stores:
            self.hub.failing_stores -= 1
            raise RefusalError(400, message="EntityTooSmall")
        assert hashlib.sha256(body).hexdigest() == digest
        self.hub.stored[digest] = body
        self._tell({})

    def _commit(self, name: str, body: bytes) -> None:
        repository = self.hub.repositories[name]
        head, *lines = [json.loads(line) for line in body.splitlines()]
        assert head["value"]["parentCommit"] == repository.commit
        for line in lines:
            file = line["value"]
            large = line["key"] == "lfsFile"
            content = self.hub.stored[file["oid"]] if large else base64.b64decode(file["content"])
            repository.files[file["path"]] = content
        commit = repository.commit
        self._tell(
            {"commitUrl": f"{self.hub.endpoint}/{name}/commit/{commit}", "commitOid": commit}
        )

    def _tell(self, told: dict[str, Any]) -> None:
        self._send(200, json.dumps(told).encode())
