"""What an item of an eval's run goes through: judges that fail, items of all kinds."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import openai
import pytest

from assay.accounts.costs import BudgetError
from assay.accounts.keys import create_key, revoke_key
from assay.errors import ModelError
from assay.evaluate import rewards
from assay.example import Message
from assay.generate.stream import BusyError, Sampling
from assay.jobs import batches, eval_results, eval_runs, evals, queue
from assay.jobs.eval_request import MOST_INLINE
from assay.project.jobs import evals as project
from assay.serve import batch_run
from assay.serve.body import check_shape
from assay.store import stored_files
from tests.serve.running import PATIENCE_S, Running
from tests.serve.scripted import ThreeNumbers
from tests.serve.test_evals import ASK, JUDGE, SAME, completions, content, jsonl, waited

ANY: Any = {"type": "custom", "item_schema": {"type": "object"}}
YES: Any = {**SAME, "reference": "yes"}
ONE = {"question": "q", "answer": "yes"}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    server.engine.script = lambda *_: "yes"
    with server.client() as client:
        yield client


def made(client: openai.OpenAI, *criteria: Any) -> str:
    return client.evals.create(data_source_config=ANY, testing_criteria=list(criteria)).id


def run_over(client: openai.OpenAI, source: Any, *criteria: Any) -> tuple[Any, list[Any]]:
    """A run that is over, and what came of its items."""
    started = client.evals.runs.create(made(client, *criteria), data_source=source)
    run = waited(client, started)
    return run, list(client.evals.runs.output_items.list(run.id, eval_id=run.eval_id))


def of_file(client: openai.OpenAI, *lines: Any) -> Any:
    """A source of answers that are there."""
    file = client.files.create(file=("items.jsonl", jsonl(lines)), purpose="evals")
    return {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}


def wait_for(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def judging(fail: Callable[[int], Exception | None], asked: list[str]) -> Any:
    """A script that answers, and fails as a judge when it is told to, by how often it was asked."""

    def answer(messages: Sequence[Message], tools: Any, sampling: Sampling) -> str:
        is_judge = messages[-1].content.startswith("Rate: ")
        asked.append("judge" if is_judge else "sample")
        if is_judge and (error := fail(asked.count("judge"))) is not None:
            raise error
        return '{"result": 5}' if is_judge else "yes"

    return answer


def test_a_busy_judge_is_waited_for_and_no_answer_is_paid_twice(
    server: Running, client: openai.OpenAI
) -> None:
    asked: list[str] = []
    busy = BusyError("The provider is busy.", 0.1)
    server.engine.script = judging(lambda times: busy if times < 3 else None, asked)
    run, [one] = run_over(client, completions(content(ONE)), YES, JUDGE)
    assert asked == ["sample", "judge", "judge", "judge"]
    assert (one.status, [result.score for result in one.results]) == ("pass", [1.0, 5.0])
    assert run.per_model_usage[0].invocation_count == 2
    used = one.sample.usage
    assert (used.completion_tokens, used.prompt_tokens) == (1, 2)  # of the answer alone
    assert "invocation_count" not in used.model_dump()


def test_what_a_judge_cannot_say_is_an_error_of_its_criterion_alone(
    server: Running, client: openai.OpenAI
) -> None:
    asked: list[str] = []
    server.engine.script = judging(lambda _: ModelError("it is broken."), asked)
    far: Any = {**SAME, "name": "far", "input": "{{item.long}}"}
    items = content({**ONE, "long": "a" * 100_001})
    run, [one] = run_over(client, completions(items), YES, JUDGE, far)
    assert asked.count("sample") == 1
    assert (one.status, one.sample.output[0].content, one.sample.error) == ("error", "yes", None)
    said = [(result.passed, (result.sample or {}).get("error")) for result in one.results]
    assert said == [
        (True, None),
        (False, "model_grader_server_error"),
        (False, "other_error"),
    ]
    assert "longer than" in one.results[2].sample["message"]
    assert (run.status, run.result_counts.errored) == ("completed", 1)


def test_a_judge_does_not_wait_for_a_budget(server: Running, client: openai.OpenAI) -> None:
    """Its item would keep a place from all batches."""
    asked: list[str] = []
    short = BudgetError("there is no room.")
    short.is_passing = True
    server.engine.script = judging(lambda _: short, asked)
    _, [one] = run_over(client, completions(content(ONE)), YES, JUDGE)
    assert asked == ["sample", "judge"]
    assert (one.status, one.sample.output[0].content) == ("error", "yes")
    assert one.results[1].sample["error"] == "model_grader_server_error"


def test_all_criteria_of_an_item_share_the_work_of_comparing(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewards, "MOST_COMPARED", 10)
    texts = {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    kind = {"type": "text_similarity", "evaluation_metric": "fuzzy_match", "pass_threshold": 0.5}
    several = [{**kind, **texts, "name": name} for name in ("first", "second")]
    _, [one] = run_over(client, completions(content(ONE)), *several)
    assert [result.passed for result in one.results] == [True, False]  # 3 x 3 characters each
    assert one.results[1].sample["error"] == "other_error"


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"sampling_params": params}, "sampling_params")
        for params in (
            {"stream": True},
            {"n": 8},
            {"model": "another"},
            {"messages": [{"role": "user", "content": "the same"}]},
            {"temperature": 7},
            {"text": {"format": {"type": "json_object"}}},  # of responses
            {"tools": ["find"]},
        )
    ),
    ({"type": "responses", "sampling_params": {"text": {"style": "brief"}}}, "sampling_params"),
    *(
        (
            {"input_messages": {**ASK, "template": [{"role": "user", "content": text}]}},
            "input_messages",
        )
        for text in ("{{sample.output_text}}", "{{items.question}}")
    ),
]


def test_what_could_not_be_asked_is_refused_before_anybody_is(
    server: Running, client: openai.OpenAI
) -> None:
    id = made(client, YES)
    with server.http() as http:
        for more, param in REFUSED:
            source = {**completions(content(ONE)), **more}
            told = http.post(f"/v1/evals/{id}/runs", json={"data_source": source})
            assert told.status_code == 400, more
            assert told.json()["error"]["param"] == f"data_source.{param}"
        for criterion, schema, param in (
            ({**JUDGE, "sampling_params": {"seed": 2**70}}, "{}", "testing_criteria[0]"),
            (YES, '{"maximum": 1e999}', "testing_criteria"),
            (YES, json.dumps({"description": "a" * 300_000}), "testing_criteria"),
        ):
            body = {
                "data_source_config": {"type": "custom", "item_schema": "SCHEMA"},
                "testing_criteria": [criterion],
            }
            told = http.post(
                "/v1/evals",
                content=json.dumps(body).replace('"SCHEMA"', schema),
                headers={"content-type": "application/json"},
            )
            assert told.status_code == 400, told.text
            assert told.json()["error"]["param"] == param
    assert not server.engine.asked


def test_answers_of_clients_and_models_cannot_spoil_a_page(
    server: Running, client: openai.OpenAI
) -> None:
    deep = "[" * 100 + "]" * 100
    samples = [
        {"output_text": deep},
        {"output_text": "yes", "sampling": "x", "input": "hello", "error": {"code": "a"}},
        {"output_json": {"a": [1]}, "usage": 5, "choices": []},
        None,
    ]
    lines = [{"item": ONE, "sample": sample} for sample in samples]
    run, found = run_over(client, of_file(client, *lines), YES)
    assert [one.status for one in found] == ["fail", "pass", "error", "error"]
    assert [one.sample.output[0].content for one in found[:2]] == [deep, "yes"]
    assert [(one.sample.input, one.sample.error) for one in found] == [([], None)] * 4
    server.engine.script = lambda *_: deep
    run, [one] = run_over(client, completions(content(ONE)), YES)
    assert (one.status, one.sample.output[0].content) == ("fail", deep)
    assert client.evals.runs.list(run.eval_id).data[0].id == run.id


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"item": {"answer": "\\ud800"}}', "half characters"),
        (b'{"item": {"answer": NaN}}', "a number"),
        (b'{"item": {"answer": 1e999}}', "a number"),
        (b'{"item": {"answer": [%s1]}}' % (b"1," * 150_000), "values"),
        (b'{"item": {}, "sample": {"output_text": 5}}', "sample.output_text of item 2"),
        (b'{"item": {"answer": %s%s}}' % (b"[" * 90, b"]" * 90), "deep"),
    ],
)
def test_a_line_that_could_not_be_graded_is_refused_with_the_run(
    client: openai.OpenAI, line: bytes, message: str
) -> None:
    good = json.dumps({"item": ONE}).encode()
    file = client.files.create(file=("items.jsonl", good + b"\n" + line), purpose="evals")
    source: Any = {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}
    with pytest.raises(openai.BadRequestError, match=message):
        client.evals.runs.create(made(client, YES), data_source=source)


def test_a_run_that_is_deleted_when_it_is_over_leaves_no_job(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, settle = server.workspace.store, batches.settle

    def settle_and_delete(store: Any, id: str, *arguments: Any, **named: Any) -> None:
        settle(store, id, *arguments, **named)
        run, batch = eval_runs.read_run(store, id)
        evals.remove(store, batch.project, run.eval, id)

    monkeypatch.setattr(batches, "settle", settle_and_delete)
    source = completions(content(ONE))
    run = client.evals.runs.create(made(client, YES), data_source=source)
    wait_for(lambda: queue.read(store, run.id).status in queue.OVER)
    job = queue.read(store, run.id)
    assert (job.status, job.attempts, job.error) == ("succeeded", 1, None)

    queue_rows = batches.queue_rows

    def delete_and_queue(store: Any, batch: Any, run: Any, *rows: Any) -> str:
        evals.remove(store, batch.project, run.eval)
        return queue_rows(store, batch, run, *rows)

    monkeypatch.setattr(batches, "queue_rows", delete_and_queue)
    with pytest.raises(openai.NotFoundError, match="no such eval"):
        client.evals.runs.create(made(client, YES), data_source=source)


def test_the_files_of_a_deleted_eval_go_also_where_the_server_dies_behind_it(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = server.workspace.store
    run, _ = run_over(client, completions(content(ONE)), YES)
    _, batch = eval_runs.read_run(store, run.id)
    files = {id for id in (batch.input_file, batch.output_file) if id}
    paths = [stored_files.path_of(store, id) for id in files]
    monkeypatch.setattr(stored_files, "remove_bytes", lambda *_: None)
    client.evals.delete(run.eval_id)
    assert not files.intersection(file.id for file in client.files.list())
    assert [path.exists() for path in paths] == [True, True]
    stored_files.sweep(store, lambda *_: None)
    assert [path.exists() for path in paths] == [False, False]


def test_runs_have_a_number_and_pages_an_end(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = {"type": "file_content", "content": [{"item": {"a": 1}, "sample": {"output_text": "b"}}]}
    full["content"] *= MOST_INLINE
    check_shape(json.dumps({"data_source": {"type": "jsonl", "source": full}}).encode())
    lines = [{"item": ONE, "sample": {"output_text": text}} for text in ("yes", "no", "yes")]
    inline = {"type": "file_content", "content": lines}
    run, found = run_over(client, {"type": "jsonl", "source": inline}, YES)
    monkeypatch.setattr(eval_results, "PAGE_BYTES", 10)
    listed = client.evals.runs.output_items
    page = listed.list(run.id, eval_id=run.eval_id)
    assert (len(page.data), page.has_more) == (1, True)
    assert [one.id for one in page] == [one.id for one in found]
    passed = listed.list(run.id, eval_id=run.eval_id, status="pass", order="desc")
    assert [one.id for one in passed] == [found[2].id, found[0].id]

    again: Any = run.data_source.model_dump()  # its items, from the file that it names
    second = client.evals.runs.create(run.eval_id, data_source=again)
    assert waited(client, second).result_counts.passed == 2
    for status in get_args(eval_runs.RunStatus):
        several = client.evals.runs.list(run.eval_id, status=status).data
        assert len(several) == (2 if status == "completed" else 0), status
    monkeypatch.setattr(project, "MOST_RUNS", 2)
    with pytest.raises(openai.BadRequestError, match="2 runs"):
        client.evals.runs.create(run.eval_id, data_source=again)
    client.files.delete(again["source"]["id"])
    with pytest.raises(openai.NotFoundError):
        listed.list(run.id, eval_id=run.eval_id)
    kept = client.evals.runs.retrieve(run.id, eval_id=run.eval_id)
    assert kept.result_counts.passed == 2


def test_a_run_of_responses_says_format_and_tools_in_its_own_way(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    params = {
        "text": {"format": {"type": "json_schema", "name": "a", "schema": schema}},
        "tools": [{"type": "function", "name": "find", "parameters": {"type": "object"}}],
        "seed": 5,
    }
    monkeypatch.setattr(server.workspace, "embedder", lambda name: ThreeNumbers())
    cosine = {"type": "text_similarity", "name": "c", "evaluation_metric": "cosine"}
    texts = {"input": "{{sample.output_text}}", "reference": "{{item.answer}}"}
    alike: Any = {**cosine, **texts, "pass_threshold": 5.0}
    server.engine.script = lambda *_: "{}"
    source = {**completions(content(ONE), sampling_params=params), "type": "responses"}
    _, [one] = run_over(client, source, alike)
    [(_, tools, sampling)] = server.engine.asked
    assert [tool["function"]["name"] for tool in tools] == ["find"]
    assert (sampling.schema, sampling.seed, one.sample.seed) == (schema, 5, 5)
    # Of 2 and of 3 letters: (2, 0, 1) and (3, 0, 1), whose product is cut to 1.
    assert (one.status, one.results[0].score) == ("fail", 1.0)


def test_a_revoked_key_and_a_full_project_end_and_refuse_runs(
    server: Running, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.engine.pause_s = 0.2
    store = server.workspace.store
    key, text = create_key(store, server.workspace.name, "other", ["files", "chat"])
    id, many = made(client, YES), content(*[ONE] * 60)
    with server.client(text) as other:
        run = other.evals.runs.create(id, data_source=completions(many))
        monkeypatch.setattr(project, "MOST_OPEN_RUNS", 1)
        with pytest.raises(openai.BadRequestError, match="not over"):
            other.evals.runs.create(id, data_source=completions(content(ONE)))
    # It does not use up what the project may have of batches.
    open_ = [batches.count_open(store, server.workspace.name, runs=runs) for runs in (True, False)]
    assert open_ == [1, 0]
    wait_for(lambda: server.engine.asked)
    revoke_key(store, key.id)
    over = waited(client, run)
    assert (over.status, over.error.code) == ("failed", "invalid_api_key")
    assert over.result_counts.errored > 0
    server.engine.pause_s = 0
    monkeypatch.setattr(server.workspace.quota, "most", 1)
    with pytest.raises(openai.APIStatusError, match="GB that it may"):
        client.evals.runs.create(id, data_source=completions(content(ONE)))


def test_no_client_can_ask_for_a_single_item(server: Running, client: openai.OpenAI) -> None:
    run, _ = run_over(client, completions(content(ONE)), YES)
    server.engine.asked.clear()
    with server.http() as http:
        paths = http.get("/openapi.json").json()["paths"]
        assert "/v1/evals/{eval_id}" in paths
        assert batches.EVAL_ITEMS not in paths
        told = http.post(batches.EVAL_ITEMS, json={"run": run.id, "item": ONE})
    assert told.status_code in (400, 404)  # `items` is taken for the id of an eval
    assert not server.engine.asked
