"""Models find their engines by scheme, those of other packages among them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.distributions import write_distribution

from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines, StreamEngines
from assay.errors import ModelError
from assay.example import Message
from assay.generate import registry, remote
from assay.generate.batch import Request
from assay.generate.registry import GROUP, scheme_of
from assay.generate.stream import End, Sampling
from assay.store.store import Store

ENGINE = """
from assay.generate.batch import Answer


class Echo:
    def __init__(self, model):
        self.identity = {"engine": "toy", "model": model}

    def prompt_length(self, request):
        return 0

    def answer(self, requests, progress=None):
        return [Answer(request.messages[-1].content.split()[-1].upper()) for request in requests]


def open_batch(model, resources):
    return Echo(model)
"""
STREAM = """

class Letters:
    context_length = 64

    def chat(self, messages, tools, sampling):
        from assay.generate.stream import End, Piece

        yield from map(Piece, messages[-1].content)
        yield End("stop", 1, 1)


def open_stream(model, resources):
    return Letters()
"""
MESSAGES = (Message("user", "Say something loud"),)
AGENT = Agent(model="toy:small")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for package in ("assay_toy", "toy_a", "toy_b"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    return Store(tmp_path / ".assay")


def test_an_engine_of_another_package_answers(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(write_distribution(tmp_path / "site", ENGINE, GROUP))
    assert scheme_of("toy:small") == "toy"
    assert "assay_toy" not in sys.modules  # known by its name alone

    batch = BatchEngines(store).for_agent(AGENT)
    assert batch.identity == {"engine": "toy", "model": "toy:small"}
    assert batch.answer([Request(MESSAGES)])[0].text == "LOUD"

    engines = StreamEngines(store, None)  # type: ignore[arg-type]
    streamed = engines.engine("toy:small")
    assert engines.engine("toy:small") is streamed
    piece, end = streamed.chat(MESSAGES, (), Sampling())
    assert not isinstance(piece, End)
    assert piece.text == "LOUD"
    assert isinstance(end, End)


def test_it_may_stream_by_itself(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(write_distribution(tmp_path / "site", ENGINE + STREAM, GROUP))
    engines = StreamEngines(store, None)  # type: ignore[arg-type]
    *pieces, _ = engines.engine("toy:small").chat(MESSAGES, (), Sampling())
    assert len(pieces) == len(MESSAGES[0].content)


def test_no_package_takes_a_scheme_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = write_distribution(tmp_path / "site", ENGINE, GROUP, name="remote")
    monkeypatch.syspath_prepend(site)
    assert registry._module("remote:a/b") is remote


def test_an_engine_that_cannot_be_used_is_an_error_of_the_model(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_distribution(tmp_path / "a", "import no_such_module", GROUP, package="toy_a")
    monkeypatch.syspath_prepend(first)
    with pytest.raises(ModelError, match="no_such_module"):
        BatchEngines(store).for_agent(AGENT)
    monkeypatch.syspath_prepend(write_distribution(tmp_path / "b", "", GROUP, package="toy_b"))
    with pytest.raises(ModelError, match="toy-a, toy-b"):
        BatchEngines(store).for_agent(AGENT)


@pytest.mark.parametrize(("source", "said"), [("1 / 0", "ZeroDivision"), ("x =", "Syntax")])
def test_whatever_an_engine_raises_when_it_is_imported(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, said: str
) -> None:
    site = write_distribution(tmp_path / "site", source, GROUP, package=f"toy_{said.lower()}")
    monkeypatch.syspath_prepend(site)
    with pytest.raises(ModelError, match=said):
        BatchEngines(store).for_agent(AGENT)


def test_names_without_a_known_scheme_are_base_models() -> None:
    for name in ("smollm2-135m-instruct", "C:/models/own", "nobody:knows"):
        assert scheme_of(name) == ""
