"""Engines by name: bases, versions of every kind, what llama.cpp cannot hold, a memory budget."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from tests.generate.llamacpp.server import SERVER
from tests.generate.tiny import byte_tokenizer, tiny_model

from assay.chat.template import Template
from assay.config import FineTune
from assay.errors import ModelError
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.llamacpp import engine as llamacpp_engine
from assay.generate.llamacpp.engine import LlamaCppEngine
from assay.generate.llamacpp.server import LlamaCppServer
from assay.generate.local import weight_bytes
from assay.generate.local_pool import LocalPool
from assay.generate.stream import End, Piece, PromptTooLongError, Sampling, StreamEngine
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.generate.transformers.stream import TransformersStreamEngine
from assay.models.load import load
from assay.models.tuned import load_tuned
from assay.models.versions import VersionRecord, load_version, save_version
from assay.store.store import Store
from assay.train import adapters

pytestmark = pytest.mark.slow

ASKED = [Message("user", "Where is the cat?")]
# Random models write bytes that are no characters, which the engines show in ways of their own.
LETTERS = {"type": "string", "pattern": "^[a-z]{8}$"}
KINDS = ("lora", "rslora", "dora", "embeddings", "full")


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def _write_base(folder: Path, family: str = "llama", **changes: Any) -> str:
    tiny_model(family, **changes).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return str(folder)


def _version(state: Path, ref: str, kind: str, made: Path, seed: int = 0) -> str:
    """A version whose weights are far from the base's."""
    loaded = load(ref)
    own: dict[str, Any] = {"embeddings": "train"} if kind == "embeddings" else {"adapter": kind}
    settings = FineTune(rank=4, alpha=8, learning_rate=1e-3, epochs=1, seed=seed, **own)
    made.mkdir()
    with adapters.adapt(loaded, settings) as tuned:
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in adapters.trainable(tuned).items():
            noise = 0.1 * torch.randn(parameter.shape, generator=generator)
            if "lora_A" not in name:
                parameter.data = parameter.data + (noise if "lora_B" in name else 0.2 * noise)
        adapters.write(made, tuned, adapters.weights(tuned))
    template = Template.of(loaded.tokenizer)
    record = VersionRecord(
        base=ref,
        base_sha256=loaded.weights_sha256,
        data={},
        settings={},
        seed=seed,
        code="0",
        template=template.to_dict(),
        template_sha256=template.sha256,
    )
    return save_version(Store(state), made, record)


def _text(engine: StreamEngine, sampling: Sampling | None = None) -> str:
    *pieces, end = engine.chat(ASKED, (), sampling or Sampling(max_new_tokens=12, schema=LETTERS))
    assert isinstance(end, End)
    return "".join(piece.text for piece in pieces if isinstance(piece, Piece))


def _evaluated(loaded: Any) -> str:
    template = Template.of(loaded.tokenizer)
    engine = TransformersBatchEngine(loaded, template, device="cpu")
    return engine.answer([Request(tuple(ASKED), max_new_tokens=12, schema=LETTERS)])[0].text


def test_every_kind_of_version_answers_as_it_was_evaluated(tmp_path: Path) -> None:
    state, ref = tmp_path / "state", _write_base(tmp_path / "base")
    engines = LocalPool(Store(state), settings=SERVER)
    texts = [_text(engines.engine(ref))]
    assert texts == [_evaluated(load(ref))]
    for kind in KINDS:
        id = _version(state, ref, kind, tmp_path / kind)
        engine = engines.engine(f"version:{id[:12]}")
        assert isinstance(engine, LlamaCppEngine)
        texts.append(_text(engine))
        assert texts[-1] == _evaluated(load_tuned(load_version(Store(state), id))), kind
    assert len(set(texts)) == len(texts)
    assert len(list((state / "cache" / "gguf").glob("*.gguf"))) == 5
    engines.close()
    assert _text(engines.engine(ref)) == texts[0]  # loaded again


def test_versions_with_embeddings_of_their_own_are_not_served_beside_a_shared_base(
    tmp_path: Path,
) -> None:
    """Of base, an adapter and two versions with other embeddings none answers with another's."""
    state = tmp_path / "state"
    ref = _write_base(tmp_path / "base", tie_word_embeddings=True)
    kinds = {"lora": 0, "embeddings": 1, "other": 2}
    wanted = {ref: _evaluated(load(ref))}
    for name, seed in kinds.items():
        kind = "embeddings" if name == "other" else name
        id = _version(state, ref, kind, tmp_path / name, seed)
        wanted[f"version:{id}"] = _evaluated(load_tuned(load_version(Store(state), id)))
    assert len(set(wanted.values())) == 4
    engines = LocalPool(Store(state), settings=SERVER)
    asked = [*wanted, *reversed(wanted)]
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(lambda name: _text(engines.engine(name)), asked)]
    assert found == [wanted[name] for name in asked]
    assert len(engines._servers) == 3  # the adapter is beside the base
    sizes = [weight_bytes(name, Store(state)) for name in wanted]
    assert sizes[2] == sizes[3] == sizes[0]
    assert sizes[1] > sizes[0]  # type: ignore[operator]
    engines.close()


def test_what_llama_cpp_cannot_hold_is_answered_by_transformers(tmp_path: Path) -> None:
    state, ref = tmp_path / "state", _write_base(tmp_path / "base", "phi3")
    engines = LocalPool(Store(state), settings=SERVER)
    base = engines.engine(ref)
    assert isinstance(base, TransformersStreamEngine)
    tuned = engines.engine(f"version:{_version(state, ref, 'lora', tmp_path / 'made')}")
    assert isinstance(tuned, TransformersStreamEngine)
    assert _text(base) == _evaluated(load(ref))
    assert _text(tuned) != _text(base)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TransformersStreamEngine:
    loaded = load(_write_base(tmp_path_factory.mktemp("plain"), "phi3"))
    return TransformersStreamEngine(
        lambda: loaded, Template.of(loaded.tokenizer), loaded.tokenizer, loaded.context_length
    )


def test_the_plain_engine_keeps_to_the_protocol(plain: TransformersStreamEngine) -> None:
    assert _text(plain, Sampling(choices=("naïve 東京",))) == "naïve 東京"
    assert _text(plain, Sampling(choices=("one two three",), stop=(" thr", "zz"))) == "one two"
    assert _text(plain, Sampling(choices=("one two",), stop=("two!",))) == "one two"
    assert _text(plain, Sampling(max_new_tokens=3, logit_bias={0: 100.0})) == "!!!"
    drawn = {_text(plain, Sampling(8, 1.5, 0.9, seed=s)) for s in range(4)}
    assert len(drawn) == 4
    assert _text(plain, Sampling(8, 1.5, 0.9, seed=0)) in drawn
    narrow = Sampling(max_new_tokens=8, temperature=1.0, top_p=1e-9)
    assert _text(plain, narrow) == _text(plain, Sampling(max_new_tokens=8))
    first = next(iter(plain.chat(ASKED, (), Sampling(max_new_tokens=2, logprobs=3))))
    assert isinstance(first, Piece)
    assert first.token == first.top[0]
    assert len(first.top) == 3
    with pytest.raises(PromptTooLongError):
        next(iter(plain.complete([70] * 512, Sampling())))
    *_, end = plain.complete([70] * 500, Sampling(logit_bias={258: -100.0}))
    assert end == End("length", 500, 12)


def test_a_stream_of_the_plain_engine_that_is_left_lets_the_next_one_in(
    plain: TransformersStreamEngine,
) -> None:
    stream = iter(plain.chat(ASKED, (), Sampling(logit_bias={258: -100.0})))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert _text(plain)


def test_what_was_used_longest_ago_is_unloaded_to_stay_within_the_budget(tmp_path: Path) -> None:
    refs = [_write_base(tmp_path / f"m{n}", initializer_range=0.2 + n / 10) for n in range(3)]
    engines = LocalPool(memory_bytes=450_000_000, settings=SERVER)  # two of them

    def loaded() -> list[bool]:
        return [held.in_memory() for held in engines._entries.values()]

    made = [engines.engine(ref) for ref in refs]
    assert loaded() == [False, False, False]
    answers = [_text(engine) for engine in made]
    assert loaded() == [False, True, True]
    assert _text(made[1]) == answers[1]
    assert _text(made[0]) == answers[0]
    assert loaded() == [True, True, False]
    with pytest.raises(ModelError, match="models may use only"):
        _text(LocalPool(memory_bytes=1000, settings=SERVER).engine(refs[0]))


def test_two_models_that_load_at_once_stay_within_the_budget_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each kind of engine, and memory for one: the second waits until the first is there."""
    refs = [_write_base(tmp_path / "a"), _write_base(tmp_path / "b", "phi3")]
    engines = LocalPool(memory_bytes=250_000_000, settings=SERVER)
    made = [engines.engine(ref) for ref in refs]
    engines._entries[refs[1]].bytes = 200_000_000
    taken: list[int] = []
    loading = engines._reserve

    @contextmanager
    def slowly(name: str) -> Iterator[None]:
        with loading(name):
            time.sleep(0.3)
            yield
            with engines._lock:
                held = engines._entries.values()
                taken.append(sum(h.bytes for h in held if h.loading or h.in_memory()))

    monkeypatch.setattr(engines, "_reserve", slowly)
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(_text, made))
    assert len(taken) == 2
    assert max(taken) <= engines.memory_bytes
    assert [_text(engine) for engine in made] == answers  # each is loaded again, alone
    assert len(taken) in (3, 4)


def test_a_model_that_cannot_be_loaded_leaves_its_room_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [_write_base(tmp_path / "a"), _write_base(tmp_path / "b", initializer_range=0.3)]
    engines = LocalPool(memory_bytes=250_000_000, settings=SERVER)
    first, second = (engines.engine(ref) for ref in refs)
    with monkeypatch.context() as patch:
        patch.setattr(llamacpp_engine, "LlamaCppServer", Mock(side_effect=ModelError("no memory")))
        with pytest.raises(ModelError, match="no memory"):
            _text(first)
    assert _text(second)
    assert _text(first)


def test_others_are_served_while_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = [_write_base(tmp_path / "a"), _write_base(tmp_path / "b", initializer_range=0.3)]
    engines = LocalPool(settings=SERVER)
    served, other = (engines.engine(ref) for ref in refs)
    _text(served)
    begun, go_on = Event(), Event()

    def slow(*args: Any) -> LlamaCppServer:
        begun.set()
        assert go_on.wait(30)
        return LlamaCppServer(*args)

    monkeypatch.setattr(llamacpp_engine, "LlamaCppServer", slow)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(_text, other)
        assert begun.wait(30)
        assert _text(served)
        assert engines.engine(refs[0]) is served
        assert not late.done()
        go_on.set()
        assert late.result(30)


def test_llama_cpp_has_half_of_the_cores_while_something_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.generate.local_pool.cores", lambda: 2)
    crowded = [False]
    free = replace(SERVER, threads=None)
    engines = LocalPool(settings=free, crowded=lambda: crowded[0])
    engine = engines.engine(_write_base(tmp_path / "a"))
    assert isinstance(engine, LlamaCppEngine)
    answers, threads = [], []
    for crowded[0] in (False, True, False):
        answers.append(_text(engine))
        threads.append(engine._adapter_server.server(None).settings.threads)
    assert threads == [2, 1, 2]
    assert len(set(answers)) == 1
    fixed = LocalPool(settings=SERVER, crowded=lambda: True)
    assert fixed._threads() == SERVER.threads


def test_the_context_is_what_memory_allows(tmp_path: Path) -> None:
    ref = _write_base(tmp_path / "m", max_position_embeddings=32768)
    wide = LocalPool(memory_bytes=1 << 40).engine(ref)
    assert wide.context_length == 8192
    narrow = LocalPool(memory_bytes=10_000_000).engine(ref)
    assert narrow.context_length == 2048


@pytest.mark.parametrize("name", ["nothing-of-the-kind", "version:abcdef0123"])
def test_an_unknown_model_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no starter, folder or file|no version"):
        LocalPool(Store(tmp_path)).engine(name)
    with pytest.raises(ModelError):
        LocalPool().engine(name)


def test_two_that_ask_first_get_the_one_engine_whose_memory_is_counted(tmp_path: Path) -> None:
    ref = _write_base(tmp_path / "base", "phi3")
    tiny_model("phi3").bfloat16().save_pretrained(tmp_path / "base")
    engines = LocalPool(settings=SERVER)
    meet = Barrier(2, timeout=30)
    found_base = engines._base

    def base(name: str) -> Any:
        found = found_base(name)
        meet.wait()
        return found

    engines._base = base  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(engines.engine, [ref, ref])
    assert one is other
    assert _text(one)
    held = engines._entries[ref]
    assert held.in_memory()
    model = one._model  # type: ignore[attr-defined]
    own = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    assert held.bytes == sum(own.values())
