"""Evals over HTTP, by OpenAI's own client."""

from __future__ import annotations

import json
import runpy
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest

from assay.errors import ModelError
from assay.example import Message
from assay.generate.stream import Sampling
from assay.serve import batch_lines, batch_run
from assay.store import stored_files
from tests.serve.running import PATIENCE_S, STARTER, Running

EXAMPLE = Path(__file__).parents[2] / "examples" / "rescued_evals.py"
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question"],
}
CONFIG: Any = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
SAME: Any = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
}
JUDGE: Any = {
    "type": "score_model",
    "name": "judge",
    "model": STARTER,
    "input": [{"role": "user", "content": "Rate: {{sample.output_text}}"}],
    "range": [1, 5],
    "pass_threshold": 3,
}
LABEL: Any = {
    "type": "label_model",
    "name": "polite",
    "model": STARTER,
    "input": [{"role": "developer", "content": "Label."}, {"role": "user", "content": "x"}],
    "labels": ["polite", "rude"],
    "passing_labels": ["polite"],
}
ASK: Any = {
    "type": "template",
    "template": [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": {"type": "input_text", "text": "{{item.question}}"}},
    ],
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def answer(messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling) -> str:
    """Judges by the length of what is rated; answers with the last word."""
    last = messages[-1].content
    if last.startswith("Rate: "):
        return json.dumps({"result": min(len(last) - 6, 9)})
    if messages[0].content == "Label.":
        return '{"result": "polite"}'
    return last.split(" ")[-1]


def content(*items: dict[str, Any]) -> Any:
    return {"type": "file_content", "content": [{"item": one} for one in items]}


def completions(source: Any, **more: Any) -> Any:
    asked = {"model": STARTER, "input_messages": ASK, **more}
    return {"type": "completions", "source": source, **asked}


def jsonl(lines: Sequence[Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in lines)


def waited(client: openai.OpenAI, run: Any) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while (now := client.evals.runs.retrieve(run.id, eval_id=run.eval_id)).status in (
        "queued",
        "in_progress",
    ):
        assert time.monotonic() < deadline, now
        time.sleep(0.02)
    return now


def test_an_eval_from_its_criteria_to_what_came_of_each_item(
    server: Running, client: openai.OpenAI
) -> None:
    server.engine.script = answer
    made = client.evals.create(
        data_source_config=CONFIG,
        testing_criteria=[SAME, JUDGE, LABEL],
        name="words",
        metadata={"a": "b"},
    )
    assert (made.object, made.name, made.metadata) == ("eval", "words", {"a": "b"})
    assert made.data_source_config.schema_["properties"]["item"] == SCHEMA  # type: ignore[index]
    assert [one.type for one in made.testing_criteria] == [
        "string_check",
        "score_model",
        "label_model",
    ]
    items = [
        {"question": "say one", "answer": "one"},  # same, and three letters
        {"question": "say it", "answer": "it"},  # same, but rated 2
        {"question": "say three", "answer": "four"},  # rated 5
        {"question": "say " + "x" * 9, "answer": "x" * 9},  # rated 9, which is no rating
        {"question": "say two"},  # nothing to hold it against
    ]
    run = client.evals.runs.create(
        made.id,
        name="first",
        data_source=completions(
            content(*items), sampling_params={"temperature": 0, "max_completion_tokens": 50}
        ),
    )
    assert (run.object, run.eval_id, run.name) == ("eval.run", made.id, "first")
    assert run.status in ("queued", "in_progress")
    run = waited(client, run)
    assert (run.status, run.model, run.error) == ("completed", STARTER, None)
    counts = run.result_counts
    assert (counts.total, counts.passed, counts.failed, counts.errored) == (5, 1, 2, 2)
    told = {
        one.testing_criteria: (one.passed, one.failed) for one in run.per_testing_criteria_results
    }
    assert told == {"same": (3, 2), "judge": (3, 2), "polite": (5, 0)}
    [usage] = run.per_model_usage
    assert (usage.model_name, usage.invocation_count) == (STARTER, 15)
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0

    listed = client.evals.runs.output_items
    found = list(listed.list(run.id, eval_id=made.id, limit=2))
    assert [one.datasource_item for one in found] == items
    assert [one.status for one in found] == ["pass", "fail", "fail", "error", "error"]
    first = found[0]
    assert [(one.name, one.passed, one.score) for one in first.results] == [
        ("same", True, 1.0),
        ("judge", True, 3.0),
        ("polite", True, 1.0),
    ]
    assert [turn.content for turn in first.sample.input] == ["Be brief.", "say one"]
    assert (first.sample.output[0].content, first.sample.finish_reason) == ("one", "stop")
    assert (first.sample.temperature, first.sample.max_completion_tokens) == (0, 50)
    wrong = [one.results[n].sample for one, n in ((found[3], 1), (found[4], 0))]
    assert [one and one["error"] for one in wrong] == [
        "model_grader_parse_error",
        "invalid_variable_error",
    ]
    passed = list(listed.list(run.id, eval_id=made.id, status="pass", order="desc"))
    assert [one.id for one in passed] == [first.id]
    again = listed.retrieve(first.id, eval_id=made.id, run_id=run.id)
    assert again.model_dump() == first.model_dump()

    assert [one.id for one in client.evals.runs.list(made.id, status="completed")] == [run.id]
    assert run.id not in {batch.id for batch in client.batches.list()}
    client.evals.update(made.id, name="renamed")
    [last] = client.evals.list(order="desc", order_by="updated_at", limit=1).data
    assert (last.id, last.name, last.metadata) == (made.id, "renamed", {"a": "b"})
    deleted = client.evals.delete(made.id)
    assert (deleted.eval_id, deleted.deleted) == (made.id, True)
    with pytest.raises(openai.NotFoundError):
        client.evals.runs.retrieve(run.id, eval_id=made.id)
    kept = stored_files.files(server.workspace.store, server.workspace.name)[0]
    assert not [one for one in kept if run.id in one.filename]


def test_answers_that_are_there_are_graded_and_nobody_is_asked(
    server: Running, client: openai.OpenAI
) -> None:
    alike: Any = {
        "type": "text_similarity",
        "name": "alike",
        "evaluation_metric": "fuzzy_match",
        "input": "{{sample.output_json.word}}",
        "reference": "{{item.answer}}",
        "pass_threshold": 0.8,
    }
    made = client.evals.create(data_source_config=CONFIG, testing_criteria=[alike])
    answers = ['{"word": "colour"}', '{"word": "tint"}', "colour"]
    lines = [
        {"item": {"question": "?", "answer": "color"}, "sample": {"output_text": text}}
        for text in answers
    ]
    file = client.files.create(file=("items.jsonl", jsonl(lines)), purpose="evals")
    source: Any = {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}
    run = waited(client, client.evals.runs.create(made.id, data_source=source))
    assert not server.engine.asked
    found = client.evals.runs.output_items.list(run.id, eval_id=made.id).data
    assert [(one.status, one.results[0].score > 0.8) for one in found] == [
        ("pass", True),
        ("fail", False),
        ("fail", False),  # what should be JSON and is not is the answer's fault
    ]
    assert [one.sample.output[0].content for one in found] == answers
    assert (run.model, run.per_model_usage) == (None, [])


def test_a_model_that_is_away_is_no_failure_of_the_answer(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_lines, "TRIES", 1)
    server.engine.error = ModelError("it cannot be loaded.")
    made = client.evals.create(data_source_config=CONFIG, testing_criteria=[SAME])
    asked = completions(content({"question": "a", "answer": "a"}, {"question": "b"}))
    run = waited(client, client.evals.runs.create(made.id, data_source=asked))
    assert run.status == "completed"
    assert (run.result_counts.errored, run.result_counts.total) == (2, 2)
    found = client.evals.runs.output_items.list(run.id, eval_id=made.id).data
    assert [one.datasource_item["question"] for one in found] == ["a", "b"]
    assert [one.sample.error.code for one in found] == ["model_unavailable"] * 2


def test_a_run_is_cancelled_and_what_was_graded_is_kept(
    server: Running, client: openai.OpenAI
) -> None:
    server.engine.pause_s = 0.3
    made = client.evals.create(data_source_config=CONFIG, testing_criteria=[SAME])
    items = [{"question": f"{n}", "answer": f"{n}"} for n in range(60)]
    run = client.evals.runs.create(made.id, data_source=completions(content(*items)))
    deadline = time.monotonic() + PATIENCE_S
    while len(server.engine.asked) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(openai.ConflictError, match="not over"):
        client.evals.delete(made.id)
    client.evals.runs.cancel(run.id, eval_id=made.id)
    run = waited(client, run)
    assert run.status == "canceled"
    counts = run.result_counts
    assert min(counts.passed, counts.errored) > 0
    assert counts.passed + counts.errored == counts.total == 60
    left = client.evals.runs.output_items.list(run.id, eval_id=made.id, status="error").data
    assert {(one.sample.error.code, "batch" in one.sample.error.message) for one in left} == {
        ("canceled", False)
    }
    with pytest.raises(openai.ConflictError, match="status 'canceled'"):
        client.evals.runs.cancel(run.id, eval_id=made.id)


def test_evals_that_were_fetched_are_run_again(
    server: Running,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`examples/rescued_evals.py`, on a folder as `assay rescue openai` leaves it."""
    server.engine.script = answer
    schema = {"type": "object", "properties": {"item": SCHEMA, "sample": {}}}
    asked = {"type": "completions", "source": {"type": "file_id", "id": "file-x"}}
    there = {"type": "jsonl", "source": {"type": "file_id", "id": "file-x"}}
    old = {
        "id": "eval_1",
        "object": "eval",
        "name": "old",
        "data_source_config": {"type": "custom", "schema": schema},
        "testing_criteria": [
            {**SAME, "id": "same-1"},
            {
                **JUDGE,
                "id": "judge-1",
                "model": "gpt-4o",
                "sampling_params": {"reasoning_effort": "low"},
            },
            {"type": "python", "name": "code", "source": "def grade(): ..."},
        ],
    }
    sampling = {"sampling_params": {"seed": 7, "reasoning_effort": "low", "top_p": None}}
    run = {"id": "evalrun_1", "created_at": 1}
    run["data_source"] = {**asked, "input_messages": ASK, **sampling}
    items = [
        {"datasource_item": {"question": "say\u2028\x85 one", "answer": "one"}},
        {"datasource_item": {"question": "say it", "answer": "that"}},
    ]
    bad = {**old, "id": "eval_2", "name": "bad", "testing_criteria": [{**SAME, "input": "{{x}}"}]}
    graded = {**old, "id": "eval_3", "name": "graded", "testing_criteria": [SAME]}
    answered = {**items[0], "sample": {"output": [{"role": "assistant", "content": "one"}]}}
    for path, lines in (
        ("evals.jsonl", [old, bad, graded]),
        ("evals/eval_1/runs.jsonl", [run, {"id": "evalrun_2", "created_at": 2}]),  # came to none
        ("evals/eval_1/evalrun_1.output-items.jsonl", items),
        ("evals/eval_2/runs.jsonl", [run]),
        ("evals/eval_2/evalrun_1.output-items.jsonl", items),
        ("evals/eval_3/runs.jsonl", [{**run, "data_source": there}]),
        ("evals/eval_3/evalrun_1.output-items.jsonl", [answered]),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        raw = b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in lines)
        if path.startswith("evals/eval_3"):  # saved by hand, as the API sends a list
            raw = json.dumps(
                {"object": "list", "data": lines, "has_more": False}, indent=2
            ).encode()
        (tmp_path / path).write_bytes(raw)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    arguments = [str(EXAMPLE), str(tmp_path), "--model", STARTER, "--judge", STARTER]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    said = capsys.readouterr().out.splitlines()
    assert "  refused: " in said.pop(6)
    assert said == [
        "old:",
        "  left out: code (python)",
        "  completed: 1 of 2 passed, 0 errors",
        "  same: 1 passed, 1 failed",
        "  judge: 1 passed, 1 failed",
        "bad:",
        "graded:",
        "  completed: 1 of 1 passed, 0 errors",
        "  same: 1 passed, 0 failed",
    ]
    assert [one.seed for _, _, one in server.engine.asked].count(7) == 2
    usable = runpy.run_path(str(EXAMPLE))["usable"]
    _, judge, code = old["testing_criteria"]
    assert usable(code, None, True) == code
    assert usable(judge, "remote:far/big", False)["sampling_params"] == judge["sampling_params"]


BAD_EVALS: list[tuple[dict[str, Any], str]] = [
    ({"testing_criteria": []}, "testing_criteria"),
    (
        {"testing_criteria": [{"type": "python", "name": "p", "source": "x"}]},
        "testing_criteria[0]",
    ),
    ({"testing_criteria": [{**SAME, "input": "{{sample}}"}]}, "testing_criteria[0]"),
    (
        {"data_source_config": {"type": "custom", "item_schema": {"type": "nothing"}}},
        "data_source_config.item_schema",
    ),
    (
        {"data_source_config": {"type": "logs", "metadata": {'a"b': "c"}}},
        "data_source_config.logs.metadata",
    ),
]
BAD_RUNS: list[tuple[Any, str, str]] = [
    (completions(content({"answer": "b"})), "item 1 does not fit", "data_source.source"),
    (
        completions(content({"question": "a"}), model="nobody"),
        "does not exist",
        "data_source.model",
    ),
    (
        completions(content({"question": "a"}), sampling_params={"reasoning_effort": "low"}),
        "reasoning_effort",
        "data_source.sampling_params",
    ),
    (
        completions({"type": "file_id", "id": "file-0"}),
        "there is no file",
        "data_source.source.id",
    ),
    (
        {"type": "completions", "source": {"type": "stored_completions"}},
        "there are no items",
        "data_source.source",
    ),
]


def test_what_cannot_be_graded_is_refused_with_its_place(
    server: Running, client: openai.OpenAI
) -> None:
    good: dict[str, Any] = {"data_source_config": CONFIG, "testing_criteria": [SAME]}
    with server.http() as http:
        for body, param in BAD_EVALS:
            told = http.post("/v1/evals", json={**good, **body})
            assert (told.status_code, told.json()["error"]["param"]) == (400, param), told.text
        made = client.evals.create(**good)
        for source, message, param in BAD_RUNS:
            told = http.post(f"/v1/evals/{made.id}/runs", json={"data_source": source})
            error = told.json()["error"]
            assert told.status_code in (400, 404)
            assert message in error["message"], error
            assert error["param"] == param
    others = server.client(server.new_key("files", project="other"))
    with pytest.raises(openai.NotFoundError):
        others.evals.retrieve(made.id)
    blind = server.client(server.new_key("files", "chat"))
    stored: Any = {"type": "completions", "source": {"type": "stored_completions"}}
    with pytest.raises(openai.PermissionDeniedError, match="nothing that this key has stored fits"):
        blind.evals.runs.create(made.id, data_source=stored)
    silent = server.client(server.new_key("files"))
    with pytest.raises(openai.PermissionDeniedError, match="scope chat"):
        silent.evals.runs.create(made.id, data_source=completions(content({"question": "a"})))
