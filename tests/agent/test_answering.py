"""An engine's stream."""

from __future__ import annotations

from typing import Any

from tests.serve.scripted import ScriptedEngine

from assay.agent.answering import CallStream, EngineCall
from assay.example import Message
from assay.generate.stream import Piece, Sampling

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f"}}
ASKED = EngineCall((Message("user", "a b"),), (TOOL,), Sampling())


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
