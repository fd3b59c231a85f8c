"""An engine that answers by rule and writes down what it was asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assay.example import Message
from assay.generate.batch import Answer, Request
from assay.progress import SILENT, Progress


def request(text: str, **fields: object) -> Request:
    return Request(messages=(Message("user", text),), **fields)  # type: ignore[arg-type]


def echo(asked: Request, call: int) -> Answer:
    text = asked.messages[-1].content
    return Answer(text=f"to {text}", completion_tokens=len(text), logprob=-0.1 * len(text) / 3)


@dataclass
class ScriptedEngine:
    """`rule(request, number of the call)` gives the answer, or raises."""

    rule: Callable[[Request, int], Answer] = echo
    identity: dict[str, str] = field(
        default_factory=lambda: {"engine": "scripted", "dtype": "float32"}
    )
    log: Path | None = None
    calls: list[list[str]] = field(default_factory=list)

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        self.calls.append([asked.messages[-1].content for asked in requests])
        answers = [self.rule(asked, len(self.calls)) for asked in requests]
        if self.log is not None:
            with self.log.open("a", encoding="utf-8") as log:
                log.writelines(f"{asked.messages[-1].content}\n" for asked in requests)
        return answers

    def prompt_length(self, request: Request) -> int:
        return len(request.messages[-1].content)
