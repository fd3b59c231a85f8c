"""Fine-tuning jobs and graders over HTTP, by OpenAI's own client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from assay.agent.agent import Agent
from assay.agent.versions import save_agent
from assay.jobs import fine_tuning
from assay.jobs.service import work_on
from assay.models.versions import find_version, list_versions
from assay.store.audit import entries
from assay.store.tables import AgentRow, AgentVersionRow, ServedNameRow
from tests.jobs.tiny_tuning import GRADER, MODEL, POLITE, lines, prompts, reinforced, write_cache
from tests.serve.running import Running


@pytest.fixture(scope="module", autouse=True)
def _tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("ASSAY_CACHE", str(write_cache(tmp_path_factory.mktemp("cache"))))
    yield
    patch.undo()


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def uploaded(client: openai.OpenAI, data: bytes | None = None, purpose: Any = "fine-tune") -> str:
    file = ("rows.jsonl", lines() if data is None else data)
    return client.files.create(file=file, purpose=purpose).id


def worked(server: Running) -> None:
    """What a worker beside the server would do."""
    worker = work_on(server.workspace.store)
    while worker.once():
        pass


@pytest.mark.slow
def test_a_job_from_its_file_to_its_model(server: Running, client: openai.OpenAI) -> None:
    file = uploaded(client)
    job = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=file,
        suffix="toy",
        seed=3,
        metadata={"a": "b"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )
    assert (job.status, job.seed, job.fine_tuned_model) == ("validating_files", 3, None)
    assert job.hyperparameters.batch_size == "auto"
    worked(server)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model is not None
    assert job.fine_tuned_model.startswith(f"ft:{MODEL}:default:toy:")
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 4)
    assert job.hyperparameters.learning_rate_multiplier == 1
    assert job.method is not None
    assert job.method.supervised is not None
    assert job.finished_at is not None
    assert job.trained_tokens
    assert job.metadata == {"a": "b"}
    assert [j.id for j in client.fine_tuning.jobs.list(metadata={"a": "b"})] == [job.id]

    events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
    assert len({event.id for event in events}) == len(events)
    assert events[-1].message == "Queued."
    metrics: Any = [event.data for event in events if event.type == "metrics"]
    assert metrics[0]["full_valid_loss"] > 0
    assert {"train_loss", "train_mean_token_accuracy"} < set(metrics[1])
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id, limit=1))
    assert [c.step_number for c in checkpoints] == [6, 3]
    assert checkpoints[0].fine_tuned_model_checkpoint == f"{job.fine_tuned_model}:ckpt-step-6"
    table = client.files.content(job.result_files[0]).text
    assert table.splitlines()[0].startswith("step,train_loss,train_accuracy,valid_loss")

    served = {model.id for model in client.models.list()}
    assert {job.fine_tuned_model, checkpoints[0].fine_tuned_model_checkpoint} <= served
    hello: Any = [{"role": "user", "content": "hello"}]
    answer = client.chat.completions.create(model=job.fine_tuned_model, messages=hello)
    assert answer.choices[0].message.content == "hello"
    assert server.engines.models[-1].startswith("version:")

    with pytest.raises(openai.BadRequestError, match="cannot continue from one yet"):
        client.fine_tuning.jobs.create(model=job.fine_tuned_model, training_file=file)
    with pytest.raises(openai.BadRequestError, match="over"):
        client.fine_tuning.jobs.cancel(job.id)

    other = server.client(server.new_key("admin", project="other"))
    jobs = other.fine_tuning.jobs
    for look in (
        jobs.retrieve,
        jobs.cancel,
        jobs.pause,
        jobs.resume,
        jobs.list_events,
        jobs.checkpoints.list,
    ):
        with pytest.raises(openai.NotFoundError):
            look(job.id)
    with pytest.raises(openai.NotFoundError):
        jobs.create(model=MODEL, training_file=file)
    with pytest.raises(openai.NotFoundError):
        other.chat.completions.create(model=job.fine_tuned_model, messages=hello)
    assert not list(jobs.list())
    with pytest.raises(openai.NotFoundError):
        other.models.delete(job.fine_tuned_model)
    check_deletion(server, client, job.fine_tuned_model)


def check_deletion(server: Running, client: openai.OpenAI, name: str) -> None:
    """A model goes when nothing uses it, its weights with their last name."""
    store = server.workspace.store
    with store.session() as session:
        targets = {row.name: row.target for row in session.query(ServedNameRow)}
    [best] = [
        other for other, target in targets.items() if target == targets[name] and other != name
    ]
    agent = Agent(model=targets[name])
    save_agent(store, "polite", agent, message="first")
    with pytest.raises(openai.BadRequestError, match=r"agents answer with it \(polite@1\)"):
        client.models.delete(name)
    with store.session() as session:
        session.query(AgentVersionRow).delete()
        session.query(AgentRow).delete()
    assert client.models.delete(name).to_dict() == {"id": name, "object": "model", "deleted": True}
    assert list_versions(store)
    for gone in (client.models.delete, client.models.retrieve):
        with pytest.raises(openai.NotFoundError):
            gone(name)
    version = targets[name].removeprefix("version:")
    assert find_version(store, version)
    client.models.delete(best)
    assert version not in {kept.id for kept in list_versions(store)}
    assert not {name, best} & {model.id for model in client.models.list()}
    written = [line.what for line in entries(store, "default") if line.action == "model.delete"]
    assert set(written) == {name, best}
    for kept in (MODEL, "all-minilm-l6-v2"):
        with pytest.raises(openai.BadRequestError, match="not a model of a fine-tuning job"):
            client.models.delete(kept)


@pytest.mark.slow
def test_a_job_that_learns_from_a_grader(server: Running, client: openai.OpenAI) -> None:
    method: Any = reinforced()
    method["reinforcement"]["hyperparameters"] |= {"eval_samples": 3, "reasoning_effort": "low"}
    file = uploaded(client, prompts())
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file, seed=3, method=method)
    worked(server)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job.error
    assert job.method is not None
    own = job.method.reinforcement
    assert own is not None
    assert own.grader.to_dict() == GRADER
    assert own.hyperparameters is not None
    numbers = own.hyperparameters.to_dict()
    assert (numbers["n_epochs"], numbers["batch_size"], numbers["eval_samples"]) == (1, 4, 1)
    assert (numbers["eval_interval"], numbers["compute_multiplier"]) == (2, 0.5)

    events = list(client.fine_tuning.jobs.list_events(job.id))
    said = [event.message for event in events if event.level == "warn"]
    assert any(line.startswith("eval_samples has no effect") for line in said)
    assert any(line.startswith("reasoning_effort has no effect") for line in said)
    metrics: Any = [event.data for event in reversed(events) if event.type == "metrics"]
    steps = [one for one in metrics if "train_mean_reward" in one]
    checks = [one for one in metrics if "full_valid_mean_reward" in one]
    assert [one["step"] for one in steps] == [1, 2, 3]  # of 11 prompts, 4 a step
    assert [one["step"] for one in checks] == [0, 2, 3]
    assert all(one["scores"]["train_reward_mean"] == one["train_mean_reward"] for one in steps)
    assert all(0 < one["completion_tokens_mean"] <= 8 for one in steps)
    assert all(one["total_steps"] == 3 and "rollouts" not in one for one in metrics)
    assert any("train mean reward=" in event.message for event in events)
    found = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [one.step_number for one in found] == [3, 2]
    last = found[0].metrics.to_dict()
    assert last["valid_reward_mean"] == checks[-1]["full_valid_mean_reward"]
    assert last["train_reward_mean"] == steps[-1]["train_mean_reward"]
    table = client.files.content(job.result_files[0]).text.splitlines()
    assert table[0].startswith("step,train_reward_mean,valid_reward_mean")
    hello: Any = [{"role": "user", "content": "hello"}]
    assert client.chat.completions.create(model=str(job.fine_tuned_model), messages=hello).choices


@pytest.mark.slow
def test_a_model_of_this_machine_is_asked_what_answers_are_worth(
    server: Running, client: openai.OpenAI
) -> None:
    method: Any = reinforced(grader=POLITE)
    file = uploaded(client, prompts(10))
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file, seed=3, method=method)
    worked(server)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "succeeded", job.error
    events: Any = list(client.fine_tuning.jobs.list_events(job.id))
    rewards = [e.data["train_mean_reward"] for e in events if "train_mean_reward" in e.data]
    assert len(rewards) == 2
    [kept] = (fine_tuning.work_folder(server.workspace.store, job.id) / "judgements").glob(
        "*.jsonl"
    )
    replies = [json.loads(line) for line in kept.read_bytes().splitlines()]
    assert len({one["key"] for one in replies}) == len(replies) > 0, "each question once"
    said = [json.loads(one["reply"])["result"] for one in replies]
    assert {*said} == {*POLITE["labels"]}
    assert all(0 < reward < 1 for reward in rewards), "its replies are understood"


@pytest.mark.slow
def test_the_example_of_reinforcement_runs(server: Running, tmp_path: Path) -> None:
    data = tmp_path / "prompts.jsonl"
    data.write_bytes(prompts(12))
    environment = {
        **os.environ,
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": server.new_key("admin"),
    }
    example = Path(__file__).parents[2] / "examples" / "openai_reinforcement.py"
    command = [sys.executable, str(example), str(data), "--model", MODEL, "--tokens", "8"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        worker = work_on(server.workspace.store)
        while process.poll() is None:
            if not worker.once():
                time.sleep(0.05)
        told, wrong = process.communicate()
    assert process.returncode == 0, wrong
    assert "the answer of the first row is worth 1\n" in told
    assert "train mean reward=" in told
    assert "full validation mean reward=" in told
    assert told.count("checkpoint ft:") == 1
    assert "answered: " in told


def test_a_prompt_that_cannot_be_graded_is_told_with_its_line(
    server: Running, client: openai.OpenAI
) -> None:
    rows = prompts().splitlines()
    rows[2] = b'{"messages": [{"role": "user", "content": "ball"}], "answer": "red"}'
    rows[4] = lines().splitlines()[0]
    asked = {"messages": [{"role": "user", "content": "ball"}]}
    rows[6] = json.dumps({**asked, "reference_answer": "x" * 100_001}).encode()
    rows[8] = json.dumps({**asked, "reference_answer": "red", "note": "\ud800"}).encode()
    method: Any = reinforced()
    file = uploaded(client, b"\n".join(rows))
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=file, method=method)
    worked(server)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.error is not None
    assert job.error.code == "invalid_training_file"
    assert "Line 3: the grader compares with {{item.reference_answer}}" in job.error.message
    assert "Line 5: the last message has the role assistant" in job.error.message
    assert "Line 7: a text to compare is longer than" in job.error.message
    assert "Line 9: a text has half of a character" in job.error.message


def test_a_bad_file_is_told_with_its_lines(server: Running, client: openai.OpenAI) -> None:
    rows = lines().splitlines()
    rows[6] = b'{"messages": "none"}'
    job = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=uploaded(client, b"\n".join(rows)),
        hyperparameters={"n_epochs": 1},
    )
    worked(server)
    job = client.fine_tuning.jobs.retrieve(job.id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "invalid_training_file"
    assert job.error.param == "training_file"
    assert "Line 7: messages" in job.error.message
    last = next(e for e in client.fine_tuning.jobs.list_events(job.id) if e.level == "error")
    assert last.message == job.error.message


def test_cancel_pause_and_resume(server: Running, client: openai.OpenAI) -> None:
    jobs = client.fine_tuning.jobs
    job = jobs.create(model=MODEL, training_file=uploaded(client))
    assert jobs.pause(job.id).status == "paused"
    assert jobs.resume(job.id).status == "validating_files"
    with pytest.raises(openai.BadRequestError, match="not paused"):
        jobs.resume(job.id)
    assert jobs.cancel(job.id).status == "cancelled"
    told = {row.action for row in entries(server.workspace.store, server.workspace.name)}
    assert {f"fine_tuning.{done}" for done in ("create", "pause", "resume", "cancel")} <= told


FORM = "method.reinforcement.response_format"


def shaped(schema: dict[str, Any]) -> dict[str, Any]:
    """A method whose answers have a schema."""
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return reinforced(response_format=form)


@pytest.mark.parametrize(
    ("changes", "param", "says"),
    [
        ({"model": "gpt-4o"}, "model", "does not exist"),
        ({"training_file": "file-none"}, "training_file", "no file"),
        ({"validation_file": "file-none"}, "validation_file", "no file"),
        ({"method": {"type": "reinforcement"}}, "method", "needs a grader"),
        (
            {"method": reinforced(grader={**GRADER, "calculate_output": "0.5 * nobody"})},
            "method.reinforcement.grader",
            "nobody",
        ),
        (
            {"method": reinforced(grader={**POLITE, "model": "gpt-4o"})},
            "method.reinforcement.grader",
            "not a model of this machine",
        ),
        (
            {
                "method": reinforced(
                    grader={
                        "type": "multi",
                        "name": "many",
                        "graders": {name: {**POLITE, "model": name} for name in "abc"},
                        "calculate_output": "a",
                    }
                )
            },
            "method.reinforcement.grader",
            "asks more than 2 models",
        ),
        ({"method": shaped({"type": "colour"})}, FORM, "not a JSON Schema"),
        (
            {"method": shaped({"properties": {"a": {"items": {"$ref": "#/$defs/b"}}}})},
            FORM,
            "cannot be resolved: #/$defs/b",
        ),
        ({"method": {"type": "party"}}, "method.type", "supervised"),
        ({"method": {"type": "dpo", "supervised": {}}}, "method", "has no effect"),
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
            "integrations",
            "Weights & Biases",
        ),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "or 'auto'"),
        ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs", "or 'auto'"),
        ({"hyperparameters": {"batch_size": 10**9}}, "hyperparameters.batch_size", "or 'auto'"),
        ({"hyperparameters": {}, "method": {"type": "supervised"}}, "hyperparameters", "method"),
        ({"suffix": "x" * 65}, "suffix", "64"),
        ({"seed": -1}, "seed", "0"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "16"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k", "512"),
        ({"colour": "red"}, "colour", "Unknown parameter"),
    ],
)
def test_what_cannot_be_asked_for(
    server: Running, client: openai.OpenAI, changes: dict[str, Any], param: str, says: str
) -> None:
    body = {"model": MODEL, "training_file": uploaded(client), **changes}
    answer = server.http().post("/v1/fine_tuning/jobs", json=body)
    error = answer.json()["error"]
    assert answer.status_code in (400, 404)
    assert error["param"] == param
    assert says in error["message"]
    assert not any(
        job.training_file == body["training_file"] for job in client.fine_tuning.jobs.list()
    )


def test_a_file_for_something_else_is_refused(server: Running, client: openai.OpenAI) -> None:
    file = uploaded(client, purpose="batch")
    with pytest.raises(openai.BadRequestError, match="uploaded for batch") as refused:
        client.fine_tuning.jobs.create(model=MODEL, training_file=file)
    assert refused.value.code == "invalid_file_purpose"


def test_events_of_a_wrong_place(server: Running, client: openai.OpenAI) -> None:
    job = client.fine_tuning.jobs.create(model=MODEL, training_file=uploaded(client))
    for after in ("ftevent-x", "x" * 50, f"ftevent-{9**30}"):
        with pytest.raises(openai.NotFoundError):
            client.fine_tuning.jobs.list_events(job.id, after=after)
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.list(after="ftjob-none")
    with pytest.raises(openai.NotFoundError):
        client.fine_tuning.jobs.checkpoints.list(job.id, after="none")
    fine_tuning.ask(server.workspace.store, server.workspace.name, job.id, "cancel")


SAME: Any = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "{{ item.answer }}",
}
ALIKE: Any = {
    "type": "text_similarity",
    "name": "alike",
    "evaluation_metric": "fuzzy_match",
    "input": "{{sample.output_json.city}}",
    "reference": "{{item.list[1]}}",
}


def test_graders_run(client: openai.OpenAI) -> None:
    graders = client.fine_tuning.alpha.graders
    assert graders.validate(grader=SAME).grader is not None
    done = graders.run(grader=SAME, item={"answer": "yes"}, model_sample="yes")
    assert (done.reward, done.metadata.scores) == (1.0, {"same": 1.0})
    assert not done.metadata.errors.invalid_variable_error
    done = graders.run(grader=SAME, item={}, model_sample="yes")
    assert (done.reward, done.metadata.errors.invalid_variable_error) == (0.0, True)
    both: Any = {
        "type": "multi",
        "name": "both",
        "graders": {"same": SAME, "alike": ALIKE},
        "calculate_output": "0.25 * same + 0.75 * alike ^ 2",
    }
    sample = '{"city": "Oslo"}'
    done = graders.run(
        grader=both, item={"answer": sample, "list": [1, "Oslo"]}, model_sample=sample
    )
    assert (done.reward, done.sub_rewards) == (1.0, {"same": 1.0, "alike": 1.0})
    done = graders.run(grader=both, item={"answer": "", "list": [1, "Oslo"]}, model_sample="Oslo")
    assert done.metadata.errors.sample_parse_error
    assert graders.validate(grader=POLITE).grader is not None
    with pytest.raises(openai.BadRequestError, match="ask a model are not supported here yet"):
        graders.run(grader=POLITE, item={}, model_sample="yes")


@pytest.mark.parametrize(
    ("grader", "says"),
    [
        ({"type": "python", "name": "p", "source": "def grade(s, i): return 1"}, "never"),
        ({**SAME, "input": "{{ nothing }}"}, "not a variable"),
        (
            {"type": "multi", "name": "m", "graders": {"a": SAME}, "calculate_output": "b + 1"},
            "uses 'b'",
        ),
        (
            {
                "type": "multi",
                "name": "m",
                "graders": {"a": SAME},
                "calculate_output": "__import__('os')",
            },
            "not a formula",
        ),
    ],
)
def test_graders_that_are_refused(server: Running, grader: Any, says: str) -> None:
    for path, more in (("validate", {}), ("run", {"model_sample": "x", "item": {}})):
        answer = server.http().post(
            f"/v1/fine_tuning/alpha/graders/{path}", json={"grader": grader, **more}
        )
        assert answer.status_code == 400
        assert says in answer.json()["error"]["message"]
        assert answer.json()["error"]["param"] == "grader"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": "gpt-4o"}, "gpt-4o, which is not a model of this machine"),
        ({"sampling_params": {"top_p": 0.5}}, "top_p of points has no effect"),
        ({"range": [-1, 1]}, "the range of points begins below 0"),
    ],
)
def test_a_grader_is_refused_as_a_job_that_uses_it(
    server: Running, client: openai.OpenAI, changes: dict[str, Any], says: str
) -> None:
    grader = {"type": "score_model", "name": "points", "model": MODEL, "input": POLITE["input"]}
    job = {"model": MODEL, "training_file": uploaded(client), "method": reinforced(grader=grader)}
    grader |= changes
    for path, body in (("alpha/graders/validate", {"grader": grader}), ("jobs", job)):
        answer = server.http().post(f"/v1/fine_tuning/{path}", json=body)
        assert answer.status_code in (400, 404)
        assert says in answer.json()["error"]["message"]


def test_a_grader_asks_versions_of_its_own_project(server: Running) -> None:
    store, mine = server.workspace.store, server.workspace.name
    with store.session() as session:
        for name, project in (("ft:judge:mine", mine), ("ft:judge:theirs", "another")):
            session.add(ServedNameRow(name=name, project=project, target="version:" + "1" * 64))
    for name, statuses in (("ft:judge:mine", [200]), ("ft:judge:theirs", [400, 404])):
        body = {"grader": {**POLITE, "model": name}}
        answer = server.http().post("/v1/fine_tuning/alpha/graders/validate", json=body)
        assert answer.status_code in statuses, answer.text
