"""The stream of a route: held back until it is sure, both calls paid, never two answers in one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.agent.routes import cascade, learned

from assay.agent.answering import EngineCall, GenerationOptions, RouteStream, Target, prepare
from assay.agent.routing import ConfidenceRule
from assay.errors import ModelError
from assay.example import Message
from assay.generate.batch import Answer as WholeAnswer
from assay.generate.batch import Request
from assay.generate.single_piece import SinglePieceEngine
from assay.generate.stream import End, Piece, Sampling
from assay.store.store import Store


class Sayings:
    """Says its name word by word, as sure as it is told to be."""

    context_length = 1000

    def __init__(self, text: str, sure: float | None = None, error: Exception | None = None):
        self.text, self.sure, self.error = text, sure, error
        self.asked: list[Sampling] = []
        self.open = 0

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        self.asked.append(sampling)
        self.open += 1
        try:
            for word in self.text.split():
                yield Piece(word)
            if self.error:
                raise self.error
            told = self.sure if sampling.confidence else None
            logprob = None if told is None else math.log(told)
            yield End("stop", 10, 3, 1, logprob=logprob, scored_tokens=3)
        finally:
            self.open -= 1


def path(threshold: float) -> list[EngineCall]:
    turns = (Message("user", "q"),)
    sure = ConfidenceRule(threshold, "answer")
    first = EngineCall(turns, (), Sampling(confidence=True), "cheap", "id-cheap", sure)
    return [first, EngineCall(turns, (), Sampling(), "strong", "id-strong")]


def said(engines: dict[str, Any], threshold: float) -> tuple[str, End]:
    *pieces, end = RouteStream(engines.__getitem__, path(threshold))
    assert isinstance(end, End)
    return " ".join(piece.text for piece in pieces if isinstance(piece, Piece)), end


def test_a_sure_answer_is_given_and_the_strong_one_never_asked() -> None:
    cheap, strong = Sayings("cheap words", 0.7), Sayings("strong words")
    text, end = said({"cheap": cheap, "strong": strong}, 0.7)
    assert text == "cheap words"
    assert (end.prompt_tokens, end.completion_tokens, end.agents) == (10, 3, ("id-cheap",))
    assert not strong.asked


@pytest.mark.parametrize("sure", [0.69, None])
def test_an_unsure_answer_is_not_seen_and_both_are_paid(sure: float | None) -> None:
    cheap, strong = Sayings("cheap words", sure), Sayings("strong words")
    text, end = said({"cheap": cheap, "strong": strong}, 0.7)
    assert text == "strong words"
    assert (end.prompt_tokens, end.completion_tokens, end.cached_tokens) == (20, 6, 2)
    assert end.agents == ("id-cheap", "id-strong")
    assert not strong.asked[0].confidence


def test_an_answer_that_breaks_off_is_no_beginning_of_another() -> None:
    broken = Sayings("cheap words", error=ModelError("gone."))
    strong = Sayings("strong words")
    with pytest.raises(ModelError, match="gone"):
        list(RouteStream({"cheap": broken, "strong": strong}.__getitem__, path(0.7)))
    assert not strong.asked


def test_hanging_up_frees_the_slot_and_asks_nobody_else() -> None:
    strong = Sayings("strong words")
    stream = RouteStream({"cheap": Sayings("c", 0.1), "strong": strong}.__getitem__, path(0.7))
    assert next(stream) == Piece("strong")
    assert strong.open == 1
    stream.close()
    assert strong.open == 0
    assert list(stream) == []
    unread = RouteStream({}.__getitem__, path(0.7))
    unread.close()
    assert list(unread) == []


def test_each_arm_brings_its_own_prompt_and_the_client_is_heard_by_all(tmp_path: Path) -> None:
    store = Store(tmp_path)
    target = Target("support", "routed", cascade(store, "cheap", "strong"))
    options = GenerationOptions(max_new_tokens=5, temperature=0.3)
    cheap, strong = prepare(target, [Message("user", "q")], (), options, store)
    assert [m.content for m in cheap.messages] == ["I am cheap.", "q"]
    assert [m.content for m in strong.messages] == ["I am strong.", "q"]
    assert (cheap.model, strong.model) == ("cheap", "strong")
    for asked in (cheap, strong):
        assert (asked.sampling.max_new_tokens, asked.sampling.temperature) == (5, 0.3)
    assert (cheap.sampling.confidence, strong.sampling.confidence) == (True, False)


def test_an_engine_that_answers_whole_tells_how_sure_it_is(tmp_path: Path) -> None:
    class Classifier:
        identity: ClassVar = {"engine": "c"}

        def prompt_length(self, request: Request) -> int:
            return 0

        def answer(self, requests: Sequence[Request]) -> list[WholeAnswer]:
            return [WholeAnswer("label", logprob=math.log(0.6)) for _ in requests]

    engines = {"cheap": SinglePieceEngine(Classifier(), 99), "strong": Sayings("strong")}  # type: ignore[arg-type]
    assert said(engines, 0.6)[0] == "label"
    assert said(engines, 0.61)[0] == "strong"


def test_a_learned_route_is_one_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.agent.routes import ByWords

    from assay.agent import routing

    monkeypatch.setattr(routing, "get_embedder", lambda name: ByWords())
    store = Store(tmp_path)
    target = Target("support", "routed", learned(store, "cheap", "strong"))
    for text, model in (("a hard one", "strong"), ("an easy one", "cheap")):
        [asked] = prepare(target, [Message("user", text)], (), GenerationOptions(), store)
        assert asked.model == model
        assert asked.agent is not None
