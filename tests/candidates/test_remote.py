"""`remote`: a provider's model with the system prompt, after consent, at its price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import TRAIN, context_of
from tests.generate.remote.provider import Reply, said, serving

from assay.agent.agent import Agent, make_routed
from assay.agent.consent import ConsentError
from assay.agent.route import Rule, Rules
from assay.agent.versions import save_agent
from assay.candidates.building import Candidate
from assay.candidates.registry import build, specs
from assay.compare import performance
from assay.compare.drivers import cost_drivers, tokens_per_second
from assay.compare.performance import Performance, measure_performance
from assay.errors import ConfigError
from assay.generate.classical import dump_classical, fit_constant
from assay.store import blobs

USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


def answer(body: dict[str, Any], _: int) -> Reply:
    return said("the old target", usage=USAGE)


def provider(port: int, **fields: Any) -> dict[str, Any]:
    base = {"base_url": f"http://127.0.0.1:{port}/v1", "private_network": True}
    return {"far": {**base, **fields}}


def test_it_is_measured_and_priced(tmp_path: Path) -> None:
    prices = {"big": {"input": 2.0, "output": 10.0}}
    with serving(answer) as far:
        providers = provider(far.port, consent=True, prices=prices)
        context = context_of(tmp_path, {}, remote="remote:far/big", providers=providers)
        candidate = build("remote", context)
        speed = measure_performance(candidate.agent, TRAIN, context.bench, tmp_path)
    assert (candidate.name, candidate.agent.model) == ("remote", "remote:far/big")
    assert candidate.scores == (1.0, 1.0)
    assert candidate.warnings == ()
    assert far.asked[0]["messages"][0] == {"role": "system", "content": "Answer."}
    assert speed.usd_per_answer == pytest.approx((100 * 2 + 10 * 10) / 1e6)
    assert speed.prompt_tokens == 100


def test_examples_are_shown_and_their_number_is_chosen(tmp_path: Path) -> None:
    def follow(body: dict[str, Any], _: int) -> Reply:
        return said("the old target" if len(body["messages"]) == 6 else "no", usage=USAGE)

    with serving(follow) as far:
        fields = {"providers": provider(far.port), "generate": {"constrained": "on"}}
        fields |= {"remote": "remote:far/big", "few_shot": {"ks": [1, 2]}}
        context = context_of(tmp_path, {}, **fields)
        with pytest.raises(ConsentError):
            build("remote-few-shot", context)
        assert far.asked == []
        context.bench.engines.providers.agree("far")
        candidate = build("remote-few-shot", context)
    assert [(one.setting, one.score) for one in candidate.tried if one.chosen] == [
        ("k=2, unconstrained", 1.0)
    ]
    assert len(candidate.agent.shown) == 2
    assert "price of remote:far/big is not known" in candidate.warnings[0]
    [first, *shown, asked] = far.asked[-1]["messages"]
    assert first == {"role": "system", "content": "Answer."}  # the prompt that it always had
    assert [one["role"] for one in shown] == ["user", "assistant"] * 2
    assert asked["role"] == "user"
    assert dict(specs()["remote-few-shot"].sends(context.config)) == {
        "remote:far/big": ("train", "validation", "holdout")
    }


def test_a_route_of_which_a_part_was_not_timed_is_timed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = {"big": {"input": 2.0, "output": 10.0}}
    with serving(answer) as far:
        providers = provider(far.port, consent=True, prices=prices)
        context = context_of(tmp_path, {}, providers=providers)
        saved = save_agent(context.store, "big", Agent(model="remote:far/big"), message="x")
        agent = make_routed(
            Rules(rules=(Rule(to=saved.agent, pattern="."),), otherwise=saved.agent)
        )
        nothing = Performance(None, None, None, None, None)  # an outage fell into it
        with monkeypatch.context() as outage:
            outage.setattr(performance, "_timed", lambda *_: (nothing, False))
            first = measure_performance(agent, TRAIN, context.bench, tmp_path)
        speed = measure_performance(agent, TRAIN, context.bench, tmp_path)
    assert (first.usd_per_answer, first.prompt_tokens) == (None, None)
    assert speed.usd_per_answer == pytest.approx((100 * 2 + 10 * 10) / 1e6)


def test_a_route_to_a_provider_and_to_this_machine_costs_both(tmp_path: Path) -> None:
    prices = {"big": {"input": 2.0, "output": 10.0}}
    with serving(answer) as far:
        providers = provider(far.port, consent=True, prices=prices)
        context = context_of(tmp_path, {}, providers=providers)
        blob = blobs.put(context.store, dump_classical(fit_constant(["the old target"], "a")))
        here = Agent(kind="classical", model=f"classical:{blob}")
        there = Agent(model="remote:far/big")
        ids = [save_agent(context.store, "arm", one, message="x").agent for one in (here, there)]
        rules = (Rule(to=ids[1], pattern=TRAIN[0].input),)
        route = Candidate(make_routed(Rules(rules=rules, otherwise=ids[0])), (), ())
        speed = measure_performance(route.agent, TRAIN, context.bench, tmp_path)
        drivers = cost_drivers(route, speed, context.bench)
    share = speed.asked[ids[1]]
    assert 0 < share < 1
    assert speed.usd_per_answer == pytest.approx(share * (100 * 2 + 10 * 10) / 1e6)
    assert speed.seconds_per_answer is not None
    assert (drivers.on_machine, drivers.at_provider, drivers.prompted) == (True, True, True)
    assert tokens_per_second(drivers, speed) is None


def test_nothing_leaves_without_consent_and_a_missing_price_is_said(tmp_path: Path) -> None:
    with serving(answer) as far:
        providers = provider(far.port)
        context = context_of(tmp_path, {}, remote="remote:far/big", providers=providers)
        with pytest.raises(ConsentError, match="2 rows to the provider far"):
            build("remote", context)
        assert far.asked == []
        context.bench.engines.providers.agree("far")
        candidate = build("remote", context)
        assert "not known" in candidate.warnings[0]
        speed = measure_performance(candidate.agent, TRAIN, context.bench, tmp_path)
    assert speed.usd_per_answer is None


def test_labels_are_not_enforced_and_a_model_must_be_named(tmp_path: Path) -> None:
    labels = {"task": "label", "labels": ["the old target", "b"]}
    with serving(answer) as far:
        fields = {"providers": provider(far.port, consent=True), **labels}
        candidate = build("remote", context_of(tmp_path, {}, remote="remote:far/big", **fields))
        assert candidate.agent.choices is None
        assert "response_format" not in far.asked[0]
        with pytest.raises(ConfigError, match="needs a model"):
            build("remote", context_of(tmp_path, {}, **fields))
