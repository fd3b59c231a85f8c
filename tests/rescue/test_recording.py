"""A model that will end is asked once for each input, within a budget, and its answers are kept."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.rescue.server import KEY, AccountServer, Body, Fault, error, small_account
from tests.small import ANIMALS, small_project
from typer.testing import CliRunner

import assay
from assay.candidates.shared.training import training_targets
from assay.cli.main import app
from assay.config import Provider, TokenPrice
from assay.config.yaml_text import edit
from assay.errors import ConfigError, DataError, OutageError, StateError, UsageError
from assay.evaluate.graders.calls import is_exact
from assay.example import Example, Message, ToolCall
from assay.project.project import Project
from assay.project.recording import (
    RecordingChoices,
    RecordingDraft,
    draft_recording,
    open_model,
    record,
)
from assay.rescue.client import Access
from assay.rescue.recording import opened_recording, recording_file
from assay.store.tables import AuditRow

MODEL = "ft:gpt-4o-mini-2024-07-18:acme::abc"
QUICK = {"  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": ""}
PRICE = TokenPrice(input=100.0, output=1000.0)
PATH = "/chat/completions"
ANSWER = Message("assistant", "", (ToolCall("c1", "weather", '{"town": "Bonn"}'),))


def animal(body: Body) -> str:
    return next(one for one in ANIMALS if one in body["messages"][-1]["content"])


def access(server: AccountServer, **settings: Any) -> Access:
    given = {"prices": {MODEL: PRICE}, "retries": 1, "concurrency": 3, **settings}
    return Access(
        "openai", Provider(base_url=server.url, private_network=["127.0.0.0/8"], **given), KEY
    )


def drafted(
    server: AccountServer, to: Path, project: Project | None = None, **choices: Any
) -> RecordingDraft:
    """A draft; `settings` are the provider's."""
    settings = choices.pop("settings", {})
    return draft_recording(
        MODEL, access(server, **settings), to, RecordingChoices(project, **choices)
    )


def inputs(file: Path, count: int) -> Path:
    rows = [{"messages": [{"role": "user", "content": f"The cat is {n}."}]} for n in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def lines(draft: RecordingDraft) -> list[dict[str, Any]]:
    return [json.loads(line) for line in draft.file.read_text().splitlines()]


@pytest.mark.slow
def test_a_recording_is_compared_with_and_learned_from(tmp_path: Path) -> None:
    project = small_project(tmp_path, edit=QUICK)
    to = tmp_path / "kept"
    with AccountServer(small_account(), answer=animal).running() as server:
        draft = drafted(server, to, project, parts=("holdout", "validation"))
        assert not server.posted
        parts = [(one.part, one.rows, one.requests) for one in draft.parts]
        manifest = project.split()
        assert parts[0][:2] == ("holdout", manifest.holdout)
        assert parts[1][:2] == ("validation", manifest.validation)
        assert draft.usd is not None
        assert not draft.is_most  # outputs of validation tell how long answers are
        report = record(draft)
        assert report["complete"]
        assert report["recorded"] == draft.requests == len(server.posted)
        assert report["usd"] / 3 < draft.usd < report["usd"] * 3
        # The holdout comes first, its inputs are shown nowhere, and no score was computed.
        found = lines(draft)
        held = [one for one in found if one["part"] == "holdout"]
        assert {one["part"] for one in found[: len(held) - 3]} == {"holdout"}
        assert all("messages" not in one for one in held)
        assert found[-1]["messages"][-1] == {"role": "assistant", "content": found[-1]["output"]}
        assert found[0]["logprobs"][0]["logprob"] == -0.25
        assert project.openings() == []
        with project.store.session() as session:
            (logged,) = session.scalars(
                select(AuditRow).where(AuditRow.action == "holdout.record")
            ).all()
        assert logged.what == MODEL
        assert logged.details["origin"] == access(server).provider.origin
        # A fine-tuned model is asked as its rows are, the project's prompt left out.
        assert {m["role"] for body in server.posted for m in body["messages"]} == {"user"}
        first = project.compare(predictions={"gone": draft.file}).result
        gone = next(one for one in first.candidates if one.name == "gone")
        assert gone.score == 1.0
        assert [one.model for one in first.replacements] == [MODEL]
        # It grows without becoming another candidate, or another opening.
        more = drafted(server, to, project)
        assert [one.requests for one in more.parts] == [0, 0, more.requests]
        assert record(more)["complete"]
        assert len(server.posted) == len(lines(draft)) <= sum(one.rows for one in more.parts)
        assert record(drafted(server, to, project))["recorded"] == 0
    again = project.compare(predictions={"gone": draft.file}).result
    assert again.comparison == first.comparison
    assert len(project.openings()) == 1
    text = (project.root / "assay.yaml").read_text()
    (project.root / "assay.yaml").write_text(edit(text, {"fine_tune.recorded": str(draft.file)}))
    context = assay.open(project.root).context()
    learned = training_targets(context).examples
    assert [one.output for one in learned] == [one.output for one in context.train]
    assert learned[0].weight == pytest.approx(0.778, abs=0.01)  # exp(-0.25)
    assert stat.S_IMODE(draft.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(draft.file.parent.stat().st_mode) == 0o700
    assert KEY not in draft.file.read_text()


def test_answers_to_a_file_are_examples(tmp_path: Path) -> None:
    """So a file of a teacher's answers is one that a project can begin with."""
    data = inputs(tmp_path / "more.jsonl", 30)
    data.write_text(data.read_text() * 2)  # the same input is asked once
    with AccountServer(small_account(), answer=animal).running() as server:
        draft = drafted(server, tmp_path / "kept", data=[data])
        assert draft.is_most
        assert [(one.rows, one.requests) for one in draft.parts] == [(60, 30)]
        record(draft)
        assert len(server.posted) == 30
        # Beside a project that was never divided: its rows tell how long answers are.
        project = small_project(tmp_path)
        beside = drafted(server, tmp_path / "beside", project, parts=["data"], data=[data])
        assert [(one.part, one.requests) for one in beside.parts] == [("data", 30)]
        assert not beside.is_most
    report = assay.project.check_file(draft.file, folder=tmp_path)
    assert (report.format, report.valid) == ("openai-chat", 30)


def test_answers_that_call_functions_are_kept_and_are_examples(tmp_path: Path) -> None:
    town = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
    tool = {"type": "function", "function": {"name": "weather", "parameters": town}}
    said = {"Rain in Bonn?": '{"town": "Bonn"}', "Rain in Ulm?": '{"village": "Ulm"}'}
    data = tmp_path / "questions.jsonl"
    asked = [[{"role": "user", "content": text}] for text in (*said, "Thanks.")]
    rows = [{"messages": turns, "tools": [tool]} for turns in asked]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def answer(body: Body) -> str | Body:
        arguments = said.get(body["messages"][-1]["content"])
        if body.get("tools") != [tool] or arguments is None:
            return "You are welcome."
        call = {"id": "c1", "type": "function"}
        call["function"] = {"name": "weather", "arguments": arguments}  # type: ignore[assignment]
        return {"role": "assistant", "content": None, "tool_calls": [call]}

    with AccountServer(small_account(), answer=answer).running() as server:
        draft = drafted(server, tmp_path / "kept", data=[data])
        assert draft.parts[0].prompt_tokens > len(json.dumps(tool)) / 2  # a row's tools are paid
        assert record(draft)["complete"]
    by_input = {one["id"]: one for one in lines(draft)}
    bonn, ulm, thanks = (by_input[f"input-{number}"] for number in (1, 2, 3))
    example = Example("", (Message("user", "Rain in Bonn?"), ANSWER), tools=(tool,))
    assert is_exact(bonn["output"], example)
    assert bonn["messages"][-1]["tool_calls"][0]["function"]["name"] == "weather"
    assert "village" in ulm["output"]  # which is kept, to compare with
    assert "messages" not in ulm  # and not learned
    assert thanks["messages"][-1] == {"role": "assistant", "content": "You are welcome."}
    report = assay.project.check_file(draft.file, folder=tmp_path)
    assert (report.format, report.valid) == ("openai-chat", 2)


def test_a_budget_is_kept_over_all_runs(tmp_path: Path) -> None:
    data = inputs(tmp_path / "more.jsonl", 40)
    with AccountServer(small_account(), answer=animal).running() as server:
        unknown = drafted(server, tmp_path / "kept", data=[data], settings={"prices": {}})
        assert unknown.usd is None
        with pytest.raises(ConfigError, match="price"):
            record(unknown, most_usd=1.0)
        assert not server.posted
        draft = drafted(server, tmp_path / "kept", data=[data], max_new_tokens=8)
        # An answer costs 4 × 100 and 1 × 1000 millionths, and may cost about 8 × 1000 more.
        report = record(draft, most_usd=0.04)
        assert (report["complete"], report["left_because"]) == (False, "the budget is used up")
        assert 0 < report["usd"] <= 0.04
        assert report["recorded"] == round(report["usd"] / 0.0014)
        spent = len(server.posted)
        assert record(draft, most_usd=0.04)["recorded"] == 0  # earlier runs count
        assert len(server.posted) == spent
        draft = drafted(server, tmp_path / "kept", data=[data], max_new_tokens=8)
        assert draft.spent_usd == pytest.approx(report["usd"])
        assert record(draft, most_usd=1.0)["complete"]
        assert len(server.posted) == 40
        with pytest.raises(UsageError, match="another system prompt"):
            record(drafted(server, tmp_path / "kept", data=[data], max_new_tokens=9))
        # Answers that came without a price have one as soon as it is known.
        few, to = inputs(tmp_path / "few.jsonl", 5), tmp_path / "unpriced"
        free = drafted(server, to, data=[few], max_new_tokens=8, settings={"prices": {}})
        assert record(free)["unpriced"] == 5
        assert all("usd" not in line and "most_usd" not in line for line in lines(free))
        draft = drafted(server, to, data=[data], max_new_tokens=8)
        assert draft.spent_usd == pytest.approx(5 * 0.0014)
        assert record(draft, most_usd=5 * 0.0014)["recorded"] == 0
        assert len(server.posted) == 45
    with AccountServer(small_account()).running() as other, pytest.raises(UsageError):
        drafted(other, tmp_path / "kept", data=[data])  # another address


def test_limits_are_obeyed_and_faults_end_in_sentences(tmp_path: Path) -> None:
    data = inputs(tmp_path / "more.jsonl", 12)
    slow_down = error(429, "slow down", "rate_limit_exceeded", **{"Retry-After": "1"})

    def faults(path: str, times: int) -> Fault | None:
        return {2: slow_down, 5: error(500, "oops")}.get(times) if path == PATH else None

    with AccountServer(small_account(), faults=faults, answer=animal).running() as server:
        began = time.monotonic()
        twice = {"retries": 2}  # on a slow machine one request meets both faults
        report = record(drafted(server, tmp_path / "kept", data=[data], settings=twice))
        assert report["complete"]
        assert time.monotonic() - began >= 1.0
        assert len(server.posted) == 14
        server.faults = lambda path, times: error(503, "down")
        data = inputs(tmp_path / "more.jsonl", 200)
        before = len(server.posted)
        down = record(drafted(server, tmp_path / "kept", data=[data], settings={"retries": 0}))
        assert down["left"] == 188
        assert "did not answer" in down["left_because"]
        assert len(server.posted) - before <= 10
        server.faults = lambda path, times: error(400, "too long", "context_length_exceeded")
        with pytest.raises(OutageError, match="refuses what it is asked"):
            record(drafted(server, tmp_path / "other", data=[data]))
        assert not drafted(server, tmp_path / "other", data=[data]).file.exists()


def test_killed_it_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    data = inputs(tmp_path / "more.jsonl", 60)
    slow = lambda path, times: Fault(wait=0.03) if path == PATH else None  # noqa: E731
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace as S\n"
        "from tests.rescue.test_recording import drafted, record\n"
        "record(drafted(S(url=sys.argv[1]), Path(sys.argv[2]), data=[Path(sys.argv[3])]))"
    )
    to, killed = tmp_path / "kept", 0
    with AccountServer(small_account(), faults=slow, answer=animal).running() as server:
        command = [sys.executable, "-c", code, server.url, str(to), str(data)]
        for asked in (10, 30):
            process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
            while process.poll() is None and len(server.posted) < asked:
                time.sleep(0.01)
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                killed += 1
            process.wait()
        with recording_file(to, MODEL).open("a") as file:
            file.write('{"id": "cut')  # a line that a death has cut
        draft = drafted(server, to, data=[data])
        assert record(draft)["complete"]
        assert killed == 2
        assert len({one["input_sha256"] for one in lines(draft)}) == len(lines(draft)) == 60
        # Only what was under way, three requests at a time, can be asked for again.
        assert len(server.posted) <= 60 + 2 * 3
        with (
            opened_recording(to, MODEL, server.url),
            pytest.raises(StateError, match="another process"),
        ):
            record(draft)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "master"))
    inputs(tmp_path / "more.jsonl", 5)
    run = CliRunner().invoke
    with AccountServer(small_account(), answer=animal).running() as server:
        bare = ["rescue", "record", MODEL, "--to", "kept", "--base-url", server.url]
        assert isinstance(run(app, [*bare, "--yes"]).exception, UsageError)  # nothing to record
        here = [*bare, "--data", "more.jsonl"]
        refused = run(app, here)
        assert "--most-usd" in str(refused.exception.fix)  # type: ignore[union-attr]
        unknown = run(app, [*here, "--most-usd", "1"])  # nobody is asked what cannot be kept
        assert "--input-price" in str(unknown.exception.fix)  # type: ignore[union-attr]
        priced = [*here, "--input-price", "1", "--output-price", "2", "--most-usd", "1"]
        refused = run(app, priced)
        assert "--yes" in str(refused.exception.fix)  # type: ignore[union-attr]
        assert server.url.removesuffix("/v1") in refused.stderr
        assert not server.posted
        done = run(app, [*priced, "--yes", "--json"])
        assert done.exit_code == 0, done.output
        report = json.loads(done.stdout)
        assert (report["recorded"], report["estimate"]["requests"]) == (5, 5)
        assert KEY not in done.output
        network = ["--private-network", "127.0.0.1/32"]
        added = run(app, ["providers", "add", "mine", "--url", server.url, *network], input=KEY)
        assert added.exit_code == 0, added.output
        there = ["rescue", "record", "remote:mine/other", "--to", "kept", "--data", "more.jsonl"]
        assert run(app, [*there, "--yes"]).exit_code == 1
        assert len(server.posted) == 5  # nobody has agreed
        done = run(app, [*there, "--yes", "--consent", "mine"])
        assert done.exit_code == 0, done.output
        assert server.posted[-1]["model"] == "other"
    with pytest.raises(UsageError):
        open_model("remote:mine/other", tmp_path, provider="another")
    with pytest.raises(UsageError):
        RecordingChoices(data=[tmp_path], parts=["test"])
    with pytest.raises(DataError):
        draft_recording(
            "m", access(server), tmp_path, RecordingChoices(data=[tmp_path / "none.jsonl"])
        )
