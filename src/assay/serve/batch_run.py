"""One batch: checked, answered line by line, and put together."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from starlette.types import ASGIApp

from assay.accounts.keys import Caller, read_caller
from assay.accounts.quota import QuotaError
from assay.errors import NotFoundError, StoreError
from assay.jobs import batch_answers, batches, eval_runs, queue
from assay.jobs.batch_answers import format_answer, usage_of
from assay.jobs.batches import CANCELLED, EVAL_ITEMS, EXPIRED, Batch, Outcome
from assay.jobs.queue import Job, JobLostError
from assay.project.jobs.batches import is_known
from assay.project.workspace import Workspace
from assay.serve.batch_input import BatchLine, CheckedInput, check_input, requests_of
from assay.serve.batch_requests import UNAVAILABLE, LineReply, Places, ask
from assay.store.files import append_durable

BEAT_S = 1.0
ROOM_BEATS = 10
"""Beats between two looks whether the project may have more of the disk."""
AWAY_S = 5.0
"""Before a batch is given back whose files or answers cannot be kept now."""
GRACE_S = 60.0
"""What a cancelled batch has begun may take so long to end: it is paid for."""
TRIES = 3
"""Of a line whose model cannot be asked; where one has used them up, those behind have one, until
the model answers again."""

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


REVOKED = Ending(
    "failed", {"code": "invalid_api_key", "message": "The API key that made this was revoked."}
)
_PAUSED, _LOST = Departure("paused"), Departure("lost")
_STOPPED = Departure("stopped", GRACE_S)  # whoever stops the server waits for less


class BatchRun:
    """A batch under way, which is this server's by `job`.

    Args:
        app: that answers its requests.
        places: for them, which all batches share.
        in_thread: calls a function beside the event loop.
        at_length: the same, of one that may take minutes.
    """

    def __init__(
        self,
        workspace: Workspace,
        job: Job,
        app: ASGIApp,
        places: Places,
        in_thread: Callable[..., Awaitable[Any]],
        at_length: Callable[..., Awaitable[Any]],
    ) -> None:
        self._at_length = at_length
        self._workspace, self._store, self._job = workspace, workspace.store, job
        self._app, self._places, self._in_thread = app, places, in_thread
        self._ending: Ending | Departure | None = None
        self._ended, self._is_over = asyncio.Event(), asyncio.Event()
        self._caller: Caller | None = None
        self._completed = self._failed = self._bytes = 0
        self._claimed = 0  # of its bytes, in the project's quota
        self._usage: Counter[str] = Counter()
        self._is_reported = True
        self._tries = TRIES

    def stop(self) -> None:
        """End soon; the batch goes on elsewhere, or when the server is there again."""
        self._end(_STOPPED)

    async def run(self) -> None:
        """Do the batch; whatever happens, the queue knows what to do with it next."""
        heart = asyncio.create_task(self._beat())
        try:
            await self._work()
        except JobLostError:
            log.warning("%s was given to another server", self._job.id)
        except asyncio.CancelledError:
            await self._tell(queue.release)
            raise
        except StoreError as error:  # away for a moment: given out again, as often as it takes
            log.warning("%s waits: %s", self._job.id, error)
            await asyncio.sleep(AWAY_S)
            with suppress(StoreError):  # else the queue sees that nobody has it
                await self._tell(queue.release)
        except Exception as error:
            log.exception("%s failed", self._job.id)
            why = {"code": "server_error", "message": "The server had an error; see its log."}
            try:
                await self._settle("failed", [why], why)
                await self._tell(
                    queue.fail, f"an unexpected error: {type(error).__name__}: {error}"
                )
            except Exception:  # the queue gives it out again
                log.exception("%s could not be ended", self._job.id)
        finally:
            self._is_over.set()
            await heart  # not cut off, or nobody knew what it has claimed
            if self._claimed:  # the files with the answers count now
                self._workspace.quota.give_back(self._job.project, self._claimed)

    async def _work(self) -> None:
        try:
            batch = await self._in_thread(batches.read, self._store, self._job.id)
        except NotFoundError:  # a run of an eval, deleted when it was over
            await self._tell(queue.stop, "cancel")
            return
        outcome, errors = batch.outcome, batch.errors
        self._completed, self._failed = batch.completed, batch.failed
        if outcome is None:
            found = await self._answer(batch)
            if isinstance(found, Departure):
                await self._leave(found)
                return
            outcome, errors, why = found
            await self._in_thread(batches.finalize, self._store, self._job)
            await self._settle(outcome, errors, why)  # from now on it may be deleted
        if batch.endpoint == EVAL_ITEMS:
            await self._at_length(eval_runs.tally_run, self._store, batch.id)
        if outcome == "completed":
            counts = {"completed": self._completed, "failed": self._failed}
            await self._tell(queue.finish, counts)
        elif outcome == "cancelled":
            await self._tell(queue.stop, "cancel")
        else:
            await self._tell(queue.fail, errors[0]["message"] if errors else EXPIRED["message"])

    async def _answer(
        self, batch: Batch
    ) -> Departure | tuple[Outcome, list[dict[str, Any]], dict[str, str] | None]:
        """How it ends: its outcome, errors, and why lines have no answer."""
        await self._look_around(batch)
        if self._ending is None:
            try:
                await self._at_length(batches.link_input, self._store, batch)
            except NotFoundError as error:
                return "failed", [{"code": "file_not_found", "message": str(error)}], None
            path = batch_answers.input_of(self._store, batch.id)
            if batch.begun is None:
                checked = await self._at_length(self._check, batch, path)
                if checked.problems:
                    return "failed", checked.problems, None
                await self._in_thread(
                    batches.begin, self._store, self._job, checked.total, checked.model
                )
            await self._go_on(batch, path)
        ending = self._ending
        if ending is None:
            return "completed", [], None
        if isinstance(ending, Departure):
            return ending
        return ending.outcome, [ending.why] if ending.outcome == "failed" else [], ending.why

    def _check(self, batch: Batch, path: Path) -> CheckedInput:
        if batch.endpoint == EVAL_ITEMS:  # written by us, of items that were looked at
            return CheckedInput(batch.total)
        knows = partial(is_known, self._workspace, self._known_caller(), batch.endpoint)
        return check_input(path, batch.endpoint, knows)

    def _known_caller(self) -> Caller:
        assert self._caller is not None
        return self._caller

    async def _go_on(self, batch: Batch, path: Path) -> None:
        """Answer the lines that have no answer yet."""
        found = await self._at_length(batch_answers.collect, self._store, batch.id)
        self._completed, self._failed = len(found.good), found.failed
        self._usage, self._bytes = Counter(found.usage), found.bytes
        lines = requests_of(path, found.places)
        kept = AnswerLog(batch_answers.new_log(self._store, batch.id), self._in_thread)
        turn = asyncio.Lock()
        several = [
            asyncio.create_task(self._answer_lines(batch, lines, turn, kept))
            for _ in range(self._places.most)
        ]
        everything = asyncio.gather(*several)
        ended = asyncio.create_task(self._ended.wait())
        first: set[asyncio.Future[Any]] = {everything, ended}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if self._ending is not None and self._ending.grace_s and not everything.done():
                await asyncio.wait({everything}, timeout=self._ending.grace_s)
            if everything.done():
                everything.result()
        finally:
            ended.cancel()
            everything.cancel()
            await asyncio.gather(*several, return_exceptions=True)
            await kept.close()

    async def _answer_lines(
        self, batch: Batch, lines: Iterator[BatchLine], turn: asyncio.Lock, kept: AnswerLog
    ) -> None:
        """One line after the other."""
        while not self._ended.is_set():
            async with self._places:  # a line is read when it may be asked
                async with turn:
                    line = await self._in_thread(next, lines, None)
                if line is None or self._ended.is_set():
                    return
                reply = await self._ask(batch, line)
            tries = 1
            while (pause := reply.pause_s(tries, self._tries)) is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._ended.wait()
                async with self._places:
                    if self._ended.is_set():
                        return
                    reply = await self._ask(batch, line)
                tries += 1
            await self._keep(batch, line, reply, kept)

    async def _ask(self, batch: Batch, line: BatchLine) -> LineReply:
        return await ask(self._app, self._known_caller(), batch.endpoint, line.body)

    async def _keep(self, batch: Batch, line: BatchLine, reply: LineReply, kept: AnswerLog) -> None:
        good, usage = reply.status == 200, Counter[str]()
        if good:
            usage = await self._in_thread(usage_of, reply.body)
            self._tries = TRIES
        elif reply.code == UNAVAILABLE:
            self._tries = 1
        request = f"req_{batch.id.partition('_')[2]}_{line.number}"
        answer = format_answer(line.number, line.custom_id, request, reply.status, reply.body, good)
        await kept.keep(answer)
        self._completed += good
        self._failed += not good
        self._usage += usage
        self._bytes += len(answer)
        self._is_reported = False

    async def _beat(self) -> None:
        beats = 0
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await self._is_over.wait()
                    return
            beats += 1
            try:
                batch = await self._in_thread(batches.read, self._store, self._job.id)
                await self._tell_progress(batch)
                await self._look_around(batch, with_room=beats % ROOM_BEATS == 0)
            except JobLostError:
                self._end(_LOST)
                return
            except Exception as error:  # a database that is away for a moment
                log.warning("the heartbeat of %s failed: %s", self._job.id, error)

    async def _tell_progress(self, batch: Batch) -> None:
        done = self._completed + self._failed
        bar = {"label": "requests", "done": done, "total": batch.total, "unit": "request"}
        wish = await self._in_thread(
            queue.beat, self._store, self._job, bar if batch.begun else None
        )
        if wish == "cancel":
            self._end(Ending("cancelled", CANCELLED, GRACE_S))
        elif wish:
            self._end(_PAUSED)
        if not self._is_reported and batch.finalizing is None:
            self._is_reported = True
            await self._in_thread(
                batches.report, self._store, self._job, self._completed, self._failed, self._usage
            )

    async def _look_around(self, batch: Batch, *, with_room: bool = False) -> None:
        """See whether the batch may go on."""
        caller = await self._in_thread(read_caller, self._store, batch.key_id)
        if caller is None:
            self._end(REVOKED)
            return
        self._caller = caller
        if batch.cancelling is not None:
            self._end(Ending("cancelled", CANCELLED, GRACE_S))
        if batch.is_late:
            self._end(Ending("expired", EXPIRED))
        if with_room:
            try:
                grown = self._bytes - self._claimed  # beats are one after the other
                await self._in_thread(self._workspace.quota.take, batch.project, grown)
                self._claimed += grown
            except QuotaError as error:
                why = {"code": "storage_quota_exceeded", "message": str(error)}
                self._end(Ending("failed", why))

    def _end(self, ending: Ending | Departure) -> None:
        """End before all is answered; the first reason counts, unless the batch is another's."""
        if self._ending is None or ending is _LOST:
            self._ending = ending
            self._ended.set()

    async def _settle(
        self, outcome: Outcome, errors: list[dict[str, Any]], why: dict[str, str] | None
    ) -> None:
        await self._at_length(
            batches.settle,
            self._store,
            self._job.id,
            outcome,
            errors=errors,
            unanswered=why,
            job=self._job,
        )

    async def _leave(self, departure: Departure) -> None:
        if departure.how == "stopped":
            await self._tell(queue.release)
        elif departure.how == "paused":
            await self._tell(queue.stop, "pause")
        else:
            log.warning("%s was given to another server", self._job.id)

    async def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        try:
            await self._in_thread(what, self._store, self._job, *arguments)
        except JobLostError as error:
            log.warning("%s", error)


class AnswerLog:
    """Appends answers to a file; those that come close together go to the disk together."""

    def __init__(self, path: Path, in_thread: Callable[..., Awaitable[Any]]) -> None:
        self._path, self._in_thread = path, in_thread
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def keep(self, answer: bytes) -> None:
        """Returns when it is on disk."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def close(self) -> None:
        """Wait for what is being written."""
        if self._writer is not None:
            await asyncio.wait({self._writer})

    async def _write(self) -> None:
        while self._waiting:
            some, self._waiting = self._waiting, []
            error: Exception | None = None
            try:
                data = b"".join(answer for answer, _ in some)
                await self._in_thread(append_durable, self._path, data)
            except Exception as problem:
                error = problem
            for _, done in some:
                if done.done():  # nobody waits for it any more
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
