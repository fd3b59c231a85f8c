"""Candidates in a project whose answers are calls of functions, and what is served of them."""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.candidates.test_remote import provider
from tests.generate.remote.provider import Reply, said, serving
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.knowledge.wordy import Wordy

from assay.agent import runtime
from assay.agent.lineage import rows_held
from assay.agent.route import Cascade
from assay.agent.runtime import assemble
from assay.candidates import nearest_answer, registry
from assay.candidates.building import Context
from assay.candidates.shared import extraction
from assay.chat.tool_text import find_calls
from assay.config import RouteSection
from assay.example import Example, Message, ToolCall
from assay.generate import call_extraction, nearest

TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "find",
        "parameters": {"type": "object", "properties": {"thing": {"type": "string"}}},
    },
}
BOOK: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "book",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "day": {"type": "string"}},
            "required": ["town", "day"],
        },
    },
}
THINGS = ("anchor", "bottle", "candle", "drawer")
GRADERS = [{"name": "call-exact"}, {"name": "no-call"}]


def row(question: str, thing: str | None, id: str) -> Example:
    calls = () if thing is None else (ToolCall("c", "find", f'{{"thing": "{thing}"}}'),)
    target = Message("assistant", "" if calls else "Find what?", calls)
    return Example(id, (Message("user", question), target), (TOOL,))


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    for module in (runtime, nearest, nearest_answer, extraction, call_extraction):
        monkeypatch.setattr(module, "get_embedder", lambda name: Wordy())
    folder = tmp_path / "model"
    tiny_model(max_position_embeddings=2048).save_pretrained(folder)  # a byte is a token
    byte_tokenizer().save_pretrained(folder)
    made = context_of(
        tmp_path,
        {"epochs": 1, "rank": 2, "seeds": 1, "max_tokens": 1024},
        task="tools",
        graders=GRADERS,
        primary="call-exact",
        model=str(folder),
        few_shot={"ks": [1]},
        generate={"max_new_tokens": 4},
    )
    train = [row(f"where is the {thing}", thing, thing) for thing in THINGS]
    held = [row(f"so where is the {thing}", thing, f"so {thing}") for thing in THINGS]
    silent = [row(f"find {word} please", None, word) for word in ("it", "that", "something")]
    return replace(made, train=(*train, *silent[:2]), validation=(*held, silent[2]))


def test_the_nearest_answer_is_a_call_that_is_served_as_one(context: Context) -> None:
    built = registry.build("nearest-answer", context)
    assert built.scores == (1.0,) * 5
    answers = [answer.text for answer in context.measure(built.agent).answers]
    [call] = find_calls(answers[0], [TOOL])[1]
    assert (call.name, call.arguments) == ("find", '{"thing": "anchor"}')
    assert find_calls(answers[4], [TOOL])[1] == ()


def asked(turns: int, town: str, day: str | None) -> Example:
    """A dialogue in which a town is named, corrected at times, and then a day, or not yet."""
    said = ["I have to get away", "Where to?", f"I go to {town} please thank you"]
    if turns % 2:
        said += ["Where to?", f"I go to {town[::-1]} please thank you"]
        town = town[::-1]
    said += ["When?", f"on {day}"] if day else []
    messages = [Message(("user", "assistant")[n % 2], text) for n, text in enumerate(said)]
    call = ToolCall("c", "book", json.dumps({"town": town, "day": day}))
    target = Message("assistant", "", (call,)) if day else Message("assistant", "When?")
    return Example(f"{turns} {town} {day}", (*messages, target), (BOOK, TOOL))


def test_a_call_is_put_together_of_what_was_said_last(context: Context) -> None:
    """A town that no row has is found, the one that was named last; no day, no call."""
    days = ("Monday", "Tuesday", None)
    towns = ("Kiel", "Riga", "Oslo", "Turku", "Visby", "Gdynia", "Rostock", "Bergen")
    train = [asked(n, town, day) for n, town in enumerate(towns) for day in days]
    held = [asked(n, town, day) for n, town in enumerate(("Narvik", "Malmo")) for day in days]
    two = replace(
        held[0].target, tool_calls=(*held[0].target.tool_calls, ToolCall("d", "find", "{}"))
    )
    several = replace(held[0], messages=(*held[0].prompt, two))
    built = registry.build(
        "extract-call", replace(context, train=(*train, several), validation=held)
    )
    assert built.scores == (1.0,) * 6
    assert "1 of 25 training rows call several functions" in built.warnings[0]
    assert set(rows_held(built.agent, context.store)) == {one.content_hash() for one in train}
    measured = context.bench.measure(built.agent, held)
    assert measured.answers[2].text == "When?"
    [call] = find_calls(measured.answers[3].text, [BOOK])[1]
    assert json.loads(call.arguments) == {"town": "omlaM", "day": "Monday"}
    unoffered = [replace(one, tools=(TOOL,)) for one in held]
    words = context.bench.measure(built.agent, unoffered).answers
    assert {one.text for one in words} == {"When?"}
    assert [one.logprob is None for one in words] == [one.output != "When?" for one in held]
    strict = deepcopy(BOOK)
    strict["function"]["parameters"]["properties"]["day"] = {"enum": ["Tuesday"]}
    [other] = context.bench.measure(built.agent, [replace(held[0], tools=(strict,))]).answers
    assert '"day": "Tuesday"' in other.text


def test_a_call_tells_how_sure_it_is_and_a_cascade_stands_on_it(context: Context) -> None:
    """Things of which no row tells are wrong, and look as if nothing were to be called."""
    odd = [row(f"{word} is gone", word, word) for word in ("engine", "flag", "gull", "hatch")]
    held = (*context.validation, *odd)
    route = {"cheap": "extract-call", "strong": "nearest-answer"}
    config = context.config.model_copy(update={"route": RouteSection.model_validate(route)})
    bench = replace(context.bench, config=config)
    cheap = registry.build("extract-call", replace(context, validation=held))
    all_rows = (*context.train, *odd)
    known = replace(
        context, bench=bench, train=all_rows, validation=held, built={"extract-call": cheap}
    )
    answers = context.bench.measure(cheap.agent, held).answers
    right, wrong = ([a.logprob for a in part] for part in (answers[:5], answers[5:]))
    assert cheap.scores == (1.0,) * 5 + (0.0,) * 4
    assert max(wrong) < min(right) <= 0  # type: ignore[type-var]
    cascade = registry.build("cascade", known)
    assert isinstance(cascade.agent.route, Cascade)
    routed = context.bench.measure(cascade.agent, held)
    assert routed.primary_scores == [1.0] * 9
    assert cascade.agent.route.cheap == cheap.agent.id
    assert max(wrong) < math.log(cascade.agent.route.threshold) <= min(right)  # type: ignore[type-var]


def test_the_floor_tries_to_call_nothing(context: Context) -> None:
    again = row("where is the anchor again", "anchor", "again")
    train = (*context.train, again)
    held = (context.validation[0], context.validation[4], *context.train[4:])
    built = registry.build("baseline-majority", replace(context, train=train, validation=held))
    tried = [(trial.setting, trial.score) for trial in built.tried]
    assert tried == [("most frequent answer", 0.25), ("empty answer", 0.75)]
    assert built.scores == (0.0, 1.0, 1.0, 1.0)


def test_the_calls_of_a_provider_are_graded_as_calls(tmp_path: Path) -> None:
    """One row is answered by the right call, one by another thing, one by words."""
    things = {
        "where is the anchor": '{ "thing":"anchor" }',
        "where is the bottle": '{"thing": "?"}',
    }

    def answer(body: dict[str, Any], _: int) -> Reply:
        assert body["tools"] == [TOOL]
        arguments = things.get(body["messages"][-1]["content"])
        if arguments is None:
            return said("Find what?")
        call = {"id": "x", "type": "function", "function": {"name": "find", "arguments": arguments}}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return Reply(json.dumps({"object": "chat.completion", "choices": [choice]}).encode())

    rows = [row(f"where is the {thing}", thing, thing) for thing in THINGS[:2]]
    rows.append(row("find it please", None, "it"))
    graded = {"task": "tools", "graders": GRADERS, "primary": "call-exact"}
    with serving(answer) as far:
        providers = provider(far.port, consent=True)
        made = context_of(tmp_path, {}, remote="remote:far/big", providers=providers, **graded)
        built = registry.build("remote", replace(made, train=(), validation=tuple(rows)))
    assert built.scores == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("name", ["prompt", "few-shot", "few-shot-nearest", "fine-tune"])
def test_candidates_of_a_model_without_a_place_for_tools_take_part(
    context: Context, name: str
) -> None:
    built = registry.build(name, context)
    assert len(built.scores) == 5
    [request] = assemble(built.agent, context.validation[:1], context.store)
    assert request.tools == (TOOL,)
    # At a tie the calls that fit the tools are taken.
    assert built.agent.constrained
    assert request.calls
    assert any("unconstrained" in trial.setting for trial in built.tried)
    shown = [m for m in request.messages if m.tool_calls]
    assert bool(shown) == name.startswith("few-shot")
