"""Several processes that each do one piece of work at a time.

    workers.run(works, told, ended)

What a process does is a `WorkItem`, which is sent to it. It tells how far it is meanwhile, and is
asked to stop where nobody wants its result. A process that dies is replaced, and its work begun
again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from assay.errors import ConfigError, ModelError
from assay.progress import Progress

MOST_LOSSES = 3
"""How often one piece of work is begun again because its process has died."""
STARTED_S = 120.0
"""How long the first worker may take to be there."""
POLL_S = 0.5
"""Between two looks at what the workers tell."""

Tell = Callable[[object], None]
"""Within a worker: tells the process that has sent the work; raises `WorkStoppedError` once that
does not want its result any more."""


class WorkerLostError(ModelError):
    """A process of the cluster has died at its work."""


class WorkStoppedError(Exception):
    """Nobody wants the result of this work any more."""


class WorkItem(Protocol):
    """What a worker does; it is pickled."""

    @property
    def kept_bytes(self) -> int:
        """What the worker keeps in memory for the next piece of work (`assay.place.kept`)."""

    def run(self, tell: Tell) -> Any:
        """Do it from beginning to end, or from where an earlier worker was."""


@dataclass(frozen=True, slots=True)
class News:
    """What a worker has told since it was last asked.

    Attributes:
        told: in order.
        done: whether its work has ended; then `result` is what came of it, or `error` why none did.
    """

    told: Sequence[object]
    done: bool = False
    result: Any = None
    error: Exception | None = None


class Worker(Protocol):
    """One process, seen from the one that sends the work."""

    @property
    def ready(self) -> bool:
        """Whether its process has started and can be sent work."""

    def begin(self, work: WorkItem) -> None:
        """Send a piece of work; the one before has ended."""

    def news(self) -> News:
        """What has happened since the last call; of a process that died, a `WorkerLostError`."""

    def stop(self) -> None:
        """Ask it to leave its work."""

    def kill(self) -> None:
        """End the process at once, whatever it does."""


class Cluster(Protocol):
    """Where workers are had from."""

    def elsewhere(self) -> Sequence[str]:
        """Addresses of its machines, as they are now, beside this one."""

    def start(self, *, may_leave: bool) -> Worker:
        """Another process, which may take a while to be there.

        Args:
            may_leave: whether it may be on another machine, be it one that joins only now.
        """

    def wait(self, workers: Sequence[Worker], seconds: float) -> None:
        """Return when one of them has ended its work or has started, or after some seconds."""


@dataclass(slots=True)
class _Assignment:
    """A piece of work at a worker."""

    index: int
    stopped: Exception | None = None


@dataclass(slots=True)
class Workers:
    """So many processes of a cluster.

    Attributes:
        count: how many work at once, where the cluster has room for them.
        may_leave: whether they may be on other machines; see `stay_unless`.
    """

    cluster: Cluster
    count: int
    progress: Progress
    may_leave: bool = False
    _all: list[Worker] = field(default_factory=list)
    _held: dict[int, int] = field(default_factory=dict)

    @property
    def elsewhere(self) -> Sequence[str]:
        """Addresses of machines that they may be on, beside this one, as the cluster is now."""
        return self.cluster.elsewhere()

    def stay_unless(self, agreed: bool) -> None:
        """From now on they are on this machine, unless it was agreed that they may leave it."""
        if self.may_leave and not agreed:
            self.close()
        self.may_leave = agreed

    def held(self, here: int) -> int:
        """Bytes that at most so many of them keep from one piece of work to the next."""
        return sum(sorted(self._held.values(), reverse=True)[:here])

    def run(
        self,
        works: Sequence[WorkItem],
        told: Callable[[int, object], None],
        ended: Callable[[int, Any], None],
    ) -> None:
        """Have all works done, begun in their order, and return when the last one has ended.

        Where it is left otherwise the processes are ended, for they are still at work.

        Args:
            told: called with the index of a work and what it tells; what it raises stops that work.
            ended: called with the index of a work and its result; or with the exception: the one it
                has raised, or that `told` has.

        Raises:
            ConfigError: the cluster has no room for any worker.
            WorkerLostError: the processes that had one work have died one after the other.
        """
        try:
            self._run(works, told, ended)
        except BaseException:
            self.close()
            raise

    def _run(
        self,
        works: Sequence[WorkItem],
        told: Callable[[int, object], None],
        ended: Callable[[int, Any], None],
    ) -> None:
        waiting = deque(range(len(works)))
        busy: dict[int, _Assignment] = {}
        losses = [0] * len(works)
        waited = 0.0
        while waiting or busy:
            self._all += [
                self.cluster.start(may_leave=self.may_leave)
                for _ in range(min(self.count, len(waiting) + len(busy)) - len(self._all))
            ]
            for number, worker in enumerate(self._all):
                if waiting and number not in busy and worker.ready:
                    busy[number] = _Assignment(waiting.popleft())
                    worker.begin(works[busy[number].index])
            self.cluster.wait(self._all, POLL_S)
            waited = 0.0 if busy else waited + POLL_S
            if waited > STARTED_S:
                raise ConfigError(
                    "the Ray cluster has no room for a single worker.",
                    where="assay.yaml, place",
                    fix="Wait until processors are free, or use fewer threads (OMP_NUM_THREADS).",
                )
            lost = []
            for number, assignment in list(busy.items()):
                news = self._all[number].news()
                self._tell(assignment, news.told, told, self._all[number])
                if not news.done:
                    continue
                del busy[number]
                self._held[number] = works[assignment.index].kept_bytes
                if isinstance(news.error, WorkerLostError):
                    lost.append(number)
                    del self._held[number]
                    if assignment.stopped is None:
                        self._note(news.error, losses, assignment.index)
                        waiting.appendleft(assignment.index)
                        continue
                ended(assignment.index, assignment.stopped or news.error or news.result)
            for number in lost:
                self._all[number] = self.cluster.start(may_leave=self.may_leave)

    def close(self) -> None:
        """End the processes of all workers at once."""
        for worker in self._all:
            with suppress(Exception):  # of a cluster that has died itself there is nothing to end
                worker.kill()
        self._all.clear()
        self._held.clear()

    @staticmethod
    def _tell(
        assignment: _Assignment,
        events: Sequence[object],
        told: Callable[[int, object], None],
        worker: Worker,
    ) -> None:
        for event in events:
            if assignment.stopped is not None:
                return
            try:
                told(assignment.index, event)
            except Exception as error:
                assignment.stopped = error
                worker.stop()

    def _note(self, lost: WorkerLostError, losses: list[int], index: int) -> None:
        losses[index] += 1
        if losses[index] > MOST_LOSSES:
            raise WorkerLostError(
                f"{lost} That happened {losses[index]} times to the same work.",
                fix="Look for what ends it: too little memory ends processes (`dmesg`). The same "
                "command goes on from what is finished; `--on here` needs no further process.",
            )
        self.progress.say(f"{lost} Its work is begun again by another one.")
