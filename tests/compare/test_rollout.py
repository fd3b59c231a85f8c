"""Whole dialogues, gone on with by scripted candidates, in whole comparisons."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from assay import project as projects
from assay.agent import runtime
from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.candidates import nearest_answer, registry
from assay.candidates.building import Candidate, Context
from assay.cli.rollout import set_rollout
from assay.compare import account, comparison
from assay.compare.report import rollouts
from assay.compare.report.html import render
from assay.compare.report.terminal import print_result
from assay.compare.result import Result
from assay.errors import AssayError, ConfigError, UsageError
from assay.evaluate.dialogues import MOST_CALL_TURNS, dialogues_of, roll_out
from assay.evaluate.run import run
from assay.example import Example, Message, ToolCall, call_text, read_examples
from assay.generate import nearest
from assay.generate.batch import Answer, Request
from tests.evaluate.scripted import ScriptedEngine
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.knowledge.wordy import Wordy

Rule = Callable[[Request, int], Answer]
FIND: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find_ferry",
        "parameters": {
            "type": "object",
            "properties": {"to": {"type": "string"}, "date": {"type": "string"}},
            "required": ["to", "date"],
        },
    },
}
BOOK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "book_ferry",
        "parameters": {"type": "object", "properties": {"departure": {"type": "string"}}},
    },
}
TOOLS = (FIND, BOOK)
FILE = """
booked = []
def find_ferry(to, date):
    return [{"departure": to + date}] if date.startswith("2027") else []
def book_ferry(departure):
    booked.append(departure)
    return {"booked": len(booked)}
"""


def call(name: str, **arguments: str) -> ToolCall:
    return ToolCall("c", name, json.dumps(arguments))


def dialogue(number: int) -> list[Example]:
    """Four rows: which day?, a search, a booking, what is said of it."""
    port, day = ("Kiel", "Oslo")[number % 2], f"2027-05-{1 + number % 28:02}"
    departure = f"{port}-{number}"
    turns = (
        Message("user", f"Request {number}: I have to get to {port}, can you help me?"),
        Message("assistant", "On which day?"),
        Message("user", f"On {day}, please."),
        Message("assistant", "", (call("find_ferry", to=port, date=day),)),
        Message("tool", json.dumps([{"departure": departure}]), tool_call_id="c"),
        Message("assistant", "", (call("book_ferry", departure=departure),)),
        Message("tool", '{"booked": 1}', tool_call_id="c"),
        Message("assistant", "It is booked."),
    )
    return [
        Example(f"{number}-{end}", turns[:end], TOOLS, group=f"d{number}") for end in (2, 4, 6, 8)
    ]


def right(request: Request, _: int) -> Answer:
    """What is recorded, told from the conversation alone."""
    said = {m.role: m.content for m in request.messages}
    if len(request.messages) < 3:
        return Answer("Which day would suit you?")
    if request.messages[-1].role == "user":
        port = request.messages[0].content.split()[7].rstrip(",")
        return Answer(call_text(call("find_ferry", to=port, date=said["user"].split()[1][:-1])))
    if found := json.loads(said["tool"]):
        if isinstance(found, dict):
            return Answer("Done.")
        return Answer(call_text(call("book_ferry", departure=found[0]["departure"])))
    return right(Request(request.messages[:3]), 0)


def wrong_at_2(request: Request, number: int) -> Answer:
    answer = right(request, number)
    first = request.messages[-1].role == "user"
    return Answer(answer.text.replace("2027", "1999")) if first else answer


def hasty(request: Request, number: int) -> Answer:
    """Searches before it knows the day."""
    early = len(request.messages) == 1
    return Answer(call_text(call("find_ferry", to="Kiel"))) if early else right(request, number)


RULES: dict[str, Rule] = {"prompt": right, "few-shot": wrong_at_2, "few-shot-nearest": hasty}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Rule]:
    """Lets candidates answer by the rules of the dictionary, which may be changed."""
    rules = dict(RULES)

    def build(name: str, context: Context) -> Candidate:
        agent = Agent(model=f"scripted-{name}")
        scores = tuple(context.measure(agent).primary_scores)
        return Candidate(agent, (), scores, name=name, kind=name)

    def engine(self: BatchEngines, agent: Agent) -> ScriptedEngine:
        def rule(request: Request, number: int) -> Answer:
            return rules[agent.model.removeprefix("scripted-")](request, number)

        return ScriptedEngine(rule, identity={"engine": "scripted", "model": agent.model})

    monkeypatch.setattr(registry, "build", build)
    monkeypatch.setattr(account, "weight_bytes", lambda *_: None)
    monkeypatch.setattr(BatchEngines, "for_agent", engine)
    monkeypatch.setitem(run.__kwdefaults__, "backoff_s", 0.0)
    return rules


def write(folder: Path, rows: list[Example], *names: str, **fields: Any) -> projects.Project:
    lines = [{"id": row.id, "group": row.group, **row.to_dict()} for row in rows]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    tiny_model(max_position_embeddings=32_768).save_pretrained(folder / "model")
    byte_tokenizer().save_pretrained(folder / "model")
    config = {
        "name": "ferries",
        "task": "tools",
        "model": str(folder / "model"),
        "data": {"file": "rows.jsonl", "split": {"holdout": 0.5, "validation": 0.2}},
        "graders": [{"name": "call-exact"}],
        "primary": "call-exact",
        "candidates": list(names),
        "baselines": False,
        "rollout": {},
        **fields,
    }
    (folder / "assay.yaml").write_text(json.dumps(config))
    return projects.open(folder)


def many(count: int = 16) -> list[Example]:
    return [row for number in range(count) for row in dialogue(number)]


def test_rows_are_put_together_to_dialogues() -> None:
    rows = dialogue(1)
    other = Example("x", (*rows[0].messages[:1], Message("assistant", "When?")), TOOLS, group="d1")
    alone = Example("y", rows[1].messages, TOOLS)
    found = dialogues_of([rows[2], rows[0], other, alone, rows[3], rows[1]])
    assert [one.group for one in found] == [0, 0, 1]
    assert [sorted(one.turns) for one in found] == [[1, 3, 5, 7], [1], [1, 3]]
    assert found[0].turns[5].target == rows[2].target
    greeting = (Message("assistant", "Hello!"), *rows[1].messages)
    assert sorted(dialogues_of([Example("z", greeting, TOOLS)])[0].turns) == [2, 4]


def test_what_the_system_says_parts_no_dialogue() -> None:
    """A clock, say: each turn is asked with the system prompt that it was recorded with."""

    def timed(row: Example, text: str) -> Example:
        return replace(row, messages=(Message("system", text), *row.messages))

    rows = [timed(row, str(number)) for number, row in enumerate(dialogue(1))]
    untimed = replace(rows[1], messages=rows[1].messages[1:])
    alone = replace(dialogue(2)[0], group=None)
    named = replace(dialogue(3)[0], group="row 4")
    for first in (rows[1], untimed):
        seen: list[Example] = []

        def ask(asked: list[Example], seen: list[Example] = seen) -> list[Answer]:
            seen.extend(asked)
            return [right(Request(strip(one)), 0) for one in asked]

        found = dialogues_of([rows[3], first, rows[0], rows[2], alone, named])
        assert [(one.group, len(one.turns)) for one in found] == [(0, 4), (1, 1), (2, 1)]
        [outcome] = roll_out(found[:1], ask)
        assert (outcome.right, outcome.departure) == (4, None)
        told = [[m.content for m in one.messages if m.role == "system"] for one in seen]
        assert told == [["0"], ["1"] if first is rows[1] else [], ["2"], ["3"]]
    # Two that say the same below other prompts stay two, each with its own rows.
    both = [timed(row, who) for who in "AB" for row in dialogue(1)]
    found = dialogues_of(both)
    assert [[row.messages[0].content for row in one.turns.values()] for one in found] == [
        ["A"] * 4,
        ["B"] * 4,
    ]


def strip(row: Example) -> tuple[Message, ...]:
    """What was said before the target, without the system."""
    return tuple(message for message in row.messages[:-1] if message.role != "system")


def test_parallel_calls_get_the_results_of_those_that_they_are() -> None:
    calls = (ToolCall("a", "book_ferry", '{"departure": "A"}'),)
    calls += (ToolCall("b", "book_ferry", '{"departure": "B"}'),)
    turns = (
        Message("user", "Book A and B."),
        Message("assistant", "", calls),
        Message("tool", "A is booked", tool_call_id="a"),
        Message("tool", "B is full", tool_call_id="b"),
        Message("assistant", "B is full."),
    )
    seen: list[Example] = []

    def ask(asked: list[Example]) -> list[Answer]:
        seen.extend(asked)
        return [Answer("\n".join(map(call_text, reversed(calls))))]

    [outcome] = roll_out(dialogues_of([Example("r", turns, TOOLS)]), ask)
    assert (outcome.right, outcome.turns) == (1, 2)
    assert outcome.departure is not None
    assert outcome.departure.how == "needless"
    own, first, second, _ = seen[1].messages[1:]
    asked = {one.id: one.arguments for one in own.tool_calls}
    for result, name in ((first, "A"), (second, "B")):
        assert result.content.startswith(name)
        assert name in asked[str(result.tool_call_id)]


def test_an_agent_that_only_calls_is_stopped() -> None:
    again = call_text(call("find_ferry", to="Kiel"))
    dialogues = dialogues_of(dialogue(3))
    [outcome] = roll_out(
        dialogues, lambda asked: [Answer(again)] * len(asked), lambda calls: ["[]"] * len(calls)
    )
    assert len(outcome.answers) == MOST_CALL_TURNS + 1
    assert not outcome.all_made
    refused = [Answer("", finish="refused", error="too long")]
    [outcome] = roll_out(dialogues, lambda _: refused, lambda calls: ["[]"] * len(calls))
    assert outcome.departure is not None
    assert (outcome.departure.how, len(outcome.answers)) == ("refused", 1)


def figures(result: Result) -> dict[str, tuple[float, float, dict[str, int], list[int]]]:
    assert result.rollout is not None
    return {
        one.candidate: (
            one.success.score,
            one.before_departure.score,
            dict(one.departures),
            one.at_turn,
        )
        for one in result.rollout.candidates
    }


def test_whole_dialogues_are_scored_in_the_opening_of_single_calls(
    scripted: dict[str, Rule], tmp_path: Path
) -> None:
    made = write(tmp_path, many(), *scripted)
    made.split()
    held = list(read_examples(made.split_folder / "holdout.jsonl"))
    lines = [json.dumps({"id": row.id, "output": row.output}) for row in held]
    (tmp_path / "other.jsonl").write_text("\n".join(lines))
    result = made.compare(predictions={"other": tmp_path / "other.jsonl"}).result
    count = len(held) // 4
    found = result.rollout
    assert found is not None
    assert (found.dialogues, found.groups, found.turns, found.with_call) == (
        count,
        None,
        4 * count,
        count,
    )
    assert figures(result) == {
        "prompt": (1.0, 1.0, {}, []),
        "few-shot": (0.0, 0.25, {"arguments": count}, [0, count]),
        "few-shot-nearest": (0.0, 0.0, {"needless": count}, [count]),
    }
    perfect = found.candidates[0].success
    assert 0.5 < perfect.low < perfect.high == 1.0
    assert [one.candidate for one in found.left_out] == ["other"]
    assert result.plan.rollout == "recorded"
    assert found.several == 0
    assert f"Only {count} dialogues: too few to tell" in rollouts.summary(found)
    apart = found.model_copy(update={"dialogues": 40, "groups": 38, "units": 29.6, "several": 2})
    told = rollouts.summary(apart)
    assert "In 2 of 38 groups the rows make several dialogues" in told
    assert "Only 38 uneven groups of dialogues, which count as 29: below 30" in told
    out = Console(width=120, record=True)
    print_result(result, out)
    for page in (out.export_text(), render(result, [], redacted=True)):
        assert "a call where none is due" in page
        assert "cannot hold a conversation" in page
    assert len(made.openings()) == 1


def test_what_was_not_planned_takes_another_opening(
    scripted: dict[str, Rule], tmp_path: Path
) -> None:
    first = write(tmp_path, many(), "prompt", rollout=None).compare().result
    assert first.rollout is None
    made = write(tmp_path, many(), "prompt")
    second = made.compare().result
    assert second.rollout is not None
    assert second.candidates[0].score == first.candidates[0].score
    assert [one.number for one in made.openings()] == [1, 2]
    with pytest.raises(ConfigError, match="task: tools"):
        write(tmp_path, many(), "prompt", task="text")


def test_tools_answer_once_a_dialogue_has_departed(
    scripted: dict[str, Rule], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    made = write(tmp_path, many(), "few-shot", rollout={"tools": "mine.py"})
    with pytest.raises(UsageError, match="--trust-code"):
        made.compare()
    (tmp_path / "mine.py").write_text(FILE.replace("book_ferry", "book"))
    with pytest.raises(AssayError, match="no function book_ferry"):
        made.compare(trust_code=True)
    assert made.openings() == []
    # It searches for 1999, is told that there is nothing, searches again, and books what is found.
    (tmp_path / "mine.py").write_text(FILE.replace("to + date", "known[to, date]") + known())
    result = made.compare(trust_code=True).result
    assert result.plan.rollout == "tools"
    [one] = result.rollout.candidates if result.rollout else []
    assert (one.success.score, one.before_departure.score) == (0.0, 0.25)
    assert one.all_made is not None
    assert one.all_made.score == 1.0


def test_tools_that_failed_are_asked_again_in_the_same_opening(
    scripted: dict[str, Rule], tmp_path: Path
) -> None:
    ends = "    return os._exit(3) if beside.down() else []"
    (tmp_path / "mine.py").write_text(f"{FILE}import os, beside\ndef find_ferry(to, date):\n{ends}")
    (tmp_path / "beside.py").write_text("import os\ndef down(): return os.path.exists('down')")
    (tmp_path / "down").touch()
    made = write(tmp_path, many(), "few-shot", rollout={"tools": "mine.py"})
    first = made.compare(trust_code=True).result.rollout
    assert first is not None
    assert [(one.candidate, one.again) for one in first.left_out] == [("few-shot", True)]
    (tmp_path / "down").unlink()
    second = made.compare(trust_code=True).result.rollout
    assert second is not None
    assert second.left_out == []
    assert len(made.openings()) == 1
    (tmp_path / "beside.py").write_text("def down(): return False")
    made.compare(trust_code=True)
    assert len(made.openings()) == 2


def known() -> str:
    """The departures that the dialogues name, as a part of the tools' file."""
    found = {}
    for number in range(16):
        turns = dialogue(number)[-1].messages
        asked = json.loads(turns[3].tool_calls[0].arguments)
        found[asked["to"], asked["date"]] = json.loads(turns[4].content)[0]["departure"]
    return f"\nknown = {found!r}\n"


@pytest.mark.parametrize("ends", ["outage", "kill"])
def test_what_was_answered_is_not_asked_again(
    ends: str, scripted: dict[str, Rule], tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []
    is_down = True

    def rule(request: Request, number: int) -> Answer:
        said = tuple(message.content for message in request.messages)
        in_rollout = len(said) > 1 and said[1] == "Which day would suit you?"
        if is_down and in_rollout and len(said) > 4:
            if ends == "kill":
                raise KeyboardInterrupt
            return Answer("", finish="error", error="down")
        asked.append(said)
        return right(request, number)

    scripted["prompt"] = rule
    made = write(tmp_path, many(), "prompt")
    if ends == "kill":
        with pytest.raises(KeyboardInterrupt):
            made.compare()
    else:
        first = made.compare().result
        assert first.rollout is not None
        assert [one.again for one in first.rollout.left_out] == [True]
    before, is_down = len(asked), False
    result = made.compare().result
    assert figures(result)["prompt"] == (1.0, 1.0, {}, [])
    assert not set(asked[before:]) & set(asked[:before])
    assert len(asked) > before
    assert made.compare().result == result
    assert len(made.openings()) == 1


def test_dialogues_of_restaurants(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (runtime, nearest, nearest_answer):
        monkeypatch.setattr(module, "get_embedder", lambda name: Wordy())
    monkeypatch.setattr(comparison, "forgetting_of", lambda *_: None)
    lines = (data_folder / "sgd_restaurants" / "calls.jsonl").read_text().splitlines()[:45]
    made = write(tmp_path, [], "nearest-answer")
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    result = made.compare().result
    found = result.rollout
    assert found is not None
    held = {row.group for row in read_examples(made.split_folder / "holdout.jsonl")}
    assert found.dialogues == len(held)
    assert found.turns > result.data.holdout
    [one] = found.candidates
    assert one.success.score <= one.before_departure.score
    assert sum(one.at_turn) == sum(one.departures.values()) <= found.dialogues


def test_options_and_estimate_of_whole_dialogues(tmp_path: Path) -> None:
    far = {"base_url": "https://a.example", "consent": True}
    far |= {"prices": {"model": {"input": 1.0, "output": 1.0}}}
    fields = {"remote": "remote:far/model", "providers": {"far": far}, "rollout": None}
    fields |= {"route": {"cheap": "prompt", "strong": "remote"}}
    made = write(tmp_path, many(), "prompt", "remote", "cascade", **fields)
    before = made.estimate()
    with pytest.raises(UsageError, match="--rollout"):
        set_rollout(made, False, "mine.py")
    set_rollout(made, True, "mine.py")
    assert made.config.rollout is not None
    assert made.config.rollout.tools == "mine.py"
    after = made.estimate()
    alone = {one.part for one in before.provider_costs}
    more = [one for one in after.provider_costs if one.part not in alone]
    assert [one.part.split()[0] for one in more] == ["remote", "cascade"]
    assert all(one.usd for one in more)
    assert {one.candidate for one in after.stages if one.doing == "rollout"} == {"prompt", "remote"}
    assert after.seconds > before.seconds
    made.config = made.config.model_copy(update={"task": "text"})
    with pytest.raises(UsageError, match="task: tools"):
        set_rollout(made, True, None)
