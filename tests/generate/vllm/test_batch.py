"""vLLM as the engine of evaluation: the small server of `fake` answers a comparison."""

from __future__ import annotations

import _thread
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event, Lock
from typing import Any
from unittest.mock import Mock

import pytest
from tests.generate.test_local_pool import ASKED, LETTERS
from tests.generate.tiny import byte_tokenizer
from tests.generate.vllm.fake import FakeVllm, fake_vllm
from tests.small import small_project, write_model

import assay
from assay import project
from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines
from assay.agent.key_origins import check_origin
from assay.agent.versions import find_version, load_agent
from assay.candidates import registry
from assay.candidates.shared import tuning
from assay.compare.performance import measure_performance
from assay.compare.result import CandidateResult, Result
from assay.config import Config, Vllm
from assay.errors import ConfigError, OutageError
from assay.evaluate import server_answers
from assay.evaluate.measure import Bench
from assay.evaluate.run import run
from assay.generate.batch import Request
from assay.generate.stream import BusyError, End, Piece
from assay.generate.stream_batch import StreamBatchEngine
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.generate.vllm.batch import VllmBatches
from assay.models.versions import version_id
from assay.progress import Silent
from assay.project import comparisons, releases
from assay.project.project import Project
from assay.project.workspace import open_workspace

pytestmark = pytest.mark.slow

EDIT = {
    "  - baseline-tfidf\n  - classifier\n  - nearest-answer\n"
    "  - prompt\n  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n": (
        "  - prompt\n  - fine-tune\n"
    ),
    "margin: 0.02": "baselines: false\nmargin: 0.02",
}
ROWS = 60
DEFAULTS = run.__kwdefaults__ or {}
"""Of a run of requests, for the tests to change."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, FakeVllm]]:
    """A project whose vLLM server holds its model."""
    folder = tmp_path_factory.mktemp("served")
    at = small_project(folder, rows=ROWS, edit=EDIT).root
    with fake_vllm(str(folder / "model")) as fake:
        path = at / "assay.yaml"
        url = fake.settings.base_url
        path.write_text(path.read_text() + f"vllm:\n  base_url: {url}\n  at_once: 4\n")
        yield assay.open(at), fake


@pytest.fixture
def server(made: tuple[Project, FakeVllm], monkeypatch: pytest.MonkeyPatch) -> FakeVllm:
    """The server, well; no pause is waited for."""
    monkeypatch.setattr(server_answers, "BACKOFF_S", 0.0)
    monkeypatch.setitem(DEFAULTS, "backoff_s", 0.0)
    fake = made[1]
    fake.misbehave, fake.is_down, fake.version, fake.most_open = "", lambda body: False, "0.12.0", 0
    fake.asked.clear()
    return fake


@pytest.fixture(scope="module")
def compared(made: tuple[Project, FakeVllm]) -> tuple[Result, list[dict[str, Any]]]:
    """Its comparison, in which one holdout row of each candidate met an outage, and what was asked
    when the same command was given again."""
    mine, fake = made
    row = _inputs(mine, "holdout")[3]
    fake.is_down = lambda body: row in _text(body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_answers, "BACKOFF_S", 0.0)
        patch.setitem(DEFAULTS, "backoff_s", 0.0)
        first = mine.compare(reason="first look").result
        for name in ("prompt", "fine-tune"):
            assert (_named(first, name).status, _named(first, name).missing) == ("incomplete", 1)
        fake.is_down = lambda body: False
        fake.asked.clear()
        second = assay.open(mine.root).compare(reason="after the outage").result
    return second, list(fake.asked)


def test_a_comparison_is_answered_by_the_server_that_serves(
    made: tuple[Project, FakeVllm],
    compared: tuple[Result, list[dict[str, Any]]],
    server: FakeVllm,
) -> None:
    mine, _ = made
    result, asked = compared
    prompt, tuned = (_named(result, name) for name in ("prompt", "fine-tune"))
    assert (prompt.status, tuned.status) == ("complete", "complete")
    row = _inputs(mine, "holdout")[3]
    both = [server.base, f"assay-{version_id(_agent(mine, 'fine-tune').model)}"]
    assert sorted(body["model"] for body in asked if row in _text(body)) == sorted(both)
    assert [one for one in asked if row not in _text(one)] == []
    assert all("seed" in body and body["cache_salt"] == "pets" for body in asked)
    assert [one.reason for one in mine.openings()] == ["first look"]
    assert result.environment["vLLM"] == f"0.12.0 at {_vllm(mine).base_url}"
    # Answers stay through an update, in the same opening.
    server.version = "0.13.0"
    assert prompt.tokens_per_s
    assert prompt.latency_p50_s
    assert tuned.forgetting is not None  # of weights, which no server shows
    assert assay.open(mine.root).compare().result == result
    assert server.asked == []
    assert comparisons.changes(open_workspace(mine.root)).opening is None
    text = (mine.root / "assay.yaml").read_text()
    url = _vllm(mine).base_url
    try:
        for other in (text.replace(url, "http://127.0.0.1:9/v1"), text.partition("vllm:")[0]):
            (mine.root / "assay.yaml").write_text(other)
            assert comparisons.changes(open_workspace(mine.root)).changed == ["settings"]
    finally:
        (mine.root / "assay.yaml").write_text(text)


def test_a_server_that_answers_for_nobody_changes_nothing_and_takes_no_consent(
    tmp_path: Path,
) -> None:
    [(candidates, _), baselines] = EDIT.items()
    mine = small_project(
        tmp_path, rows=ROWS, edit={candidates: "  - baseline-tfidf\n", baselines[0]: baselines[1]}
    )
    compared = mine.compare().result
    path = mine.root / "assay.yaml"
    path.write_text(path.read_text() + "vllm:\n  base_url: http://10.0.0.5:9/v1\n")
    assert comparisons.changes(open_workspace(mine.root)).opening is None
    assert assay.open(mine.root).compare().result == compared
    text = path.read_text()
    path.write_text(text.replace("  - baseline-tfidf\n", "  - baseline-tfidf\n  - prompt\n"))
    with pytest.raises(ConfigError, match="has not agreed"):
        assay.open(mine.root).compare()


def test_expected_answers_of_the_holdout_stay_here_with_a_judge_that_reads_them(
    tmp_path: Path,
) -> None:
    config = write_model(tmp_path / "model") / "config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 2048})
    )
    names = [f"{one}{other}" for one in "abcdefgh" for other in "klmnopqr"]
    rows = [{"input": f"Which animal is in {one}?", "output": f"The owl {one}."} for one in names]
    (tmp_path / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with fake_vllm(str(config.parent)) as fake:
        fake.context = 2048
        settings = {
            "name": "owls",
            "task": "text",
            "data": {"file": "rows.jsonl"},
            "model": str(config.parent),
            "graders": [
                {"name": "exact"},
                {"name": "judge", "settings": {"model": str(config.parent)}},
            ],
            "primary": "exact",
            "candidates": ["prompt"],
            "baselines": False,
            "generate": {"max_new_tokens": 4},
            "vllm": {"base_url": fake.settings.base_url},
        }
        (tmp_path / "assay.yaml").write_text(json.dumps(settings))
        result = assay.open(tmp_path).compare().result
    assert [grader["name"] for grader in result.config["graders"]] == ["exact", "judge"]
    assert len(fake.asked) > result.data.holdout
    assert not [body for body in fake.asked if "The owl" in _text(body)]


def test_answers_are_those_of_transformers_but_their_confidence_is_within_the_grammar(
    made: tuple[Project, FakeVllm], compared: Any, server: FakeVllm
) -> None:
    mine, _ = made
    for agent in (_agent(mine, "prompt"), _agent(mine, "fine-tune")):
        ours = mine.context().bench.engines.for_agent(agent)
        theirs = BatchEngines(mine.store, dtype="float32").for_agent(agent)
        assert isinstance(ours, StreamBatchEngine)
        assert isinstance(theirs, TransformersBatchEngine)
        few = [
            Request(tuple(ASKED), max_new_tokens=8, schema=LETTERS, seed=7),
            Request(tuple(ASKED), max_new_tokens=5, choices=("cat", "dog")),
        ]
        for here, there in zip(ours.answer(few), theirs.answer(few), strict=True):
            assert (here.text, here.finish) == (there.text, there.finish)
            assert here.scored_tokens == there.scored_tokens
            # Among the tokens that the grammar allows, which are fewer.
            assert there.logprob + 1 < here.logprob <= 0
        assert {body["seed"] for body in server.asked} == {7, 0}
        server.asked.clear()
        identity = ours.identity
        assert (identity["engine"], identity["base_url"]) == ("vllm", _vllm(mine).base_url)
        assert identity["served"] in (server.base, f"assay-{version_id(agent.model)}")
        assert identity != theirs.identity
        server.version = "0.13.0"
        assert mine.context().bench.engines.for_agent(agent).identity == identity
        server.version = "0.12.0"


def test_an_interrupted_run_goes_on_where_it_was_with_as_many_at_once_as_are_set(
    made: tuple[Project, FakeVllm], server: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = made
    monkeypatch.setitem(DEFAULTS, "batch_size", 3)
    rows = list(mine.context().train)
    agent = Agent(model=mine.config.model, system_prompt="Which animal?", max_new_tokens=4)

    once, heard = Lock(), Event()

    def interrupt(body: dict[str, Any]) -> bool:
        # Several may come before one is looked at: none may see just 20.
        if len(server.asked) >= 20:
            if once.acquire(blocking=False):
                _thread.interrupt_main()
            heard.wait(60)  # else all may be answered before the main thread is given a turn
        return False

    server.is_down, before = interrupt, _kept(mine)
    with pytest.raises(KeyboardInterrupt):
        _bench(mine).measure(agent, rows)
    heard.set()
    end = time.monotonic() + 20
    while server.open:  # nobody reads them any more
        assert time.monotonic() < end
        time.sleep(0.01)
    assert server.most_open == 4
    begun, kept = len(server.asked), _kept(mine) - before
    assert 0 < kept <= begun < len(rows)
    server.is_down = lambda body: False
    answers = _bench(mine).measure(agent, rows).answers
    assert len(server.asked) - begun == len(rows) - kept
    assert len(set(map(_text, server.asked))) == len({row.input for row in rows})
    server.asked.clear()
    assert _bench(mine).measure(agent, rows).answers == answers
    assert server.asked == []


def test_a_server_that_is_down_is_not_asked_for_the_rest(
    made: tuple[Project, FakeVllm], server: FakeVllm, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = made
    monkeypatch.setattr(server_answers, "SILENT_REQUESTS", 5)
    monkeypatch.setitem(DEFAULTS, "batch_size", 3)
    rows = list(mine.context().train)
    agent = Agent(model=mine.config.model, system_prompt="What animal?", max_new_tokens=4)
    server.is_down = lambda body: len(server.asked) > 10
    with pytest.raises(OutageError, match="unanswered"):
        _bench(mine).measure(agent, rows)
    assert len(server.asked) <= 10 + 3 * (5 + 4)
    server.is_down = lambda body: False
    before = len(server.asked)
    _bench(mine).measure(agent, rows)
    assert len(server.asked) - before == len(rows) - 10


def test_the_server_is_asked_for_its_base_and_for_adapters_beside_it(
    made: tuple[Project, FakeVllm], compared: Any
) -> None:
    mine, _ = made
    store, config = mine.store, mine.config
    tuned = _agent(mine, "fine-tune").model
    served = VllmBatches(store, _vllm(mine), config.model)
    assert [served.answers_for(m) for m in (config.model, tuned, f"{tuned}/8", "other")] == [
        *(True, True, False, False)
    ]
    other = VllmBatches(store, _vllm(mine), "other")
    assert not other.answers_for(tuned)


@pytest.mark.parametrize("outage", ["gone", "another model", "dead", "dead while it is timed"])
def test_an_outage_before_the_opening_opens_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outage: str
) -> None:
    """Nor is the rest compared without what the server has."""
    monkeypatch.setattr(server_answers, "BACKOFF_S", 0.0)
    names = "  - few-shot\n  - few-shot-nearest\n  - encoder\n  - fine-tune\n"
    at = small_project(tmp_path, rows=ROWS, edit={names: ""}, tiny_embedder=True).root
    with fake_vllm(str(tmp_path / "model")) as fake:
        path = at / "assay.yaml"
        port = 9 if outage == "gone" else fake.port
        path.write_text(path.read_text() + f"vllm:\n  base_url: http://127.0.0.1:{port}/v1\n")
        if outage == "another model":
            fake.base = str(write_model(tmp_path / "other"))

        class Dying(Silent):
            def stage(self, doing: str, candidate: str) -> None:
                if doing == "speed" and outage == "dead":
                    fake.is_down = lambda body: True

            def task(self, label: str, total: float | None, unit: str) -> Any:
                if label == "measuring latency" and outage == "dead while it is timed":
                    fake.is_down = lambda body: True
                return super().task(label, total, unit)

        kind = ConfigError if outage == "another model" else OutageError
        with pytest.raises(kind):
            assay.open(at).compare(reason="too early", progress=Dying())
        assert assay.open(at).openings() == []
        if outage.startswith("dead"):
            fake.is_down = lambda body: False
            result = assay.open(at).compare(reason="now").result
            assert _named(result, "prompt").status == "complete"
            assert [one.reason for one in assay.open(at).openings()] == ["now"]


def test_no_version_is_trained_for_a_server_that_cannot_measure_it(
    made: tuple[Project, FakeVllm], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = made
    context, train = mine.context(), Mock(side_effect=AssertionError)
    monkeypatch.setattr(tuning, "train_version", train)
    for url, kind in (("http://127.0.0.1:9/v1", OutageError), ("http://10.0.0.5/v1", ConfigError)):
        config = mine.config.model_copy(update={"vllm": Vllm(base_url=url)})
        engines = BatchEngines.of(config, mine.store, mine.providers, mine.owner)
        with pytest.raises(kind, match=r"did not answer|has not agreed"):
            registry.build(
                "fine-tune", replace(context, bench=replace(context.bench, engines=engines))
            )
    train.assert_not_called()


@pytest.mark.parametrize("busy_at", [None, "full load", "one by one"])
def test_a_wait_for_a_busy_server_is_no_speed(
    made: tuple[Project, FakeVllm],
    server: FakeVllm,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    busy_at: str | None,
) -> None:
    mine, _ = made
    said = Mock(wraps=Silent())
    bench = replace(_bench(mine), progress=said)
    agent, rows = Agent(model=mine.config.model, max_new_tokens=2), mine.context().validation[:4]
    engine = bench.engines.for_agent(agent)
    assert isinstance(engine, StreamBatchEngine)
    chat, asked = engine.engine.chat, count()
    first = {"full load": 0, "one by one": len(rows) + 1}.get(busy_at or "")

    def busy_once(*given: Any) -> Iterator[Piece | End]:
        if next(asked) == first:
            raise BusyError("full", 0.0)
        return chat(*given)

    monkeypatch.setattr(engine.engine, "chat", busy_once)
    speed = measure_performance(agent, tuple(rows), bench, tmp_path)
    assert (speed.seconds_per_answer is None) == (busy_at == "full load")
    assert (speed.p50_s is None) == (busy_at == "one by one")
    assert said.say.call_count == (busy_at is not None)
    assert len(list(tmp_path.rglob("*.json"))) == (busy_at is None)


def test_a_server_on_another_machine_takes_consent(
    made: tuple[Project, FakeVllm], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = made

    def at(url: str, **more: Any) -> Config:
        return mine.config.model_copy(update={"vllm": Vllm(base_url=url, **more)})

    def engines(config: Config) -> BatchEngines:
        return BatchEngines.of(config, mine.store, mine.providers, mine.owner)

    for url in ("http://127.0.0.1:9/v1", "http://localhost:9/v1", "http://[::1]:9/v1"):
        engines(at(url)).check_server()
    far = "http://10.0.0.5:9/v1"
    agent, row = Agent(model=mine.config.model), Request(tuple(ASKED))
    refused = engines(at(far))
    for ask in (
        refused.check_server,
        lambda: refused.check_sending(agent.model, [row]),
        lambda: refused.for_agent(agent),
    ):
        with pytest.raises(ConfigError, match="holdout") as error:
            ask()
        assert error.value.where == "assay.yaml, vllm.consent"
    said = Mock(wraps=Silent())
    engines(at(far, consent=True)).check_sending(agent.model, [row], said)
    said.say.assert_called_once_with(f"Sending 1 request to the vLLM server at {far}.")
    engines(at(far)).check_sending("other", [row])
    # A key goes where it has gone before.
    monkeypatch.setenv("VLLM_KEY", "a-key")
    old = Vllm(base_url="http://10.0.0.6:9/v1", key_env="VLLM_KEY")
    check_origin(mine.store, mine.owner, "me", "vllm", old.provider())
    with pytest.raises(ConfigError, match="providers allow vllm"):
        engines(at(far, consent=True, key_env="VLLM_KEY")).for_agent(agent)


def test_the_gate_compares_the_server_and_asks_for_consent_before(
    made: tuple[Project, FakeVllm],
    compared: Any,
    server: FakeVllm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, _ = made
    parity = Mock()
    monkeypatch.setattr("assay.evaluate.parity.parity", parity)
    workspace = project.open_workspace(mine.root)
    releases.promote(workspace, "pets", "prompt@1", force="a trial")
    releases.promote(workspace, "pets", "fine-tune@1", force="a trial")
    assert parity.call_count == 2
    # Also of a version that the server was started with, under the name that an export gives it.
    monkeypatch.setattr(VllmBatches, "is_elsewhere", True)
    monkeypatch.setattr(VllmBatches, "answers_for", lambda self, model: False)
    server.asked.clear()
    for label in ("prompt@1", "fine-tune@1"):
        with pytest.raises(ConfigError, match="has not agreed"):
            releases.promote(workspace, "far", label, force="to another machine")
    assert parity.call_count == 2


def _bench(mine: Project) -> Bench:
    """As a command would have it that starts now, on Ray: nobody else is asked."""
    return replace(assay.open(mine.root).context().bench, workers=Mock())


def _kept(mine: Project) -> int:
    """Answers of all runs that were begun."""
    files = (mine.store.folder / "runs").glob("*/*.json")
    return sum(len(json.loads(file.read_text())["body"]["answers"]) for file in files)


def _inputs(mine: Project, part: str) -> list[str]:
    mine.split()
    file = mine.split_folder / f"{part}.jsonl"
    lines = file.read_text().splitlines()
    return [json.loads(line)["messages"][-2]["content"] for line in lines]


def _text(body: dict[str, Any]) -> str:
    text: str = byte_tokenizer().decode(body["prompt"])
    return text


def _named(result: Result, name: str) -> CandidateResult:
    return next(one for one in result.candidates if one.name == name)


def _agent(mine: Project, name: str) -> Agent:
    return load_agent(mine.store, find_version(mine.store, f"{name}@1").agent)


def _vllm(mine: Project) -> Vllm:
    assert mine.config.vllm is not None
    return mine.config.vllm
