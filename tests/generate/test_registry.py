"""Models find their engines by scheme, those of other packages among them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.generate.toy import ENGINE, STREAM, install_engine

from assay.agent.agent import Agent
from assay.agent.engines import BatchEngines, StreamEngines
from assay.errors import ModelError
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.registry import scheme_of
from assay.generate.stream import End, Sampling
from assay.store.store import Store

ASKED = (Message("user", "Say something loud"),)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / ".assay")


def _streams(store: Store) -> StreamEngines:
    return StreamEngines(store, None)  # type: ignore[arg-type]


def test_an_engine_of_another_package_answers(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_engine(tmp_path / "site", monkeypatch)
    assert scheme_of("toy:small") == "toy"
    assert "toy_engine" not in sys.modules  # looked up by its name alone

    batch = BatchEngines(store).for_agent(Agent(model="toy:small"))
    assert batch.identity == {"engine": "toy", "model": "toy:small"}
    assert batch.answer([Request(ASKED)])[0].text == "LOUD"

    engines = _streams(store)
    streamed = engines.engine("toy:small")
    assert engines.engine("toy:small") is streamed
    piece, end = streamed.chat(ASKED, (), Sampling())
    assert not isinstance(piece, End)
    assert piece.text == "LOUD"
    assert isinstance(end, End)


def test_it_may_stream_by_itself(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_engine(tmp_path / "site", monkeypatch, source=ENGINE + STREAM)
    *pieces, _ = _streams(store).engine("toy:small").chat(ASKED, (), Sampling())
    assert len(pieces) == len(ASKED[0].content)


def test_no_package_takes_a_scheme_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_engine(tmp_path / "site", monkeypatch, scheme="remote")
    from assay.generate import registry, remote

    assert registry._module("remote:a/b") is remote


def test_an_engine_that_cannot_be_used_is_an_error_of_the_model(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_engine(tmp_path / "a", monkeypatch, package="toy_a", source="import no_such_module")
    agent = Agent(model="toy:small")
    with pytest.raises(ModelError, match="no_such_module"):
        BatchEngines(store).for_agent(agent)
    install_engine(tmp_path / "b", monkeypatch, package="toy_b", source="")
    with pytest.raises(ModelError, match="toy_a, toy_b"):
        BatchEngines(store).for_agent(agent)


def test_names_without_a_known_scheme_are_base_models() -> None:
    for name in ("smollm2-135m-instruct", "C:/models/own", "nobody:knows"):
        assert scheme_of(name) == ""
