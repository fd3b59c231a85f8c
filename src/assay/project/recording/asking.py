"""The answers of a recording, one after the other: each is on disk before the next is relied on.

A process that is killed loses the answers that were under way, of which there are at most as many
as the provider's `concurrency`; only these are asked for again.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

from assay.accounts import costs
from assay.agent.runtime import assemble_plain
from assay.errors import ConfigError, OutageError, Step, UsageError
from assay.example import Example
from assay.generate.batch import Answer, Request
from assay.generate.recorded import RecordedAnswer, request_sha256
from assay.generate.remote.batch import RemoteBatchEngine
from assay.generate.remote.model import RemoteModel
from assay.generate.remote.provider_batch import (
    Batches,
    BatchFile,
    batch_endpoint,
    take_one_batch,
)
from assay.generate.remote.wire import NoAnswerError
from assay.progress import SILENT, Progress, Task
from assay.project.recording.draft import LEAST_OBSERVED, Reckoner, RecordingDraft
from assay.project.recording.inputs import Part, open_holdout_inputs
from assay.quantities import say_count
from assay.rescue.recording import Recording, opened_recording

MOST_FAILURES = 5
"""In a row: the provider does not answer any more for now."""
MOST_REFUSED = 10
"""Before the first answer: the fault is in how the model is asked, and nothing is kept."""


@dataclass(frozen=True, slots=True)
class _PendingAnswer:
    """An answer that is to be had; `most_usd` is what it cannot exceed, None where no price is."""

    part: Part
    input_sha256: str
    example: Example
    request: Request
    most_usd: float | None


def record(
    draft: RecordingDraft, *, most_usd: float | None = None, progress: Progress = SILENT
) -> dict[str, Any]:
    """Ask for every answer of a draft that is not there yet, and keep it.

    Args:
        most_usd: what all answers of the recording may cost, those of earlier runs among them;
            None: whatever they cost.

    Returns:
        What was recorded, what is left and why, and what it cost; `complete` where nothing is left.

    Raises:
        ConfigError: a budget is given and the price is not known, or the key cannot be read.
        UsageError: these inputs were recorded before, asked in another way.
        OutageError: the model refuses everything it is asked.
        HoldoutError: the holdout is not the one that was locked.
        StateError, StoreError: as `opened_recording`.
    """
    provider, model = draft.access.provider, draft.model
    with opened_recording(draft.to, model, provider.base_url) as recording:
        run = _Run(draft, recording, most_usd, progress)
        wanted = list(run.wanted())
        left = BatchFile(recording.file.with_suffix(".batch.json"))
        with progress.task("recording", len(wanted), "answers") as task:
            if draft.choices.batch:
                run.ask_in_batches(left, wanted, task)
            else:
                _check_none(left)
                engine = RemoteBatchEngine(
                    draft.access.name, model, provider, key=lambda: draft.access.key
                )
                with closing(engine):
                    run.ask(engine, wanted, task)
        return run.report(len(wanted))


def check_budget(draft: RecordingDraft, most_usd: float | None) -> None:
    """See that a budget can be kept.

    Raises:
        UsageError: this is no amount.
        ConfigError: one is given and the model's price is not known.
    """
    costs.check_budget(most_usd)
    if most_usd is not None and draft.price is None:
        raise ConfigError(
            f"the price of {draft.model} is not known, so no budget can be kept.",
            fix=f"Give its price per million tokens {Step.GIVE_PRICE}.",
        )


class _Run:
    """One run of a recording: what is spent, what fails, what is left."""

    def __init__(
        self,
        draft: RecordingDraft,
        recording: Recording,
        most_usd: float | None,
        progress: Progress,
    ) -> None:
        self._draft, self._recording, self._most = draft, recording, most_usd
        self._progress = progress
        share = draft.choices.price_share
        self._reckoner = Reckoner(draft.agent, draft.model, draft.access.provider, {}, share=share)
        check_budget(draft, most_usd)
        self._spent = self._reckoner.spent_usd(recording.answers.values())
        self._reserved: dict[int, float] = {}
        self._failures, self._reason, self._is_spent = 0, "", False
        self._refused: list[RecordedAnswer] = []
        self._new: Counter[str] = Counter()
        self._began, self._told = time.monotonic(), False

    def wanted(self) -> Iterator[_PendingAnswer]:
        """What is not there yet, in the order of its worth; the holdout is read if it is asked."""
        draft = self._draft
        for inputs in draft.inputs:
            left = [one for one in inputs.hashes if not self._recording.has(one)]
            examples = inputs.examples
            project = draft.choices.project
            if inputs.part == "holdout" and left and project is not None:
                examples = open_holdout_inputs(project, draft.access, draft.model)
                left = [one for one in left if one in examples]
            self._check_same_requests(examples)
            requests = assemble_plain(draft.agent, [examples[one] for one in left])
            for asked, request in zip(left, requests, strict=True):
                most = self._reckoner.most_usd(request)
                yield _PendingAnswer(inputs.part, asked, examples[asked], request, most)

    def _check_same_requests(self, examples: dict[str, Example]) -> None:
        """What is there must have been asked as it would be asked now."""
        there = [one for one in examples if self._recording.has(one)]
        requests = assemble_plain(self._draft.agent, [examples[one] for one in there])
        known = self._recording.answers
        other = sum(
            known[one].request_sha256 != request_sha256(request)
            for one, request in zip(there, requests, strict=True)
        )
        if other:
            raise UsageError(
                f"{other} of these inputs {'was' if other == 1 else 'were'} recorded with another "
                "system prompt or another limit of the answer.",
                where=str(self._recording.file),
                fix="Ask as before, or name another folder.",
            )

    def ask(self, engine: RemoteBatchEngine, wanted: list[_PendingAnswer], task: Task) -> None:
        """Ask for answers until all are there, the budget is used up or the provider is down."""
        waiting = iter(wanted)
        ahead: list[_PendingAnswer] = []
        logprobs = self._logprobs()
        while True:
            sent: list[_PendingAnswer] = []
            requests = self._affordable(waiting, ahead, sent, logprobs)
            with closing(engine.answer_each(requests)) as answers:
                for number, answer in answers:
                    self._take(sent[number], number, answer, task)
            self._reserved.clear()
            # With nothing under way any more there may be room for the one that was too dear.
            if not sent or self._failures >= MOST_FAILURES:
                return

    def _logprobs(self) -> int | None:
        if not self._draft.choices.logprobs:
            return None
        from assay.train.teacher import TOP  # loads torch

        return TOP

    def ask_in_batches(self, left: BatchFile, wanted: list[_PendingAnswer], task: Task) -> None:
        """Ask for answers a batch at a time; one that a run before has begun comes first."""
        access = self._draft.access
        model = RemoteModel(access.name, self._draft.model, access.provider, key=lambda: access.key)
        with closing(model):
            endpoint = batch_endpoint(model)
            batches = Batches(endpoint, left, self._progress)
            begun = batches.begun(
                {one.input_sha256: one.request for one in wanted}, self._recording.has
            )
            try:
                if begun:
                    first = [one for one in wanted if one.input_sha256 in begun]
                    self._take_batch(batches, first, task)
                while not self._reason:
                    rest = (one for one in wanted if not self._recording.has(one.input_sha256))
                    sent: list[_PendingAnswer] = []
                    named = ((one, self._requests([one])) for one in rest)
                    fitting = take_one_batch(named, endpoint)
                    deque(self._affordable(fitting, [], sent, None), maxlen=0)
                    if not sent or not self._take_batch(batches, sent, task):
                        return
            except NoAnswerError as failure:
                self._reason = batches.describe_failure(failure)

    def _requests(self, sent: list[_PendingAnswer]) -> dict[str, Request]:
        """What is sent for each in a batch, by its name there."""
        logprobs = self._logprobs()
        return {one.input_sha256: replace(one.request, logprobs=logprobs) for one in sent}

    def _take_batch(self, batches: Batches, sent: list[_PendingAnswer], task: Task) -> bool:
        """Whether a batch of these has brought an answer that is kept."""
        numbers = {one.input_sha256: number for number, one in enumerate(sent)}
        before = sum(self._new.values())
        try:
            for name, answer in batches.ask(self._requests(sent)):
                if (number := numbers.pop(name, None)) is not None:
                    self._reserved.setdefault(number, 0.0)  # of a run before, which has counted it
                    self._take(sent[number], number, answer, task)
            batches.forget()
        except OutageError:  # all of them are refused, and none is kept
            batches.forget()
            raise
        self._reserved.clear()
        if numbers and not self._reason:
            self._reason = batches.reason or "the batch has no answer to some"
        return sum(self._new.values()) > before

    def _affordable(
        self,
        waiting: Iterator[_PendingAnswer],
        ahead: list[_PendingAnswer],
        sent: list[_PendingAnswer],
        logprobs: int | None,
    ) -> Iterator[Request]:
        """Requests as long as the budget bears the most that those under way may cost.

        Args:
            ahead: the one that was too dear while others were under way; it comes first.
            sent: those that were drawn are added.
        """
        while self._failures < MOST_FAILURES:
            one = ahead.pop() if ahead else next(waiting, None)
            if one is None:
                return
            most = one.most_usd or 0.0
            if self._most is not None and self._spent + sum(self._reserved.values()) + most > (
                self._most
            ):
                ahead.append(one)
                self._is_spent = True
                return
            self._is_spent = False
            self._reserved[len(sent)] = most
            sent.append(one)
            yield replace(one.request, logprobs=logprobs)

    def _take(self, one: _PendingAnswer, number: int, answer: Answer, task: Task) -> None:
        most = self._reserved.pop(number)
        if answer.finish == "error":
            self._failures += 1
            self._spent += most  # a provider may bill what it did not answer
            self._reason = answer.error or "no reason given"
            return
        provider = self._draft.access.provider
        line = RecordedAnswer(
            id=one.example.id,
            part=one.part,
            input_sha256=one.input_sha256,
            request_sha256=request_sha256(one.request),
            model=self._draft.model,
            base_url=provider.base_url,
            answer=answer,
            at=time.time(),
            turns=() if one.part == "holdout" else one.example.prompt,
            tools=one.example.tools,
        )
        usd = self._reckoner.cost(line)
        line = replace(line, usd=usd, most_usd=one.most_usd if usd is None else None)
        self._failures = 0
        self._spent += line.spent_usd
        if answer.finish == "refused" and not self._recording.answers:
            self._hold_back(line)
            return
        for kept in (*self._refused, line):
            self._recording.add(kept)
            self._new[kept.part] += 1
            task.advance(usd=round(self._spent, 4))
        self._refused.clear()
        self._tell_rate()

    def _hold_back(self, line: RecordedAnswer) -> None:
        """A refusal is kept once anything was answered."""
        self._refused.append(line)
        if len(self._refused) >= MOST_REFUSED:
            raise OutageError(
                f"the model refuses what it is asked ({line.answer.error}).",
                plain="the model refuses what it is asked.",
                fix="Check the model's name, the prompt and --max-new-tokens; nothing was kept.",
            )

    def _tell_rate(self) -> None:
        """The estimate again, by the first answers of this run."""
        done = sum(self._new.values())
        if self._told or done < LEAST_OBSERVED:
            return
        self._told = True
        left = self._draft.requests - done
        seconds = left * (time.monotonic() - self._began) / done
        answers = list(self._recording.answers.values())[-done:]
        costs = [one.usd for one in answers if one.usd is not None]
        money = f", USD {left * sum(costs) / len(costs):.2f}" if costs else ""
        self._progress.say(
            f"By the first {done} answers, the other {left} take about "
            f"{say_count(round(seconds / 60), 'minute')}{money}."
        )

    def report(self, wanted: int) -> dict[str, Any]:
        """What was recorded, and what is left and why."""
        new, answers = sum(self._new.values()), self._recording.answers.values()
        left = wanted - new
        reasons = []
        if self._is_spent:
            reasons.append("the budget is used up")
        if self._reason:
            reasons.append(f"the provider did not answer ({self._reason})")
        if self._refused:
            reasons.append(f"the model refuses what it is asked ({self._refused[0].answer.error})")
        return {
            "model": self._draft.model,
            "file": str(self._recording.file),
            "recorded": new,
            "recorded_by_part": dict(self._new),
            "answers": len(answers),
            "cut": sum(one.answer.finish == "length" for one in answers),
            "refused": sum(one.answer.finish == "refused" for one in answers),
            "with_logprobs": sum(one.answer.logprob is not None for one in answers),
            "left": left,
            "left_because": "; ".join(reasons) or None,
            "usd": sum(one.usd for one in answers if one.usd is not None),
            "unpriced": sum(one.usd is None for one in answers),
            "complete": not left,
        }


def _check_none(left: BatchFile) -> None:
    """Refuse to ask one by one what a batch asks already; raises UsageError."""
    if left.file.exists():
        raise UsageError(
            "a batch of this model is under way.",
            where=str(left.file),
            fix="Give --batch as well, to wait for its answers.",
        )
