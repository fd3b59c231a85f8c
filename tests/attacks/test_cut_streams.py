"""Providers whose answers are cut, stalled or odd at every place, alone and before a fallback."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
from tests.attacks.wire import RESET, Far, Step, events, far
from tests.figures import Figure

from assay.errors import ModelError
from assay.example import Message
from assay.generate.fallback import FallbackEngine
from assay.generate.remote.stream import RemoteStreamEngine
from assay.generate.stream import End, Sampling

ASKED = [Message("user", "hi")]
FIRST, SECOND = ("One ", "grüßt ", "🦉🦉 ", "zuerst."), ("Two.",)
GOOD = events(*FIRST, usage={"prompt_tokens": 7, "completion_tokens": 4})
OTHER = events(*SECOND)
WHOLE = b"".join(GOOD)
BODY = len(GOOD[0])
OPENINGS = ("".join(FIRST[:n]) for n in range(len(FIRST) + 1))
BEGUN = frozenset(OPENINGS)
"""What a client may have read of the first before it was told of a failure."""
LONGEST_S = 10.0


def chain(*providers: Far, **fields: Any) -> FallbackEngine:
    finds = {
        f"remote:far{n}/m": lambda one=one, n=n: RemoteStreamEngine(
            f"far{n}", "m", one.provider(**fields), backoff_s=0.01
        )
        for n, one in enumerate(providers)
    }
    return FallbackEngine(finds, backoff_s=0.01, first_token_s=2.0)  # type: ignore[arg-type]


def read(fallback: FallbackEngine) -> tuple[str, End | None, str]:
    """What came, its end where it has one, else why not."""
    text = ""
    try:
        for item in fallback.chat(ASKED, (), Sampling()):
            if isinstance(item, End):
                return text, item, ""
            text += item.text
    except ModelError as error:
        return text, None, str(error)
    raise AssertionError("an answer without an end")


def held(first: Sequence[Step], first_fields: dict[str, Any] | None = None) -> str:
    """Let `first` answer in front of another model; what became of it: who was heard."""
    began = time.monotonic()
    with far(lambda _: first) as one, far(lambda _: OTHER) as two:
        text, end, why = read(chain(one, two, **first_fields or {}))
        assert time.monotonic() - began < LONGEST_S
        assert 1 <= len(one.asked) <= 2
        assert len(two.asked) <= 1
        if end is None:  # told, and nothing of another model in what was read
            assert text in BEGUN
            assert text
            assert why
            assert not two.asked
            return "failure"
        if text == "".join(SECOND):
            assert end.model == "remote:far1/m"
            return "second"
        assert text == "".join(FIRST)
        assert end.model == "remote:far0/m"
        assert not two.asked
        assert end.prompt_tokens in (7, None)
        return "first"


def places(stride: int) -> list[int]:
    return [*range(0, len(WHOLE), stride), len(WHOLE)]


@pytest.mark.parametrize("how", ["closed", "reset"])
@pytest.mark.parametrize(
    "stride", [17, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "every"]
)
def test_cut_at_any_byte_no_two_answers_are_mixed(how: str, stride: int, figure: Figure) -> None:
    ends = [RESET] if how == "reset" else []
    seen = {"first": 0, "second": 0, "failure": 0}
    for place in places(stride):
        seen[held([WHOLE[:place], *ends])] += 1
    assert all(seen.values())
    figure(
        f"streams of a provider {how} at a byte, before a fallback, none mixed", sum(seen.values())
    )


@pytest.mark.parametrize("place", [0, 9, BODY - 1, BODY, BODY + 3, BODY + 40])
def test_a_stall_before_the_first_token_is_handed_on(place: int) -> None:
    assert held([WHOLE[:place], 20.0], {"timeout_s": 0.3, "stall_s": 0.3}) == "second"


def stalls() -> list[int]:
    """Within a word's UTF-8, within an event's line, between events, before the end."""
    owl = WHOLE.index("🦉".encode())
    return [owl + 2, owl - 20, len(b"".join(GOOD[:3])), len(b"".join(GOOD[:-4]))]


@pytest.mark.parametrize("place", stalls())
def test_a_stall_after_the_first_token_is_told(place: int) -> None:
    assert held([WHOLE[:place], 20.0], {"timeout_s": 0.5, "stall_s": 0.3}) == "failure"


def test_bytes_that_drip_are_read_and_words_are_whole() -> None:
    """No character is cut, wherever a packet ends."""
    assert held([WHOLE[n : n + 3] for n in range(0, len(WHOLE), 3)]) == "first"


ODD = {
    "an error event at once": b'data: {"error": {"message": "overloaded"}}\n\n',
    "a wrong content type": None,
    "no events": b"",
    "an error without a reason": b'data: {"error": {}}\n\ndata: {"error": {"code": 1}}\n\n',
    "choices that are none": b'data: {"choices": [3]}\n\n',
    "broken UTF-8": b'data: {"choices": [{"delta": {"content": "\xf0\x9f"}}]}\n\n',
    "an endless number": b'data: {"choices": [{"index": ' + b"9" * 5000 + b"}]}\n\n",
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_of_status_200_is_handed_on(name: str) -> None:
    body = ODD[name]
    kind = b"text/event-stream" if body is not None else b"text/html"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nConnection: close\r\n\r\n"
    assert held([head + (b"<html>welcome</html>" if body is None else body)]) == "second"


def test_an_error_event_after_words_is_told() -> None:
    error = b'data: {"error": {"message": "overloaded"}}\n\n'
    chunk = f"{len(error):x}\r\n".encode() + error + b"\r\n"
    assert held([b"".join(GOOD[:3]), chunk, b"0\r\n\r\n"]) == "failure"


def test_attempts_and_time_are_bounded_where_all_are_down() -> None:
    """Three that stall, each asked twice at most, and each no longer than it may take."""
    with far(lambda _: [5.0]) as a, far(lambda _: [WHOLE[:9]]) as b, far(lambda _: [RESET]) as c:
        began = time.monotonic()
        text, end, why = read(chain(a, b, c, timeout_s=0.3))
        assert (text, end) == ("", None)
        assert why
        assert time.monotonic() - began < LONGEST_S
        assert [len(one.asked) for one in (a, b, c)] == [2, 2, 2]


def test_an_answer_that_never_ends_ends() -> None:
    """A word a moment for ever: nothing is silent, and there is no end to it."""
    word = events("again ")[1]
    with far(lambda _: [GOOD[0], *(step for _ in range(200) for step in (word, 0.1))]) as one:
        began = time.monotonic()
        fallback = chain(one, timeout_s=0.5, stall_s=1.5, stream_s=2.0)
        with pytest.raises(ModelError, match="no end"):
            list(fallback.chat(ASKED, (), Sampling(max_new_tokens=3)))
        assert time.monotonic() - began < LONGEST_S
