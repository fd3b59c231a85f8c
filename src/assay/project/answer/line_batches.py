"""A batch at a provider, of lines of a batch of the API.

    batch = LineBatch(workspace, file, line.engine.remote)      # or LineBatch(workspace, file)
    batch.add(7, line)                                          # an `OutgoingLine`
    batch.begin()                                               # its id is on disk
    batch.look()
    for number, gateway in batch.replies(): ...                 # if batch.is_over
    batch.forget()

Nothing here waits for the provider longer than one request takes, with its repetitions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from assay.accounts.keys import Caller
from assay.accounts.reservations import Reservation
from assay.agent.providers import provider_of
from assay.config import split_reference
from assay.errors import AssayError, ConfigError, ModelError, StoreError
from assay.generate.remote.batch_endpoint import (
    BatchEndpoint,
    BatchReply,
    BatchState,
    UndecidedError,
)
from assay.generate.remote.model import RemoteModel
from assay.generate.remote.provider_batch import Batches, BatchFile, batch_endpoint
from assay.generate.remote.stream import RepliedEngine
from assay.generate.remote.wire import CompletionRequest, NoAnswerError
from assay.progress import SILENT
from assay.project.answer.lines import AnsweredLine, OutgoingLine
from assay.project.workspace import Workspace
from assay.store.files import one_at_a_time
from assay.store.secrets import SecretError

MOST_BYTES = 64 << 20
"""Of one batch at a provider, which is in memory until it is sent; most take more."""
LISTED_S = 60.0
"""A provider lists a batch by then, whatever became of whoever has sent it."""
_AROUND = 300
"""Bytes that a line of such a batch has around what is asked, at most."""


class ProviderBatchError(ModelError):
    """A provider does not do, or say, what a batch needs.

    Attributes:
        is_lasting: nor would it at another attempt.
    """

    def __init__(self, reason: str, *, is_lasting: bool) -> None:
        super().__init__(reason)
        self.is_lasting = is_lasting


class LineBatch:
    """One batch at a provider.

    Args:
        file: where it is kept while it is under way.
        model: that it asks; None: the one that the file names.

    Attributes:
        lines: numbers of those without a reply.
        id: at the provider; None: it was not begun, or nobody knows yet.
        answered, failed: of its lines, when it was last looked at.
        is_over: nothing of it is answered any more.

    Raises:
        ProviderBatchError: the file is damaged, or its model's provider is not there any more.
    """

    def __init__(self, workspace: Workspace, file: Path, model: RemoteModel | None = None) -> None:
        self._workspace, self._file = workspace, BatchFile(file)
        try:
            left = self._file.read()
        except StoreError as error:
            raise ProviderBatchError(error.what, is_lasting=True) from None
        self._model = model or _model_of(workspace, left.model if left is not None else None)
        self._agents = {} if left is None else dict(left.requests)
        self.lines = {int(name) for name in self._agents}
        self.id = None if left is None else left.id
        self._name = "" if left is None else left.name
        self._requests: dict[str, CompletionRequest] = {}
        self._reserved: dict[str, Reservation] = {}
        self._bytes = 0
        self._state: BatchState | None = None
        self._other: str | None = None
        self.answered = self.failed = 0

    @property
    def is_kept(self) -> bool:
        """Whether it is on disk: it may have been begun."""
        return self._file.file.exists()

    @property
    def is_new(self) -> bool:
        """Whether what it asks is known, so that it can be begun."""
        return bool(self._requests)

    @property
    def is_over(self) -> bool:
        return self._state is not None and self._state.is_over

    def add(self, number: int, line: OutgoingLine) -> bool:
        """Whether there was room for a line; it is one of the batch then."""
        assert line.request is not None
        size = len(json.dumps(self._model.body(line.request))) + _AROUND
        endpoint = type(self._endpoint())
        is_full = len(self._requests) == endpoint.most_requests or self._bytes + size > min(
            endpoint.most_bytes, MOST_BYTES
        )
        if is_full and self._requests:
            return False
        name = str(number)
        self._requests[name], self._agents[name] = line.request, line.agent
        if line.reserved is not None:
            self._reserved[name] = line.reserved
        self.lines.add(number)
        self._bytes += size
        return True

    def begin(self) -> None:
        """Have the provider begin it, or find out that it has; its id is on disk then.

        Raises:
            ProviderBatchError: it was not begun, or nobody knows: `is_kept` tells which.
        """
        with self._beginning(), self._asking() as endpoint:
            self._look_at_other(endpoint)
            batches = Batches(endpoint, self._file, SILENT)
            left, self.id = batches.begin(self._requests, self._agents)
            self._name = left.name
        self._requests.clear()

    def find(self) -> bool:
        """Whether a batch that may have been begun was; if not, nothing of it is kept.

        Raises:
            ProviderBatchError: nobody says, or it may have been begun a moment ago.
        """
        with self._beginning():
            left = self._file.read()
            if left is not None and left.id is None and 0 <= time.time() - left.at < LISTED_S:
                raise ProviderBatchError("it may not be listed yet", is_lasting=False)
            with self._asking() as endpoint:
                self._look_at_other(endpoint)
                found = Batches(endpoint, self._file, SILENT).find()
        if found is not None:
            left, self.id = found
            self._name = left.name
        return found is not None

    def look(self) -> None:
        """See how far it is; raises ProviderBatchError."""
        assert self.id is not None
        with self._asking() as endpoint:
            state = self._state = endpoint.state(self.id)
            self.answered, self.failed = state.answered, state.failed

    def cancel(self) -> None:
        """Have nothing more of it answered; raises ProviderBatchError."""
        assert self.id is not None
        with self._asking() as endpoint:
            endpoint.cancel(self.id)

    def replies(self, *, is_ended: bool = False) -> Iterator[tuple[int, AnsweredLine]]:
        """What opens the answers of lines with a reply, each once, however often this is called.

        Args:
            is_ended: it was ended before its time: what was not done then has no reply.

        Raises:
            ProviderBatchError: the replies cannot be read to their end.
        """
        assert self._state is not None
        with self._asking() as endpoint:
            for name, reply in endpoint.replies(self._state, self._name, self._agents):
                is_undone = isinstance(reply, NoAnswerError) and reply.is_retryable
                if int(name) in self.lines and not (is_ended and is_undone):
                    self.lines.remove(int(name))
                    yield int(name), self._opened(name, reply, endpoint.key)

    def failures(
        self, reason: str | None = None, *, is_paid: bool
    ) -> Iterator[tuple[int, AnsweredLine]]:
        """What opens, as errors, the answers of lines without a reply.

        Args:
            is_paid: for all that is known they were answered, and count at the most that they can
                cost.
        """
        said = None if self._state is None else self._state.reason_unanswered
        reason = reason or said or "the batch has no answer to it"
        reason = reason.removeprefix(f"{self._model.name}: ")  # which is said again
        failure = NoAnswerError(reason, is_retryable=True, charged=is_paid)
        while self.lines:
            number = self.lines.pop()
            yield number, self._opened(str(number), failure, None)

    def release(self, caller: Caller, *, is_unasked: bool) -> None:
        """Let go of what is set aside for lines without an answer.

        Args:
            is_unasked: they cost nothing; else they count at the most that they can cost.
        """
        usage = self._workspace.usage
        while self._reserved:
            _, one = self._reserved.popitem()
            usage.add(caller.project, caller.key_id, "", (), 0.0, one, is_complete=is_unasked)

    def forget(self) -> None:
        """All of its answers are kept."""
        self._file.forget()

    def _opened(self, name: str, reply: BatchReply, key: str | None) -> AnsweredLine:
        engine = RepliedEngine(self._model, reply, key)
        held = partial(self._reserved.pop, name, None)
        model, agent = self._model.reference, self._agents[name]
        return AnsweredLine(self._workspace, engine, model, agent, held)

    def _look_at_other(self, endpoint: BatchEndpoint) -> None:
        """See that the one is over of which it is known then whether it is this one."""
        if self._other is not None and not endpoint.state(self._other).is_over:
            raise UndecidedError(self._other)
        self._other = None

    def _endpoint(self) -> BatchEndpoint:
        return batch_endpoint(self._model)

    @contextmanager
    def _beginning(self) -> Iterator[None]:
        """Until its id is on disk nobody else looks for it: a server that was given its job while
        another sends it would not find it yet, and ask anew."""

        def refuse() -> None:
            raise ProviderBatchError("another server is about to begin it", is_lasting=False)

        with one_at_a_time(self._file.file.with_suffix(".lock"), refuse):
            yield

    @contextmanager
    def _asking(self) -> Iterator[BatchEndpoint]:
        try:
            endpoint = self._endpoint()  # with the key as it is now
        except (ConfigError, SecretError) as error:
            raise ProviderBatchError(str(error), is_lasting=True) from None
        try:
            yield endpoint
        except UndecidedError as undecided:
            self._other = undecided.id
            waits = f"whether a batch was begun is known once {undecided.id} is over"
            raise ProviderBatchError(waits, is_lasting=False) from None
        except NoAnswerError as failure:
            what = self._model.describe_failure(failure.reason, endpoint.key)
            raise ProviderBatchError(what, is_lasting=not failure.is_retryable) from None
        except StoreError:
            raise
        except AssayError as error:
            raise ProviderBatchError(str(error), is_lasting=True) from None


def cancel_kept(workspace: Workspace, file: Path) -> bool:
    """Have nothing more answered of a batch that nobody goes on with, and forget it.

    Returns:
        Whether it was cancelled; False: it was over, or had never begun.

    Raises:
        ProviderBatchError: it may go on.
    """
    one, is_cancelled = LineBatch(workspace, file), False
    if one.id is not None or one.find():
        one.look()
        if not one.is_over:
            one.cancel()
            is_cancelled = True
    one.forget()
    return is_cancelled


def describe_kept(file: Path) -> str:
    """By what a batch that is kept is found at its provider, as far as its file can be read."""
    try:
        left = BatchFile(file).read()
    except StoreError:
        left = None
    if left is None:
        return f"the batch of {file}"
    return f"the batch {left.id or f'with the name {left.name}'} of {left.model}"


def _model_of(workspace: Workspace, reference: str | None) -> RemoteModel:
    if reference is None:
        raise ProviderBatchError("its file names no model.", is_lasting=True)
    name, at = split_reference(reference)
    try:
        provider = provider_of(workspace.providers, name)
    except ConfigError as error:
        raise ProviderBatchError(error.what, is_lasting=True) from None
    return RemoteModel(name, at, provider, key=partial(workspace.providers.key, name, provider))
