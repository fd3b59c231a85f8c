"""OpenAI's batches: a file of requests. https://platform.openai.com/docs/guides/batch"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from assay.generate.remote.batch_endpoint import (
    UPLOAD_S,
    BatchEndpoint,
    BatchReply,
    BatchState,
    check_size,
    checked_id,
    id_in,
    object_in,
    objects_in,
)
from assay.generate.remote.wire import CompletionRequest, NoAnswerError, count, error_text, refusal

_OVER = ("completed", "failed", "expired", "cancelled")
_PAGES = 20
_NAME = "assay"
"""Key of a batch's metadata, by which it is found again."""


class OpenAIBatches(BatchEndpoint):
    """See `BatchEndpoint`."""

    most_requests = 50_000
    most_bytes = 100 << 20

    def size(self, name: str, request: CompletionRequest) -> int:
        return len(self._line(name, request))

    def start(self, requests: Mapping[str, CompletionRequest], name: str) -> str:
        content = b"".join(self._line(*one) for one in requests.items())
        check_size(len(content), self.most_bytes)
        form, content = _form(content)
        file = self.send("/files", content, UPLOAD_S, {"Content-Type": form})
        asked = {
            "input_file_id": id_in(file),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {_NAME: name},
        }
        return id_in(self.send("/batches", json.dumps(asked).encode()))

    def find(self, name: str, total: int) -> str | None:
        after = ""
        for _ in range(_PAGES):
            page = self.send(f"/batches?limit=100{after}")
            entries = objects_in(page, "data")
            for one in entries:
                if object_in(one, "metadata").get(_NAME) == name:
                    return id_in(one)
            if not page.get("has_more") or not entries:
                return None
            after = f"&after={quote(id_in(entries[-1]))}"
        return None

    def state(self, id: str) -> BatchState:
        found = self.send(f"/batches/{checked_id(id)}")
        counts, status = object_in(found, "request_counts"), str(found.get("status"))
        files = [found.get("output_file_id"), found.get("error_file_id")]
        errors = objects_in(object_in(found, "errors"), "data")
        said = [str(one.get("message")) for one in errors]
        return BatchState(
            id=id,
            status=status,
            is_over=status in _OVER,
            answered=count(counts, "completed") or 0,
            failed=count(counts, "failed") or 0,
            total=count(counts, "total") or 0,
            files=tuple(f"/files/{checked_id(f)}/content" for f in files if isinstance(f, str)),
            reason=self.model.describe_failure("; ".join(said[:3]), self.key) if said else None,
        )

    def cancel(self, id: str) -> None:
        self.send(f"/batches/{checked_id(id)}/cancel", b"{}")

    def replies(
        self, state: BatchState, name: str, asked: Collection[str]
    ) -> Iterator[tuple[str, BatchReply]]:
        for file in state.files:
            for raw in self.lines(file):
                one = raw.get("custom_id")
                if isinstance(one, str) and one in asked:
                    yield one, _reply(raw)

    def _line(self, name: str, request: CompletionRequest) -> bytes:
        line = {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": self.model.body(request),
        }
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _reply(raw: dict[str, Any]) -> BatchReply:
    reply = raw.get("response")
    if not isinstance(reply, dict):
        said = error_text(json.dumps(raw).encode()) if raw.get("error") else "no reason given"
        return NoAnswerError(said, is_retryable=True, charged=False)
    status = count(reply, "status_code")
    if status != 200:
        text = json.dumps(reply.get("body") or {}).encode()
        return refusal(status or 500, {}, error_text(text))
    return object_in(reply, "body")


def _form(content: bytes) -> tuple[str, bytes]:
    """A form with a file for batches, and its type."""
    mark = uuid4().hex
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="requests.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    whole = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
    return f"multipart/form-data; boundary={mark}", whole
