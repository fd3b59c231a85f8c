"""A stream engine that answers batches, several requests at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from assay.chat.template import Template
from assay.errors import AssayError
from assay.generate.batch import Answer, Request
from assay.generate.stream import (
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
    StreamEngine,
)
from assay.progress import SILENT, Progress


class StreamBatchEngine:
    """A `BatchEngine` over a `StreamEngine`. Tokens of answers are not told one by one.

    Args:
        identity: see `BatchEngine`.
        at_once: requests under way together.
    """

    def __init__(
        self,
        engine: StreamEngine,
        template: Template,
        identity: Mapping[str, str],
        at_once: int = 8,
    ) -> None:
        self.engine, self.template, self._at_once = engine, template, at_once
        self._identity = dict(identity)

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return self._identity

    def prompt_length(self, request: Request) -> int:
        """Tokens of the rendered request."""
        return len(self.template.prompt(request.messages, request.tools))

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """One answer for each request, in their order."""
        answers = []
        with (
            progress.task("answering", len(requests), "requests") as task,
            ThreadPoolExecutor(self._at_once) as pool,
        ):
            for answer in pool.map(self._answer, requests):
                answers.append(answer)
                task.advance()
        return answers

    def _answer(self, request: Request) -> Answer:
        sampling = Sampling(
            max_new_tokens=request.max_new_tokens,
            temperature=request.temperature,
            seed=request.seed,
            schema=request.schema,
            choices=request.choices,
            calls=request.calls,
            confidence=request.logprobs is not None,
        )
        text, end = "", End("stop", 0, 0)
        try:
            for part in self.engine.chat(request.messages, request.tools, sampling):
                if isinstance(part, Piece):
                    text += part.text
                else:
                    end = part
        except (PromptTooLongError, RequestRefusedError) as error:
            return Answer("", "refused", error=str(error))
        except AssayError as error:
            return Answer("", "error", error=str(error))
        return Answer(
            text, end.finish, end.prompt_tokens, end.completion_tokens, logprob=end.logprob
        )
