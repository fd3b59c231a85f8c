"""Anthropic's message batches: https://docs.anthropic.com/en/api/creating-message-batches

A batch there has no name. So each request's id begins with the name of its batch, and results are
all that shows it: a batch that is under way may be the one looked for, if it has as many requests.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from assay.generate.remote.batch_endpoint import (
    UPLOAD_S,
    BatchEndpoint,
    BatchReply,
    BatchState,
    UndecidedError,
    check_size,
    checked_id,
    id_in,
    object_in,
    objects_in,
)
from assay.generate.remote.wire import (
    CompletionRequest,
    NoAnswerError,
    count,
    error_text,
    refusal,
)

PATH = "/messages/batches"
_OUTCOMES = ("succeeded", "errored", "canceled", "expired")
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""That a single request would have failed with."""
_PAGES = 20
_BATCH, _REQUEST = 16, 47
"""Characters of a batch's and a request's name in an id, which has at most 64."""


class AnthropicBatches(BatchEndpoint):
    """See `BatchEndpoint`; names begin differently, and are letters, digits, - and _."""

    most_requests = 100_000
    most_bytes = 255_000_000

    def size(self, name: str, request: CompletionRequest) -> int:
        return len(self._entry(name, request, "-" * _BATCH)) + 1

    def start(self, requests: Mapping[str, CompletionRequest], name: str) -> str:
        entries = [self._entry(*one, name) for one in requests.items()]
        content = b'{"requests":[' + b",".join(entries) + b"]}"
        check_size(sum(map(len, entries)), self.most_bytes)
        return id_in(self.send(PATH, content, UPLOAD_S))

    def find(self, name: str, total: int) -> str | None:
        after, undecided = "", None
        for _ in range(_PAGES):
            page = self.send(f"{PATH}?limit=100{after}")
            entries = objects_in(page, "data")
            for one in entries:
                if sum(_counts(one).values()) != total:
                    continue
                state = self._state(id_in(one), one)
                if state.is_over and self._is_named(state, name):
                    return state.id
                if not state.is_over:
                    undecided = undecided or state.id
            if not page.get("has_more") or not entries:
                break
            after = f"&after_id={quote(id_in(entries[-1]))}"
        if undecided is not None:
            raise UndecidedError(undecided)
        return None

    def state(self, id: str) -> BatchState:
        return self._state(id, self.send(f"{PATH}/{checked_id(id)}"))

    def cancel(self, id: str) -> None:
        self.send(f"{PATH}/{checked_id(id)}/cancel", b"{}")

    def replies(
        self, state: BatchState, name: str, asked: Collection[str]
    ) -> Iterator[tuple[str, BatchReply]]:
        names = {_id(name, one): one for one in asked}
        for file in state.files:
            for raw in self.lines(file):
                one = raw.get("custom_id")
                if isinstance(one, str) and one in names:
                    yield names[one], _reply(object_in(raw, "result"))

    def _entry(self, name: str, request: CompletionRequest, batch: str) -> bytes:
        entry = {"custom_id": _id(batch, name), "params": self.model.body(request)}
        return json.dumps(entry, separators=(",", ":")).encode()

    def _state(self, id: str, found: dict[str, Any]) -> BatchState:
        counts, is_over = _counts(found), found.get("processing_status") == "ended"
        status = str(found.get("processing_status"))
        if is_over:
            status = "expired" if counts["expired"] else "completed"
            status = "cancelled" if counts["canceled"] else status
        # The results' own address is not used: it may lead elsewhere, and the key would go there.
        gone = is_over and not found.get("results_url")
        return BatchState(
            id=id,
            status=status,
            is_over=is_over,
            answered=counts["succeeded"],
            failed=sum(counts[one] for one in _OUTCOMES) - counts["succeeded"],
            total=sum(counts.values()),
            files=(f"{PATH}/{id}/results",) if is_over and not gone else (),
            reason="its results are not available any more" if gone else None,
        )

    def _is_named(self, state: BatchState, name: str) -> bool:
        for file in state.files:
            for raw in self.lines(file):
                return str(raw.get("custom_id")).startswith(_id(name, ""))
        return False


def _reply(result: dict[str, Any]) -> BatchReply:
    kind, error = result.get("type"), object_in(result, "error")
    if kind == "succeeded":
        return object_in(result, "message")
    if kind == "errored":
        inner = object_in(error, "error") or error
        text = error_text(json.dumps(error).encode())
        return refusal(_STATUS.get(str(inner.get("type")), 500), {}, text)
    return NoAnswerError(f"the request is {kind}", is_retryable=True, charged=False)


def _counts(batch: dict[str, Any]) -> dict[str, int]:
    counts = object_in(batch, "request_counts")
    return {one: count(counts, one) or 0 for one in ("processing", *_OUTCOMES)}


def _id(batch: str, name: str) -> str:
    return f"{batch[:_BATCH]}-{name[:_REQUEST]}"
