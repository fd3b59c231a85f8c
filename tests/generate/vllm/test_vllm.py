"""vLLM as a serving engine, on a small server that speaks its protocol over real weights."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from pydantic import ValidationError
from tests.evaluate.test_parity import EXAMPLES, _bench
from tests.generate.test_local_pool import ASKED, LETTERS, _evaluated, _text, _version
from tests.generate.tiny import byte_tokenizer, tiny_model
from tests.generate.vllm.fake import FakeVllm, fake_vllm

from assay.agent.agent import Agent
from assay.chat.template import Template
from assay.config import Vllm
from assay.errors import ConfigError, ModelError
from assay.evaluate.parity import ParityError, parity
from assay.evaluate.targets import ServingTarget
from assay.generate.stream import (
    BusyError,
    End,
    Piece,
    PromptTooLongError,
    RequestRefusedError,
    Sampling,
)
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.generate.vllm.engine import _refusal
from assay.generate.vllm.pool import VllmPool
from assay.models.load import load
from assay.models.tuned import load_tuned
from assay.models.versions import load_version
from assay.store.store import Store

pytestmark = pytest.mark.slow

LONG = Sampling(max_new_tokens=300, logit_bias={258: -100.0})


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeVllm]:
    folder = tmp_path_factory.mktemp("base")
    tiny_model().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    with fake_vllm(str(folder)) as running:
        yield running


@pytest.fixture(autouse=True)
def _well(fake: FakeVllm) -> None:
    fake.misbehave, fake.takes_adapters, fake.key = "", True, None
    fake.asked.clear()


@pytest.fixture
def engines(fake: FakeVllm, tmp_path: Path) -> Iterator[VllmPool]:
    serving = VllmPool(Store(tmp_path / "state"), fake.settings)
    yield serving
    serving.close()


def test_a_base_answers_as_it_was_evaluated(fake: FakeVllm, engines: VllmPool) -> None:
    engine = engines.engine(fake.base)
    assert engine is engines.engine(fake.base)
    assert _text(engine) == _evaluated(load(fake.base))
    assert fake.asked[0]["prompt"] == engine.template.prompt(ASKED)
    assert engine.context_length == 400


def test_a_version_is_put_beside_the_base_and_again_after_a_restart(
    fake: FakeVllm, engines: VllmPool, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    id = _version(state, fake.base, "rslora", tmp_path / "made")
    engine = engines.engine(f"version:{id[:12]}")
    assert list(fake.loaded) == [f"assay-{id}"]
    wanted = _evaluated(load_tuned(load_version(Store(state), id)))
    assert _text(engine) == wanted
    assert wanted != _evaluated(load(fake.base))
    fake.restart()
    assert _text(engine) == wanted
    other = VllmPool(Store(state), fake.settings)  # another process finds it there already
    assert _text(other.engine(f"version:{id}")) == wanted
    fake.restart()
    fake.loaded[f"assay-{id[:12]}"] = str(state / "versions" / id)  # as it is exported
    assert _text(VllmPool(Store(state), fake.settings).engine(f"version:{id}")) == wanted
    fake.restart()


@pytest.mark.parametrize("kind", [ModelError, SystemExit])
def test_who_waits_for_an_opening_that_fails_opens_it(
    engines: VllmPool,
    fake: FakeVllm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[BaseException],
) -> None:
    id = _version(tmp_path / "state", fake.base, "lora", tmp_path / "made")
    load, is_opening, go, is_well = engines.server.load_adapter, Event(), Event(), Event()

    def load_at_last(*given: Any) -> None:
        if is_well.is_set():
            load(*given)
            return
        is_opening.set()
        go.wait(30)
        raise kind("it went wrong")

    monkeypatch.setattr(engines.server, "load_adapter", load_at_last)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(engines.engine, f"version:{id}")
        assert is_opening.wait(30)
        others = [pool.submit(engines.engine, f"version:{id[:n]}") for n in (8, 12, 64)]
        time.sleep(0.5)  # now they wait
        is_well.set()
        go.set()
        assert isinstance(first.exception(30), kind)
        assert {other.result(30) for other in others} == {engines.engine(f"version:{id}")}
    fake.restart()


def test_the_parity_gate_lets_it_pass_and_stops_another_model(
    fake: FakeVllm, engines: VllmPool, tmp_path: Path
) -> None:
    loaded = load(fake.base)
    evaluated = TransformersBatchEngine(loaded, Template.of(loaded.tokenizer), device="cpu")
    bench = _bench(evaluated, right=lambda answer, wanted: True)
    agent, few = Agent(model=fake.base, max_new_tokens=6), EXAMPLES[:12]
    served = ServingTarget(engines.engine(fake.base), evaluated.template)
    found = parity(bench, agent, few, served)
    found.check()
    assert found.divergence is not None
    assert found.divergence < 1e-4
    assert found.positions == 36
    id = _version(tmp_path / "state", fake.base, "lora", tmp_path / "made")
    other = ServingTarget(engines.engine(f"version:{id}"), evaluated.template)
    with pytest.raises(ParityError, match="next-token probabilities differ"):
        parity(bench, agent, few, other).check()


def test_what_the_server_cannot_serve_is_said(
    fake: FakeVllm, engines: VllmPool, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    for kind, what in (("full", "all weights"), ("embeddings", "embeddings and head")):
        whole = _version(state, fake.base, kind, tmp_path / kind)
        with pytest.raises(ModelError, match=rf"{what} of this version.*export .* --to vllm"):
            engines.engine(f"version:{whole}")
    id = _version(state, fake.base, "lora", tmp_path / "made")
    fake.takes_adapters = False
    with pytest.raises(ModelError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        engines.engine(f"version:{id}")
    tiny_model("qwen2").save_pretrained(tmp_path / "other")
    byte_tokenizer().save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match=r"has not loaded .*other.*vllm serve"):
        engines.engine(str(tmp_path / "other"))
    gone = VllmPool(None, Vllm(base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(ModelError, match=r"did not answer: cannot be reached \(.*refused\)\."):
        gone.engine(fake.base)
    with pytest.raises(ModelError, match="no versions"):
        gone.engine("version:abcdef")


def test_the_protocol_of_serving_engines(fake: FakeVllm, engines: VllmPool) -> None:
    engine = engines.engine(fake.base)
    assert _text(engine, Sampling(choices=("naïve 東京", "b"))) in ("naïve 東京", "b")
    assert _text(engine, Sampling(choices=("one two three",), stop=(" thr",))) == "one two"
    assert _text(engine, Sampling(max_new_tokens=3, logit_bias={0: 100.0})) == "!!!"
    drawn = {_text(engine, Sampling(8, 1.5, 0.9, seed=seed, schema=LETTERS)) for seed in range(4)}
    assert len(drawn) == 4
    assert _text(engine, Sampling(8, 1.5, 0.9, seed=0, schema=LETTERS)) in drawn
    for count in (0, 3):
        *pieces, end = engine.chat(ASKED, (), Sampling(max_new_tokens=2, logprobs=count))
        for piece in pieces:
            assert isinstance(piece, Piece)
            assert piece.token is not None
            assert piece.token.id is not None
            assert len(piece.top) == count
        if count:
            assert pieces[0].token == pieces[0].top[0]  # type: ignore[union-attr]
    # How much of the prompt was reused is not told, and then not known.
    assert end == End("length", len(engine.template.prompt(ASKED)), 2, cached_tokens=None)
    *pieces, end = engine.chat(ASKED, (), Sampling(max_new_tokens=2, confidence=True))
    assert all(isinstance(piece, Piece) and piece.token is None for piece in pieces)
    assert isinstance(end, End)
    *told, _ = engine.chat(ASKED, (), Sampling(max_new_tokens=2, logprobs=0))
    sure = [piece.token.logprob for piece in told if isinstance(piece, Piece) and piece.token]
    assert (end.logprob, end.scored_tokens) == (pytest.approx(sum(sure)), 2)
    *_, end = engine.complete([70] * 390, LONG)
    assert end == End("length", 390, 10, cached_tokens=None)
    with pytest.raises(PromptTooLongError):
        next(iter(engine.complete([70] * 400, LONG)))
    with pytest.raises(ModelError, match="empty"):
        next(iter(engine.complete([], LONG)))
    with pytest.raises(ConfigError):
        next(iter(engine.chat(ASKED, (), Sampling(schema={"not": {}}))))


def test_closing_a_stream_ends_it_at_the_server(fake: FakeVllm, engines: VllmPool) -> None:
    engine = engines.engine(fake.base)
    stream = engine.chat(ASKED, (), LONG)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert list(stream) == []
    _soon(lambda: fake.open == 0)
    waiting = engine.chat(ASKED, (), LONG)
    got: list[Any] = []
    reader = Thread(target=lambda: got.extend(waiting))
    reader.start()
    _soon(lambda: len(got) > 2)
    waiting.close()  # type: ignore[attr-defined]
    reader.join(10)
    assert not reader.is_alive()
    assert not isinstance(got[-1], End)
    _soon(lambda: fake.open == 0)


def test_closing_a_stream_ends_the_loading_of_its_adapter(
    fake: FakeVllm, engines: VllmPool, tmp_path: Path
) -> None:
    id = _version(tmp_path / "state", fake.base, "lora", tmp_path / "made")
    engine, go, loading = engines.engine(f"version:{id}"), Event(), Event()
    fake.restart()

    def hold() -> None:
        loading.set()
        go.wait(15)

    fake.before_load = hold
    got: list[Any] = []
    stream = engine.chat(ASKED, (), LONG)
    reader = Thread(target=lambda: got.extend(stream))
    reader.start()
    try:
        assert loading.wait(10)
        stream.close()  # type: ignore[attr-defined]
        reader.join(5)
        assert not reader.is_alive()
        assert got == []
    finally:
        go.set()
        reader.join(20)
        fake.before_load = lambda: None
        _soon(lambda: fake.loaded)
        fake.restart()


def test_a_stream_that_is_forgotten_is_closed_and_leaves_its_place(
    fake: FakeVllm, engines: VllmPool
) -> None:
    engine = engines.engine(fake.base)
    stream = engine.chat(ASKED, (), LONG)
    next(stream)
    assert (fake.open, len(engine.server.streams)) == (1, 1)
    del stream
    gc.collect()
    _soon(lambda: fake.open == 0 and not engine.server.streams)


def test_a_pool_that_is_closed_cuts_its_streams(fake: FakeVllm, engines: VllmPool) -> None:
    stream = engines.engine(fake.base).chat(ASKED, (), LONG)
    next(stream)
    engines.close()
    with pytest.raises(ModelError, match="did not finish: the answer was cut"):
        list(stream)
    _soon(lambda: fake.open == 0)


def test_what_goes_wrong_at_the_server_is_said(fake: FakeVllm, engines: VllmPool) -> None:
    engine = engines.engine(fake.base)
    fake.misbehave = "429"
    with pytest.raises(BusyError) as busy:
        _text(engine, LONG)
    assert busy.value.retry_after_s == 7
    for what, said in (
        ("error", "EngineCore has died"),
        ("cut", "did not finish: the answer was cut"),
    ):
        fake.misbehave = what
        with pytest.raises(ModelError, match=said):
            _text(engine, LONG)
    fake.misbehave = ""
    few = VllmPool(None, fake.settings.model_copy(update={"at_once": 1})).engine(fake.base)
    first = few.chat(ASKED, (), LONG)
    next(first)
    with pytest.raises(BusyError, match="1 request is"):
        _text(few)
    first.close()  # type: ignore[attr-defined]
    assert _text(few) == _text(engine)


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (400, "maximum context length is 400 tokens", PromptTooLongError),
        (400, "logit_bias is out of the vocabulary", RequestRefusedError),
        (500, "EngineCore has died", ModelError),
        (503, "overloaded", BusyError),
    ],
)
def test_who_is_to_blame_for_a_refusal(status: int, said: str, kind: type[ModelError]) -> None:
    error = _refusal(status, json.dumps({"error": {"message": said}}).encode(), "")
    assert type(error) is kind
    assert said in str(error)


def test_the_key_and_the_address(fake: FakeVllm, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.key = "its-own-key"
    with pytest.raises(ModelError, match="HTTP 401"):
        VllmPool(None, fake.settings).engine(fake.base)
    settings = fake.settings.model_copy(update={"key_env": "VLLM_KEY"})
    with pytest.raises(ConfigError, match=r"assay\.yaml, vllm"):
        VllmPool(None, settings)
    monkeypatch.setenv("VLLM_KEY", "its-own-key")
    assert _text(VllmPool(None, settings).engine(fake.base))
    with pytest.raises(ValidationError, match="use an address"):
        Vllm(base_url="localhost:8000")
    public = VllmPool(None, Vllm(base_url="http://8.8.8.8/v1"))
    with pytest.raises(ConfigError, match="https"):
        public.engine(fake.base)


def _soon(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
