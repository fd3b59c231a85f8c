"""Criteria of Python in evals, by OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from assay.accounts.keys import caller_of, list_keys
from assay.evaluate import confined
from assay.jobs.eval_request import EvalRequest, RunRequest
from assay.project.jobs import evals
from assay.serve import batch_run
from assay.store.audit import entries
from tests.serve.running import Running, running
from tests.serve.test_evals import CONFIG, SAME, waited

SOURCE = """
def grade(sample, item):
    if item["question"] == "hard":
        return 1 / 0
    return len(sample["output_text"]) / 4 if sample["output_text"] == item["answer"] else 0
"""
CODE: Any = {"type": "python", "name": "code", "source": SOURCE, "pass_threshold": 0.75}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)


@pytest.fixture(scope="module")
def trusting(can_confine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("trusting"), trust_code=True) as server:
        yield server


def jsonl(*items: tuple[str, str, str]) -> Any:
    lines = [
        {"item": {"question": asked, "answer": right}, "sample": {"output_text": text}}
        for asked, right, text in items
    ]
    return {"type": "jsonl", "source": {"type": "file_content", "content": lines}}


def test_code_of_an_admin_grades_the_runs_of_all(
    trusting: Running, caplog: pytest.LogCaptureFixture
) -> None:
    with trusting.client() as client:
        made = client.evals.create(data_source_config=CONFIG, testing_criteria=[CODE, SAME])
    assert made.testing_criteria[0].to_dict() == CODE
    workspace = trusting.workspace
    [line] = [
        one for one in entries(workspace.store, workspace.name) if one.action == "eval.create"
    ]
    assert len(line.details["code"][0]) == 64
    items = ("a", "four", "four"), ("b", "no", "no"), ("c", "four", "five"), ("hard", "x", "x")
    with trusting.client(trusting.new_key("files")) as client:
        with pytest.raises(openai.PermissionDeniedError, match="scope admin"):
            client.evals.create(data_source_config=CONFIG, testing_criteria=[CODE])
        run = waited(client, client.evals.runs.create(made.id, data_source=jsonl(*items)))
        assert run.result_counts.to_dict() == {"total": 4, "passed": 1, "failed": 2, "errored": 1}
        found = client.evals.runs.output_items.list(run.id, eval_id=made.id).data
    results = [item.results[0] for item in found]
    assert [one.score for one in results] == [1.0, 0.5, 0.0, 0.0]
    assert [one.passed for one in results] == [True, False, False, False]
    assert results[3].sample == {
        "error": "python_grader_runtime_error",
        "message": "ZeroDivisionError: division by zero (line 4)",
    }
    assert "ZeroDivisionError" not in caplog.text  # it may say what the item says


def test_a_source_that_is_no_python_is_refused_with_its_line(trusting: Running) -> None:
    broken = {**CODE, "source": "def grade(sample, item):\n    return +"}
    with (
        trusting.client() as client,
        pytest.raises(openai.BadRequestError, match=r"SyntaxError: .*line 2") as refused,
    ):
        client.evals.create(data_source_config=CONFIG, testing_criteria=[SAME, CODE, broken])
    assert refused.value.param == "testing_criteria[2].source"


def test_a_server_that_was_not_told_to_runs_no_code(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of a request, nor of an eval or run that another server of the folder has taken."""

    def never(*_: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(confined, "_call", lambda *_: {})
    workspace = server.workspace
    caller = caller_of(list_keys(workspace.store)[0])
    request = EvalRequest.model_validate({"data_source_config": CONFIG, "testing_criteria": [CODE]})
    made = evals.create(workspace, caller, request, trust_code=True)
    monkeypatch.setattr(confined, "_call", never)
    source = jsonl(("a", "four", "four"))
    with server.client() as client:
        with pytest.raises(openai.BadRequestError, match="start it with --trust-code"):
            client.evals.create(data_source_config=CONFIG, testing_criteria=[CODE])
        with pytest.raises(openai.BadRequestError, match="start it with --trust-code"):
            client.evals.runs.create(made.id, data_source=source)
        asked = RunRequest.model_validate({"data_source": source})
        run, _ = evals.create_run(workspace, caller, made.id, asked, trust_code=True)
        waited(client, client.evals.runs.retrieve(run.id, eval_id=made.id))
        [item] = client.evals.runs.output_items.list(run.id, eval_id=made.id).data
    assert item.status == "error"
    assert item.results[0].sample == {
        "error": "python_grader_server_error",
        "message": evals.NO_CODE,
    }
