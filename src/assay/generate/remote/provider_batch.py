"""One batch of a provider after the other, of which no request is asked twice.

What a batch asks is on disk before it is sent, under a name that the provider keeps with it: a run
that was killed finds it again, waits for it, and begins the next one only when its answers are
kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from pydantic import TypeAdapter

from assay import json_reader
from assay.errors import StoreError, UsageError
from assay.generate.batch import Answer, Request
from assay.generate.recorded import request_sha256
from assay.generate.remote.anthropic_batches import AnthropicBatches
from assay.generate.remote.batch import answer_of, completion_request, sampling_of, unanswered
from assay.generate.remote.batch_endpoint import (
    BatchEndpoint,
    BatchReply,
    BatchState,
    UndecidedError,
)
from assay.generate.remote.model import RemoteModel
from assay.generate.remote.openai_batches import OpenAIBatches
from assay.generate.remote.wire import CompletionRequest, NoAnswerError
from assay.progress import Progress
from assay.quantities import say_count
from assay.store.files import write_atomic

Item = TypeVar("Item")

POLL_S, TELL_S = 10.0, 600.0
MOST_TRIES = 30
"""In a row, of asking how far a batch is."""


def batch_endpoint(model: RemoteModel) -> BatchEndpoint:
    """The batches of a model, in its provider's protocol.

    Raises:
        ConfigError: there is no key.
    """
    return (OpenAIBatches if model.provider.protocol == "openai" else AnthropicBatches)(model)


def take_one_batch(
    waiting: Iterable[tuple[Item, Mapping[str, Request]]], endpoint: BatchEndpoint
) -> Iterator[Item]:
    """The next items that one batch holds; the first in any case.

    Args:
        waiting: each with its requests by name, which go into the same batch.
    """
    count = size = 0
    for number, (item, requests) in enumerate(waiting):
        count += len(requests)
        size += sum(
            endpoint.size(name, completion_request(endpoint.model, one))
            for name, one in requests.items()
        )
        if number and (count > endpoint.most_requests or size > endpoint.most_bytes):
            return
        yield item


@dataclass(slots=True)
class UnfinishedBatch:
    """A batch that a run has begun.

    Attributes:
        name: by which the provider finds it.
        id: None: it is not known whether it was begun.
        requests: by the name of each its `request_sha256`, or what else its answer needs.
        at: when it was begun, in seconds since 1970.
        model: `remote:PROVIDER/MODEL`; None: of a file that does not say.
    """

    name: str
    id: str | None
    requests: dict[str, str]
    at: float
    model: str | None = None


_UNFINISHED_BATCH = TypeAdapter(UnfinishedBatch)


class BatchFile:
    """Where the batch that is under way is kept, beside its answers."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def read(self) -> UnfinishedBatch | None:
        """The batch that is under way; None: there is none.

        Raises:
            StoreError: the file is damaged.
        """
        if not self.file.exists():
            return None
        try:
            return _UNFINISHED_BATCH.validate_python(json_reader.read(self.file.read_bytes()))
        except ValueError:
            raise StoreError(
                "the file of the batch under way is damaged.",
                where=str(self.file),
                fix="Remove it to ask anew, without the answers of that batch.",
            ) from None

    def write(self, batch: UnfinishedBatch) -> None:
        """Keep it; it is on disk afterwards."""
        write_atomic(self.file, json.dumps(asdict(batch)), private=True)

    def forget(self) -> None:
        """Remove it, since its answers are kept."""
        self.file.unlink(missing_ok=True)


class Batches:
    """Batches whose answers are kept in one place.

    Attributes:
        reason: why the last one has not answered everything; None: nothing is said.
    """

    def __init__(self, endpoint: BatchEndpoint, file: BatchFile, progress: Progress) -> None:
        self._endpoint, self._file, self._progress = endpoint, file, progress
        self.reason: str | None = None

    def begun(
        self, wanted: Mapping[str, Request], is_recorded: Callable[[str], bool]
    ) -> frozenset[str]:
        """Names of the requests that a batch under way asks already.

        Raises:
            UsageError: it asks others, too, or asks in another way.
        """
        left = self._file.read()
        if left is None:
            return frozenset()
        open_ = {name: sha256 for name, sha256 in left.requests.items() if not is_recorded(name)}
        other = sum(
            name not in wanted or request_sha256(wanted[name]) != sha256
            for name, sha256 in open_.items()
        )
        if other:
            raise UsageError(
                f"the batch under way asks {say_count(other, 'input that is', 'inputs that are')} "
                "not asked now, or otherwise.",
                where=str(self._file.file),
                fix="Run the same command as before, or remove this file to lose its answers.",
            )
        if not open_:  # all of its answers are kept
            self._file.forget()
        return frozenset(open_)

    def forget(self) -> None:
        """Do without what the batch under way has answered."""
        self._file.forget()

    def describe_failure(self, failure: NoAnswerError) -> str:
        """One line, fit to be shown; with what to do where the same call would fail again."""
        reason = self._endpoint.model.describe_failure(failure.reason, self._endpoint.key)
        left = self._file.read()
        if failure.is_retryable or left is None or left.id is None:
            return reason
        return (
            f"{reason}. Use the address and key that began batch {left.id}, or remove "
            f"{self._file.file} to ask anew without its answers"
        )

    def ask(self, requests: Mapping[str, Request]) -> Iterator[tuple[str, Answer]]:
        """The answers, once the batch is over; `forget` it when they are kept.

        Raises:
            NoAnswerError: the provider does not say; the same call goes on with the same batch.
        """
        model = self._endpoint.model
        asked = {name: completion_request(model, one) for name, one in requests.items()}
        sums = {name: request_sha256(one) for name, one in requests.items()}
        while True:
            try:
                left, id = self.begin(asked, sums)
                break
            except UndecidedError as undecided:
                self._wait(undecided.id, time.time())
        state = self._wait(id, left.at)
        self.reason = state.reason_unanswered
        for name, reply in self._replies(state, left.name, requests):
            yield name, self._answer(reply, requests[name])

    def begin(
        self, requests: Mapping[str, CompletionRequest], sums: Mapping[str, str]
    ) -> tuple[UnfinishedBatch, str]:
        """The batch under way and its id, on disk; where there is none, one of these is begun.

        Args:
            requests: where one is under way, of which nobody knows whether it was begun, it asks
                those of them that are its own.
            sums: by their names, see `UnfinishedBatch`.

        Raises:
            NoAnswerError: it is not known whether it was begun, or, where its file is gone, it was
                not.
            UndecidedError: another one may be it.
        """
        left = self._file.read()
        is_new = left is None
        if left is None:
            model = self._endpoint.model.reference
            left = UnfinishedBatch(uuid4().hex, None, dict(sums), time.time(), model)
            self._file.write(left)
        if left.id is None:
            asked = {name: one for name, one in requests.items() if name in left.requests}
            left.id = self._begin(left, asked, is_new=is_new)
            self._file.write(left)
        return left, left.id

    def find(self) -> tuple[UnfinishedBatch, str] | None:
        """The batch under way and its id, on disk; None: it was not begun, and its file is gone.

        Raises:
            NoAnswerError: nobody says.
            UndecidedError: another one may be it.
        """
        left = self._file.read()
        if left is None:
            return None
        if left.id is None:
            left.id = self._endpoint.find(left.name, len(left.requests))
            if left.id is None:
                self._file.forget()
                return None
            self._file.write(left)
        return left, left.id

    def _begin(
        self, left: UnfinishedBatch, requests: Mapping[str, CompletionRequest], *, is_new: bool
    ) -> str:
        """The id of a batch, which is looked for if it may have begun.

        Args:
            is_new: nothing of it was sent.
        """
        attempt, has_not_begun = 0, is_new
        while True:
            try:
                if not has_not_begun:
                    id = self._endpoint.find(left.name, len(left.requests))
                    if id is not None:
                        return id
                has_not_begun = True
                return self._endpoint.start(requests, left.name)
            except NoAnswerError as failure:
                attempt, has_not_begun = attempt + 1, has_not_begun and not failure.charged
                if not self._waits(failure, attempt, 0.0 if has_not_begun else POLL_S):
                    if has_not_begun:
                        self._file.forget()
                    raise

    def _answer(self, reply: BatchReply, request: Request) -> Answer:
        model = self._endpoint.model
        try:
            if isinstance(reply, NoAnswerError):
                raise reply
            return answer_of(model.parse(reply, sampling_of(request)))
        except NoAnswerError as failure:
            return unanswered(failure, model.describe_failure(failure.reason, self._endpoint.key))

    def _replies(
        self, state: BatchState, name: str, requests: Collection[str]
    ) -> Iterator[tuple[str, BatchReply]]:
        """Each reply once, however often their files are read."""
        attempt, given = 0, set[str]()
        while True:
            try:
                for asked, reply in self._endpoint.replies(state, name, requests):
                    if asked not in given:
                        given.add(asked)
                        yield asked, reply
            except NoAnswerError as failure:
                attempt += 1
                if not self._waits(failure, attempt):
                    raise
            else:
                return

    def _waits(self, failure: NoAnswerError, attempt: int, least_s: float = 0.0) -> bool:
        """Whether there is another attempt, as of a single request; it has waited for it then.

        Args:
            attempt: how many there have been.
        """
        model = self._endpoint.model
        if not failure.is_retryable or attempt > model.provider.retries:
            return False
        pause = model.retry_pause(failure, attempt)
        if pause is None:
            return False
        time.sleep(max(pause, least_s))
        return True

    def _wait(self, id: str, since: float) -> BatchState:
        self._progress.say(
            f"Batch {id} is under way at the provider; it may take a day. Ctrl-C leaves it running."
        )
        try:
            return self._watch(id, since)
        except KeyboardInterrupt:
            self._progress.say(f"Batch {id} goes on at the provider. Run the same command again.")
            raise

    def _watch(self, id: str, since: float) -> BatchState:
        tries, tenths, told = 0, 0, time.monotonic()
        while True:
            try:
                state = self._endpoint.state(id)
            except NoAnswerError as failure:
                tries += 1
                if not failure.is_retryable or tries >= MOST_TRIES:
                    raise
            else:
                tries = 0
                if state.is_over:
                    return state
                ended = state.answered + state.failed
                now, done = time.monotonic(), ended * 10 // max(state.total, 1)
                if done > tenths or now - told >= TELL_S:
                    tenths, told = done, now
                    minutes = (time.time() - since) / 60
                    self._progress.say(
                        f"Waiting for the provider's batch: {ended} of {state.total} "
                        f"done, asked {minutes:.0f} min ago."
                    )
            time.sleep(POLL_S)
