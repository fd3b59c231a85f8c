"""A model at a provider: answers in order, odd replies survived, the key told to nobody."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.scripted import request
from tests.generate.remote.provider import KEY, Reply, refused, said, serving

from assay.config import Config, Provider, split_reference
from assay.errors import AssayError, ConfigError
from assay.evaluate.run import run
from assay.generate.batch import Answer, AnswerToken
from assay.generate.remote.addresses import is_allowed
from assay.generate.remote.batch import RemoteBatchEngine, completion_request
from assay.generate.remote.outbound import read_key

USAGE = {"prompt_tokens": 7, "completion_tokens": 3}


def echo(body: dict[str, Any], _: int) -> Reply:
    return said("to " + body["messages"][-1]["content"], usage=USAGE)


def engine(provider: Provider) -> RemoteBatchEngine:
    return RemoteBatchEngine("far", "big-1", provider, backoff_s=0.01)


def test_answers_come_in_order_and_a_few_at_a_time() -> None:
    def slow(body: dict[str, Any], number: int) -> Reply:
        reply = echo(body, number)
        reply.wait = 0.05 if number % 2 else 0.0
        return reply

    with serving(slow) as served:
        answers = engine(served.provider(concurrency=3)).answer(
            [request(str(i), max_new_tokens=9) for i in range(12)]
        )
    assert answers == [Answer(f"to {i}", prompt_tokens=7, completion_tokens=3) for i in range(12)]
    assert 1 < served.most_at_once <= 3
    assert served.asked[0] == {
        "model": "big-1",
        "messages": [{"role": "user", "content": served.asked[0]["messages"][0]["content"]}],
        "max_tokens": 9,
        "temperature": 0.0,
    }
    assert set(served.keys) == {None}


def test_what_the_provider_does_not_count_is_unknown_not_zero() -> None:
    replies = [
        said("a"),
        said("b", usage=None),
        said("c", usage={"prompt_tokens": "many", "completion_tokens": True}),
        said("d", usage={"prompt_tokens": 4}, finish_reason="length"),
        said("e", finish_reason="content_filter"),
    ]
    with serving(lambda _, number: replies[number - 1]) as served:
        answers = engine(served.provider(concurrency=1)).answer([request(c) for c in "abcde"])
    assert [(a.text, a.finish, a.prompt_tokens, a.completion_tokens) for a in answers] == [
        ("a", "stop", None, None),
        ("b", "stop", None, None),
        ("c", "stop", None, None),
        ("d", "length", 4, None),
        ("e", "stop", None, None),
    ]


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        (refused(429, "slow down"), "HTTP 429: slow down"),
        (refused(503, "overloaded"), "HTTP 503: overloaded"),
        (Reply(b'{"choices": [{"mess', cut=True), "the answer was cut"),
        (Reply(b'{"choices": [{"mess'), "the answer is cut or not JSON"),
        (Reply(b"[]"), "not a JSON object"),
        (Reply(b'{"choices": []}'), "no message"),
        (Reply(b'{"error": {"message": "upstream"}}'), "upstream"),
    ],
)
def test_a_passing_fault_is_tried_again_and_a_lasting_one_is_told(odd: Reply, reason: str) -> None:
    with serving(lambda body, number: odd if number < 3 else echo(body, number)) as served:
        assert engine(served.provider()).answer([request("x")])[0].text == "to x"
    with serving(lambda *_: odd) as served:
        (answer,) = engine(served.provider(retries=2)).answer([request("x")])
    assert (answer.text, answer.finish) == ("", "error")
    assert answer.error is not None
    assert answer.error.startswith("far: ")
    assert reason in answer.error
    assert len(served.asked) == 3


def test_half_a_character_in_a_reply_is_no_end_of_the_run() -> None:
    half = json.loads(r'"\ud800"')
    replies = [said(f"a{half}", logprobs=None), refused(400, f"no {half}")]
    asked = request("x", logprobs=20)
    with serving(lambda _, number: replies[number - 1]) as served:
        answers = engine(served.provider(concurrency=1)).answer([asked, asked])
    assert [(a.text, a.tokens) for a in answers[:1]] == [("a?", None)]
    assert answers[1].error == "far: HTTP 400: no ?"


@pytest.mark.parametrize("told", ["NaN", "1e9", "-Infinity", "1" + "0" * 400, '"x"', "null"])
def test_a_log_probability_that_is_none_is_not_believed(told: str) -> None:
    content = f'[{{"token": "a", "logprob": {told}}}]'
    body = (
        '{"choices": [{"message": {"content": "a"}, "finish_reason": "stop", '
        f'"logprobs": {{"content": {content}}}}}]}}'
    )
    with serving(lambda *_: Reply(body.encode())) as served:
        (answer,) = engine(served.provider()).answer([request("x", logprobs=20)])
    assert (answer.text, answer.tokens, answer.logprob) == ("a", None, None)


@pytest.mark.parametrize("kind", ["seconds", "date"])
def test_retry_after_is_honoured(kind: str) -> None:
    def rule(body: dict[str, Any], number: int) -> Reply:
        if number > 1:
            return echo(body, number)
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return refused(429, "wait", **{"Retry-After": "1" if kind == "seconds" else soon})

    with serving(rule) as served:
        began = time.monotonic()
        (answer,) = engine(served.provider()).answer([request("x")])
        assert 0.9 < time.monotonic() - began < 4
    assert answer.text == "to x"


def test_who_asks_for_an_hour_gets_no_second_request() -> None:
    with serving(lambda *_: refused(429, "wait", **{"Retry-After": "3600"})) as served:
        (answer,) = engine(served.provider()).answer([request("x")])
    assert answer.error == "far: HTTP 429: wait; it asks to wait 3600 s"
    assert len(served.asked) == 1


def test_a_page_instead_of_an_answer_names_its_kind_and_json_under_a_wrong_name_is_read() -> None:
    page = Reply(b"<html>login</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with serving(lambda *_: page) as served:
        (answer,) = engine(served.provider()).answer([request("x")])
    assert answer.error == "far: answers with text/html, not JSON; check base_url"
    assert len(served.asked) == 1

    def plain(body: dict[str, Any], number: int) -> Reply:
        reply = echo(body, number)
        reply.headers = {"Content-Type": "text/plain"}
        return reply

    with serving(plain) as served:
        assert engine(served.provider()).answer([request("x")])[0].text == "to x"


def test_silence_ends_at_the_time_limit() -> None:
    def rule(body: dict[str, Any], number: int) -> Reply:
        reply = echo(body, number)
        reply.wait = 30.0
        return reply

    with serving(rule) as served:
        began = time.monotonic()
        (answer,) = engine(served.provider(timeout_s=0.3, retries=1)).answer([request("x")])
        assert time.monotonic() - began < 5
    assert answer.error == "far: no answer within 0.3 s"
    assert len(served.asked) == 2


def test_nobody_there_is_an_outage() -> None:
    with serving(echo) as served:
        provider = served.provider(retries=0)
    (answer,) = engine(provider).answer([request("x")])
    assert answer.finish == "error"
    assert answer.error is not None
    assert "cannot be reached" in answer.error


def test_a_redirect_is_not_followed() -> None:
    away = Reply(b"", 307, {"Location": "http://127.0.0.1:1/steal"})
    with serving(lambda *_: away) as served:
        (answer,) = engine(served.provider()).answer([request("x")])
    assert answer.error is not None
    assert "not followed" in answer.error
    assert len(served.asked) == 1


def test_parameters_that_the_endpoint_does_not_know_are_left_out_from_then_on() -> None:
    def rule(body: dict[str, Any], number: int) -> Reply:
        if "logprobs" in body:
            return refused(400, "no", param="logprobs", code="unsupported_parameter")
        if "max_tokens" in body:
            return refused(400, "no", param="max_tokens", code="unsupported_parameter")
        return echo(body, number)

    with serving(rule) as served:
        asked = engine(served.provider(concurrency=1))
        answers = asked.answer([request("x", logprobs=5), request("y", logprobs=5)])
        batched = asked.model.body(completion_request(asked.model, request("z", logprobs=5)))
    assert [a.text for a in answers] == ["to x", "to y"]
    assert [a.tokens for a in answers] == [None, None]
    assert len(served.asked) == 4
    assert served.asked[-1]["max_completion_tokens"] == 256
    assert batched.keys() == served.asked[-1].keys()


def test_log_probabilities_are_read_where_they_spell_the_text() -> None:
    def token(text: str, logprob: float, top: list[tuple[str, float]]) -> dict[str, Any]:
        others = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in top]
        told = {"token": text, "logprob": logprob, "bytes": list(text.encode())}
        return {**told, "top_logprobs": others}

    content = [
        token("ca", -0.1, [("ca", -0.1), ("do", -2.5)]),
        token("t", -0.2, [("t", -0.2)]),
    ]
    replies = [
        said("cat", logprobs={"content": content}),
        said("cats", logprobs={"content": content}),
        said("cat", logprobs={"content": [{"token": "cat"}]}),
    ]
    with serving(lambda _, number: replies[number - 1]) as served:
        answers = engine(served.provider(concurrency=1)).answer(
            [request(c, logprobs=50) for c in "abc"]
        )
    assert answers[0].tokens == (
        AnswerToken(b"ca".hex(), -0.1, ((b"ca".hex(), -0.1), (b"do".hex(), -2.5))),
        AnswerToken(b"t".hex(), -0.2, ((b"t".hex(), -0.2),)),
    )
    assert answers[0].logprob == pytest.approx(-0.3)
    assert [a.tokens for a in answers[1:]] == [None, None]
    assert served.asked[0]["top_logprobs"] == 20
    assert Answer.from_dict(json.loads(json.dumps(asdict(answers[0])))) == answers[0]


def test_finished_answers_are_kept_with_their_tokens(tmp_path: Path) -> None:
    content = [{"token": "hi", "logprob": -0.5, "top_logprobs": []}]
    with serving(lambda *_: said("hi", logprobs={"content": content})) as served:
        asked = engine(served.provider())
        fields = {"agent_id": "a", "folder": tmp_path}
        first = run([request("x", logprobs=2)], asked, **fields)  # type: ignore[arg-type]
        again = run([request("x", logprobs=2)], asked, **fields)  # type: ignore[arg-type]
    assert first == again
    assert first[0].tokens is not None
    assert len(served.asked) == 1


def test_the_key_is_sent_and_found_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FAR_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    replies = [
        refused(401, f"Incorrect API key provided: {KEY}"),
        refused(500, f"no luck with Bearer {KEY}"),
        Reply(KEY.encode(), 400, {"Content-Type": "text/plain", "X-Echo": "1"}),
        Reply(f'{{"error": "{KEY}"}}'.encode()),
    ]
    told: list[str] = []
    for reply in replies:
        with serving(lambda *_, reply=reply: reply) as served:  # type: ignore[misc]
            asked = engine(served.provider(key_env="FAR_KEY", retries=1))
            answers = run(
                [request("x")], asked, agent_id="a", folder=tmp_path, sleep=lambda _: None
            )
            told += [str(answers), repr(asked), str(vars(asked)), str(asked.identity)]
            assert served.keys[0] == f"Bearer {KEY}"
    kept = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert not [text for text in [*told, *kept, caplog.text] if KEY in text]
    assert "<key>" in told[4]


def test_after_a_refused_key_the_rest_is_not_sent() -> None:
    with serving(lambda *_: refused(401, "no")) as served:
        answers = engine(served.provider(concurrency=2)).answer([request(str(i)) for i in range(9)])
    assert {a.error for a in answers} == {"far: HTTP 401: the key is refused"}
    assert len(served.asked) <= 2


def test_a_key_is_read_from_where_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    url = "https://far.invalid/v1"
    assert read_key("far", Provider(base_url=url, key_file=str(file))) == KEY
    assert read_key("far", Provider(base_url=url)) is None
    monkeypatch.delenv("FAR_KEY", raising=False)
    with pytest.raises(ConfigError, match="the variable FAR_KEY is empty"):
        read_key("far", Provider(base_url=url, key_env="FAR_KEY"))
    file.write_text(f"{KEY} and more")
    with pytest.raises(ConfigError, match="contains more than a key") as caught:
        read_key("far", Provider(base_url=url, key_file=str(file)))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"base_url": "http://far.invalid/v1"}, "https is required"),
        ({"base_url": "ftp://far.invalid"}, "use an address"),
        ({"base_url": "https://me:secret@far.invalid"}, "leave out user"),
        ({"base_url": "https://far.invalid", "key_env": "A", "key_file": "b"}, "not both"),
    ],
)
def test_an_unsafe_address_is_no_provider(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Provider(**fields)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
)
def test_an_address_inside_is_refused_however_it_is_written(host: str) -> None:
    with serving(echo) as served:
        provider = Provider(base_url=f"https://{host}:{served.port}/v1")
        with pytest.raises(ConfigError, match="not a public address"):
            engine(provider).answer([request("x")])
    assert served.asked == []


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("8.8.8.8", True, False),
        ("2606:4700::1111", True, False),
        ("10.1.2.3", False, True),
        ("::1", False, True),
        ("fd00::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("64:ff9b::7f00:1", False, True),
        ("2002:7f00:1::", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1%eth0", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
        ("100.64.0.1", False, False),
    ],
)
def test_which_addresses_may_be_spoken_to(address: str, public: bool, private: bool) -> None:
    assert is_allowed(address, private=False, public=True) is public
    assert is_allowed(address, private=True, public=False) is private


def test_a_closed_list_is_refused_and_a_schema_is_passed_on() -> None:
    with serving(echo) as served:
        asked = engine(served.provider())
        with pytest.raises(ConfigError, match="closed list"):
            asked.answer([request("x", choices=("a", "b"))])
        asked.answer([request("x", schema={"type": "object"})])
    assert served.asked[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_reference_has_a_provider_and_a_model() -> None:
    assert split_reference("remote:far/org/big-1") == ("far", "org/big-1")
    with pytest.raises(ConfigError, match="does not name a model"):
        split_reference("remote:far")


def test_the_projects_own_model_is_on_this_machine() -> None:
    fields = {
        "name": "x",
        "task": "text",
        "data": {"file": "x.csv"},
        "graders": [{"name": "exact"}],
        "primary": "exact",
        "candidates": ["prompt"],
    }
    with pytest.raises(ValueError, match=r"fine_tune\.teacher"):
        Config.model_validate({**fields, "model": "remote:far/big-1"})
    assert issubclass(ConfigError, AssayError)


@pytest.mark.parametrize("code", [[], {}, "400", None, 4e2])
def test_an_error_whose_code_is_no_status_is_an_answer_that_is_missing(code: Any) -> None:
    fault = Reply(json.dumps({"error": {"message": "no", "code": code}}).encode())
    with serving(lambda *_: fault) as served:
        [answer] = engine(served.provider(retries=0)).answer([request("x")])
    assert (answer.finish, answer.error) == ("error", "far: no")
