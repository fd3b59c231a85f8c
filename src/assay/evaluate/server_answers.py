"""Batches of requests, answered together by a vLLM server (`assay.generate.vllm.batch`).

The server is kept full: requests of all batches are sent as places become free, and a batch is
handed over once its last request has come back, or in part when the run is ended. What the server
leaves unanswered is asked again a bounded number of times; one that is down is not asked for the
rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from assay.evaluate.run import (
    BACKOFF_S,
    BATCH_SIZE,
    RETRIES,
    SILENT_BATCHES,
    AnswerBatches,
    OnBatch,
    not_tried,
)
from assay.generate.batch import Answer, Request
from assay.generate.stream_batch import StreamBatchEngine
from assay.progress import Progress, say_quoting

SILENT_REQUESTS = SILENT_BATCHES * BATCH_SIZE
"""After so many in a row without an answer the server is taken to be down."""


def answer_by_server(
    engine: StreamBatchEngine, progress: Progress, sleep: Callable[[float], None] = time.sleep
) -> AnswerBatches:
    """What answers several batches of a run at once."""

    def together(steps: Sequence[Sequence[Request]], answered: OnBatch, _folder: Path) -> bool:
        batches = _Batches(engine, steps, answered)
        try:
            for attempt in range(RETRIES + 1):
                batches.ask()
                failed = batches.count_failed()
                if not failed or attempt == RETRIES:
                    return True
                pause = BACKOFF_S * 2**attempt
                plain = f"{failed} of {batches.count} requests failed"
                again_in = f"trying again in {pause:g} s."
                line = f"{plain} ({batches.reason}); {again_in}"
                say_quoting(progress, line, f"{plain}; {again_in}")
                sleep(pause)
        finally:  # after Ctrl-C, too: what is answered is not asked again
            batches.give_up()
        return True

    return together


class _Batches:
    """The batches of a run that are missing, and what is answered of them.

    Attributes:
        count: requests of all of them.
        reason: why one was left unanswered, of the last time.
    """

    def __init__(
        self, engine: StreamBatchEngine, steps: Sequence[Sequence[Request]], answered: OnBatch
    ) -> None:
        self._engine, self._steps, self._answered = engine, steps, answered
        self._found: list[dict[int, Answer]] = [{} for _ in steps]
        self._failed: dict[tuple[int, int], Answer] = {}
        self.count, self.reason = sum(map(len, steps)), ""

    def ask(self) -> None:
        """Ask for all that is not answered; hand over each batch of which all has come back."""
        left = [
            (number, place)
            for number, step in enumerate(self._steps)
            for place in range(len(step))
            if place not in self._found[number]
        ]
        silent, under_way = 0, Counter(number for number, _ in left)

        def drawn() -> Iterator[Request]:
            for number, place in left:
                if silent >= SILENT_REQUESTS:
                    return  # those that are under way may still be answered
                yield self._steps[number][place]

        with closing(self._engine.answer_each(drawn())) as answers:
            for at, answer in answers:
                number, place = left[at]
                if answer.finish == "error":
                    self._failed[number, place] = answer
                    silent, self.reason = silent + 1, answer.error or "no reason given"
                else:
                    silent = 0
                    self._found[number][place] = answer
                under_way[number] -= 1
                if not under_way[number]:  # what failed is asked again; a kill costs no more
                    self._hand_over(number)

    def count_failed(self) -> int:
        """How many are not answered."""
        return self.count - sum(map(len, self._found))

    def give_up(self) -> None:
        """Hand over the batches of which something is missing."""
        for number, step in enumerate(self._steps):
            if len(self._found[number]) < len(step):
                self._hand_over(number)

    def _hand_over(self, number: int) -> None:
        answers, untried = self._found[number], not_tried(self.reason)
        places = range(len(self._steps[number]))
        failed = [self._failed.get((number, place), untried) for place in places]
        self._answered(number, [answers.get(place, one) for place, one in enumerate(failed)])
