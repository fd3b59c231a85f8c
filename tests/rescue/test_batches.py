"""Answers that a provider gives in batches: half the price, and nothing asked twice.

Each test is of both protocols, but for what one of them has alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.rescue.batch_server import BatchServer, killed
from tests.rescue.message_batch_server import MessageBatchServer
from tests.rescue.server import KEY
from tests.rescue.test_recording import MODEL, PRICE, animal, inputs, lines

from assay.config import Provider
from assay.errors import OutageError, StoreError, UsageError
from assay.generate.remote import provider_batch
from assay.generate.remote.anthropic_batches import AnthropicBatches
from assay.generate.remote.model import RemoteModel
from assay.generate.remote.openai_batches import OpenAIBatches
from assay.generate.remote.provider_batch import BatchFile
from assay.progress import Silent
from assay.project.recording import RecordingChoices, RecordingDraft, draft_recording, record
from assay.rescue.client import Access

COUNT = 12


@pytest.fixture(params=[BatchServer, MessageBatchServer])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BatchServer]:
    monkeypatch.setattr(provider_batch, "POLL_S", 0.0)
    with request.param(animal).running() as running:
        yield running


def drafted(server: BatchServer, folder: Path, **choices: Any) -> RecordingDraft:
    provider = Provider(
        base_url=server.url,
        protocol=server.protocol,
        private_network=["127.0.0.0/8"],
        prices={MODEL: PRICE},
        retries=choices.pop("retries", 0),
    )
    data = folder / "more.jsonl"
    if not data.exists():
        inputs(data, COUNT)
    given = {"data": [data], "batch": True, "logprobs": False, **choices}
    access = Access("far", provider, KEY)
    return draft_recording(MODEL, access, folder / "kept", RecordingChoices(**given))


def left(draft: RecordingDraft) -> Path:
    return draft.file.with_suffix(".batch.json")


def test_a_batch_costs_half_and_is_asked_once(server: BatchServer, tmp_path: Path) -> None:
    draft = drafted(server, tmp_path)
    single = drafted(server, tmp_path, batch=False)
    assert draft.usd is not None
    assert single.usd is not None
    assert draft.usd == pytest.approx(single.usd / 2)
    report = record(draft, most_usd=1000.0)
    assert (report["complete"], report["recorded"], len(server.batches)) == (True, COUNT, 1)
    found = lines(draft)
    tokens = [(one["prompt_tokens"], one["completion_tokens"]) for one in found]
    assert [one["usd"] for one in found] == pytest.approx(
        [(asked * 100 + said * 1000) / 2e6 for asked, said in tokens]
    )
    assert {one["output"] for one in found} == {"cat"}
    assert not left(draft).exists()
    assert record(drafted(server, tmp_path))["recorded"] == 0
    assert len(server.batches) == 1


def test_more_than_a_file_may_hold_are_several_batches(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (OpenAIBatches, AnthropicBatches):
        monkeypatch.setattr(one, "most_bytes", 1000)
    assert record(drafted(server, tmp_path))["complete"]
    assert 1 < len(server.batches) < COUNT
    sent = [text for id, text in server.files.items() if id.startswith("file-")]
    assert max(map(len, sent), default=0) <= 1000
    assert set(server.asked.values()) == {1}


def test_a_budget_ends_before_the_rest(server: BatchServer, tmp_path: Path) -> None:
    draft = drafted(server, tmp_path, max_new_tokens=10)
    report = record(draft, most_usd=0.012)
    assert 0 < report["recorded"] < COUNT
    assert report["left_because"] == "the budget is used up"
    assert report["usd"] <= 0.012


def test_what_a_batch_leaves_is_asked_again(server: BatchServer, tmp_path: Path) -> None:
    server.kept = 5
    for ends_as, rest in (("cancelled", COUNT - 5), ("expired", COUNT - 10)):
        server.ends_as = ends_as
        draft = drafted(server, tmp_path)
        report = record(draft)
        assert (report["recorded"], report["left"]) == (5, rest)
        assert report["left_because"] == f"the provider did not answer ({server.lost[ends_as]})"
        assert not left(draft).exists()
    server.ends_as, server.kept = "completed", COUNT
    assert record(drafted(server, tmp_path))["complete"]
    assert max(server.asked.values()) == 3
    server.ends_as = "failed"
    (tmp_path / "more.jsonl").unlink()
    inputs(tmp_path / "more.jsonl", COUNT + 1)
    report = record(drafted(server, tmp_path))
    why = {"openai": "the file is not valid", "anthropic": "its results are not available"}
    assert why[server.protocol] in report["left_because"]


def test_a_run_that_nobody_answered_goes_on(server: BatchServer, tmp_path: Path) -> None:
    """The provider has begun the batch, and its reply was lost: it is found by its name."""
    record(drafted(server, tmp_path, data=[inputs(tmp_path / "other.jsonl", 1)]))
    server.failing = [f"POST {server.path}", f"GET {server.path}/"]
    draft = drafted(server, tmp_path)
    assert not record(draft)["complete"]
    assert left(draft).exists()
    server.confuse(list(server.batches)[1])
    assert record(drafted(server, tmp_path))["complete"]  # though one look fails
    assert len(server.batches) == 3
    assert set(server.asked.values()) == {1}


def test_only_a_batch_that_may_have_begun_is_looked_for(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At Anthropic the look would wait for anybody's batch of as many requests."""
    seen, get = set[str](), server.get

    def watched(path: str) -> Any:
        seen.add(path.partition("?")[0])
        return get(path)

    monkeypatch.setattr(server, "get", watched)
    with monkeypatch.context() as busy:
        busy.setattr(server, "post", lambda *_: (429, {"error": {"message": "later"}}))
        assert "later" in record(drafted(server, tmp_path))["left_because"]
    assert record(drafted(server, tmp_path))["complete"]
    assert server.path not in seen


def test_a_step_that_fails_is_repeated_like_a_single_request(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sending, whose reply is lost, then looking for what was sent, then reading the answers."""
    monkeypatch.setattr(RemoteModel, "retry_pause", lambda *_: 0.0)
    results = {"openai": "GET /v1/files/", "anthropic": f"GET {server.path}/msgbatch_0/results"}
    server.failing = [f"POST {server.path}", f"GET {server.path}?", results[server.protocol]]
    assert record(drafted(server, tmp_path, retries=3))["complete"]
    assert not server.failing
    assert set(server.asked.values()) == {1}


def test_what_is_refused_is_not_kept(server: BatchServer, tmp_path: Path) -> None:
    server.status_of_line = 400
    draft = drafted(server, tmp_path)
    with pytest.raises(OutageError, match="refuses what it is asked"):
        record(draft)
    assert not left(draft).exists()
    assert not draft.file.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "a"}', "odd kinds"])
def test_a_damaged_file_of_a_batch_is_told(tmp_path: Path, text: str) -> None:
    kinds = {"name": "a", "id": None, "requests": ["x"], "at": 1.0}
    file = tmp_path / "batch.json"
    file.write_text(json.dumps(kinds) if text == "odd kinds" else text)
    with pytest.raises(StoreError, match="Remove it to ask anew"):
        BatchFile(file).read()


def test_single_requests_wait_for_a_batch(server: BatchServer, tmp_path: Path) -> None:
    draft = drafted(server, tmp_path)
    assert killed(partial(record, draft), 4)
    with pytest.raises(UsageError, match="a batch of this model is under way"):
        record(drafted(server, tmp_path, batch=False))
    with pytest.raises(UsageError, match="the batch under way asks 12 inputs"):
        record(drafted(server, tmp_path, data=[inputs(tmp_path / "c.jsonl", 1)], max_new_tokens=3))
    assert record(drafted(server, tmp_path))["complete"]
    assert set(server.asked.values()) == {1}


def test_ctrl_c_leaves_a_batch_running(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    class Lines(Silent):
        def say(self, line: str) -> None:
            said.append(line)

    draft = drafted(server, tmp_path)
    with monkeypatch.context() as stopped:
        stopped.setattr(provider_batch, "TELL_S", 0.0)
        stopped.setattr(provider_batch.time, "sleep", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            record(draft, progress=Lines())
    assert said[-2] == f"Waiting for the provider's batch: 0 of {COUNT} done, asked 0 min ago."
    assert "goes on at the provider" in said[-1]
    assert record(drafted(server, tmp_path))["complete"]
    assert set(server.asked.values()) == {1}


def _interrupt(seconds: float) -> None:
    raise KeyboardInterrupt


def test_killed_at_any_step_nothing_is_asked_twice(server: BatchServer, tmp_path: Path) -> None:
    step, runs = 1, 0
    while killed(partial(record, drafted(server, tmp_path)), step):
        step, runs = step + 1, runs + 1
        assert runs < 40
    assert runs >= 5
    assert record(drafted(server, tmp_path))["complete"]
    assert set(server.asked.values()) == {1}
    assert len(server.asked) == COUNT == len(lines(drafted(server, tmp_path)))
