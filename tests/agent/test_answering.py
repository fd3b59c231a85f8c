"""An engine's stream, and tools for a template that knows none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.serve.scripted import ScriptedEngine

from assay.agent.answering import CallStream, EngineCall
from assay.chat.message_writer import ToolsError
from assay.example import Message
from assay.generate.stream import End, Piece, Sampling

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
ASKED = EngineCall((Message("user", "a b"),), (TOOL,), Sampling())


class WithoutTools(ScriptedEngine):
    """Its template has no place for tools."""

    late = False

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        if not tools:
            return super().chat(messages, tools, sampling)
        if not self.late:
            raise ToolsError("no place for tools.")
        return self._fails()

    def _fails(self) -> Iterator[Piece | End]:
        raise ToolsError("no place for tools.")
        yield


@pytest.mark.parametrize("late", [False, True])
def test_tools_are_told_in_words_where_there_is_no_place_for_them(late: bool) -> None:
    engine = WithoutTools()
    engine.late = late
    pieces = list(CallStream(lambda: engine, ASKED))
    assert "".join(p.text for p in pieces if isinstance(p, Piece)) == "a b"
    [(messages, tools, _)] = engine.asked
    assert tools == ()
    assert "<tools>" in messages[0].content


def test_nothing_is_asked_before_it_is_read_and_closing_ends_it() -> None:
    engine = ScriptedEngine()
    answer = CallStream(lambda: engine, ASKED)
    assert not engine.asked
    assert next(answer) == Piece("a")
    assert engine.open == 1
    answer.close()
    assert engine.open == 0
    left = CallStream(lambda: engine, ASKED)
    left.close()
    assert list(left) == []
    assert len(engine.asked) == 1
