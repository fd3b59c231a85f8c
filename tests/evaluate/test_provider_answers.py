"""A run asks a provider's batches where its settings say so, and ends as by single requests.

Each test is of both protocols, but for what has nothing to do with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.rescue.batch_server import BatchServer, killed
from tests.rescue.message_batch_server import MessageBatchServer

from assay.agent.agent import Agent
from assay.evaluate.measure import Measurement
from assay.evaluate.provider_answers import FILE
from assay.evaluate.run import BATCH_SIZE
from assay.example import Example
from assay.generate.remote import provider_batch
from assay.generate.remote.anthropic_batches import AnthropicBatches
from assay.generate.remote.openai_batches import OpenAIBatches

COUNT = 2 * BATCH_SIZE + 3
AGENT = Agent(model="remote:far/big", max_new_tokens=9)


def rows(kind: str = "") -> list[Example]:
    return [Example.of(f"What is {kind}{n}?", f"It is {kind}{n}", id=str(n)) for n in range(COUNT)]


ROWS = rows()


def said(body: dict[str, Any]) -> str:
    return f"It is {body['messages'][-1]['content'].split()[-1].strip('?')}"


@pytest.fixture(params=[BatchServer, MessageBatchServer])
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BatchServer]:
    monkeypatch.setattr(provider_batch, "POLL_S", 0.0)
    with request.param(said).running() as running:
        yield running


def measured(server: BatchServer, folder: Path, **settings: Any) -> Measurement:
    """All rows, as a comparison measures the holdout; `fields` are of `Bench.measure`."""
    fields, rows = settings.pop("fields", {}), settings.pop("rows", ROWS)
    provider = {
        "base_url": server.url,
        "protocol": server.protocol,
        "private_network": True,
        "key_env": "FAR_KEY",
        "consent": True,
        "retries": 0,
        "batch": True,
        **settings,
    }
    bench = context_of(folder, {}, providers={"far": provider}).bench
    return bench.measure(AGENT, rows, in_part=True, **fields)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAR_KEY", "a-key-for-tests")


def test_answers_are_those_of_single_requests_and_kept_like_them(
    server: BatchServer, tmp_path: Path
) -> None:
    found = measured(server, tmp_path / "batched")
    assert (len(server.batches), set(server.asked.values())) == (1, {1})
    assert len(server.asked) == COUNT
    assert (found.score, found.missing) == (1.0, 0)
    assert not server.single
    assert measured(server, tmp_path / "batched", batch=False).answers == found.answers
    assert not server.single  # the same run, whatever the settings say by now
    assert measured(server, tmp_path / "single", batch=False).answers == found.answers
    assert len(server.single) == COUNT


def test_few_requests_and_those_of_a_search_wait_for_no_batch(
    server: BatchServer, tmp_path: Path
) -> None:
    measured(server, tmp_path, rows=ROWS[:BATCH_SIZE])
    measured(server, tmp_path, fields={"in_batches": False})
    assert not server.batches


def test_a_batch_under_way_is_waited_for_whatever_the_settings_say_by_now(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (OpenAIBatches, AnthropicBatches):
        monkeypatch.setattr(one, "most_requests", BATCH_SIZE)
    assert killed(partial(measured, server, tmp_path), 6)
    assert measured(server, tmp_path, batch=False).score == 1.0
    assert len(server.batches) == 1
    assert sum(server.asked.values()) == BATCH_SIZE
    assert set((server.asked + server.single).values()) == {1}


def test_a_batch_that_is_not_known_any_more_says_what_to_do(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As to the key of another account; without its file the requests are asked anew."""
    get, gone = server.get, (404, {"error": {"message": "No such batch"}})

    def forgetful(path: str) -> Any:
        return gone if path.startswith(f"{server.path}/") else get(path)

    with monkeypatch.context() as changed:
        changed.setattr(server, "get", forgetful)
        found = measured(server, tmp_path)
    [file] = tmp_path.rglob(FILE)
    [id] = server.batches
    error = found.answers[0].error or ""
    assert error.startswith("far: HTTP 404: No such batch. Use the address and key that began")
    assert f"batch {id}, or remove {file} to ask anew" in error
    file.unlink()
    assert measured(server, tmp_path).score == 1.0
    assert len(server.batches) == 2


@pytest.mark.parametrize("server", [BatchServer], indirect=True)
def test_killed_at_any_step_nothing_is_asked_twice(server: BatchServer, tmp_path: Path) -> None:
    """From its start at the provider on: what comes before is as it is for a recording."""
    step, ended = 5, False
    while not ended:
        others = rows(f"{step}.")
        ended = not killed(partial(measured, server, tmp_path, rows=others), step)
        assert measured(server, tmp_path, rows=others).score == 1.0
        assert set(server.asked.values()) == {1}
        assert not list(tmp_path.rglob(FILE))
        server.batches.clear()
        step += 1
    assert step > 10
    assert not server.single


def test_what_a_batch_leaves_is_asked_singly_unless_it_answers_nothing(
    server: BatchServer, tmp_path: Path
) -> None:
    server.ends_as, server.kept = "expired", 100
    assert measured(server, tmp_path / "some").score == 1.0
    assert sum(server.single.values()) == COUNT - 100
    server.single.clear()
    server.kept = 0
    found = measured(server, tmp_path / "none")
    assert found.missing == COUNT
    assert found.answers[0].error == server.lost["expired"]
    server.status_of_line, server.ends_as, server.kept = 400, "completed", COUNT
    found = measured(server, tmp_path / "refused")
    assert (found.refused, found.incomplete) == (COUNT, True)
    assert not server.single


def test_a_request_that_two_batches_ask_is_found_in_the_second(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By then the first has ended, and the request is the only one of its kind that is left."""
    for one in (OpenAIBatches, AnthropicBatches):
        monkeypatch.setattr(one, "most_requests", BATCH_SIZE)
    twice = [*ROWS[:BATCH_SIZE], replace(ROWS[0], id="again"), *ROWS[BATCH_SIZE:-4]]
    get, gone = server.get, (404, {"error": {"message": "No such batch"}})

    def forgetful(path: str) -> Any:
        id = path.removeprefix(f"{server.path}/")
        return gone if id in list(server.batches)[1:] else get(path)

    with monkeypatch.context() as changed:
        changed.setattr(server, "get", forgetful)
        assert measured(server, tmp_path, rows=twice).missing == BATCH_SIZE
    assert measured(server, tmp_path, rows=twice).score == 1.0
    assert (len(server.batches), sum(server.asked.values())) == (2, len(twice))
    assert not server.single


def test_more_than_a_batch_may_hold_are_several(
    server: BatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for one in (OpenAIBatches, AnthropicBatches):
        monkeypatch.setattr(one, "most_requests", BATCH_SIZE)
    twice = [*ROWS, replace(ROWS[0], id="again")]
    assert measured(server, tmp_path, rows=twice).score == 1.0
    assert len(server.batches) == 3
    assert server.asked.pop("What is 0?") == 2
    assert set(server.asked.values()) == {1}
