"""Who answers when one fails: in order, before the first token only, never two in one answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from assay.errors import ConfigError, ModelError, UsageError
from assay.example import Message
from assay.generate.fallback import FallbackEngine, fallback_order
from assay.generate.remote.stream import RemoteError
from assay.generate.stream import (
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
    SetUpError,
)

ASKED = [Message("user", "hi")]


class Says:
    """An engine whose streams are its scripts; an exception is raised where it stands."""

    context_length = 10

    def __init__(self, *scripts: list[Any]) -> None:
        self.scripts, self.asked, self.closed = list(scripts), 0, threading.Event()
        self.effort: str | None = None

    def chat(self, *given: Any) -> Iterator[Piece | End]:
        self.asked += 1
        self.effort = given[-1].reasoning_effort
        return self._say(self.scripts[min(self.asked, len(self.scripts)) - 1])

    complete = chat

    def _say(self, script: list[Any]) -> Iterator[Piece | End]:
        for item in script:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, float):
                self.closed.wait(item)
            else:
                yield Piece(item)
        yield End("stop", 1, 1)


DOWN = [ModelError("down")]


def chain(clock: Callable[[], float] = time.monotonic, **engines: Says) -> FallbackEngine:
    finds = {name: (lambda engine=engine: engine) for name, engine in engines.items()}
    return FallbackEngine(finds, backoff_s=0.01, first_token_s=0.3, cool_down_s=30.0, clock=clock)


def said(fallback: FallbackEngine, sampling: Sampling | None = None) -> str:
    pieces = list(fallback.chat(ASKED, (), sampling or Sampling()))
    assert isinstance(pieces[-1], End)
    return "".join(piece.text for piece in pieces if isinstance(piece, Piece))


def test_the_first_answers_while_it_can_and_is_tried_a_bounded_number_of_times() -> None:
    a, b = Says(["a"]), Says(["b"])
    assert said(chain(a=a, b=b)) == "a"
    assert (a.asked, b.asked) == (1, 0)
    a = Says(DOWN, ["a"])
    assert said(chain(a=a, b=b)) == "a"
    a = Says(DOWN)
    assert said(chain(a=a, b=b)) == "b"
    assert (a.asked, b.asked) == (2, 1)


def test_when_all_fail_it_is_told_and_nothing_is_tried_for_ever() -> None:
    a, b = Says(DOWN), Says([ModelError("also down")])
    with pytest.raises(ModelError, match="also down"):
        said(chain(a=a, b=b))
    assert (a.asked, b.asked) == (2, 2)


def test_a_stalled_first_token_is_a_failure() -> None:
    a, b = Says([9.0, "late"]), Says(["b"])
    began = time.monotonic()
    assert said(chain(a=a, b=b)) == "b"
    assert time.monotonic() - began < 3
    a.closed.set()


def test_after_a_first_token_nobody_else_goes_on() -> None:
    now = 0.0
    a, b = Says(["a", ModelError("cut")]), Says(["b"])
    fallback = chain(lambda: now, a=a, b=b)
    stream = fallback.chat(ASKED, (), Sampling())
    assert next(stream) == Piece("a")
    with pytest.raises(ModelError, match="cut"):
        list(stream)
    assert b.asked == 0
    # It is left alone for a while, and asked again after that.
    assert said(fallback) == "b"
    now = 31.0
    a.scripts = [["a"]]
    assert said(fallback) == "a"


def test_while_all_cool_down_all_are_asked() -> None:
    a = Says(DOWN, DOWN, ["a"])
    fallback = chain(lambda: 0.0, a=a)
    with pytest.raises(ModelError):
        said(fallback)
    assert said(fallback) == "a"


def test_what_a_client_did_wrong_is_told_at_once_and_what_is_missing_here_is_not() -> None:
    a, b = Says([UsageError("no such thing")]), Says(["b"])
    with pytest.raises(UsageError):
        said(chain(a=a, b=b))
    assert b.asked == 0
    a = Says([SetUpError("far", ConfigError("no key"))])
    assert said(chain(a=a, b=b)) == "b"
    assert a.asked == 1


def test_what_may_have_cost_something_is_not_repeated_where_that_was_asked() -> None:
    a, b = Says([RemoteError("late", charged=True)]), Says(["b"])
    with pytest.raises(RemoteError):
        said(chain(a=a, b=b), Sampling(at_most_once=True))
    assert (a.asked, b.asked) == (1, 0)
    free = Says([RemoteError("refused", charged=False)])
    assert said(chain(a=free, b=b), Sampling(at_most_once=True)) == "b"


def test_a_closed_answer_is_tried_nowhere_else() -> None:
    a, b = Says([9.0, "late"]), Says(["b"])
    stream = chain(a=a, b=b).chat(ASKED, (), Sampling())
    ended = threading.Event()

    def read() -> None:
        list(stream)
        ended.set()

    threading.Thread(target=read, daemon=True).start()
    time.sleep(0.05)
    stream.close()  # type: ignore[attr-defined]
    assert ended.wait(2)
    assert b.asked == 0
    a.closed.set()


def test_orders_are_followed_through_and_rings_are_refused() -> None:
    assert fallback_order("a", {"a": ["b", "c"], "b": ["d", "c"]}) == ["a", "b", "d", "c"]
    assert fallback_order("x", {"a": ["b"]}) == ["x"]
    for ring in ({"a": ["a"]}, {"a": ["b"], "b": ["c"], "c": ["a"]}):
        with pytest.raises(ConfigError, match="falls back to itself: a → "):
            fallback_order("a", ring)


@pytest.mark.parametrize(
    "refused",
    [
        PromptTooLongError("too long"),
        RequestRefusedError("HTTP 400: no such field"),
        ConfigError("no closed lists"),
    ],
)
def test_a_request_that_one_cannot_take_is_handed_on_and_nobody_else_is(refused: Exception) -> None:
    a, b = Says([refused], ["a"]), Says(["b"])
    fallback = chain(a=a, b=b)
    assert said(fallback) == "b"
    assert a.asked == 1
    # Nothing is wrong with the model: the next request goes to it.
    assert said(fallback) == "a"


def test_how_much_to_reason_is_told_the_first_alone() -> None:
    a, b = Says(DOWN), Says(["b"])
    fallback = chain(a=a, b=b)
    for _ in range(2):  # the second time while the first one is left alone
        list(fallback.chat(ASKED, (), Sampling(reasoning_effort="low")))
    assert (a.asked, a.effort, b.asked, b.effort) == (2, "low", 2, None)


def test_nothing_is_asked_once_nobody_waits_for_a_model_that_loads_slowly() -> None:
    slow, b, loaded = Says(["late"]), Says(["b"]), threading.Event()

    def load() -> Says:
        loaded.wait(5)
        return slow

    fallback = FallbackEngine({"slow": load, "b": lambda: b}, retries=0, first_token_s=0.1)
    assert said(fallback) == "b"
    loaded.set()
    time.sleep(0.2)
    assert slow.asked == 0
