"""A provider's model behind the server: streamed through, with calls and with what is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest

from assay.accounts import costs
from assay.accounts.keys import create_key
from assay.agent.agent import Agent
from assay.agent.engines import StreamEngines
from assay.agent.providers import Providers
from assay.agent.versions import save_agent
from assay.config import Provider, TokenPrice
from assay.generate.fallback import fallback_order
from assay.serve import batch_run
from tests.generate.remote.provider import ProviderServer, delta, refused, said, serving, streamed
from tests.serve.running import STARTER, Running, running
from tests.serve.test_evals import CONFIG, JUDGE, waited

USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "prompt_tokens_details": {"cached_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 1},
}
MODEL = "remote:far/big-1"
ASKED: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
CALL = [{"index": 0, "id": "c1", "function": {"name": "find", "arguments": "{}"}}]


@contextmanager
def before(folder: Path, far: ProviderServer, **fallback: list[str]) -> Iterator[Running]:
    def engines(workspace: Any) -> StreamEngines:
        prices = {"big-1": TokenPrice(input=1.0, output=2.0)}
        far_provider = far.provider(prices=prices, retries=0)
        described = {"far": far_provider, "near": far_provider}
        workspace.providers = Providers(described, workspace.store, workspace.name)
        chains = {name.replace("_", "/"): behind for name, behind in fallback.items()}
        chain = partial(fallback_order, fallbacks=chains)
        return StreamEngines(workspace.store, None, workspace.providers, chain)  # type: ignore[arg-type]

    with running(folder, engines) as server:
        yield server


def test_whole_and_streamed_with_usage_that_is_written_down(tmp_path: Path) -> None:
    def rule(body: dict[str, Any], _: int) -> Any:
        assert body["stream"]
        return streamed(
            delta("a"), delta("b"), delta(finish="stop"), {"choices": [], "usage": USAGE}
        )

    with serving(rule) as far, before(tmp_path, far) as server:
        client = server.client()
        made = client.chat.completions.create(model=MODEL, messages=ASKED)
        assert made.choices[0].message.content == "ab"
        assert made.usage is not None
        assert made.usage.to_dict() == {
            **USAGE,
            "total_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
        }
        chunks = list(
            client.chat.completions.create(
                model=MODEL, messages=ASKED, stream=True, stream_options={"include_usage": True}
            )
        )
        texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
        assert [text for text in texts if text] == ["a", "b"]
        assert chunks[-1].usage is not None
        written = client.responses.create(model=MODEL, input="hi")
        assert written.output_text == "ab"
        assert written.usage is not None
        assert written.usage.output_tokens_details.reasoning_tokens == 1
        server.workspace.usage.flush()
        [line] = costs.usage(server.workspace.store, server.workspace.name)
        assert line | {"key": ""} == {
            "key": "",
            "model": MODEL,
            "answers": 3,
            "prompt_tokens": 21,
            "cached_tokens": 6,
            "completion_tokens": 9,
            "reasoning_tokens": 3,
            "usd": pytest.approx(3 * (7 * 1 + 3 * 2) / 1e6),
            "unpriced": 0,
            "uncounted": 0,
        }


@pytest.mark.parametrize("stream", [False, True])
def test_connections_are_kept_from_one_answer_to_the_next(tmp_path: Path, stream: bool) -> None:
    reply = streamed(delta("a"), delta("b"), delta(finish="stop"))
    with serving(lambda *_: reply, keep_alive=True) as far, before(tmp_path, far) as server:
        client = server.client()
        for _ in range(10):
            made = client.chat.completions.create(model=MODEL, messages=ASKED, stream=stream)
            if stream:
                list(made)
    assert len(far.asked) == 10
    assert far.connections < 5  # one more where a request comes before the last is put back


def test_what_the_provider_does_not_tell_is_null(tmp_path: Path) -> None:
    with serving(lambda *_: said("x")) as far, before(tmp_path, far) as server:
        made = server.client().chat.completions.create(model=MODEL, messages=ASKED)
        assert made.usage is None
        assert server.client().responses.create(model=MODEL, input="hi").usage is None
        server.workspace.usage.flush()
        [line] = costs.usage(server.workspace.store, server.workspace.name)
        assert (line["usd"], line["prompt_tokens"], line["unpriced"]) == (None, None, 2)


def test_calls_come_through(tmp_path: Path) -> None:
    reply = streamed(delta(tool_calls=CALL), delta(finish="tool_calls"))
    with serving(lambda *_: reply) as far, before(tmp_path, far) as server:
        client = server.client()
        made = client.chat.completions.create(
            model=MODEL, messages=ASKED, tools=TOOLS, tool_choice="required"
        )
        choice = made.choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        assert choice.message.tool_calls[0].function.name == "find"  # type: ignore[union-attr]
        chunks = list(
            client.chat.completions.create(model=MODEL, messages=ASKED, tools=TOOLS, stream=True)
        )
        calls = [c for chunk in chunks for c in chunk.choices[0].delta.tool_calls or ()]
        assert calls[0].id == "c1"
        assert chunks[-1].choices[0].finish_reason == "tool_calls"
        written = client.responses.create(
            model=MODEL,
            input="hi",
            tools=[{"type": "function", "name": "find", "parameters": {}, "strict": False}],
        )
        assert written.output[0].type == "function_call"
    assert far.asked[0]["tool_choice"] == "required"


def test_a_judge_is_asked_as_its_criterion_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_run, "BEAT_S", 0.05)
    told = {"reasoning_effort": "low", "seed": 7, "temperature": 0.5, "top_p": 0.9}
    judge = {**JUDGE, "model": MODEL, "sampling_params": {**told, "max_completions_tokens": 90}}
    lines = [{"item": {"question": "a"}, "sample": {"output_text": "b"}}]
    source: Any = {"type": "jsonl", "source": {"type": "file_content", "content": lines}}
    asking = {"name": "a", "data_source_config": CONFIG}
    with serving(lambda *_: said('{"result": 4}')) as far, before(tmp_path, far) as server:
        client = server.client()
        made = client.evals.create(**asking, testing_criteria=[judge])
        run = waited(client, client.evals.runs.create(made.id, data_source=source))
        assert run.result_counts.passed == 1
        here = client.evals.create(**asking, testing_criteria=[{**judge, "model": STARTER}])
        with pytest.raises(openai.BadRequestError, match="for models at a provider") as refusal:
            client.evals.runs.create(here.id, data_source=source)
    assert refusal.value.param == "testing_criteria[0].sampling_params"
    [asked] = far.asked
    assert {name: asked[name] for name in (*told, "max_tokens")} == {**told, "max_tokens": 90}


def test_an_agent_of_it_is_served_with_its_prompt(tmp_path: Path) -> None:
    with serving(lambda *_: said("x")) as far, before(tmp_path, far) as server:
        agent = Agent(model=MODEL, system_prompt="be brief", max_new_tokens=9)
        save_agent(server.workspace.store, "helper", agent, message="m")
        server.client().chat.completions.create(model="helper@1", messages=ASKED)
    assert far.asked[0]["messages"][0] == {"role": "system", "content": "be brief"}
    assert far.asked[0]["max_tokens"] == 9


def test_failures_have_a_status_of_their_own_and_other_projects_see_nothing(tmp_path: Path) -> None:
    replies = [refused(503, "down"), refused(429, "later", **{"Retry-After": "7"})]
    with serving(lambda _, n: replies[n - 1]) as far, before(tmp_path, far) as server:
        client = server.client()
        with pytest.raises(openai.InternalServerError, match="far: HTTP 503: down"):
            client.chat.completions.create(model=MODEL, messages=ASKED)
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model=MODEL, messages=ASKED)
        assert caught.value.response.headers["retry-after"] == "7"
        for name, key in ((MODEL, server.new_key("chat", project="p2")), ("remote:no/m", None)):
            with pytest.raises(openai.NotFoundError):
                server.client(key).chat.completions.create(model=name, messages=ASKED)
    assert len(far.asked) == 2


def test_the_next_one_answers_while_the_first_fails(tmp_path: Path) -> None:
    def rule(body: dict[str, Any], _: int) -> Any:
        return refused(503, "down") if body["model"] == "bad" else said("fine", usage=USAGE)

    chains = {"remote:far_bad": ["remote:near/big-1"]}
    with serving(rule) as far, before(tmp_path, far, **chains) as server:
        made = server.client().chat.completions.create(model="remote:far/bad", messages=ASKED)
        assert made.choices[0].message.content == "fine"
        server.workspace.usage.flush()
        [line] = costs.usage(server.workspace.store, server.workspace.name)
        assert line["model"] == "remote:near/big-1"


def test_what_is_wrong_with_the_set_up_is_told_to_the_log_and_not_to_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    monkeypatch.setenv("ASSAY_MASTER_KEY_FILE", str(tmp_path / "master.key"))
    with serving(lambda *_: said("x")) as far:
        described = {
            "unset": far.provider(key_env="NO_SUCH_KEY"),
            "unread": far.provider(key_file=str(tmp_path / "no-such-file")),
            "inside": Provider(base_url=f"https://127.0.0.1:{far.port}/v1"),
            "lost": far.provider(),
        }

        def engines(workspace: Any) -> StreamEngines:
            workspace.providers = Providers(described, workspace.store, workspace.name)
            workspace.providers.add("lost", None, "a-key-that-cannot-be-read-again")
            (tmp_path / "master.key").unlink()
            return StreamEngines(workspace.store, None, workspace.providers)  # type: ignore[arg-type]

        (tmp_path / "served").mkdir()
        with running(tmp_path / "served", engines) as server, server.http() as http:
            for name, why in (
                ("unset", "NO_SUCH_KEY"),
                ("unread", "no-such-file"),
                ("inside", "127.0.0.1"),
                ("lost", "master key"),
            ):
                body = {"model": f"remote:{name}/m", "messages": ASKED}
                told = http.post("/v1/chat/completions", json=body)
                assert told.status_code == 503
                assert told.json()["error"]["code"] == "model_unavailable"
                assert why not in told.text
                assert why in caplog.text
    assert far.asked == []


def test_a_request_that_the_provider_refuses_is_the_clients_to_mend(tmp_path: Path) -> None:
    reply = refused(400, "stop has too many")
    with (
        serving(lambda *_: reply) as far,
        before(tmp_path, far) as server,
        pytest.raises(openai.BadRequestError, match="stop has too many"),
    ):
        server.client().chat.completions.create(model=MODEL, messages=ASKED)


@pytest.mark.parametrize("tokens", [2**31, 10**30, 10**400], ids=["31", "30", "400"])
def test_a_number_beyond_all_answers_is_refused(tmp_path: Path, tokens: int) -> None:
    with serving(lambda *_: said("x")) as far, before(tmp_path, far) as server:
        store = server.workspace.store
        key, secret = create_key(store, server.workspace.name, "b", ["chat"])
        costs.set_budget(store, key.id, 1.0)
        body = {"model": MODEL, "messages": ASKED}
        for path, field, more in (
            ("chat/completions", "max_tokens", body),
            ("chat/completions", "max_completion_tokens", body),
            ("responses", "max_output_tokens", {"model": MODEL, "input": "hi"}),
            ("completions", "max_tokens", {"model": MODEL, "prompt": "hi"}),
        ):
            with server.http(secret) as http:
                told = http.post(f"/v1/{path}", json={**more, field: tokens})
            assert told.status_code == 400, told.text
            assert told.json()["error"]["param"] == field
    assert far.asked == []
