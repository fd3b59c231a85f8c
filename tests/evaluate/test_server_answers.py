"""Batches that a server answers together: what is kept, asked again, and given up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from assay.evaluate import server_answers
from assay.evaluate.run import incomplete, run
from assay.evaluate.server_answers import answer_by_server
from assay.example import Message
from assay.generate.batch import Answer, Request
from assay.progress import SILENT, Progress

REQUESTS = [Request((Message("user", f"{number:02d}"),)) for number in range(12)]
DOWN = Answer("", "error", error="away")


class Scripted:
    """An engine that answers one after the other, by a script of `answer` for each request."""

    def __init__(self, *failing: str, breaks_at: int | None = None) -> None:
        self.identity = {"engine": "scripted"}
        self.failing, self.breaks_at = set(failing), breaks_at
        self.asked: list[str] = []

    def prompt_length(self, request: Request) -> int:
        return 1

    def answer_each(self, requests: Iterable[Request]) -> Iterator[tuple[int, Answer]]:
        for place, request in enumerate(requests):
            if len(self.asked) == self.breaks_at:
                raise KeyboardInterrupt
            text = request.input
            self.asked.append(text)
            yield place, DOWN if text in self.failing else Answer(text.upper())


def _files(folder: Path) -> list[Path]:
    return list(folder.glob("*/*.json"))


def _run(engine: Scripted, folder: Path, progress: Progress = SILENT) -> list[Answer]:
    asked: Any = engine
    together = answer_by_server(asked, SILENT, lambda seconds: None)
    return run(
        *(REQUESTS, asked),
        agent_id="a",
        folder=folder,
        batch_size=4,
        together=together,
        progress=progress,
    )


def test_what_was_answered_before_an_interrupt_is_not_asked_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        _run(Scripted(breaks_at=7), tmp_path)  # one batch and three of another
    again = Scripted()
    assert [answer.text for answer in _run(again, tmp_path)] == [r.input for r in REQUESTS]
    assert sorted(again.asked) == [request.input for request in REQUESTS[7:]]


def test_a_kill_loses_no_batch_of_which_all_has_come_back(tmp_path: Path) -> None:
    """Also where one of its requests has failed and is asked again later."""
    kept: list[int] = []

    class Watched(Scripted):
        def answer_each(self, requests: Iterable[Request]) -> Iterator[tuple[int, Answer]]:
            for place, answer in super().answer_each(requests):
                kept.append(sum(file.read_text().count('"stop"') for file in _files(tmp_path)))
                yield place, answer
            self.failing.clear()

    engine, bar = Watched("01", "06", "08"), MagicMock()
    assert not incomplete(_run(engine, tmp_path, bar))
    advance = bar.task.return_value.__enter__.return_value.advance
    assert kept[3:] == [0, 3, 3, 3, 3, 6, 6, 6, 6, 9, 10, 11]
    assert sum(call.args[0] for call in advance.mock_calls) == len(REQUESTS)


def test_an_outage_leaves_rows_that_the_next_run_asks_for(tmp_path: Path) -> None:
    first = Scripted("03", "06")
    answers = _run(first, tmp_path)
    assert [at for at, answer in enumerate(answers) if answer.finish == "error"] == [3, 6]
    assert {answer.error for answer in answers if answer.finish == "error"} == {"away"}
    assert first.asked.count("03") == first.asked.count("06") == 3
    again = Scripted()
    assert not incomplete(_run(again, tmp_path))
    assert sorted(again.asked) == ["03", "06"]


def test_a_server_that_is_down_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_answers, "SILENT_REQUESTS", 3)
    engine = Scripted(*(request.input for request in REQUESTS[2:]))
    answers = _run(engine, tmp_path)
    assert incomplete(answers) == 10
    assert len(engine.asked) == 2 + 3 * 3
    assert answers[4].error == "away"
    assert answers[-1].error == "not tried after an outage: away"
