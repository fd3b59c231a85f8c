"""Batches and runs of evals whose models are at a provider that answers in batches of its own."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from sqlalchemy import select, update

from assay.accounts.costs import budgets, set_budget
from assay.accounts.keys import Caller, create_key, free_name, read_caller
from assay.agent.answering import GenerationOptions, ServedExchange
from assay.config import Provider
from assay.config.yaml_text import edit
from assay.errors import StoreError
from assay.example import Message
from assay.generate.remote import provider_batch
from assay.generate.remote.batch_endpoint import BatchEndpoint
from assay.generate.remote.provider_batch import BatchFile, UnfinishedBatch
from assay.generate.remote.wire import NoAnswerError
from assay.jobs import batch_answers, batches, queue, recovery
from assay.jobs.batches import BatchRequest
from assay.jobs.events import read_events
from assay.project.answer import line_batches
from assay.project.answer.answering import Conversation
from assay.project.answer.line_batches import LineBatch, ProviderBatchError
from assay.project.answer.lines import OutgoingLine, PutOffError
from assay.project.workspace import Workspace
from assay.serve import (
    batch_lines,
    batch_providers,
    batch_requests,
    batch_run,
    batch_runner,
    streams,
)
from assay.serve.app import create_app
from assay.serve.batch_providers import ProviderBatches, cancel_left
from assay.serve.batch_work import BatchWork
from assay.store import stored_files
from assay.store.store import Store
from assay.store.tables import JobRow, UsageRow
from tests.many_rows import project
from tests.rescue.batch_server import BatchServer, killed
from tests.rescue.message_batch_server import MessageBatchServer
from tests.serve.running import PATIENCE_S, Running, running
from tests.serve.test_batches import created, jsonl, line, read, waited
from tests.serve.test_evals import SAME, completions, content

FAR = "remote:far/big-1"
COUNT = 6
FIRST_TOKENS = re.compile(r"^assay_first_token_seconds_count\{.*\} (.*)$", re.MULTILINE)
IN, OUT = 1.0, 2.0
"""USD for a million tokens of the provider `far`."""
UNSET_OR_NEVER = [(None, True, True), (None, False, False), (False, True, False)]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)
    monkeypatch.setattr(batch_providers, "POLL_S", 0.02)
    monkeypatch.setattr(provider_batch, "POLL_S", 0.0)
    monkeypatch.setattr(line_batches, "LISTED_S", 0.0)
    monkeypatch.setenv("FAR_KEY", "a-key-for-tests")


@pytest.fixture(params=[BatchServer, MessageBatchServer])
def far(request: pytest.FixtureRequest) -> Iterator[BatchServer]:
    with request.param(lambda body: f"{body['messages'][-1]['content']}!").running() as server:
        yield server


def described(folder: Path, far: BatchServer, **settings: Any) -> None:
    """A project whose provider `far` answers in batches."""
    folder.mkdir()
    project(folder, 3)
    provider = {
        "base_url": far.url,
        "protocol": far.protocol,
        "consent": True,
        "private_network": True,
        "retries": 0,
        "batch": True,
        "key_env": "FAR_KEY",
        "prices": {"big-1": {"input": IN, "output": OUT}},
        **settings,
    }
    file = folder / "assay.yaml"
    file.write_text(edit(file.read_text(), {"providers": {"far": provider}}))


@contextmanager
def serving(folder: Path, far: BatchServer, **settings: Any) -> Iterator[Running]:
    described(folder, far, **settings)
    with running(folder, lambda workspace: workspace.engines()) as server:
        yield server


@contextmanager
def on_a_budget(server: Running, usd: float) -> Iterator[tuple[openai.OpenAI, str]]:
    """A client whose key has a budget, and the key's id."""
    store = server.workspace.store
    called = free_name(store, server.workspace.name, "budgeted")
    made, key = create_key(store, server.workspace.name, called, ["chat", "files"])
    set_budget(store, made.id, usd)
    with server.client(key) as client:
        yield client, made.id


@pytest.fixture
def _asked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no room in a budget, line by line."""
    monkeypatch.setattr(batch_lines, "FIRST_PAUSE_S", 0.02)
    monkeypatch.setattr(batch_lines, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(batch_lines, "MOST_SHORT", 1)


def lines_of(count: int = COUNT, **body: Any) -> list[dict[str, Any]]:
    return [line(f"id-{n}", f"text {n}", model=FAR, **body) for n in range(count)]


def texts(told: dict[str, Any]) -> dict[str, str]:
    found = {id: one["response"]["body"]["choices"][0] for id, one in told.items()}
    return {id: choice["message"]["content"] for id, choice in found.items()}


def raising(error: Exception) -> Callable[..., Any]:
    def refuse(*_: Any) -> Any:
        raise error

    return refuse


def wait_for(is_so: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def paid(workspace: Workspace) -> list[float]:
    """USD of each answer in the usage log."""
    workspace.usage.flush()
    with workspace.store.session() as session:
        return [(cost or 0) / 1e9 for cost in session.scalars(select(UsageRow.cost))]


def price(told: dict[str, Any], *, answers: int) -> float:
    """USD of each answer to a line, asked by itself."""
    usage = told["response"]["body"]["usage"]
    prompt, written = usage["prompt_tokens"], usage["completion_tokens"] / answers
    return float(prompt * IN + written * OUT) / 1e6


def completed(client: openai.OpenAI, id: str) -> int:
    counts = client.batches.retrieve(id).request_counts
    assert counts is not None
    return counts.completed


def test_lines_go_out_together_and_cost_what_a_batch_costs(
    tmp_path: Path, far: BatchServer
) -> None:
    far.looks, far.done = 1_000_000, 2
    with serving(tmp_path / "served", far) as server, server.client() as client:
        store, traced = server.workspace.store, list[ServedExchange]()
        server.workspace.watchers.append(traced.append)
        lines = lines_of(max_tokens=50)
        lines += [line("several", "twice", model=FAR, n=2, max_tokens=50)]
        lines += [line("kept", "this one", model=FAR, store=True, max_tokens=50)]
        lines += [line("odd", model=FAR, temperature="hot")]
        with on_a_budget(server, 1.0) as (owner, key_id):
            id = created(owner, lines).id
            if far.protocol == "openai":  # the other one counts at the end
                wait_for(lambda: completed(client, id) >= 3)
            wait_for(lambda: far.batches)
            for one in far.batches.values():
                one["looks"] = 1
            batch = waited(client, id)
            good, bad = read(client, batch.output_file_id), read(client, batch.error_file_id)
        counts = batch.request_counts
        assert (batch.status, counts.total, counts.completed, counts.failed) == (
            ("completed", COUNT + 3, COUNT + 2, 1)
        )
        expected = {f"id-{n}": f"text {n}!" for n in range(COUNT)}
        assert texts(good) == {**expected, "several": "twice!", "kept": "this one!"}
        assert list(bad) == ["odd"]
        assert bad["odd"]["response"]["status_code"] == 400
        assert set(far.asked) == {f"text {n}" for n in range(COUNT)}
        assert (set(far.asked.values()), dict(far.single)) == ({1}, {"twice": 2, "this one": 1})
        each = price(good["id-0"], answers=1) / 2
        told = paid(server.workspace)
        assert sorted(told) == pytest.approx(
            sorted(
                [each] * COUNT
                + [price(good["several"], answers=2)] * 2
                + [price(good["kept"], answers=1)]
            )
        )
        assert budgets(store)[key_id].spent == pytest.approx(sum(told))
        # How long a provider's batch takes says nothing of the model.
        untimed = [one for one in traced if one.seconds is None]
        assert (len(traced), len(untimed)) == (COUNT + 2, COUNT)
        with server.http() as http:
            assert [float(one) for one in FIRST_TOKENS.findall(http.get("/metrics").text)] == [2]
        said = [one.message for one in read_events(store, id)]
        assert any("it asks for several answers" in one for one in said)
        assert any("`store: true`" in one for one in said)
        assert any(f"{COUNT} requests are in the provider's batch" in one for one in said)
        wait_for(lambda: not batch_answers.folder_of(store, id).exists())


def test_what_is_cancelled_is_cancelled_there_and_its_answers_are_kept(
    tmp_path: Path, far: BatchServer
) -> None:
    far.looks, far.kept = 1_000_000, 2
    with serving(tmp_path / "served", far) as server, server.client() as client:
        id = created(client, lines_of()).id
        wait_for(lambda: far.batches)
        client.batches.cancel(id)
        batch = waited(client, id)
        assert batch.status == "cancelled"
        assert [one["status"] for one in far.batches.values()] == ["cancelled"]
        assert len(read(client, batch.output_file_id)) == 2
        bad = read(client, batch.error_file_id)
        assert len(bad) == COUNT - 2
        assert {one["error"]["code"] for one in bad.values()} == {"batch_cancelled"}
        assert len(paid(server.workspace)) == 2
        assert not far.single


@pytest.mark.parametrize("status", ["expired", "failed"])
def test_lines_that_a_provider_has_not_answered_are_errors(
    tmp_path: Path, far: BatchServer, status: str
) -> None:
    far.ends_as, far.kept, far.looks = status, 2, 1
    with serving(tmp_path / "served", far) as server, server.client() as client:
        batch = waited(client, created(client, lines_of()).id)
        kept = 2 if status == "expired" else 0
        assert (batch.status, batch.request_counts.completed) == ("completed", kept)
        bad = read(client, batch.error_file_id)
        assert len(bad) == COUNT - kept
        for one in bad.values():
            error = one["response"]["body"]["error"]
            assert (one["response"]["status_code"], error["code"]) == (503, "model_unavailable")
            assert error["message"].startswith("far: ")
        assert (set(far.asked.values()), dict(far.single)) == ({1}, {})


RESULTS = {"openai": "GET /v1/files/", "anthropic": "GET /v1/messages/batches/msgbatch_0/results"}


def test_replies_are_asked_for_until_the_provider_gives_them(
    tmp_path: Path, far: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_providers, "MOST_TRIES", 3)
    far.looks, far.failing = 1, [RESULTS[far.protocol]] * 6
    with serving(tmp_path / "served", far) as server, server.client() as client:
        batch = waited(client, created(client, lines_of()).id)
        assert (batch.status, batch.request_counts.completed) == ("completed", COUNT)
        assert (far.failing, set(far.asked.values()), dict(far.single)) == ([], {1}, {})


def test_what_a_provider_has_answered_and_does_not_give_is_paid(
    tmp_path: Path, far: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_providers, "MOST_TRIES", 2)
    far.looks = 1
    with serving(tmp_path / "served", far) as server, server.client() as client:
        monkeypatch.setattr(
            BatchEndpoint, "lines", raising(NoAnswerError("gone", is_retryable=False))
        )
        with on_a_budget(server, 1.0) as (owner, key_id):
            batch = waited(client, created(owner, lines_of(max_tokens=2500)).id)
        assert batch.request_counts.failed == COUNT
        server.workspace.usage.flush()
        assert budgets(server.workspace.store)[key_id].spent >= COUNT * 2500 * OUT / 1e6 / 2


@pytest.mark.parametrize("path", ["/v1/batches/", "/v1/files/"])
def test_a_slow_provider_holds_up_no_other_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(batch_runner, "_THREADS", 1)
    is_asked, may_answer = Event(), Event()
    with BatchServer(lambda body: "yes").running() as far:
        far.looks, get = 1, far.get

        def slow(asked: str) -> Any:
            if asked.startswith(path):
                is_asked.set()
                may_answer.wait(2 * PATIENCE_S)
            return get(asked)

        monkeypatch.setattr(far, "get", slow)
        with serving(tmp_path / "served", far) as server, server.client() as client:
            first = created(client, lines_of()).id
            assert is_asked.wait(PATIENCE_S)
            second = created(client, [line("several", "twice", model=FAR, n=2)]).id
            try:
                assert waited(client, second).request_counts.completed == 1
            finally:
                may_answer.set()
            assert waited(client, first).request_counts.completed == COUNT


def test_what_providers_do_for_a_batch_that_fails_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_lines, "usage_of", raising(RuntimeError("a mistake of ours")))
    with BatchServer(lambda body: "yes").running() as far:
        far.looks = 1_000_000
        with serving(tmp_path / "served", far) as server, server.client() as client:
            lines = [line("a", model=FAR), line("b", model="remote:far/big-2")]
            id = created(client, lines).id
            wait_for(lambda: len(far.batches) == 2)
            far.batches["batch_1"]["looks"] = 1
            assert waited(client, id).status == "failed"
            wait_for(lambda: far.batches["batch_0"]["status"] == "cancelling")


def test_a_batch_that_is_being_begun_is_not_taken_for_one_that_was_not(
    tmp_path: Path, far: BatchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    described(tmp_path / "served", far)
    workspace, file = Workspace(tmp_path / "served"), tmp_path / "provider-1.json"
    caller = Caller("key", workspace.name, ("chat",))
    outgoing = OutgoingLine(workspace, workspace.engines())
    asked = Conversation([Message("user", "text")])
    with pytest.raises(PutOffError):
        next(outgoing.open(caller, FAR, asked, GenerationOptions()).streams()[0])
    assert outgoing.engine is not None
    one = LineBatch(workspace, file, outgoing.engine.remote)
    one.add(1, outgoing)
    start = BatchEndpoint.send

    def sent(*request: Any) -> Any:
        if request[2:]:  # something is asked of the provider
            with pytest.raises(ProviderBatchError, match="another server") as refused:
                LineBatch(workspace, file).find()
            assert not refused.value.is_lasting
        return start(*request)

    monkeypatch.setattr(BatchEndpoint, "send", sent)
    one.begin()
    other = LineBatch(workspace, file)
    assert (other.find(), other.id, len(far.batches)) == (True, one.id, 1)

    unknown = BatchFile(tmp_path / "provider-2.json")
    unknown.write(UnfinishedBatch("a-name", None, {"1": "", "2": ""}, time.time(), FAR))
    monkeypatch.setattr(line_batches, "LISTED_S", 60.0)
    with pytest.raises(ProviderBatchError, match="listed") as refused:
        LineBatch(workspace, unknown.file).find()
    assert not refused.value.is_lasting
    monkeypatch.setattr(line_batches, "LISTED_S", 0.0)
    assert not LineBatch(workspace, unknown.file).find()


def test_nothing_stays_set_aside_for_lines_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unkept = iter([1])

    async def asked(*request: Any) -> Any:
        reply = await batch_requests.ask(*request)
        if next(unkept, None):
            raise StoreError("away for a moment.")
        return reply

    monkeypatch.setattr(batch_lines, "ask", asked)
    monkeypatch.setattr(batch_run, "AWAY_S", 0.0)
    with BatchServer(lambda body: "yes").running() as far:
        far.looks = 1
        with serving(tmp_path / "served", far) as server:
            usage = server.workspace.usage
            with on_a_budget(server, 1.0) as (owner, _):
                id = created(owner, lines_of(max_tokens=50)).id
                assert waited(owner, id).request_counts.completed == COUNT
            usage.flush()
            leases = usage._reservations._leases.values()
            assert [one.under_way for one in leases] == [0]


@pytest.mark.parametrize(("batch", "is_known", "together"), UNSET_OR_NEVER)
def test_lines_go_out_together_where_batches_are_known_unless_they_are_never_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batch: bool | None,
    is_known: bool,
    together: bool,
) -> None:
    monkeypatch.setattr(Provider, "has_batches", is_known)
    with BatchServer(lambda body: "yes").running() as far:
        far.looks = 1
        with serving(tmp_path / "served", far, batch=batch) as server:
            with on_a_budget(server, 1.0) as (owner, key_id):
                lines = lines_of(2, max_tokens=50)
                done = waited(owner, created(owner, lines).id)
                good = read(owner, done.output_file_id)
            assert (len(far.batches), sum(far.single.values())) == ((1, 0) if together else (0, 2))
            each = price(good["id-0"], answers=1) * (0.5 if together else 1)
            assert paid(server.workspace) == pytest.approx([each, each])
            assert budgets(server.workspace.store)[key_id].spent == pytest.approx(2 * each)


def test_a_line_that_is_left_before_it_is_read_sets_nothing_aside(tmp_path: Path) -> None:
    with BatchServer(lambda body: "yes").running() as far:
        described(tmp_path / "served", far)
        workspace = Workspace(tmp_path / "served")
        made, _ = create_key(workspace.store, workspace.name, "test", ["chat"])
        set_budget(workspace.store, made.id, 1.0)
        caller = read_caller(workspace.store, made.id)
        assert caller is not None
        line = OutgoingLine(workspace, workspace.engines())
        asked = Conversation([Message("user", "text")])
        answering = line.open(caller, FAR, asked, GenerationOptions(max_new_tokens=50))
        line.leave()
        with pytest.raises(PutOffError):
            next(answering.streams()[0])
        assert line.reserved is None
        leases = workspace.usage._reservations._leases.values()
        assert [one.under_way for one in leases] == [0]


def test_a_batch_that_cannot_keep_an_answer_takes_no_more() -> None:
    places: Any = SimpleNamespace(most=2)
    taken = list[int]()

    async def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(0)
        return call(*arguments)

    async def take(number: int, _: Any) -> None:
        taken.append(number)
        if number == 1:
            raise StoreError("no room on the disk.")
        await asyncio.sleep(0)

    async def go() -> None:
        workspace: Any = None
        work = BatchWork(workspace, workspace, workspace, places, in_thread, in_thread, in_thread)
        replies: Any = iter([(number, None) for number in range(20)])
        away: Any = ProviderBatches(work, take)
        with pytest.raises(StoreError):
            await away._take_all(object(), replies)
        several = len(taken)
        await asyncio.sleep(0.02)
        assert len(taken) == several < 20

    asyncio.run(go())


def test_what_has_no_room_in_a_budget_waits_for_what_is_under_way(
    tmp_path: Path, far: BatchServer
) -> None:
    far.looks = 1
    with serving(tmp_path / "served", far) as server, server.client() as client:
        # At most 0.0025 and a prompt for each, at half the price: two have room at a time.
        with on_a_budget(server, 0.007) as (owner, key_id):
            id = created(owner, lines_of(max_tokens=2500)).id
        batch = waited(client, id)
        counts = batch.request_counts
        assert (batch.status, counts.completed, counts.failed) == ("completed", COUNT, 0)
        assert len(far.batches) >= COUNT // 2
        assert set(far.asked.values()) == {1}
        spent = sum(paid(server.workspace))
        assert budgets(server.workspace.store)[key_id].spent == pytest.approx(spent)


@pytest.mark.usefixtures("_asked_again_soon")
def test_what_has_no_room_beside_another_batch_waits_for_it(tmp_path: Path) -> None:
    """What would have no room even then is refused at once."""
    with BatchServer(lambda body: "yes").running() as far:
        far.looks = 1_000_000
        with serving(tmp_path / "served", far) as server, server.client() as client:
            with on_a_budget(server, 0.007) as (owner, key_id):
                first = created(owner, lines_of(2, max_tokens=2500)).id
                wait_for(lambda: far.batches)
                far.looks = 1
                more = line("twice", model=FAR, n=2, max_tokens=1200)
                large = line("large", model=FAR, max_tokens=7000)
                second = created(owner, [*lines_of(3, max_tokens=2500), more, large]).id
                wait_for(lambda: client.batches.retrieve(second).request_counts.failed)
                with pytest.raises(openai.RateLimitError) as told:  # it is told that it may wait
                    owner.with_options(max_retries=0).chat.completions.create(
                        model=FAR, messages=[{"role": "user", "content": "x"}], max_tokens=2500
                    )
                assert told.value.response.headers["retry-after"] == "1"
                assert completed(client, second) == 0
                assert (len(far.batches), dict(far.single)) == (1, {})
                far.batches["batch_0"]["looks"] = 1
                assert waited(client, first).request_counts.completed == 2
                counts = waited(client, second).request_counts
            assert (counts.completed, counts.failed) == (4, 1)
            bad = read(client, client.batches.retrieve(second).error_file_id)
            assert bad["large"]["response"]["body"]["error"]["code"] == "insufficient_quota"
            spent = sum(paid(server.workspace))
            assert budgets(server.workspace.store)[key_id].spent == pytest.approx(spent)


@pytest.mark.usefixtures("_asked_again_soon")
def test_each_line_without_room_is_tried_again_while_others_are_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of one batch, as room comes: the last one first, for which there is enough."""
    short = set[bytes]()

    async def asked(*request: Any) -> Any:
        reply = await batch_requests.ask(*request)
        if reply.is_short:
            short.add(request[3])
        return reply

    monkeypatch.setattr(batch_lines, "ask", asked)
    with BatchServer(lambda body: "yes").running() as far:
        far.looks = 1_000_000
        with serving(tmp_path / "served", far) as server, server.client() as client:
            small = lines_of(1, max_tokens=2500)
            large = [line(f"twice {n}", model=FAR, n=2, max_tokens=1200) for n in range(5)]
            # Three of 0.003, or one with one of 0.006.
            with on_a_budget(server, 0.0105) as (owner, _):
                created(owner, lines_of(2, max_tokens=2500))
                wait_for(lambda: len(far.batches) == 1)
                created(owner, small)
                wait_for(lambda: len(far.batches) == 2)
                mixed = created(owner, [*large, *small]).id
                wait_for(lambda: len(short) == 6)
                far.batches["batch_1"]["looks"] = 1
                wait_for(lambda: len(far.batches) == 3)
                assert dict(far.single) == {}
                far.batches["batch_0"]["looks"] = 1
                wait_for(lambda: completed(client, mixed) == len(large))
                assert far.batches["batch_2"]["status"] == "in_progress"
                assert dict(far.single) == {f"twice {n}": 2 for n in range(5)}
                far.batches["batch_2"]["looks"] = 1
                assert waited(client, mixed).request_counts.completed == 6


@pytest.mark.parametrize("batch", [True, None])
def test_a_run_of_many_items_is_answered_in_a_batch_and_judged_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: bool | None
) -> None:
    """If the settings ask for it: who starts one has not agreed to wait, as by a batch."""
    monkeypatch.setattr(batch_lines, "FEW_ITEMS", 3)
    monkeypatch.setattr(Provider, "has_batches", True)
    with BatchServer(lambda body: "yes").running() as far:
        far.looks = 1
        with serving(tmp_path / "served", far, batch=batch) as server, server.client() as client:
            yes: Any = {**SAME, "reference": "yes"}
            schema: Any = {"type": "custom", "item_schema": {"type": "object"}}
            made = client.evals.create(data_source_config=schema, testing_criteria=[yes])
            for count, batched in ((3, 0), (4, 1 if batch else 0)):
                items = content(*({"question": f"q {n}", "answer": "yes"} for n in range(count)))
                source: Any = {**completions(items), "model": FAR}
                run: Any = client.evals.runs.create(made.id, data_source=source)
                while run.status in ("queued", "in_progress"):
                    time.sleep(0.02)
                    run = client.evals.runs.retrieve(run.id, eval_id=made.id)
                assert (run.status, run.result_counts.passed) == ("completed", count)
                assert len(far.batches) == batched
            assert sum(far.single.values()) == (3 if batch else 3 + 4)


def queued(folder: Path) -> str:
    """A batch that no server has seen yet."""
    workspace = Workspace(folder)
    store, name = workspace.store, workspace.name
    made, _ = create_key(store, name, "test", ["chat", "files"])
    written = stored_files.write(store, iter([jsonl(lines_of())]), 10**6)
    with store.session() as session:
        session.add(stored_files.row_of(written, name, "in.jsonl", batches.PURPOSE, None, None))
    endpoint: Any = "/v1/chat/completions"
    asked = BatchRequest(input_file_id=written.id, endpoint=endpoint, completion_window="24h")
    return batches.create(store, name, asked, made.id, None)


def served_until_over(folder: Path, id: str) -> None:
    workspace = Workspace(folder)
    streams._idle.clear()  # threads of this process, which a fork of it does not have

    async def serve() -> None:
        app = create_app(workspace, workspace.engines())
        async with app.router.lifespan_context(app):
            while queue.read(workspace.store, id).status not in queue.OVER:
                await asyncio.sleep(0.01)

    asyncio.run(serve())


def left_by_the_dead(store: Store, id: str) -> None:
    """As it is once others have found that its server is gone."""
    gone = update(JobRow).where(JobRow.id == id, JobRow.status == "running")
    with store.session() as session:
        session.execute(gone.values(status="queued", worker=None, attempts=0))


def test_a_server_killed_before_each_step_asks_nothing_twice(
    tmp_path: Path, far: BatchServer
) -> None:
    folder = tmp_path / "served"
    described(folder, far)
    id, far.looks, step = queued(folder), 1, 1
    work = partial(served_until_over, folder, id)
    while killed(work, step, (batch_lines, "append_durable")):
        left_by_the_dead(Workspace(folder).store, id)
        step += 1
        assert step < 30
    batch = batches.read(Workspace(folder).store, id)
    assert (batch.outcome, batch.completed, batch.failed) == ("completed", COUNT, 0)
    assert (len(far.batches), set(far.asked.values()), dict(far.single)) == (1, {1}, {})
    assert step > 6


def test_what_a_provider_does_for_a_batch_that_is_given_up_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As many servers were killed over it as are tried; the next one only cancels, as soon as its
    key is there, and does other batches while the provider says nothing."""
    folder, is_asked, may_answer = tmp_path / "served", Event(), Event()
    with BatchServer(lambda body: "yes").running() as far:
        described(folder, far)
        id, far.looks, store = queued(folder), 1_000_000, Workspace(folder).store
        for _ in range(recovery.MOST_ATTEMPTS):
            assert killed(partial(served_until_over, folder, id), 10)
            recovery.revive(store, timedelta(seconds=-60))
        assert queue.read(store, id).status == "failed"
        assert [one["status"] for one in far.batches.values()] == ["in_progress"]
        monkeypatch.setattr(batch_runner, "SETTLE_S", 0.05)
        monkeypatch.setattr(batch_runner, "CANCEL_S", 0.05)
        monkeypatch.delenv("FAR_KEY")
        refused, get = ["POST /v1/batches/batch_0/cancel"], far.get
        far.failing = refused

        def slow(path: str) -> Any:
            is_asked.set()
            may_answer.wait(2 * PATIENCE_S)
            return get(path)

        monkeypatch.setattr(far, "get", slow)
        with running(folder, lambda workspace: workspace.engines()) as server:
            wait_for(lambda: f"the batch batch_0 of {FAR} is not cancelled" in caplog.text)
            monkeypatch.setenv("FAR_KEY", "a-key-for-tests")
            assert is_asked.wait(PATIENCE_S)
            with server.client() as client:
                other = created(client, [line("several", "twice", model=FAR, n=2)]).id
                try:
                    assert waited(client, other).request_counts.completed == 1
                finally:
                    may_answer.set()
            wait_for(lambda: not batch_answers.folder_of(store, id).exists())
            assert refused == []  # it was asked again
            batch = batches.read(server.workspace.store, id)
        assert far.batches["batch_0"]["status"] == "cancelled"
        assert (batch.outcome, batch.completed, batch.failed) == ("failed", 0, 0)
        assert (len(far.batches), set(far.asked.values())) == (1, {1})
        assert dict(far.single) == {"twice": 2}


def test_what_cannot_be_cancelled_is_kept_for_a_day(
    tmp_path: Path, far: BatchServer, caplog: pytest.LogCaptureFixture
) -> None:
    described(tmp_path / "served", far)
    workspace = Workspace(tmp_path / "served")
    file = batch_answers.new_provider_file(workspace.store, "batch_a")
    model = "remote:gone/big-1"
    BatchFile(file).write(UnfinishedBatch("a-name", "batch_7", {"1": ""}, time.time(), model))
    cancel_left(workspace, "batch_a")
    assert file.exists()
    assert f"batch_a: the batch batch_7 of {model} is not cancelled" in caplog.text
    os.utime(file, (0, time.time() - batches.WINDOW.total_seconds()))
    cancel_left(workspace, "batch_a")
    assert not file.exists()
    assert f"{model} was not cancelled" in caplog.text
