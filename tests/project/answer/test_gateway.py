"""What several answers cost is reserved once, and in the log whatever becomes of one of them.

Whoever reads an answer settles and traces it by reading it to its end.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from assay.accounts.charge import Charge
from assay.accounts.costs import BudgetError
from assay.accounts.keys import Caller
from assay.agent.answering import EngineCall, RouteStream, ServedExchange, Target
from assay.agent.prices import PriceList
from assay.config import Provider, TokenPrice
from assay.example import Message
from assay.generate.stream import End, Piece, Sampling
from assay.project.answer.answering import Answering, Conversation, Preparation, Receipt

MODEL = "remote:far/m"
FAR = Provider(base_url="https://far/v1", prices={"m": TokenPrice(input=1.0, output=1.0)})
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
        *, prices: Any, is_complete: bool,
    ) -> None:  # fmt: skip
        self.added.append((list(ends), reserved, is_complete))

    def list_prices(self, share: float = 1.0) -> PriceList:
        return PriceList({"far": FAR}, share)


class Engine:
    """Tells its items; how often it was asked is for the test to look at."""

    def __init__(self, items: Sequence[Piece | End]) -> None:
        self.items, self.asked = items, 0

    def chat(self, *_: Any) -> Iterator[Piece | End]:
        self.asked += 1
        return iter(self.items)


def answers(
    usage: Usage, *engines: Engine, trace: Callable[[ServedExchange], None] | None = None
) -> Answering:
    call = EngineCall((Message("user", "hi"),), (), Sampling(), MODEL)
    caller = Caller("key", "p", ("chat",), budgeted=True)

    def prepare() -> Preparation:
        charge = Charge(usage, caller, MODEL, [call], [[MODEL]], len(engines))  # type: ignore[arg-type]
        routes = [RouteStream(lambda _, e=engine: e, [call]) for engine in engines]  # type: ignore[misc]
        return Preparation(Target(MODEL, MODEL), routes, charge, trace=trace)

    conversation = Conversation(call.messages)
    return Answering(prepare, conversation, caller, count=len(engines), id="answer")


def test_an_answer_that_ends_after_another_was_cut_is_in_the_log() -> None:
    usage = Usage()
    made = answers(usage, Engine([Piece("a")]), Engine([Piece("b"), END]))
    cut, whole = made.streams()
    assert [piece.text for piece in cut if isinstance(piece, Piece)] == ["a"]
    cut.close()
    assert list(whole)[-1] == END
    made.close()
    assert usage.added == [([END], "reserved", False)]


def test_answers_that_were_refused_money_are_not_asked_for() -> None:
    usage, engine = Usage(refusals=1), Engine([Piece("a"), END])
    made = answers(usage, engine, engine)
    refused, other = made.streams()
    with pytest.raises(BudgetError):
        next(refused)
    assert list(other) == []  # though there would be money now
    made.close()
    assert engine.asked == 0
    assert [reserved for _, reserved, _ in usage.added] == [None]


def test_an_answer_is_freed_without_the_garbage_collector() -> None:
    """In a circle of references every request and its texts would wait for it."""
    gc.disable()
    try:
        made = answers(Usage(), Engine([Piece("a"), END]))
        [stream] = made.streams()
        items = list(stream)
        left = [weakref.ref(made), weakref.ref(made._prepared.routes[0])]
        del made, stream
        assert items[1:] == [END, Receipt(5, 2, 0, 0)]
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()


def test_an_end_is_told_before_it_is_settled_and_a_receipt_after_all_are_traced() -> None:
    usage, traced = Usage(), []
    made = answers(usage, Engine([Piece("a"), END]), Engine([Piece("b"), END]), trace=traced.append)
    first, last = made.streams()
    assert list(first) == [Piece("a"), END]
    assert [next(last), next(last)] == [Piece("b"), END]
    assert (usage.added, traced) == ([], [])
    assert next(last) == Receipt(5, 4, 0, 0)
    assert usage.added == [([END, END], "reserved", True)]
    [exchange] = traced
    assert [text for text, _ in exchange.answers] == ["a", "b"]


def test_who_hangs_up_before_the_first_call_pays_nothing() -> None:
    usage, engine = Usage(), Engine([Piece("a"), END])
    made = answers(usage, engine)
    [stream] = made.streams()
    usage.reserve = lambda key, usd: stream.close() or "reserved"  # type: ignore[assignment,method-assign,func-returns-value]
    assert list(stream) == []
    assert engine.asked == 0
    assert [complete for _, reserved, complete in usage.added if reserved] == [True]
