"""Engines of a comparison behind a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from assay.errors import ModelError, UsageError
from assay.example import Message
from assay.generate.batch import Answer, Request
from assay.generate.single_piece import SinglePieceEngine
from assay.generate.stream import End, Piece, PromptTooLongError, Sampling
from assay.progress import SILENT, Progress

YES = Answer("yes", "stop", 3, 2)
TURNS = [Message("user", "hello")]


@dataclass
class Fixed:
    """An engine with one answer."""

    reply: Answer = YES
    asked: list[Request] = field(default_factory=list)
    identity: dict[str, str] = field(default_factory=dict)

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        self.asked += requests
        return [self.reply]

    def prompt_length(self, request: Request) -> int:
        return len(request.messages[-1].content)


def test_the_answer_comes_as_one_piece() -> None:
    engine = Fixed()
    sampling = Sampling(max_new_tokens=4, temperature=0.5, seed=6, choices=("yes",))
    assert list(SinglePieceEngine(engine, 10).chat(TURNS, (), sampling)) == [
        Piece("yes"),
        End("stop", 3, 2),
    ]
    [request] = engine.asked
    assert (request.max_new_tokens, request.temperature, request.seed) == (4, 0.5, 6)
    assert request.choices == ("yes",)


def test_tokens_that_the_engine_tells_apart_are_passed_on() -> None:
    engine = Fixed(Answer("yes", "stop", 30, 20, cached_tokens=10, reasoning_tokens=15))
    *_, end = SinglePieceEngine(engine, 100).chat(TURNS, (), Sampling())
    assert end == End("stop", 30, 20, cached_tokens=10, reasoning_tokens=15)


def test_what_it_cannot_follow_is_refused() -> None:
    answers = SinglePieceEngine(Fixed(), 10)
    for sampling in (Sampling(top_p=0.5), Sampling(stop=("a",)), Sampling(logprobs=0)):
        with pytest.raises(UsageError):
            list(answers.chat(TURNS, (), sampling))
    with pytest.raises(UsageError):
        answers.complete("a", Sampling())


def test_what_goes_wrong_is_told() -> None:
    with pytest.raises(PromptTooLongError):
        list(SinglePieceEngine(Fixed(), 5).chat(TURNS, (), Sampling()))
    failed = Fixed(Answer("", "error", error="out of memory."))
    with pytest.raises(ModelError, match="out of memory"):
        list(SinglePieceEngine(failed, 10).chat(TURNS, (), Sampling()))
