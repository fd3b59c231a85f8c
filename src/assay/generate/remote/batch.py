"""Answers from a provider's model, whole, for a comparison; `stream` has them in pieces.

    engine = RemoteBatchEngine("openai", "gpt-4.1-mini", config.providers["openai"])

An answer that is late, cut or no answer at all comes back with finish `error` after bounded
retries, a request that is too long or held back with `refused`; in a stream both are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from threading import Event

from assay.config import Provider
from assay.example import Message
from assay.generate.batch import Answer, Request
from assay.generate.remote.model import RemoteModel, check_unconstrained, sum_logprobs
from assay.generate.remote.wire import Completion, CompletionRequest, NoAnswerError
from assay.generate.stream import Sampling
from assay.progress import SILENT, Progress


@dataclass
class _BatchState:
    """What the requests of one call of `answer` share.

    Attributes:
        stop: set when nobody waits for the answers any more.
        refusal: why no request can succeed (a wrong key), once that is known.
    """

    key: str | None
    stop: Event = field(default_factory=Event)
    refusal: str | None = None


class RemoteBatchEngine:
    """A `BatchEngine` over one model of a provider.

    Args:
        name: of the provider, for messages.
        model: as the provider calls it.
        key: where the key comes from; None: from where the configuration says.
        backoff_s: pause before the second attempt; doubled for each further one, up to half of it
            left to chance.
    """

    def __init__(
        self,
        name: str,
        model: str,
        provider: Provider,
        *,
        key: Callable[[], str | None] | None = None,
        backoff_s: float = 1.0,
    ) -> None:
        self.model = RemoteModel(name, model, provider, key=key, backoff_s=backoff_s)
        self.provider = provider

    @property
    def identity(self) -> dict[str, str]:
        """All that is known of what can change an answer and is not in the request."""
        known = {
            "engine": "remote",
            "base_url": self.provider.base_url,
            "model": self.model.model,
        }
        return known if self.provider.protocol == "openai" else known | {"protocol": "anthropic"}

    def prompt_length(self, request: Request) -> int:
        """0, since only the provider counts tokens."""
        return 0

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """One answer for each request, in their order; `provider.concurrency` at a time.

        Once the provider has refused the key or the model, the rest is not sent.

        Raises:
            ConfigError: there is no key where the configuration says, the address is not allowed,
                or a request has a closed list of answers, which the protocol cannot enforce.
        """
        check_unconstrained(self.model.reference, any(r.choices is not None for r in requests))
        call = _BatchState(self.model.key())
        with (
            progress.task(f"asking {self.model.name}", len(requests), "answers") as task,
            ThreadPoolExecutor(self.provider.concurrency) as workers,
        ):
            running = [workers.submit(self._answer, request, call) for request in requests]
            try:
                answers = []
                for one in running:
                    answers.append(one.result())
                    task.advance()
            except BaseException:
                call.stop.set()
                workers.shutdown(wait=False, cancel_futures=True)
                raise
        return answers

    def answer_each(self, requests: Iterable[Request]) -> Generator[tuple[int, Answer]]:
        """Answers as they come, each with the number of its request, counted from 0.

        A request is drawn when it is sent, so whoever gives them may stop whenever enough is spent.

        Raises:
            ConfigError: as `answer`.
        """
        call = _BatchState(self.model.key())
        numbered, running = enumerate(requests), dict[Future[Answer], int]()
        with ThreadPoolExecutor(self.provider.concurrency) as workers:
            try:
                while True:
                    for number, request in islice(
                        numbered, self.provider.concurrency - len(running)
                    ):
                        check_unconstrained(self.model.reference, request.choices is not None)
                        running[workers.submit(self._answer, request, call)] = number
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for one in done:
                        yield running.pop(one), one.result()
            except BaseException:
                call.stop.set()
                workers.shutdown(wait=False, cancel_futures=True)
                raise

    def close(self) -> None:
        """Close the connections to the provider."""
        self.model.close()

    def _answer(self, request: Request, call: _BatchState) -> Answer:
        remote, attempt = self.model, 0
        provider_request = completion_request(remote, request)
        while True:
            if call.refusal is not None:
                return error_answer(call.refusal)
            if call.stop.wait(remote.pause_left_s()):
                return error_answer(f"{remote.name}: stopped")
            try:
                return answer_of(remote.complete(provider_request, call.key))
            except NoAnswerError as failure:
                reason = remote.describe_failure(failure.reason, call.key)
                if failure.is_permanent:
                    call.refusal = reason
                attempt += 1
                if failure.refused:
                    return unanswered(failure, reason)
                if not failure.is_retryable or attempt > self.provider.retries:
                    return error_answer(reason)
                pause = remote.retry_pause(failure, attempt)
                if pause is None:
                    return error_answer(f"{reason}; it asks to wait {failure.pause:.0f} s")
                if call.stop.wait(pause):
                    return error_answer(f"{remote.name}: stopped")


def sampling_of(request: Request) -> Sampling:
    """How a request is answered, in the words of a stream."""
    return Sampling(
        max_new_tokens=request.max_new_tokens,
        temperature=request.temperature,
        seed=request.seed,
        schema=request.schema,
        logprobs=request.logprobs,
    )


def completion_request(model: RemoteModel, request: Request) -> CompletionRequest:
    """What a model is asked."""
    return model.request(request.messages, request.tools, sampling_of(request))


def answer_of(answer: Completion) -> Answer:
    """An answer as the graders read it."""
    tokens, usage = answer.tokens, answer.usage
    return Answer(
        # Calls stand in the text as a model on this machine writes them: graders read both alike.
        text=Message("assistant", answer.text, tool_calls=answer.calls).text,
        finish=answer.finish,
        prompt_tokens=usage.prompt,
        completion_tokens=usage.completion,
        logprob=None if tokens is None else sum_logprobs(tokens),
        tokens=tokens,
        cached_tokens=usage.cached,
        reasoning_tokens=usage.reasoning,
    )


def unanswered(failure: NoAnswerError, reason: str) -> Answer:
    """What stands for the answer to a request that failed; `reason` is fit to be shown."""
    return Answer(text="", finish="refused" if failure.refused else "error", error=reason)


def error_answer(reason: str) -> Answer:
    """What stands for an answer that did not come."""
    return Answer(text="", finish="error", error=reason)
