"""The lines of a batch: asked one by one or in their providers' batches, kept, and counted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Set
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from assay.errors import StoreError
from assay.jobs import batch_answers, shared_answers
from assay.jobs.batch_answers import format_answer, usage_of
from assay.jobs.batches import EVAL_ITEMS, Batch
from assay.project.answer.lines import AnsweredLine, OutgoingLine
from assay.project.jobs.evals import CHAT
from assay.serve.batch_input import BatchLine, RequestIndex, requests_of
from assay.serve.batch_providers import ProviderBatches
from assay.serve.batch_requests import LONGEST_PAUSE_S, UNAVAILABLE, LineReply, ask
from assay.serve.batch_work import BatchWork
from assay.store.files import append_durable

TRIES = 3
"""Of a line whose model cannot be asked; where one has used them up, those behind have one, until
the model answers again."""
FIRST_PAUSE_S = 1.0
"""Before lines are asked again that a budget had no room for."""
MOST_SHORT = 16
"""Of these that have no room again, before the others wait for the next time."""
SHARE_S = 30.0
"""Between two times that other servers are let have the answers."""
LAST_S = 5.0
"""What is under way at the end of the work holds the batch up so long, at most."""
FEW_ITEMS = 64
"""So many items of an eval's run are asked one by one: who starts one mostly waits for it."""
log = logging.getLogger("assay.serve")


class BatchLines:
    """The lines of a batch under way."""

    def __init__(self, work: BatchWork, batch: Batch) -> None:
        self._work, self._batch = work, batch
        self._tries = TRIES
        store = work.workspace.store
        self._path = batch_answers.input_of(store, batch.id)
        self._index = RequestIndex(self._path)
        new_log = partial(batch_answers.new_log, store, batch.id)
        self._log = AnswerLog(new_log, work.in_thread)
        self._away = ProviderBatches(work, self._take)
        self._left: set[int] = set()
        self._short = self._tried = 0
        self._reasons: set[str] = set()
        self._may_wait = batch.endpoint != EVAL_ITEMS or batch.total > FEW_ITEMS

    async def answer(self) -> None:
        """Answer those that have no answer yet, until all have one or the batch is to end."""
        work, store = self._work, self._work.workspace.store
        await work.at_length(shared_answers.bring, store, self._batch.id)
        found = await work.at_length(batch_answers.collect, store, self._batch.id)
        work.tally.begin(found)
        async with self._sharing():
            try:
                await self._answer_others(found.places.keys())
            finally:
                await self._away.close()
                await self._log.close()

    async def _answer_others(self, answered: Set[int]) -> None:
        work = self._work
        known = answered | await self._away.resume(answered)
        lines = requests_of(self._path, lambda number: number not in known)
        pause = FIRST_PAUSE_S
        while True:
            before = work.tally.counts
            await self._ask_all(lines)
            was_holding = self._away.is_holding
            self._left |= await self._away.finish(pause if self._left else None)
            if work.end.is_set() or not self._left:
                return
            if not was_holding:  # what they wait for is set aside for others
                await self._wait(pause)
            # While some are away, each try may send a few more in a batch of their own.
            is_stuck = self._away.is_holding or work.tally.counts == before
            pause = min(2 * pause, LONGEST_PAUSE_S) if is_stuck else FIRST_PAUSE_S
            lines = self._again()

    @asynccontextmanager
    async def _sharing(self) -> AsyncIterator[None]:
        """Let other servers have the answers meanwhile, and, if the batch goes on, at the end; what
        takes longer than `LAST_S` then goes on beside."""
        over = asyncio.Event()
        sharing = asyncio.create_task(self._share_until(over))
        try:
            yield
        finally:
            over.set()
            await asyncio.wait({sharing}, timeout=LAST_S)

    async def _share_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(SHARE_S):
                    await over.wait()
            if not over.is_set():
                await self._share()
        if self._work.end.is_departure():
            await self._share()

    async def _share(self) -> None:
        """Let other servers have the answers that are here, where there is a bucket."""
        store, id = self._work.workspace.store, self._batch.id
        if store.bucket is None:
            return
        await self._log.begin_anew()
        try:
            share = partial(shared_answers.share, all_but=self._log.path)
            await self._work.at_length(share, store, id)
        except (StoreError, OSError) as error:  # the next time will do
            log.warning("%s: other servers do not have its last answers yet: %s", id, error)

    async def _wait(self, seconds: float) -> None:
        self._work.is_waiting = True
        await self._work.end.wait(seconds)
        self._work.is_waiting = False

    def _again(self) -> Iterator[BatchLine]:
        """The lines that are left, from behind the last that was tried, around, until some of
        these have no room in the budget."""
        self._short, last = 0, self._tried
        for number in sorted(self._left, key=lambda number: (number <= last, number)):
            if self._short >= MOST_SHORT:
                return
            self._left.remove(number)
            self._tried = number
            yield self._index.read(number)

    async def _ask_all(self, lines: Iterator[BatchLine]) -> None:
        turn, end = asyncio.Lock(), self._work.end
        several = [
            asyncio.create_task(self._answer_lines(lines, turn))
            for _ in range(self._work.places.most)
        ]
        everything = asyncio.gather(*several)
        ended = asyncio.create_task(end.wait())
        first: set[asyncio.Future[Any]] = {everything, ended}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if end.reason is not None and end.reason.grace_s and not everything.done():
                await asyncio.wait({everything}, timeout=end.reason.grace_s)
            if everything.done():
                everything.result()
        finally:
            ended.cancel()
            everything.cancel()
            await asyncio.gather(everything, *several, return_exceptions=True)

    async def _answer_lines(self, lines: Iterator[BatchLine], turn: asyncio.Lock) -> None:
        """One line after the other."""
        work = self._work
        while not work.end.is_set():
            async with work.places:  # a line is read when it may be asked
                async with turn:
                    line = await work.in_thread(next, lines, None)
                if line is None or work.end.is_set():
                    return
                reply = await self._ask(line)
            tries = 1
            while reply is not None and (pause := reply.pause_s(tries, self._tries)) is not None:
                await work.end.wait(pause)
                async with work.places:
                    if work.end.is_set():
                        return
                    reply = await self._ask(line)
                tries += 1
            if reply is not None:
                await self._keep(line, reply)

    async def _ask(self, line: BatchLine) -> LineReply | None:
        """What is answered now; None: it goes to its provider with others, now or later."""
        work, endpoint = self._work, self._batch.endpoint
        if not self._may_wait:
            return self._left_if_short(
                line, await ask(work.app, work.known_caller, endpoint, line.body)
            )
        is_stored = endpoint == CHAT and line.is_stored
        outgoing = OutgoingLine(
            work.workspace,
            work.app.state.engines,
            is_stored=is_stored,
            can_wait=endpoint != EVAL_ITEMS,
        )
        try:
            reply = await ask(work.app, work.known_caller, endpoint, line.body, outgoing)
            if outgoing.model is not None:
                self._away.add(line.number, outgoing)
                return None
        except BaseException:  # the batch is left
            outgoing.leave()
            raise
        if (reason := outgoing.reason) is not None and reason not in self._reasons:
            self._reasons.add(reason)
            await work.note(f"Asked one by one, not in the provider's batches: {reason}.")
        return self._left_if_short(line, reply)

    def _left_if_short(self, line: BatchLine, reply: LineReply) -> LineReply | None:
        """The reply, unless there may be room in the budget later: then the line is asked again."""
        if not reply.is_short:
            return reply
        self._left.add(line.number)
        self._short += 1
        return None

    async def _take(self, number: int, answered: AnsweredLine) -> None:
        """Keep the answer to a line whose reply is there, unless the batch is left before."""
        work, endpoint = self._work, self._batch.endpoint
        line = await work.in_thread(self._index.read, number)
        tries = 1
        while True:
            async with work.places:
                reply = await ask(work.app, work.known_caller, endpoint, line.body, answered)
            pause = reply.pause_s(tries, 0)
            if pause is None:
                return await self._keep(line, reply)
            if work.end.is_departure():
                return None
            await asyncio.sleep(pause)
            tries += 1

    async def _keep(self, line: BatchLine, reply: LineReply) -> None:
        good, usage = reply.status == 200, Counter[str]()
        if good:
            usage = await self._work.in_thread(usage_of, reply.body)
            self._tries = TRIES
        elif reply.code == UNAVAILABLE:
            self._tries = 1
        request = f"req_{self._batch.id.partition('_')[2]}_{line.number}"
        answer = format_answer(line.number, line.custom_id, request, reply.status, reply.body, good)
        await self._log.keep(answer)
        self._work.tally.add(len(answer), usage, is_good=good)


class AnswerLog:
    """Appends answers to a file; those that come close together go to the disk together.

    Args:
        new: says where the next file is to be.

    Attributes:
        path: of the one that is written now.
    """

    def __init__(self, new: Callable[[], Path], in_thread: Callable[..., Awaitable[Any]]) -> None:
        self.path, self._new, self._in_thread = new(), new, in_thread
        self._turn = asyncio.Lock()
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def keep(self, answer: bytes) -> None:
        """Returns when it is on disk."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await done

    async def begin_anew(self) -> None:
        """Nothing more is written to the file that there is."""
        async with self._turn:
            if self.path.exists():
                self.path = self._new()

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
                async with self._turn:
                    await self._in_thread(append_durable, self.path, data)
            except Exception as problem:
                error = problem
            for _, done in some:
                if done.done():  # nobody waits for it any more
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
