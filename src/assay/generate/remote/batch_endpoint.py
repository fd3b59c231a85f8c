"""A provider's batches: requests in a file, answered within a day at half the price.

    endpoint = BatchEndpoint(model)
    id = endpoint.start([endpoint.line("row-1", request)], "name")   # or endpoint.find("name")
    state = endpoint.state(id)
    for name, answer in endpoint.answers(state, {"row-1": request}): ...

https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from assay import json_reader
from assay.errors import ConfigError
from assay.generate.batch import Answer, Request
from assay.generate.remote.batch import answer_of, error_answer, sampling_of
from assay.generate.remote.connection import Reply, WireError
from assay.generate.remote.model import RemoteModel
from assay.generate.remote.wire import (
    NoAnswerError,
    count,
    error_text,
    no_answer_from,
    read_json,
    refusal,
)

PRICE_SHARE = 0.5
"""Of the price of single requests, at OpenAI and those who copy its batches."""
MOST_REQUESTS = 50_000
MOST_FILE_BYTES = 100 << 20
MOST_OUTPUT_BYTES = 4 << 30
_UPLOAD_S = 1800.0
_PAGES = 20
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_OVER = ("completed", "failed", "expired", "cancelled")
_NAME = "assay"
"""Key of a batch's metadata, by which it is found again."""


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is.

    Attributes:
        status: in the provider's words.
        answered: how many requests are done, of `total`.
        files: of answers and of errors.
        reason: why it failed; None: it did not.
    """

    id: str
    status: str
    answered: int
    total: int
    files: tuple[str, ...]
    reason: str | None

    @property
    def is_over(self) -> bool:
        return self.status in _OVER


class BatchEndpoint:
    """Batches of one model.

    Raises:
        ConfigError: the provider does not speak OpenAI's protocol, or there is no key.
    """

    def __init__(self, model: RemoteModel) -> None:
        if model.provider.protocol != "openai":
            raise ConfigError(
                f"the provider {model.name} has no batches in OpenAI's form.",
                fix="Ask without them.",
            )
        self._model, self._key = model, model.key()

    def line(self, name: str, request: Request) -> bytes:
        """The line of a file that asks one request."""
        asked = self._model.request(request.messages, request.tools, sampling_of(request))
        body = self._model.body(asked)
        line = {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"

    def start(self, lines: list[bytes], name: str) -> str:
        """The id of a new batch of these lines; `name` finds it again.

        Raises:
            NoAnswerError: there is none, or nobody knows whether there is: `find` tells.
        """
        form, content = _form(b"".join(lines))
        file = self._json("/files", content, _UPLOAD_S, {"Content-Type": form})
        asked = {
            "input_file_id": _id_in(file),
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {_NAME: name},
        }
        return _id_in(self._json("/batches", json.dumps(asked).encode()))

    def find(self, name: str) -> str | None:
        """The id of the batch of that name; None: there is none among the newest.

        Raises:
            NoAnswerError: nobody says.
        """
        after = ""
        for _ in range(_PAGES):
            page = self._json(f"/batches?limit=100{after}")
            entries = _objects(page, "data")
            for one in entries:
                if _object(one, "metadata").get(_NAME) == name:
                    return _id_in(one)
            if not page.get("has_more") or not entries:
                return None
            after = f"&after={quote(_id_in(entries[-1]))}"
        return None

    def state(self, id: str) -> BatchState:
        """How far a batch is; raises NoAnswerError."""
        found = self._json(f"/batches/{_checked(id)}")
        counts = _object(found, "request_counts")
        files = [found.get("output_file_id"), found.get("error_file_id")]
        errors = _objects(_object(found, "errors"), "data")
        said = [str(one.get("message")) for one in errors]
        return BatchState(
            id=id,
            status=str(found.get("status")),
            answered=(count(counts, "completed") or 0) + (count(counts, "failed") or 0),
            total=count(counts, "total") or 0,
            files=tuple(_checked(one) for one in files if isinstance(one, str)),
            reason=self._model.describe_failure("; ".join(said[:3]), self._key) if said else None,
        )

    def answers(
        self, state: BatchState, requests: Mapping[str, Request]
    ) -> Iterator[tuple[str, Answer]]:
        """The answers of a batch that is over, by the names of their requests.

        Raises:
            NoAnswerError: a file of them cannot be read to its end.
        """
        for file in state.files:
            for line in self._lines(f"/files/{file}/content"):
                try:  # an `error` in it is that of one request
                    raw = json_reader.read(line)
                except ValueError:
                    why = "a line of its answers is cut or not JSON"
                    raise NoAnswerError(why, is_retryable=True) from None
                name = raw.get("custom_id") if isinstance(raw, dict) else None
                if isinstance(name, str) and name in requests:
                    yield name, self._answer(raw, requests[name])

    def _answer(self, raw: dict[str, Any], request: Request) -> Answer:
        reply = raw.get("response")
        if not isinstance(reply, dict):
            said = error_text(json.dumps(raw).encode()) if raw.get("error") else "no reason given"
            return error_answer(self._model.describe_failure(said, self._key))
        status = count(reply, "status_code")
        try:
            if status != 200:
                text = json.dumps(reply.get("body") or {}).encode()
                raise refusal(status or 500, {}, error_text(text))
            return answer_of(self._model.parse(_object(reply, "body"), sampling_of(request)))
        except NoAnswerError as failure:
            reason = self._model.describe_failure(failure.reason, self._key)
            if failure.refused:
                return Answer(text="", finish="refused", error=reason)
            return error_answer(reason)

    def _json(
        self,
        path: str,
        body: bytes | None = None,
        within_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        reply = self._reply(path, body, within_s, headers or {})
        try:
            return read_json(reply.read(), reply.header("content-type"))
        except WireError as error:
            raise no_answer_from(error) from None
        finally:
            reply.close()

    def _reply(
        self, path: str, body: bytes | None, within_s: float | None, headers: Mapping[str, str]
    ) -> Reply:
        reply = self._model.exchange(path, body, self._key, headers, within_s)
        if reply.status != 200:
            try:
                text = error_text(reply.read())
            except WireError as error:
                raise no_answer_from(error) from None
            raise refusal(reply.status, {"retry-after": reply.header("retry-after")}, text)
        return reply

    def _lines(self, path: str) -> Iterator[bytes]:
        reply = self._reply(path, None, _UPLOAD_S, {})
        reply.most_bytes, left = MOST_OUTPUT_BYTES, b""
        try:
            for part in reply.chunks():
                *whole, left = (left + part).split(b"\n")
                yield from (line for line in whole if line.strip())
            if left.strip():
                yield left
        except WireError as error:
            raise no_answer_from(error) from None
        finally:
            reply.close()


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


def _object(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """An object of a reply; an empty one where there is none."""
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def _objects(tree: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list of a reply."""
    found = tree.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _id_in(tree: dict[str, Any]) -> str:
    return _checked(tree.get("id"))


def _checked(id: Any) -> str:
    """An id that can be part of an address."""
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise NoAnswerError("an id that is none was answered", is_retryable=False)
    return id
