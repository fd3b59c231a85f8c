"""Completions, embeddings, models, health and metrics."""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from assay.agent.agent import Agent
from assay.agent.answering import Target
from assay.agent.versions import save_agent
from assay.models import openai_tokens
from assay.store.files import sha256_file
from assay.store.tables import ServedNameRow
from tests.serve.running import STARTER, Running
from tests.serve.scripted import ThreeNumbers


def test_completions(server: Running) -> None:
    client = server.client().completions
    made = client.create(model=STARTER, prompt=["a b", "c"], n=2, logprobs=1)
    assert [c.text for c in made.choices] == ["a b!", "a b!", "c!", "c!"]
    assert made.choices[0].logprobs is not None
    assert made.choices[0].logprobs.tokens == ["a", " b!"]
    assert made.choices[0].logprobs.text_offset == [0, 1]
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (2, 6)
    assert client.create(model=STARTER, prompt="a", echo=True).choices[0].text == "aa!"
    assert client.create(model=STARTER, prompt=[1, 2]).choices[0].text == "1 2!"
    assert server.engine.asked[0][2].max_new_tokens == 16
    stream = client.create(model=STARTER, prompt="a b", stream=True, logprobs=1)
    chunks = [chunk.choices[0] for chunk in stream]
    assert "".join(chunk.text for chunk in chunks) == "a b!"
    offsets = [offset for c in chunks if c.logprobs for offset in c.logprobs.text_offset or ()]
    assert offsets == [0, 1]
    assert all(chunk.text for chunk in chunks[:-1])


def test_models_that_are_called_alike_have_fingerprints_of_their_own() -> None:
    names = "an-organisation/model-a", "an-organisation/model-b"
    assert len({Target(name, name).fingerprint for name in names}) == 2


@pytest.mark.parametrize("body", [{"suffix": "x"}, {"best_of": 3}, {"prompt": []}, {"logprobs": 6}])
def test_completions_refuse(server: Running, body: dict[str, Any]) -> None:
    with server.http() as http:
        told = http.post("/v1/completions", json={"model": STARTER, "prompt": "a", **body})
    assert told.status_code == 400
    assert told.json()["error"]["param"] == next(iter(body))


def test_embeddings(server: Running) -> None:
    server.workspace.embedder = lambda name: ThreeNumbers()  # type: ignore[method-assign,assignment,return-value]
    client = server.client().embeddings
    made = client.create(model="all-minilm-l6-v2", input=["ab", "a b c"])
    assert [e.embedding for e in made.data] == [[2, 0, 1], [5, 0, 1]]
    assert made.usage.prompt_tokens == 4
    with server.http() as http:
        body = {"model": "all-minilm-l6-v2", "input": "ab", "encoding_format": "base64"}
        [line] = http.post("/v1/embeddings", json=body).json()["data"]
    found = np.frombuffer(base64.b64decode(line["embedding"]), dtype="<f4")
    assert found.tolist() == [2, 0, 1]
    for bad in ({"input": "a b c d e f"}, {"dimensions": 2}, {"input": ""}):
        with pytest.raises(openai.BadRequestError) as refused:
            client.create(**{"model": "all-minilm-l6-v2", "input": "a", **bad})  # type: ignore[arg-type]
    assert refused.value.param == "input"
    with pytest.raises(openai.NotFoundError):
        client.create(model=STARTER, input="a")


def test_embeddings_of_token_ids(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LangChain sends them, read with the file that tiktoken keeps."""
    server.workspace.embedder = lambda name: ThreeNumbers()  # type: ignore[method-assign,assignment,return-value]
    create = partial(server.client().embeddings.create, model="all-minilm-l6-v2")
    tokens = [b"ab", b" ", b"\xc3", b"\xa4"]
    lines = [base64.b64encode(token) + b" %d\n" % id for id, token in enumerate(tokens)]
    file = tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(openai_tokens, "_BYTES", sum(map(len, lines)))
    openai_tokens._tokens.cache_clear()
    for content in (b"", b"x" * sum(map(len, lines))):  # none, and a damaged one
        file.write_bytes(content)
        with pytest.raises(openai.BadRequestError, match=r"vocabulary.*check_embedding_ctx_length"):
            create(input=[0, 1])
    file.write_bytes(b"".join(lines))
    monkeypatch.setattr(openai_tokens, "_SHA256", sha256_file(file))
    assert openai_tokens.vocabulary_file() == file
    assert [e.embedding[0] for e in create(input=[[0, 1, 0], [2, 3], [2]]).data] == [5, 1, 1]
    assert create(input=[0, 1, 0]).usage.prompt_tokens == 2
    bad: tuple[Any, ...] = ([], [[]], [0, "a"], [-1], [True], [openai_tokens.IDS], [[0], 1])
    for wrong in (*bad, [0] * (16 * ThreeNumbers.limit + 1)):
        with pytest.raises(openai.BadRequestError) as refused:
            create(input=wrong)
        assert str(refused.value.param).startswith("input")
    with pytest.raises(openai.BadRequestError, match="A text has 300 token ids"):
        create(input=[[0] * 300] * 1000)  # as much as langchain-openai puts into one request
    openai_tokens._tokens.cache_clear()


def test_models_of_each_project(server: Running) -> None:
    store = server.workspace.store
    save_agent(store, "labels", Agent(model=STARTER, system_prompt="Label it."), message="first")
    with store.session() as session:
        session.merge(ServedNameRow(name="ft:a:o:s:1", project="other", target="version:abcdef01"))
    mine = {m.id: m for m in server.client().models.list() if "/" not in m.id}
    assert set(mine) == {STARTER, "all-minilm-l6-v2", "labels@1"}
    assert mine[STARTER].model_dump()["trainable"] is True
    others = server.client(server.new_key("chat", project="other"))
    names = {m.id for m in others.models.list() if "/" not in m.id}
    assert names == {STARTER, "all-minilm-l6-v2", "ft:a:o:s:1"}
    assert others.models.retrieve("ft:a:o:s:1").owned_by == "other"
    messages: Any = [{"role": "user", "content": "x"}]
    for client, name in ((others, "labels@1"), (server.client(), "ft:a:o:s:1")):
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve(name)
        assert caught.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model=name, messages=messages)
    others.chat.completions.create(model="ft:a:o:s:1", messages=messages)
    assert server.engines.models[-1] == "version:abcdef01"
    server.client().chat.completions.create(model="labels@1", messages=messages)
    assert [m.content for m in server.engine.asked[-1][0]] == ["Label it.", "x"]


def test_what_is_not_served_is_said_to_be_unknown(server: Running) -> None:
    client = server.client()
    for ask, route in (
        (partial(client.moderations.create, input="a"), "POST /v1/moderations"),
        (partial(client.images.generate, prompt="a"), "POST /v1/images/generations"),
    ):
        with pytest.raises(openai.NotFoundError, match=f"Unknown request URL: {route}") as told:
            ask()
        assert told.value.code == "unknown_url"


def test_health_needs_no_key_and_metrics_do(server: Running) -> None:
    with server.http("assay-wrong") as http:
        assert http.get("/healthz").json() == {"status": "ok"}
        assert http.get("/readyz").json() == {"status": "ready", "configuration": "current"}
        assert http.get("/metrics").status_code == 401
    server.client().completions.create(model=STARTER, prompt="a b")
    with server.http() as http:
        text = http.get("/metrics").text
    assert 'assay_requests_total{route="/v1/completions",status="200"}' in text
    assert f'assay_tokens_total{{kind="completion",model="{STARTER}"}}' in text
    assert "assay_first_token_seconds_bucket" in text
    with server.http(server.new_key("admin", project="other")) as http:
        assert http.get("/v1/models").status_code == 200
        assert http.get("/metrics").status_code == 403
