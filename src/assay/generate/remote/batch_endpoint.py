"""A provider's batches: requests handed over together, answered within a day at half the price.

    endpoint = batch_endpoint(model)            # of `provider_batch`
    id = endpoint.start(requests, "name")       # or endpoint.find("name", len(requests))
    state = endpoint.state(id)
    for name, reply in endpoint.replies(state, "name", requests): ...

A protocol's own is a class in a module beside this one: `openai_batches`, `anthropic_batches`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assay import json_reader
from assay.generate.remote.connection import Reply, WireError
from assay.generate.remote.model import RemoteModel
from assay.generate.remote.wire import (
    CompletionRequest,
    NoAnswerError,
    error_text,
    no_answer_from,
    read_json,
    refusal,
)

PRICE_SHARE = 0.5
"""Of the price of single requests, at OpenAI, Anthropic and those who copy their batches."""
MOST_OUTPUT_BYTES = 4 << 30
UPLOAD_S = 1800.0
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, slots=True)
class BatchState:
    """How far a batch is.

    Attributes:
        status: in the words of OpenAI's batches; `completed`, where each request has its outcome.
        is_over: nothing of it is answered any more.
        answered, failed: how many requests have an answer, and how many have failed, of `total`.
        files: where its answers and errors are, as paths.
        reason: why it failed; None: it did not.
    """

    id: str
    status: str
    is_over: bool
    answered: int
    failed: int
    total: int
    files: tuple[str, ...]
    reason: str | None

    @property
    def reason_unanswered(self) -> str | None:
        """Why requests of a batch that is over have no answer; None: nothing is said."""
        if self.status == "completed" or self.reason is not None:
            return self.reason
        return f"the batch is {self.status}"


BatchReply = dict[str, Any] | NoAnswerError
"""Of one request: the body of its answer, or why there is none."""


class UndecidedError(Exception):
    """Whether a batch is the one that is looked for is known only when it is over.

    Attributes:
        id: of that batch.
    """

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id


class BatchEndpoint(ABC):
    """Batches of one model.

    Attributes:
        most_requests, most_bytes: that a batch may hold.

    Raises:
        ConfigError: there is no key.
    """

    most_requests: int
    most_bytes: int

    def __init__(self, model: RemoteModel) -> None:
        self.model, self.key = model, model.key()

    @abstractmethod
    def size(self, name: str, request: CompletionRequest) -> int:
        """Bytes that a request takes in a batch."""

    @abstractmethod
    def start(self, requests: Mapping[str, CompletionRequest], name: str) -> str:
        """The id of a new batch of requests, by their names; `find` finds it by its own.

        Raises:
            NoAnswerError: there is none, or, where `charged`, there may be one: `find` tells.
        """

    @abstractmethod
    def find(self, name: str, total: int) -> str | None:
        """The id of the batch of that name, of so many requests; None: there is none.

        Raises:
            NoAnswerError: nobody says.
            UndecidedError: one may be it.
        """

    @abstractmethod
    def state(self, id: str) -> BatchState:
        """How far a batch is; raises NoAnswerError."""

    @abstractmethod
    def cancel(self, id: str) -> None:
        """Have nothing more of a batch answered; it is over some time later. Raises NoAnswerError:
        nobody says, or it is over."""

    @abstractmethod
    def replies(
        self, state: BatchState, name: str, asked: Collection[str]
    ) -> Iterator[tuple[str, BatchReply]]:
        """What came of the requests of a batch that is over, by their names.

        Raises:
            NoAnswerError: a file of them cannot be read to its end.
        """

    def send(
        self,
        path: str,
        body: bytes | None = None,
        within_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """The JSON object of a reply (GET without body); raises NoAnswerError."""
        reply = self._reply(path, body, within_s, headers or {})
        try:
            return read_json(reply.read(), reply.header("content-type"))
        except WireError as error:
            raise no_answer_from(error) from None
        finally:
            reply.close()

    def lines(self, path: str) -> Iterator[dict[str, Any]]:
        """The objects of a file of JSON lines; raises NoAnswerError."""
        for line in self._lines(path):
            try:  # an `error` in it is that of one request
                raw = json_reader.read(line)
            except ValueError:
                why = "a line of its answers is cut or not JSON"
                raise NoAnswerError(why, is_retryable=True) from None
            if isinstance(raw, dict):
                yield raw

    def _reply(
        self, path: str, body: bytes | None, within_s: float | None, headers: Mapping[str, str]
    ) -> Reply:
        reply = self.model.exchange(path, body, self.key, headers, within_s)
        if reply.status != 200:
            try:
                text = error_text(reply.read())
            except WireError as error:
                raise no_answer_from(error) from None
            failure = refusal(reply.status, {"retry-after": reply.header("retry-after")}, text)
            failure.charged = body is not None and reply.status >= 500  # a batch may have begun
            raise failure
        return reply

    def _lines(self, path: str) -> Iterator[bytes]:
        reply = self._reply(path, None, UPLOAD_S, {})
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


def check_size(size: int, most: int) -> None:
    """Refuse more bytes than a batch may have; raises NoAnswerError, and nothing was sent."""
    if size > most:
        raise NoAnswerError(
            f"a request has more than {most >> 20} MiB", is_retryable=False, charged=False
        )


def object_in(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """An object of a reply; an empty one where there is none."""
    found = tree.get(name)
    return found if isinstance(found, dict) else {}


def objects_in(tree: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list of a reply."""
    found = tree.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def id_in(tree: dict[str, Any]) -> str:
    """The id of an object of a reply; raises NoAnswerError."""
    return checked_id(tree.get("id"))


def checked_id(id: Any) -> str:
    """An id that can be part of an address; raises NoAnswerError."""
    if not isinstance(id, str) or not _ID.fullmatch(id):
        raise NoAnswerError("an id that is none was answered", is_retryable=False)
    return id
