"""Runs of evals over what clients have stored: what is chosen, and who may read the copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from assay.jobs import eval_runs
from assay.project.jobs import eval_items
from assay.serve import batch_run
from assay.store import kept_answers
from tests.serve.running import STARTER, Running
from tests.serve.test_chat import CALL
from tests.serve.test_eval_runs import YES, run_over
from tests.serve.test_eval_traces import keep_traces
from tests.serve.test_evals import waited
from tests.serve.test_responses import WEATHER
from tests.serve.test_stored_completions import ask

LOGS: Any = {"type": "logs"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)
    monkeypatch.setattr(kept_answers, "PAGE", 2)


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    """Of a key that sees nothing that another test has stored."""
    server.engine.script = lambda *_: "yes"
    with server.client(server.new_key("files", "chat")) as client:
        yield client


def stored(kind: str = "stored_completions", **filters: Any) -> Any:
    run = "responses" if kind == "responses" else "completions"
    return {"type": run, "source": {"type": kind, **filters}}


def asked(found: list[Any]) -> list[str]:
    return [one.datasource_item["input"][-1]["content"] for one in found]


def test_stored_completions_are_chosen_graded_and_asked_again(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        ask(client, f"text {n}", metadata={"topic": "even" if n % 2 == 0 else "odd", "n": str(n)})
    server.engine.script = lambda *_: CALL
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    parts: Any = [{"type": "text", "text": "Os"}, {"type": "text", "text": "lo?"}]
    last = ask(client, parts, tools=[tool], n=2)
    run, found = run_over(client, stored(), YES)
    assert asked(found) == ["Oslo?", *(f"text {n}" for n in reversed(range(5)))]
    assert [one.status for one in found] == ["fail"] + ["pass"] * 5
    assert found[0].sample.output[0].tool_calls[0]["function"]["name"] == "weather"
    assert (found[0].datasource_item["id"], run.result_counts.total) == (last.id, 6)
    for filters, wanted in (
        ({"metadata": {"topic": "odd"}}, ["text 3", "text 1"]),
        ({"metadata": {"topic": "even", "n": "2"}}, ["text 2"]),
        ({"metadata": {"topic": "even"}, "limit": 2}, ["text 4", "text 2"]),
        ({"model": STARTER, "created_after": last.created, "limit": 1}, ["Oslo?"]),
    ):
        assert asked(run_over(client, stored(**filters), YES)[1]) == wanted
    for filters in (
        {"metadata": {"topic": "none"}},
        {"metadata": {"topic": "odd"}, "model": "another"},
        {"metadata": {"topic": "odd"}, "created_before": last.created - 3600},
        {"metadata": {"topic": "odd"}, "created_after": last.created + 3600},
    ):
        with pytest.raises(openai.BadRequestError, match="there are no items"):
            run_over(client, stored(**filters), YES)

    # The list is that of when the run was made; the eval's own filter holds in each.
    server.engine.script = lambda *_: "yes"
    topic = {**LOGS, "metadata": {"topic": "odd"}}
    same: Any = {**YES, "reference": "{{item.metadata.n}}"}
    made = client.evals.create(data_source_config=topic, testing_criteria=[same])
    template: Any = [{"role": "user", "content": "{{item.input[0].content}}, {{item.metadata.n}}"}]
    again = {"input_messages": {"type": "template", "template": template}, "model": STARTER}
    before = len(server.engine.asked)
    server.engine.script = lambda messages, *_: messages[-1].content.split(", ")[-1]
    run = client.evals.runs.create(made.id, data_source={**stored(), **again})
    for one in client.chat.completions.list(metadata={"topic": "odd"}):
        client.chat.completions.delete(one.id)
    ask(client, "text 7", metadata={"topic": "odd"})
    assert waited(client, run).result_counts.passed == 2
    said = {asked[-1].content for asked, *_ in server.engine.asked[before:]}
    assert said == {"text 1, 1", "text 3, 3", "text 7"}
    monkeypatch.setattr(eval_items, "MOST_DEPTH", 1)
    with pytest.raises(openai.BadRequestError, match=r"item 1 \(chatcmpl.*: delete it.* is nested"):
        run_over(client, stored(), YES)
    with pytest.raises(openai.BadRequestError, match="'topic' is 'odd'"):
        client.evals.runs.create(made.id, data_source=stored(metadata={"topic": "even"}))
    for filters, why in (
        ({"metadata": {'a"b': "c"}}, "no quotes"),
        ({"metadata": {"a": "\0"}}, "no NUL"),
        ({"model": "\0"}, "no NUL"),
    ):
        with pytest.raises(openai.BadRequestError, match=why):
            run_over(client, stored(**filters), YES)


def test_responses_are_chosen_by_all_that_is_kept_of_them(
    server: Running, client: openai.OpenAI
) -> None:
    create: Any = client.responses.create
    server.engine.script = lambda *_: CALL
    kept = {"model": STARTER, "store": True}
    first = create(
        **kept, input="Oslo?", instructions="Say the Weather.", tools=[WEATHER], temperature=0.25
    )
    server.engine.script = lambda *_: "yes"
    result = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "sun"}
    create(**kept, input=[result], previous_response_id=first.id, metadata={"n": "2"}, top_p=0.5)
    create(**kept, input="third", user="ann", temperature=0.75)
    _, found = run_over(client, stored("responses"), YES)
    assert asked(found) == ["third", "sun", "Oslo?"]
    turns = found[1].datasource_item["input"]
    assert [one["role"] for one in turns] == ["user", "assistant", "tool"]
    assert found[2].datasource_item["input"][0] == {"role": "system", "content": "Say the Weather."}
    assert found[2].sample.output[0].tool_calls[0]["function"]["name"] == "weather"
    assert [one.status for one in found] == ["pass", "pass", "fail"]
    for filters, wanted in (
        ({"instructions_search": "the weather"}, ["Oslo?"]),
        ({"tools": ["search", "weather"]}, ["Oslo?"]),
        ({"temperature": 0.25}, ["Oslo?"]),
        ({"top_p": 0.5}, ["sun"]),
        ({"metadata": {"n": "2"}}, ["sun"]),
        ({"users": ["bob", "ann"]}, ["third"]),
        ({"model": STARTER, "limit": 1}, ["third"]),
    ):
        assert asked(run_over(client, stored("responses", **filters), YES)[1]) == wanted
    again = {**stored("responses", tools=["weather"]), "model": STARTER}
    before = len(server.engine.asked)
    assert run_over(client, again, YES)[0].result_counts.passed == 1
    [(messages, tools, _)] = server.engine.asked[before:]
    assert [one.role for one in messages] == ["system", "user"]
    assert tools[0]["function"]["name"] == "weather"
    with pytest.raises(openai.BadRequestError, match=r"responses\.reasoning_effort' is not supp"):
        run_over(client, stored("responses", reasoning_effort="low"), YES)


def test_what_a_key_has_stored_is_read_by_it_and_by_admins(
    server: Running, client: openai.OpenAI
) -> None:
    ask(client, "secret", metadata={"whose": "mine"})
    source = stored(metadata={"whose": "mine"})
    run, [found] = run_over(client, source, YES)
    _, batch = eval_runs.read_run(server.workspace.store, run.id)
    copies: Any = {"type": "jsonl", "source": {"type": "file_id", "id": batch.input_file}}
    assert run_over(client, copies, YES)[0].result_counts.passed == 1
    other = server.client(server.new_key("files", "chat", "traces"))
    with pytest.raises(openai.BadRequestError, match="there are no items"):
        run_over(other, source, YES)
    admin = server.client()
    for read in (
        lambda one: one.evals.runs.output_items.list(run.id, eval_id=run.eval_id),
        lambda one: one.evals.runs.output_items.retrieve(
            found.id, eval_id=run.eval_id, run_id=run.id
        ),
        lambda one: one.files.content(batch.output_file),
        lambda one: run_over(one, copies, YES),
    ):
        read(admin)
        with pytest.raises(openai.PermissionDeniedError, match="by that key"):
            read(other)
    own, _ = run_over(admin, source, YES)  # an admin's run is read by admins
    with pytest.raises(openai.PermissionDeniedError):
        client.evals.runs.output_items.list(own.id, eval_id=own.eval_id)
    with server.http() as http:
        lines = http.get("/v1/audit", params={"limit": 100}).json()["data"]
    told = {(line["action"], line["what"]) for line in lines}
    assert told >= {
        ("completion.list", found.datasource_item["id"]),
        ("eval.run.read", run.id),
        ("file.read", batch.output_file),
        ("file.read", batch.input_file),
    }
    deaf = server.client(server.new_key("files", "traces"))
    with pytest.raises(openai.PermissionDeniedError, match="scope chat"):
        run_over(deaf, source, YES)


def test_traces_are_read_where_nothing_that_was_stored_fits(server: Running) -> None:
    server.engine.script = lambda *_: "yes"
    keep_traces(server, 2)
    client = server.client(server.new_key("files", "chat", "traces"))
    for kind in ("stored_completions", "responses"):
        run, found = run_over(client, stored(kind, limit=7), YES)
        assert asked(found) == ["text 0", "text 1"]
        assert run.data_source.source.to_dict() == {"type": "traces", "limit": 7}
        with pytest.raises(openai.BadRequestError, match="there are no items"):
            run_over(client, stored(kind, metadata={"a": "b"}), YES)
    with pytest.raises(openai.BadRequestError, match="there are no items"):
        run_over(client, stored("responses", users=["ann"]), YES)
    ask(client, "stored")
    run, found = run_over(client, stored(), YES)
    assert (asked(found), run.data_source.source.type) == (["stored"], "stored_completions")
    assert asked(run_over(client, stored(model="kept"), YES)[1]) == ["text 0", "text 1"]
    assert asked(run_over(client, stored("traces"), YES)[1]) == ["text 0", "text 1"]
