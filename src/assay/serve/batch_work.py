"""What the parts of the work on one batch share: whose it is, how far it is, why it ends early."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi import FastAPI

from assay.accounts.keys import Caller
from assay.jobs import queue
from assay.jobs.batch_answers import Answers
from assay.jobs.batches import Outcome
from assay.jobs.queue import Job, JobLostError
from assay.project.workspace import Workspace
from assay.serve.batch_requests import Places

log = logging.getLogger("assay.serve")


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a batch ends before all is answered.

    Attributes:
        why: what is told of lines without an answer: `code` and `message`.
        grace_s: what is under way may take so long to end.
    """

    outcome: Outcome
    why: dict[str, str]
    grace_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Departure:
    """Why this server leaves a batch that goes on later or elsewhere.

    Attributes:
        how: the server stops, a person pauses the batch, or another server has it.
        grace_s: what is under way may take so long to end.
    """

    how: Literal["stopped", "paused", "lost"]
    grace_s: float = 0.0


class EndSignal:
    """Whether the work on a batch is to end before all is answered.

    Attributes:
        reason: None: it is not.
    """

    def __init__(self) -> None:
        self.reason: Ending | Departure | None = None
        self._event = asyncio.Event()

    def set(self, reason: Ending | Departure) -> None:
        """End it; the first reason counts, unless the batch is another server's."""
        is_lost = isinstance(reason, Departure) and reason.how == "lost"
        if self.reason is None or is_lost:
            self.reason = reason
            self._event.set()

    def is_set(self) -> bool:
        """Whether there is a reason."""
        return self._event.is_set()

    def is_departure(self) -> bool:
        """Whether the batch goes on later or elsewhere."""
        return isinstance(self.reason, Departure)

    async def wait(self, seconds: float | None = None) -> None:
        """Return when there is a reason, or after so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()


@dataclass
class Tally:
    """What has come of a batch so far.

    Attributes:
        completed, failed: lines with an answer, and with an error.
        bytes: that all of these have.
        usage: tokens of the answers.
        away: by a provider's batch, how many of its lines have an answer or an error there alone.
        is_told: nothing has changed since this was last told.
    """

    completed: int = 0
    failed: int = 0
    bytes: int = 0
    usage: Counter[str] = field(default_factory=Counter)
    away: dict[object, tuple[int, int]] = field(default_factory=dict)
    is_told: bool = True

    def begin(self, found: Answers) -> None:
        """Begin with what is on disk."""
        self.completed, self.failed = len(found.good), found.failed
        self.usage, self.bytes = Counter(found.usage), found.bytes

    @property
    def counts(self) -> tuple[int, int]:
        """`completed` and `failed`, those at providers among them."""
        there = self.away.values()
        return self.completed + sum(n for n, _ in there), self.failed + sum(n for _, n in there)

    def add(self, size: int, usage: Counter[str], *, is_good: bool) -> None:
        """A line has an answer, or an error."""
        self.completed += is_good
        self.failed += not is_good
        self.usage += usage
        self.bytes += size
        self.is_told = False

    def come(self, batch: object) -> None:
        """A line of a provider's batch is here, which counts as such."""
        answered, failed = self.away.get(batch, (0, 0))
        is_good = answered > 0
        self.away[batch] = answered - is_good, max(failed - (not is_good), 0)

    def set_away(self, batch: object, answered: int, failed: int) -> None:
        """So much is there of a provider's batch."""
        if self.away.get(batch) != (answered, failed):
            self.away[batch] = answered, failed
            self.is_told = False


@dataclass
class BatchWork:
    """The work on a batch, which is this server's by `job`.

    Attributes:
        app: that answers its requests.
        places: for them, which all batches share.
        in_thread: calls a function beside the event loop.
        at_length: the same, of one that may take minutes.
        at_provider: the same, of one that asks a provider.
        caller: whose batch it is; None: not known yet, or not any more.
        is_waiting: for providers alone.
    """

    workspace: Workspace
    job: Job
    app: FastAPI
    places: Places
    in_thread: Callable[..., Awaitable[Any]]
    at_length: Callable[..., Awaitable[Any]]
    at_provider: Callable[..., Awaitable[Any]]
    caller: Caller | None = None
    is_waiting: bool = False
    end: EndSignal = field(default_factory=EndSignal)
    tally: Tally = field(default_factory=Tally)

    @property
    def known_caller(self) -> Caller:
        """The caller, who is known."""
        assert self.caller is not None
        return self.caller

    async def note(self, message: str) -> None:
        """Say something of the batch, in the events of its job and in the log."""
        log.info("%s: %s", self.job.id, message)
        with suppress(JobLostError):  # the next beat finds that, too
            await self.in_thread(queue.note, self.workspace.store, self.job, message)
