"""What several answers cost is reserved once, and in the log whatever becomes of one of them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from assay.accounts.costs import BudgetError
from assay.accounts.keys import Caller
from assay.agent.answering import EngineCall, RouteStream, Target
from assay.example import Message
from assay.generate.stream import End, Piece, Sampling
from assay.project.answer.gateway import Answering

MODEL = "remote:far/m"
END = End("stop", 5, 2, model=MODEL)


class Usage:
    """A usage log that remembers; its budget has something for those who ask again."""

    def __init__(self, *, refusals: int = 0) -> None:
        self.refusals = refusals
        self.added: list[tuple[list[End], Any, bool]] = []

    def take(self, key: str, usd: float) -> None:
        return None

    def reserve(self, key: str, usd: float) -> str:
        if self.refusals:
            self.refusals -= 1
            raise BudgetError("nothing is left.")
        return "reserved"

    def add(
        self, project: str, key: str, name: str, ends: list[End], seconds: float, reserved: Any,
        *, is_complete: bool,
    ) -> None:  # fmt: skip
        self.added.append((ends, reserved, is_complete))


class Engine:
    """Tells its items; how often it was asked is for the test to look at."""

    def __init__(self, items: Sequence[Piece | End]) -> None:
        self.items, self.asked = items, 0

    def chat(self, *_: Any) -> Iterator[Piece | End]:
        self.asked += 1
        return iter(self.items)


def answers(usage: Usage, *engines: Engine) -> Answering:
    call = EngineCall((Message("user", "hi"),), (), Sampling(), MODEL)
    routes = [RouteStream(lambda _, e=engine: e, [call]) for engine in engines]  # type: ignore[misc]
    return Answering(
        SimpleNamespace(usage=usage),  # type: ignore[arg-type]
        Caller("key", "p", ("chat",), budgeted=True),
        Target(MODEL, MODEL),
        call.messages,
        (),
        routes,
        len(engines),
        1.0,
    )


def test_an_answer_that_ends_after_another_was_cut_is_in_the_log() -> None:
    usage = Usage()
    made = answers(usage, Engine([Piece("a")]), Engine([Piece("b"), END]))
    cut, whole = made.streams
    assert [piece.text for piece in cut if isinstance(piece, Piece)] == ["a"]
    cut.close()
    assert list(whole)[-1] == END
    made.settle(is_complete=False)
    assert usage.added == [([END], "reserved", False)]


def test_answers_that_were_refused_money_are_not_asked_for() -> None:
    usage, engine = Usage(refusals=1), Engine([Piece("a"), END])
    made = answers(usage, engine, engine)
    with pytest.raises(BudgetError):
        next(made.streams[0])
    assert list(made.streams[1]) == []  # though there would be money now
    made.settle(is_complete=False)
    assert engine.asked == 0
    assert [reserved for _, reserved, _ in usage.added] == [None]


def test_an_answer_is_freed_without_the_garbage_collector() -> None:
    """In a circle of references every request and its texts would wait for it."""
    gc.disable()
    try:
        made = answers(Usage(), Engine([Piece("a"), END]))
        left = [weakref.ref(made), weakref.ref(made.streams[0].route)]
        assert list(made.streams[0])[-1] == END
        del made
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()
