"""A stream engine as a batch engine: busy, wrongly asked, and ended in the middle."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from assay.errors import ConfigError
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.stream import BusyError, End, Piece
from assay.generate.stream_batch import BUSY_WAITS, StreamBatchEngine

REQUESTS = [Request((Message("user", str(number)),)) for number in range(6)]


class Stream(Iterator[Piece | End]):
    """An answer that comes when it is let go, or ends when it is closed."""

    def __init__(self, parts: list[Piece | End], go: Event) -> None:
        self.parts, self.go, self.is_closed = iter(parts), go, False

    def __next__(self) -> Piece | End:
        assert self.go.wait(20)
        if self.is_closed:
            raise StopIteration
        return next(self.parts)

    def close(self) -> None:
        self.is_closed = True
        self.go.set()


class Scripted:
    """Fails with `errors` before it answers; only the first answer comes by itself if `waits`."""

    def __init__(self, *errors: Exception, waits: bool = False) -> None:
        self.errors, self.waits, self.streams = list(errors), waits, list[Stream]()

    def chat(self, messages: Any, tools: Any, sampling: Any) -> Stream:
        if self.errors:
            raise self.errors.pop()
        go = Event()
        if not self.waits or not self.streams:
            go.set()
        parts: list[Piece | End] = [Piece(messages[0].content), End("stop", 1, 2)]
        self.streams.append(Stream(parts, go))
        return self.streams[-1]


def _engine(scripted: Scripted, at_once: int = 3) -> StreamBatchEngine:
    inner: Any = scripted
    template: Any = None
    return StreamBatchEngine(inner, template, {}, at_once)


def test_a_busy_engine_is_waited_for_and_not_for_ever() -> None:
    busy = [BusyError("full", 0.0)] * BUSY_WAITS
    [answer] = _engine(Scripted(*busy)).answer(REQUESTS[:1])
    assert (answer.text, answer.finish) == ("0", "stop")
    [answer] = _engine(Scripted(*busy, busy[0])).answer(REQUESTS[:1])
    assert answer.finish == "error"


def test_what_no_request_can_be_asked_with_is_no_outage() -> None:
    with pytest.raises(ConfigError, match="schema"):
        _engine(Scripted(ConfigError("a schema that cannot be followed."))).answer(REQUESTS)


def test_closing_it_ends_what_is_under_way_and_asks_for_nothing_more() -> None:
    scripted = Scripted(waits=True)
    answers = _engine(scripted).answer_each(REQUESTS)
    assert next(answers)[1].text
    end = time.monotonic() + 20
    while len(scripted.streams) < 3:
        assert time.monotonic() < end
        time.sleep(0.01)
    answers.close()
    assert len(scripted.streams) == 3
    assert all(stream.is_closed for stream in scripted.streams[1:])
