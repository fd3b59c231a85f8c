"""llama.cpp as a serving engine: text, ends, limits, grammar, many at once, hang-ups."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import jsonschema
import pytest
from tests.generate.llamacpp.server import SERVER, write_tiny
from tests.generate.tiny import byte_tokenizer, tiny_model

from assay.chat.template import Template
from assay.errors import ConfigError, ModelError
from assay.example import Message
from assay.generate.llamacpp import engine as llamacpp_engine
from assay.generate.llamacpp.engine import AdapterServer, LlamaCppEngine
from assay.generate.llamacpp.server import LlamaCppServer, ServerSettings
from assay.generate.llamacpp.slots import CacheOrigin, QueueTicket, Slot
from assay.generate.stream import (
    BusyError,
    End,
    Piece,
    PromptTooLongError,
    Sampling,
    StreamEngine,
)

pytestmark = pytest.mark.slow

HELLO = [Message("user", "Hello")]
LONG = Sampling(max_new_tokens=400, logit_bias={258: -100.0})
ENDLESS = 20_000
"""Tokens that take seconds."""
ONE = replace(LONG, max_new_tokens=1)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", tiny_model())


def _engine(file: Path, settings: ServerSettings = SERVER) -> tuple[LlamaCppEngine, LlamaCppServer]:
    family = AdapterServer(file, settings, 1 << 30)
    tokenizer = byte_tokenizer()
    engine: StreamEngine = LlamaCppEngine(family, Template.of(tokenizer), tokenizer)
    assert isinstance(engine, LlamaCppEngine)
    return engine, family.server(None)


@pytest.fixture(scope="module")
def engine(file: Path) -> LlamaCppEngine:
    return _engine(file)[0]


def _ask(engine: LlamaCppEngine, sampling: Sampling) -> tuple[str, End]:
    *pieces, end = engine.chat(HELLO, (), sampling)
    assert isinstance(end, End)
    texts = [piece.text for piece in pieces if isinstance(piece, Piece)]
    assert len(texts) == len(pieces)
    return "".join(texts), end


def test_an_answer_is_cut_at_its_limit_and_counted(engine: LlamaCppEngine) -> None:
    text, end = _ask(engine, replace(LONG, max_new_tokens=9))
    prompt = len(engine.template.prompt(HELLO))
    assert (end.finish, end.completion_tokens, end.prompt_tokens) == ("length", 9, prompt)
    assert text
    again, second = _ask(engine, replace(LONG, max_new_tokens=9))
    assert again == text
    assert second.cached_tokens == prompt - 1


@pytest.mark.parametrize("schema", [None, {"type": "string", "minLength": 10_000}])
def test_without_a_limit_it_goes_to_the_end_of_the_context(
    engine: LlamaCppEngine, schema: dict[str, Any] | None
) -> None:
    """So does one whose schema lets it end nowhere."""
    _, end = _ask(engine, replace(LONG, max_new_tokens=None, schema=schema))
    assert end.prompt_tokens + end.completion_tokens == engine.context_length
    assert end.finish == "length"


def test_a_stop_text_ends_it_and_is_no_part_of_it(engine: LlamaCppEngine) -> None:
    sampling = Sampling(choices=("one two three",), max_new_tokens=40)
    assert _ask(engine, sampling)[0] == "one two three"
    text, end = _ask(engine, replace(sampling, stop=("zzz", " thr")))
    assert (text, end.finish) == ("one two", "stop")


def test_pieces_are_whole_characters(engine: LlamaCppEngine) -> None:
    sampling = Sampling(choices=("naïve 東京 🦊",), max_new_tokens=40, logprobs=1)
    pieces = [p for p in engine.chat(HELLO, (), sampling) if isinstance(p, Piece)]
    assert "".join(p.text for p in pieces) == "naïve 東京 🦊"
    assert all("\ufffd" not in p.text for p in pieces)
    assert [p.token.bytes.decode() for p in pieces if p.token and p.text] == [*"naïve 東京 🦊"]


def test_the_likeliest_tokens_are_told(engine: LlamaCppEngine) -> None:
    for count in (0, 3):
        *pieces, _ = engine.chat(HELLO, (), replace(LONG, max_new_tokens=4, logprobs=count))
        told = [p for p in pieces if isinstance(p, Piece)]
        assert told
        for piece in told:
            assert piece.token is not None
            assert piece.token.logprob < 0
            assert len(piece.top) == count
    *pieces, _ = engine.chat(HELLO, (), replace(LONG, max_new_tokens=4))
    assert all(p.token is None for p in pieces if isinstance(p, Piece))


def test_a_seed_decides_what_is_drawn(engine: LlamaCppEngine) -> None:
    def drawn(seed: int | None) -> str:
        return _ask(engine, replace(LONG, max_new_tokens=12, temperature=1.5, seed=seed))[0]

    assert drawn(7) == drawn(7)
    assert len({drawn(None) for _ in range(4)} | {drawn(seed) for seed in range(4)}) > 4


def test_biases_and_the_nucleus_change_what_is_drawn(engine: LlamaCppEngine) -> None:
    biased = Sampling(max_new_tokens=3, logit_bias={ord("!") - 33: 100.0})
    assert _ask(engine, biased)[0] == "!!!"
    greedy = _ask(engine, replace(LONG, max_new_tokens=6))[0]
    narrow = replace(LONG, max_new_tokens=6, temperature=1.0, top_p=1e-6, seed=1)
    assert _ask(engine, narrow)[0] == greedy


def test_json_follows_its_schema_in_the_spelling_of_json_dumps(engine: LlamaCppEngine) -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["a", "b"]},
            "count": {"type": "integer", "minimum": 0, "maximum": 99},
            "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2},
        },
        "required": ["kind", "count", "tags"],
        "additionalProperties": False,
    }
    for seed in range(4):
        sampling = Sampling(max_new_tokens=120, temperature=1.0, seed=seed, schema=schema)
        text, end = _ask(engine, sampling)
        assert end.finish == "stop"
        jsonschema.validate(json.loads(text), schema)
        assert text == json.dumps(json.loads(text))
    text, _ = _ask(engine, Sampling(max_new_tokens=6, json_object=True))
    assert text.startswith("{")
    with pytest.raises(ConfigError, match="not"):
        next(iter(engine.chat(HELLO, (), Sampling(schema={"not": {"type": "string"}}))))


def test_a_prompt_that_does_not_fit_is_refused(engine: LlamaCppEngine) -> None:
    with pytest.raises(PromptTooLongError, match="512"):
        next(iter(engine.complete([70] * 512, LONG)))
    assert list(engine.complete([70] * 511, LONG))
    with pytest.raises(ModelError, match="empty"):
        next(iter(engine.complete([], LONG)))


def test_a_text_is_continued_as_it_is(engine: LlamaCppEngine) -> None:
    *_, end = engine.complete("abcdef", replace(LONG, max_new_tokens=1))
    assert isinstance(end, End)
    assert end.prompt_tokens == 6


def test_answers_made_together_equal_those_made_alone(file: Path) -> None:
    engine, server = _engine(file, replace(SERVER, slots=4, exact=False))
    asked = [[Message("user", f"{word} " * 5)] for word in ("cat", "dog", "owl", "cow", "bee")]
    sampling = replace(LONG, max_new_tokens=25)
    alone = [[*engine.chat(turns, (), sampling)][:-1] for turns in asked]
    with ThreadPoolExecutor(10) as pool:
        together = [*pool.map(lambda t: [*engine.chat(t, (), sampling)][:-1], asked * 4)]
    assert together == alone * 4
    _rest(server)


def test_a_full_line_is_told_to_come_again(file: Path) -> None:
    engine, server = _engine(file, replace(SERVER, slots=1, waiting=1))
    # Held by nobody's answer: one could end before the next request is in the line.
    held = server.slots.acquire(CacheOrigin(None), (), QueueTicket())
    assert held is not None
    got: list[Piece | End] = []
    reader = Thread(target=lambda: got.extend(engine.chat(HELLO, (), ONE)))
    reader.start()
    _until(lambda: server.slots.waiting == 1)
    with pytest.raises(BusyError) as busy:
        next(iter(engine.chat(HELLO, (), LONG)))
    assert busy.value.retry_after_s >= 1
    assert not got
    server.slots.release(held)
    reader.join(30)
    assert isinstance(got[-1], End)
    _rest(server)


def test_closing_a_stream_frees_its_slot(tmp_path: Path) -> None:
    file = write_tiny(tmp_path / "tiny.gguf", tiny_model(max_position_embeddings=ENDLESS + 512))
    engine, server = _engine(file, replace(SERVER, slots=1, waiting=1, context=ENDLESS + 512))
    endless = replace(LONG, max_new_tokens=ENDLESS)
    first = iter(engine.chat(HELLO, (), endless))
    next(first)
    first.close()  # type: ignore[attr-defined]
    assert isinstance([*engine.chat(HELLO, (), ONE)][-1], End)
    assert list(first) == []
    left = iter(engine.chat(HELLO, (), endless))
    next(left)
    del left  # leaving a stream behind closes it, too
    _rest(server)
    counted = re.search(r"tokens_predicted_total (\d+)", server._server.handle_metrics())
    assert counted is not None
    assert 2 < int(counted[1]) < ENDLESS  # neither was written to its end


def test_a_version_is_never_answered_by_a_server_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    """Others may ask for their versions while one is loaded, and all do not fit."""
    names = ("a", "b", "gone")
    for name in names[:2]:
        (tmp_path / name).write_bytes(b"x" * 100)
    _, server = _engine(file)
    family = AdapterServer(file, SERVER, 150)
    for name in names:
        family.add(name, tmp_path / name)

    class Loaded:
        def __init__(self, base: Path, adapters: dict[str, Path], settings: ServerSettings) -> None:
            self.adapters, self.settings = tuple(adapters), settings

    @contextmanager
    def room() -> Iterator[None]:
        with family._lock:  # as one who asks for b meanwhile
            family._files["b"] = family._files.pop("b")
        yield

    monkeypatch.setattr(llamacpp_engine, "LlamaCppServer", Loaded)
    family._memory = room
    assert family.server("a").adapters == ("a",)
    with pytest.raises(ModelError, match="has not loaded the requested version"):
        server.run({"prompt": [1]}, Slot(0), CacheOrigin("a"), lambda chunk: False)


def test_a_hang_up_while_waiting_leaves_the_line(file: Path) -> None:
    engine, server = _engine(file, replace(SERVER, slots=1))
    held = server.slots.acquire(CacheOrigin(None), (), QueueTicket())
    assert held is not None
    waiting = engine.chat(HELLO, (), LONG)
    reader = Thread(target=lambda: list(waiting))
    reader.start()
    _until(lambda: server.slots.waiting == 1)
    waiting.close()  # type: ignore[attr-defined]
    reader.join(30)
    assert not reader.is_alive()
    assert server.slots.waiting == 0
    server.slots.release(held)
    _rest(server)


def test_unloading_ends_streams_with_an_error(file: Path) -> None:
    engine, server = _engine(file)
    stream = iter(engine.chat(HELLO, (), LONG))
    next(stream)
    engine._adapter_server.close()
    with pytest.raises(ModelError, match="unloaded"):
        list(stream)
    _rest(server)


def test_a_server_that_is_freed_at_once_does_not_hang(file: Path) -> None:
    """In a process of its own: one that hangs holds Python's lock, and no timeout would come."""
    code = (
        "import sys; from pathlib import Path; from assay.generate.llamacpp.server import *\n"
        "settings = ServerSettings(1, 256, threads=1)\n"
        "for _ in range(8): LlamaCppServer(Path(sys.argv[1]), {}, settings)"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, timeout=60)


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF and nothing more")
    with pytest.raises(ModelError, match="cannot load"):
        LlamaCppServer(bad, {}, SERVER)
    with pytest.raises(ModelError, match="no such file"):
        LlamaCppServer(tmp_path / "none.gguf", {}, SERVER)


def _rest(server: LlamaCppServer) -> None:
    """Soon nobody is at work or waits."""
    _until(lambda: not server.slots.busy and not server.slots.waiting)


def _until(met: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)
