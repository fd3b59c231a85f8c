"""Lines of a batch that go out in their providers' own batches: begun, waited for, taken.

    away = ProviderBatches(work, take)
    known = await away.resume(answered)         # what a server before has begun
    away.add(7, outgoing)
    again = await away.finish(30.0)

Each is on disk before the provider hears of it, until all of its answers are: a server that is
killed is followed by one that finds it again, unless the provider does not list it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterator

from assay.jobs import batch_answers
from assay.jobs.batches import WINDOW
from assay.project.answer.line_batches import (
    LineBatch,
    ProviderBatchError,
    cancel_kept,
    describe_kept,
)
from assay.project.answer.lines import AnsweredLine, OutgoingLine
from assay.project.workspace import Workspace
from assay.quantities import say_count
from assay.serve.batch_work import BatchWork, Ending

POLL_S = 10.0
"""Between two looks at a provider's batch."""
TRIES = 3
"""To begin one, where it is known that it was not begun."""
MOST_TRIES = 2160
"""In a row, six hours long, of what the provider will not do at another attempt either: its key may
be mended. Whatever else goes wrong is tried again until the batch ends."""
CANCEL_S = 900.0
"""What is cancelled may take so long to end at the provider, which says ten minutes."""
_TAKEN = ("cancelled", "expired")
"""Outcomes of a batch that keeps what its providers have answered by then."""

log = logging.getLogger("assay.serve")
Take = Callable[[int, AnsweredLine], Awaitable[None]]


class ProviderBatches:
    """The providers' batches of one batch.

    Args:
        take: keeps the answer to a line, by its number and what opens it.
    """

    def __init__(self, work: BatchWork, take: Take) -> None:
        self._work, self._take = work, take
        self._open: dict[str, LineBatch] = {}
        self._running: dict[asyncio.Task[None], LineBatch] = {}
        self._again: set[int] = set()
        self._taking = 0

    @property
    def is_holding(self) -> bool:
        """Whether lines are waiting to be sent, or under way."""
        return bool(self._open or self._running)

    async def resume(self, answered: Collection[int]) -> set[int]:
        """Go on with what is under way; returns the lines that it asks.

        Args:
            answered: lines that have an answer here.
        """
        known = set[int]()
        workspace = self._work.workspace
        for file in batch_answers.provider_files(workspace.store, self._work.job.id):
            try:
                one = await self._work.at_length(LineBatch, workspace, file)
            except ProviderBatchError as error:  # its lines are asked, or refused, as they are now
                await self._work.note(f"A provider's batch cannot be found again: {error.what}")
                file.unlink(missing_ok=True)
                continue
            one.lines -= set(answered)
            known |= one.lines
            if one.lines:
                self._start(one)
            else:
                one.forget()
        return known

    def add(self, number: int, line: OutgoingLine) -> None:
        """Let a line go out with others to the same model."""
        assert line.model is not None
        assert line.engine is not None
        one = self._open.get(line.model)
        if one is not None and one.add(number, line):
            return
        if one is not None:
            self._start(one)
        store, id = self._work.workspace.store, self._work.job.id
        file = batch_answers.new_provider_file(store, id)
        one = self._open[line.model] = LineBatch(self._work.workspace, file, line.engine.remote)
        one.add(number, line)

    async def finish(self, seconds: float | None) -> set[int]:
        """Send what waits and take what comes, until nothing is under way or the batch is left;
        returns the lines that nobody has asked after all, as soon as there are some.

        Args:
            seconds: after which it returns in any case, unless the batch ends; None: never.
        """
        while self._open:
            _, one = self._open.popitem()
            if self._work.end.is_set():
                one.release(self._work.known_caller, is_unasked=True)
            else:
                self._start(one)
        until = None if seconds is None else time.monotonic() + seconds
        while self._running:
            left = None if until is None else max(0.0, until - time.monotonic())
            self._work.is_waiting = not self._taking
            done, _ = await asyncio.wait(
                self._running, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                del self._running[task]
                task.result()
            if self._work.end.is_set():
                until = None
            elif self._again or not done:
                break
        self._work.is_waiting = False
        again, self._again = self._again, set()
        return again

    async def close(self) -> None:
        """End whatever is at work here; what is under way at providers stays so."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        for one in self._open.values():
            one.release(self._work.known_caller, is_unasked=True)

    def _start(self, one: LineBatch) -> None:
        self._running[asyncio.create_task(self._run(one))] = one

    async def _run(self, one: LineBatch) -> None:
        is_ended = False
        try:
            if await self._begin(one) and await self._watch(one):
                self._taking += 1
                self._work.is_waiting = False
                is_ended = await self._keep_replies(one)
                self._taking -= 1
        finally:
            # A server that goes on with it later charges nothing: here it counts in full.
            caller = self._work.caller
            if caller is not None:
                one.release(caller, is_unasked=is_ended or not one.is_kept)
        if is_ended:
            one.forget()
            self._work.tally.set_away(one, 0, 0)

    async def _begin(self, one: LineBatch) -> bool:
        """Whether the provider has it, by an id that is on disk."""
        tries, started = 0, time.monotonic()
        while one.id is None:
            ends = self._work.end.is_set()
            if self._work.end.is_departure() or (ends and not one.is_kept):
                return False
            try:
                if one.is_new and not ends:
                    await self._work.at_provider(one.begin)
                elif not await self._work.at_provider(one.find):
                    self._again |= one.lines
                    return False
            except ProviderBatchError as error:
                tries = tries + 1 if not one.is_kept or error.is_lasting else 0
                most = MOST_TRIES if one.is_kept else 1 if error.is_lasting else TRIES
                if tries >= most or (ends and time.monotonic() - started > CANCEL_S):
                    await self._fail(one, error)
                    return False
                await self._pause()
        await self._work.note(
            f"{say_count(len(one.lines), 'request is', 'requests are')} in the provider's batch "
            f"{one.id}; it may take a day."
        )
        return True

    async def _watch(self, one: LineBatch) -> bool:
        """Whether it is over and its answers are wanted; one that is not to go on is cancelled."""
        tries, is_cancelled, cancelled = 0, False, 0.0
        while not self._work.end.is_departure():
            reason = self._work.end.reason
            try:
                if isinstance(reason, Ending) and not is_cancelled:
                    cancelled = cancelled or time.monotonic()
                    try:
                        await self._work.at_provider(one.cancel)
                        is_cancelled = True
                    except ProviderBatchError:  # it is over, or the next time will do
                        pass
                await self._work.at_provider(one.look)
                tries = 0
            except ProviderBatchError as error:
                tries += error.is_lasting
                if tries >= MOST_TRIES:
                    await self._fail(one, error)
                    return False
            self._work.tally.set_away(one, one.answered, one.failed)
            wanted = not isinstance(reason, Ending) or reason.outcome in _TAKEN
            if one.is_over or (is_cancelled and not wanted):
                return wanted
            if cancelled and time.monotonic() - cancelled > CANCEL_S:
                await self._work.note(f"The provider does not end its batch {one.id}.")
                return False
            await self._pause()
        return False

    async def _keep_replies(self, one: LineBatch) -> bool:
        """Whether all of it is kept: answers, and errors of lines that will have none."""
        tries, missing, ended = 0, len(one.lines), 0.0
        while (
            error := await self._take_all(one, one.replies(is_ended=self._work.end.is_set()))
        ) is not None:
            tries = tries + error.is_lasting if len(one.lines) == missing else 0
            missing = len(one.lines)
            if self._work.end.is_set():
                ended = ended or time.monotonic()
                if self._work.end.is_departure() or time.monotonic() - ended > CANCEL_S:
                    return False
            if tries >= MOST_TRIES:
                await self._fail(one, error)
                return False
            await self._pause()
        if not self._work.end.is_set():  # else it is told why the batch has ended
            await self._take_all(one, one.failures(is_paid=False))
        return not self._work.end.is_departure()

    async def _take_all(
        self, one: LineBatch, replies: Iterator[tuple[int, AnsweredLine]]
    ) -> ProviderBatchError | None:
        """Take answers, as many at once as requests are asked; returns why there are no more."""
        turn, end = asyncio.Lock(), self._work.end
        stopped: ProviderBatchError | None = None

        async def take() -> None:
            nonlocal stopped
            while stopped is None and not end.is_departure():
                async with turn:
                    try:
                        found = await self._work.at_provider(next, replies, None)
                    except ProviderBatchError as error:
                        stopped = error
                        return
                if found is None:
                    return
                self._work.tally.come(one)
                await self._take(*found)

        several = [asyncio.create_task(take()) for _ in range(self._work.places.most)]
        try:
            await asyncio.gather(*several)
        finally:  # a batch that is left takes nothing more
            for task in several:
                task.cancel()
            await asyncio.gather(*several, return_exceptions=True)
        return stopped

    async def _fail(self, one: LineBatch, error: ProviderBatchError) -> None:
        """Let its lines be errors, unless the batch ends for another reason."""
        await self._work.note(f"The provider's batch {one.id or ''} failed: {error.what}")
        if not self._work.end.is_set():
            await self._take_all(one, one.failures(error.what, is_paid=one.is_kept))
        if self._work.caller is not None:
            one.release(self._work.caller, is_unasked=not one.is_kept)
        one.forget()

    async def _pause(self) -> None:
        if self._work.end.is_set():
            await asyncio.sleep(min(POLL_S, 2.0))
        else:
            await self._work.end.wait(POLL_S)


def cancel_left(workspace: Workspace, id: str) -> None:
    """Cancel what providers still do for a batch that is over, which nobody goes on with. What is
    not cancelled is kept, to be tried again until it is so old that it has ended."""
    for file in batch_answers.provider_files(workspace.store, id):
        try:
            age, name = time.time() - file.stat().st_mtime, describe_kept(file)
        except FileNotFoundError:  # another server has cancelled it
            continue
        try:
            if cancel_kept(workspace, file):
                log.info("%s: %s is cancelled", id, name)
        except ProviderBatchError as error:
            if age < WINDOW.total_seconds():
                log.warning("%s: %s is not cancelled, and tried again: %s", id, name, error)
            else:
                log.warning("%s: %s was not cancelled; it may have to be paid for", id, name)
                file.unlink(missing_ok=True)
