"""Engines of a comparison behind a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from assay.errors import ModelError, UsageError
from assay.example import Message
from assay.generate.batch import Answer, Request, choice
from assay.generate.single_piece import SinglePieceEngine
from assay.generate.stream import End, Piece, PromptTooLongError, Sampling, TokenLogprob
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


def test_an_answer_that_is_not_drawn_is_what_an_openai_client_expects() -> None:
    known = Fixed(choice(Request((), logprobs=2), "card lost", -0.1, [("other", -2.0)]))
    labels = SinglePieceEngine(known, 10, fixed=True)
    drawn = Sampling(top_p=0.5, presence_penalty=1.0, frequency_penalty=1.0, logprobs=2)
    [piece, _] = labels.chat(TURNS, (), drawn)
    other = TokenLogprob("other", -2.0, b"other")
    assert piece == Piece("card lost", TokenLogprob("card lost", -0.1, b"card lost"), (other,))
    assert [request.logprobs for request in known.asked] == [2]
    for stops, text in ((("lost", " l"), "card"), (("stolen",), "card lost")):
        [piece, end] = labels.chat(TURNS, (), Sampling(stop=stops))
        assert (piece, end) == (Piece(text), End("stop", None, None, 0, 0))
    # Half a label has no probability of its own.
    [piece, _] = labels.chat(TURNS, (), Sampling(stop=("lost",), logprobs=0))
    assert piece == Piece("card ")
    alone = SinglePieceEngine(Fixed(Answer("a quotation", logprob=-0.3)), 10, fixed=True)
    [piece, _] = alone.chat(TURNS, (), Sampling(logprobs=0))
    assert piece.token == TokenLogprob("a quotation", -0.3, b"a quotation")


def test_what_it_cannot_follow_is_refused() -> None:
    answers = SinglePieceEngine(Fixed(), 10)
    for sampling in (Sampling(top_p=0.5), Sampling(logit_bias={1: 2.0}), Sampling(logprobs=0)):
        with pytest.raises(UsageError, match="does not"):
            list(answers.chat(TURNS, (), sampling))
    with pytest.raises(UsageError):
        answers.complete("a", Sampling())


def test_what_goes_wrong_is_told() -> None:
    with pytest.raises(PromptTooLongError):
        list(SinglePieceEngine(Fixed(), 5).chat(TURNS, (), Sampling()))
    failed = Fixed(Answer("", "error", error="out of memory."))
    with pytest.raises(ModelError, match="out of memory"):
        list(SinglePieceEngine(failed, 10).chat(TURNS, (), Sampling()))
