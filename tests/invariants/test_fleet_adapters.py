"""No answer comes from another adapter, whichever of several servers is asked: they hold fewer than
they are asked for, so that adapters leave and come back while others answer.

Every answer is compared, by its log-probabilities, with that of an engine that knows no other
adapter and has answered nothing else.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.generate.test_local_pool import _version, _write_base
from tests.invariants.test_serving_adapters import SETTINGS, Said, _same
from tests.serve.process import Server, server

from assay.accounts.keys import create_key
from assay.example import Message
from assay.generate import local_pool
from assay.generate.llamacpp import engine
from assay.generate.local_pool import LocalPool
from assay.generate.stream import Piece, Sampling
from assay.project.workspace import Workspace
from assay.serve.logprobs import tokens_of
from assay.store.store import Store

pytestmark = pytest.mark.slow
ADAPTERS, HELD, REQUESTS, CALLERS = 8, 3, 100, 6
ROOM_BYTES = 1_000_000_000
STARTED = "started.txt"
QUESTIONS = ("Where is the cat?", "Where is the dog?", "Who feeds them?")
LETTERS = {"type": "string", "pattern": "^[a-z]*$"}
SAMPLING = Sampling(max_new_tokens=6, temperature=0, logprobs=3, schema=LETTERS)
PATIENCE_S = 300.0


def serve_few() -> None:
    """`assay serve` with room for few adapters, which notes those of each engine that it starts."""
    from assay.cli import main

    start = engine.LlamaCppServer

    def started(base: Path, adapters: dict[str, Path], settings: Any) -> Any:
        with open(STARTED, "a") as file:
            file.write(" ".join(adapters) + "\n")
        return start(base, adapters, settings)

    vars(engine).update(LlamaCppServer=started, _size=lambda file: 1)
    share = (HELD + 0.5) / (ROOM_BYTES * local_pool.SHARE_OF_MEMORY)
    vars(local_pool).update(
        free_bytes=lambda: ROOM_BYTES, SHARE_OF_ADAPTERS=share, ServerSettings=lambda: SETTINGS
    )
    main.run()


@pytest.fixture
def ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Versions of a tiny model, each far from the others."""
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    ref, state = _write_base(tmp_path / "base"), tmp_path / "root" / ".assay"
    state.mkdir(parents=True)
    seeds = range(ADAPTERS)
    return [_version(state, ref, "lora", tmp_path / f"made {n}", seed=n) for n in seeds]


@pytest.fixture
def servers(ids: list[str], tmp_path: Path) -> Iterator[list[Server]]:
    """Two of one folder."""
    with ExitStack() as stack:

        def start(name: str) -> Server:
            (tmp_path / name).mkdir()
            options = ("--folder", str(tmp_path / "root"), "--no-train")
            return stack.enter_context(server(tmp_path / name, *options, run=serve_few))

        yield [start(name) for name in ("one", "two")]


def answer_alone(state: Path, id: str) -> dict[str, Said]:
    """By question, of an engine with this version alone."""
    found = {}
    for question in QUESTIONS:
        pool = LocalPool(Store(state), settings=SETTINGS)
        asked = pool.engine(f"version:{id}").chat([Message("user", question)], (), SAMPLING)
        pieces = [piece for piece in asked if isinstance(piece, Piece)]
        found[question] = tuple(
            (token.text, token.logprob, tuple(one.logprob for one in top))
            for token, top in tokens_of(pieces)
        )
        pool.close()
    return found


def ask(server: Server, key: str, id: str, question: str) -> Said:
    body = {
        "model": f"version:{id}",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": SAMPLING.max_new_tokens,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": SAMPLING.logprobs,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": LETTERS}},
    }
    head, url = {"Authorization": f"Bearer {key}"}, f"{server.url}/v1/chat/completions"
    told = httpx.post(url, json=body, headers=head, timeout=PATIENCE_S)
    assert told.status_code == 200, told.text
    tokens = told.json()["choices"][0]["logprobs"]["content"]
    tops = [tuple(top["logprob"] for top in token["top_logprobs"]) for token in tokens]
    return tuple(
        (token["token"], token["logprob"], top) for token, top in zip(tokens, tops, strict=True)
    )


def came_back(starts: list[list[str]]) -> bool:
    """Whether an engine was started with an adapter that one before had left out, and an earlier
    one had not."""
    names = {name for start in starts for name in start}
    held = ("".join("ny"[name in start] for start in starts) for name in names)
    return any(re.search("yn+y", one) for one in held)


def test_no_answer_of_two_servers_comes_from_another_adapter(
    ids: list[str], servers: list[Server], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    alone = {id: answer_alone(root / ".assay", id) for id in ids}
    for question in QUESTIONS:
        said = [alone[id][question] for id in ids]
        assert not any(_same(said[n], said[m]) for n in range(ADAPTERS) for m in range(n))
    workspace = Workspace(root)
    _, key = create_key(workspace.store, workspace.name, "test", ["chat"])
    chance = random.Random(0)
    popular = [1 / (place + 1) for place in range(ADAPTERS)]
    drawn = chance.choices(ids, popular, k=REQUESTS)
    asked = [(chance.choice(servers), id, chance.choice(QUESTIONS)) for id in drawn]
    with ThreadPoolExecutor(CALLERS) as pool:
        found = list(pool.map(lambda one: ask(one[0], key, *one[1:]), asked))
    wrong = [
        (said, alone[id][question])
        for said, (_, id, question) in zip(found, asked, strict=True)
        if not _same(said, alone[id][question])
    ]
    assert wrong == []
    for name in ("one", "two"):
        starts = [line.split() for line in (tmp_path / name / STARTED).read_text().splitlines()]
        assert max(map(len, starts)) <= HELD
        assert came_back(starts)
