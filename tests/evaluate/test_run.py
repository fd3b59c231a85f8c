from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluate.scripted import ScriptedEngine, echo, request

from assay.errors import AssayError
from assay.evaluate.run import Latency, OnBatch, incomplete, measure_latency, plan, run
from assay.generate.batch import Answer, Request

REQUESTS = [request("a" * n) for n in (3, 9, 1, 4, 9, 2, 6)]


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.advanced: list[float] = []
        self.infos: list[dict[str, object]] = []

    @contextmanager
    def task(self, label: str, total: float | None, unit: str) -> Any:
        self.total, self.unit = total, unit
        yield self

    def advance(self, amount: float = 1, **info: object) -> None:
        self.advanced.append(amount)
        self.infos.append(info)

    def say(self, line: str) -> None:
        self.lines.append(line)


def go(engine: ScriptedEngine, folder: Path, **more: Any) -> list[Answer]:
    options: dict[str, Any] = {"agent_id": "a1", "batch_size": 3, "sleep": lambda s: None}
    return run(REQUESTS, engine, folder=folder, **(options | more))


def test_answers_come_in_the_order_of_their_requests(tmp_path: Path) -> None:
    answers = go(ScriptedEngine(), tmp_path)
    assert answers == [echo(asked, 1) for asked in REQUESTS]


def test_the_plan_sorts_by_length_longest_first_and_keeps_ties_in_order() -> None:
    assert plan(REQUESTS, ScriptedEngine(), batch_size=3).batches == ((1, 4, 6), (3, 0, 5), (2,))


def test_batches_that_others_answer_are_the_same_and_only_what_is_missing_is_asked(
    tmp_path: Path,
) -> None:
    asked: list[list[int]] = []

    def together(batches: Sequence[Sequence[Request]], answered: OnBatch, folder: Path) -> bool:
        assert folder.is_relative_to(tmp_path)
        if len(batches) < 2:
            return False
        asked.append([len(batch) for batch in batches])
        for place, batch in reversed([*enumerate(batches)]):
            if len(asked) == 1 and place == 0:
                raise KeyboardInterrupt
            answered(place, [echo(one, 1) for one in batch])
        return True

    engine = ScriptedEngine()
    with pytest.raises(KeyboardInterrupt):
        go(engine, tmp_path, together=together, batch_size=2)
    assert go(engine, tmp_path, together=together, batch_size=2) == [echo(r, 1) for r in REQUESTS]
    assert asked == [[2, 2, 2, 1]]  # one batch alone is not worth sending
    assert [len(call) for call in engine.calls] == [2]


def test_the_engine_is_asked_as_planned(tmp_path: Path) -> None:
    engine = ScriptedEngine()
    go(engine, tmp_path)
    assert [[len(text) for text in call] for call in engine.calls] == [[9, 9, 6], [4, 3, 2], [1]]


def test_an_empty_run_has_no_answers(tmp_path: Path) -> None:
    assert run([], ScriptedEngine(), agent_id="a", folder=tmp_path) == []


def test_progress_counts_requests(tmp_path: Path) -> None:
    listener = Listener()
    go(ScriptedEngine(), tmp_path, progress=listener)
    assert (listener.total, listener.unit, sum(listener.advanced)) == (7, "requests", 7)
    assert not any(listener.infos)  # the rate is for who draws the bar


def test_what_is_not_ascii_survives_being_kept(tmp_path: Path) -> None:
    odd = Answer(text="Ünï 日本 \ud800 \u2028 \x00", logprob=float("-inf"))
    engine = ScriptedEngine(rule=lambda asked, call: odd)
    assert go(engine, tmp_path) == go(engine, tmp_path) == [odd] * 7
    assert len(engine.calls) == 3


def failing(fails: Callable[[str, int], bool]) -> ScriptedEngine:
    def rule(asked: Request, call: int) -> Answer:
        text = asked.messages[-1].content
        if fails(text, call):
            return Answer("", finish="error", error="HTTP 503")
        return echo(asked, call)

    return ScriptedEngine(rule=rule)


def test_an_outage_is_asked_again_for_the_failed_requests_only(tmp_path: Path) -> None:
    pauses: list[float] = []
    engine = failing(lambda text, call: len(text) == 6 and call <= 2)
    answers = go(engine, tmp_path, sleep=pauses.append)
    assert answers == [echo(asked, 1) for asked in REQUESTS]
    assert [len(call) for call in engine.calls] == [3, 1, 1, 3, 1]
    assert pauses == [1.0, 2.0]


def test_an_outage_that_lasts_leaves_the_run_incomplete_and_is_asked_again(tmp_path: Path) -> None:
    listener = Listener()
    broken = go(failing(lambda text, call: len(text) == 6), tmp_path, progress=listener)
    assert incomplete(broken) == 1
    assert broken[6] == Answer("", finish="error", error="HTTP 503")
    assert "1 of 7 requests was not answered" in listener.lines[-1]
    assert listener.lines[-1].endswith("to request only this.")
    mended = ScriptedEngine()
    assert go(mended, tmp_path) == [echo(asked, 1) for asked in REQUESTS]
    assert mended.calls == [["a" * 6]]


def test_what_a_provider_says_of_a_refusal_is_kept_apart(tmp_path: Path) -> None:
    """It may quote the row, which not everybody may read who may know that it was refused."""

    class Keeper(Listener):
        def say_quoting(self, line: str, plain: str) -> None:
            self.lines += [line, plain]

    def rule(asked: Request, call: int) -> Answer:
        if len(asked.messages[-1].content) == 6:
            if call == 1:
                return Answer("", finish="error", error="HTTP 503: a row")
            return Answer("", finish="refused", error="HTTP 400: a row")
        return echo(asked, call)

    lines: list[str] = []
    for kind in (Keeper, Listener):
        listener = kind()
        go(ScriptedEngine(rule=rule), tmp_path, progress=listener)
        lines += listener.lines
    failed, again = "1 of 3 requests failed", "trying again in 1 s."
    refused = "1 of 7 requests was refused and scores 0"
    said = [f"{failed} (HTTP 503: a row); {again}", f"{refused} (HTTP 400: a row)."]
    assert lines == [said[0], f"{failed}; {again}", said[1], f"{refused}.", said[1]]


def test_a_dead_engine_is_not_asked_for_every_batch(tmp_path: Path) -> None:
    def down(asked: Request, call: int) -> Answer:
        raise ConnectionError("refused")

    engine = ScriptedEngine(rule=down)
    answers = go(engine, tmp_path, batch_size=1)
    assert incomplete(answers) == 7
    assert len(engine.calls) == 2 * 3  # two batches, each tried three times
    assert answers[2].error == "not tried after an outage: ConnectionError: refused"
    assert not list(tmp_path.rglob("*.json"))


def test_one_batch_that_always_fails_does_not_stop_the_rest(tmp_path: Path) -> None:
    engine = failing(lambda text, call: len(text) >= 6)  # too long for its context, say
    answers = go(engine, tmp_path)
    assert [answer.finish == "error" for answer in answers] == [
        len(asked.messages[-1].content) >= 6 for asked in REQUESTS
    ]


def test_an_engine_that_loses_answers_is_a_bug(tmp_path: Path) -> None:
    class Short(ScriptedEngine):
        def answer(self, requests: Any, progress: Any = None) -> list[Answer]:
            return super().answer(requests)[:-1]

    with pytest.raises(RuntimeError, match="2 answers to 3 requests"):
        go(Short(), tmp_path)


def test_a_file_that_cannot_be_read_is_explained(tmp_path: Path) -> None:
    go(ScriptedEngine(), tmp_path)
    file = next(tmp_path.rglob("00001.json"))
    file.unlink()
    file.mkdir()
    with pytest.raises(AssayError, match=r"00001\.json: finished answers cannot be read"):
        go(ScriptedEngine(), tmp_path)


def test_partial_files_left_by_a_kill_do_not_matter(tmp_path: Path) -> None:
    go(ScriptedEngine(), tmp_path)
    file = next(tmp_path.rglob("00001.json"))
    file.with_name(".00001.json.x.part").write_text(json.dumps({"half": 1})[:5])
    engine = ScriptedEngine()
    assert go(engine, tmp_path) == [echo(asked, 1) for asked in REQUESTS]
    assert engine.calls == []


def test_latency_is_measured_one_by_one_after_a_warm_up() -> None:
    ticks = iter(np.cumsum([0.0, 1.0, 0.0, 3.0, 0.0, 2.0, 0.0, 10.0]).tolist())
    engine = ScriptedEngine()
    measured = measure_latency(REQUESTS, engine, 4, clock=lambda: next(ticks))
    assert measured == Latency(2.5, 10, 4)
    assert [len(call) for call in engine.calls] == [1] * 5
    assert engine.calls[0] == ["a" * 6]
    ticks = iter(np.cumsum([step for i in range(20) for step in (0.0, float(i))]).tolist())
    many = measure_latency(REQUESTS[:1] * 20, engine, 20, clock=lambda: next(ticks))
    assert many == Latency(9.5, 18, 20)  # 19 of 20 took no longer


@pytest.mark.parametrize(("each", "timed"), [(0.5, 6), (1.5, 4), (2.0, 3), (60.0, 3)])
def test_slow_answers_are_timed_a_few_times_only(each: float, timed: int) -> None:
    """Until they have taken five seconds together, but three at least."""
    engine = ScriptedEngine()
    ticks = iter(each * (i // 2 + i % 2) for i in range(99))
    measured = measure_latency(REQUESTS[:1] * 20, engine, 6, seconds=5.0, clock=lambda: next(ticks))
    assert measured == Latency(each, each, timed)
    assert len(engine.calls) == 1 + timed


def test_latency_without_an_answer_is_unknown() -> None:
    assert measure_latency([], ScriptedEngine()) is None
    assert measure_latency(REQUESTS, failing(lambda text, call: True), 3) is None
