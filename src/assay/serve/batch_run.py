"""One batch: checked, answered line by line, and put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from assay.accounts.keys import read_caller
from assay.accounts.quota import QuotaError
from assay.errors import NotFoundError, StoreError
from assay.jobs import batch_answers, batches, eval_runs, queue
from assay.jobs.batches import CANCELLED, EVAL_ITEMS, EXPIRED, Batch, Outcome
from assay.jobs.queue import JobLostError
from assay.project.jobs.batches import is_known
from assay.serve.batch_input import CheckedInput, check_input
from assay.serve.batch_lines import BatchLines
from assay.serve.batch_work import BatchWork, Departure, Ending

BEAT_S = 1.0
ROOM_BEATS = 10
"""Beats between two looks whether the project may have more of the disk."""
AWAY_S = 5.0
"""Before a batch is given back whose files or answers cannot be kept now."""
GRACE_S = 60.0
"""What a cancelled batch has begun may take so long to end: it is paid for."""

log = logging.getLogger("assay.serve")

REVOKED = Ending(
    "failed", {"code": "invalid_api_key", "message": "The API key that made this was revoked."}
)
_PAUSED, _LOST = Departure("paused"), Departure("lost")
_STOPPED = Departure("stopped", GRACE_S)  # whoever stops the server waits for less


class BatchRun:
    """A batch under way, which is this server's."""

    def __init__(self, work: BatchWork) -> None:
        self._work, self._job = work, work.job
        self._workspace, self._store = work.workspace, work.workspace.store
        self._in_thread, self._at_length = work.in_thread, work.at_length
        self._end, self._tally = work.end, work.tally
        self._is_over = asyncio.Event()
        self._claimed = 0  # of its bytes, in the project's quota

    @property
    def is_waiting(self) -> bool:
        """Whether all that it does is to wait for providers."""
        return self._work.is_waiting

    def stop(self) -> None:
        """End soon; the batch goes on elsewhere, or when the server is there again."""
        self._end.set(_STOPPED)

    async def run(self) -> None:
        """Do the batch; whatever happens, the queue knows what to do with it next."""
        heart = asyncio.create_task(self._beat())
        try:
            await self._do()
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

    async def _do(self) -> None:
        try:
            batch = await self._in_thread(batches.read, self._store, self._job.id)
        except NotFoundError:  # a run of an eval, deleted when it was over
            await self._tell(queue.stop, "cancel")
            return
        outcome, errors = batch.outcome, batch.errors
        self._tally.completed, self._tally.failed = batch.completed, batch.failed
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
            counts = {"completed": self._tally.completed, "failed": self._tally.failed}
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
        is_away = bool(batch_answers.provider_files(self._store, batch.id))
        if self._end.reason is None or is_away:  # what providers have answered is paid for
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
            await BatchLines(self._work, batch).answer()
        ending = self._end.reason
        if ending is None:
            return "completed", [], None
        if isinstance(ending, Departure):
            return ending
        return ending.outcome, [ending.why] if ending.outcome == "failed" else [], ending.why

    def _check(self, batch: Batch, path: Path) -> CheckedInput:
        if batch.endpoint == EVAL_ITEMS:  # written by us, of items that were looked at
            return CheckedInput(batch.total)
        knows = partial(is_known, self._workspace, self._work.known_caller, batch.endpoint)
        return check_input(path, batch.endpoint, knows)

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
                self._end.set(_LOST)
                return
            except Exception as error:  # a database that is away for a moment
                log.warning("the heartbeat of %s failed: %s", self._job.id, error)

    async def _tell_progress(self, batch: Batch) -> None:
        tally = self._tally
        done = sum(tally.counts)
        bar = {"label": "requests", "done": done, "total": batch.total, "unit": "request"}
        wish = await self._in_thread(
            queue.beat, self._store, self._job, bar if batch.begun else None
        )
        if wish == "cancel":
            self._end.set(Ending("cancelled", CANCELLED, GRACE_S))
        elif wish:
            self._end.set(_PAUSED)
        if not tally.is_told and batch.finalizing is None:
            tally.is_told = True
            counts = tally.counts  # as they are now: others may have come since the beat began
            await self._in_thread(batches.report, self._store, self._job, *counts, tally.usage)

    async def _look_around(self, batch: Batch, *, with_room: bool = False) -> None:
        """See whether the batch may go on."""
        caller = await self._in_thread(read_caller, self._store, batch.key_id)
        if caller is None:
            self._end.set(REVOKED)
            return
        self._work.caller = caller
        if batch.cancelling is not None:
            self._end.set(Ending("cancelled", CANCELLED, GRACE_S))
        if batch.is_late:
            self._end.set(Ending("expired", EXPIRED))
        if with_room:
            try:
                grown = self._tally.bytes - self._claimed  # beats are one after the other
                await self._in_thread(self._workspace.quota.take, batch.project, grown)
                self._claimed += grown
            except QuotaError as error:
                why = {"code": "storage_quota_exceeded", "message": str(error)}
                self._end.set(Ending("failed", why))

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
