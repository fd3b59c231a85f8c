"""Requests that a provider answers in its batches, at a share of the price, where its settings say.

Answers are kept as those of single requests are, and so are the same run's. A batch is on disk
beside them before it is sent: a run that was killed finds it again and asks nothing twice.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from assay.evaluate.run import AnswerBatches, OnBatch
from assay.generate.batch import Answer, BatchEngine, Request
from assay.generate.recorded import request_sha256
from assay.generate.remote.batch import RemoteBatchEngine, error_answer
from assay.generate.remote.model import check_unconstrained
from assay.generate.remote.provider_batch import (
    Batches,
    BatchFile,
    batch_endpoint,
    take_one_batch,
)
from assay.generate.remote.wire import NoAnswerError
from assay.progress import Progress
from assay.store.store import Store

FILE = "provider-batch.json"


def answer_by_provider(
    engine: BatchEngine, store: Store, progress: Progress
) -> AnswerBatches | None:
    """What answers several batches of a run by the provider's batches.

    A batch that is under way is waited for whatever the settings say by now. None where a model is
    at no provider, or the state is in a bucket: another server could not find a batch again.
    """
    if not isinstance(engine, RemoteBatchEngine) or store.bucket is not None:
        return None
    remote = engine

    def together(steps: Sequence[Sequence[Request]], answered: OnBatch, folder: Path) -> bool:
        file = BatchFile(folder / FILE)
        is_few = len(steps) < 2
        if not file.file.exists() and (is_few or not remote.provider.asks_batches(can_wait=False)):
            return False
        held = any(one.choices is not None for requests in steps for one in requests)
        check_unconstrained(remote.model.reference, held)
        left = file.read()
        named = _named(steps, left.requests if left is not None else {})
        _Steps(remote, named, answered).ask(file, progress)
        return True

    return together


class _Steps:
    """The batches of a run that are missing, and how each is answered."""

    def __init__(
        self, engine: RemoteBatchEngine, named: list[dict[str, Request]], answered: OnBatch
    ) -> None:
        self._engine, self._answered = engine, answered
        self._left = dict(enumerate(named))

    def ask(self, file: BatchFile, progress: Progress) -> None:
        """Ask for all, in as few batches as hold them; nothing more after one without an answer."""
        reason, again = "not tried after a batch without an answer", False
        endpoint = batch_endpoint(self._engine.model)
        batches = Batches(endpoint, file, progress)
        try:
            while True:
                under_way = file.read()
                begun = under_way.requests if under_way is not None else {}
                chosen = [n for n, one in self._left.items() if one.keys() & begun.keys()]
                if not chosen:  # of one that is under way all answers are kept
                    batches.forget()
                    if not self._engine.provider.asks_batches(can_wait=False):
                        again = True
                        break
                if not self._left:
                    return
                asked = self._requests(chosen or take_one_batch(self._left.items(), endpoint))
                found = dict(batches.ask(asked))
                missing = error_answer(batches.reason or "the batch has no answer to it")
                helped = any(one.has_answered for one in found.values())
                for number in [n for n, one in self._left.items() if one.keys() <= asked.keys()]:
                    self._end(number, found, missing, again=helped)
                batches.forget()
                if not helped:
                    break
        except NoAnswerError as failure:
            reason = batches.describe_failure(failure)
        for number in list(self._left):
            self._end(number, {}, error_answer(reason), again=again)

    def _requests(self, numbers: Iterable[int]) -> dict[str, Request]:
        return {name: one for n in numbers for name, one in self._left[n].items()}

    def _end(
        self, number: int, found: Mapping[str, Answer], missing: Answer, *, again: bool
    ) -> None:
        """Hand over a step.

        Args:
            again: what was not answered is asked for by single requests first.
        """
        requests = self._left.pop(number)
        answers = {name: found.get(name, missing) for name in requests}
        failed = [name for name, answer in answers.items() if not answer.has_answered]
        if again and failed:
            single = self._engine.answer([requests[name] for name in failed])
            answers |= dict(zip(failed, single, strict=True))
        self._answered(number, list(answers.values()))


def _named(
    steps: Sequence[Sequence[Request]], begun: Mapping[str, str]
) -> list[dict[str, Request]]:
    """Each request by a name of its own, which is that in the batch under way if it is asked there.

    Args:
        begun: `request_sha256` by the names of that batch. The same request twice has two.
    """
    there = defaultdict[str, list[str]](list)
    for name, sha256 in begun.items():
        there[sha256].append(name)
    seen: Counter[str] = Counter()

    def name_of(request: Request) -> str:
        sha256 = request_sha256(request)
        if there[sha256]:
            return there[sha256].pop()
        while True:
            seen[sha256] += 1
            name = f"{sha256[:40]}-{seen[sha256]}"
            if name not in begun:
                return name

    return [{name_of(request): request for request in step} for step in steps]
