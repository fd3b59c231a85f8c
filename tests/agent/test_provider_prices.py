"""What a provider's model costs: the list, what assay.yaml says instead, and what nobody knows."""

from __future__ import annotations

import pytest

from assay.agent.prices import cost_usd, listed_cost_usd, price_of
from assay.config import Provider, TokenPrice

LISTED = Provider(base_url="https://api.openai.com/v1")
OWN = Provider(
    base_url="https://api.openai.com/v1",
    prices={"gpt-4.1-mini": TokenPrice(input=1.0, output=2.0), "half": TokenPrice(input=1.0)},
)


def test_the_list_and_what_is_said_instead() -> None:
    listed = price_of(LISTED, "gpt-4.1-mini")
    assert None not in (listed.input, listed.cached, listed.output)
    assert listed.cached < listed.input < listed.output  # type: ignore[operator]
    full = cost_usd(LISTED, "gpt-4.1-mini", 1000, 10)
    cached = cost_usd(LISTED, "gpt-4.1-mini", 1000, 10, 600)
    assert full is not None
    assert cached is not None
    assert cached < full
    assert cost_usd(OWN, "gpt-4.1-mini", 1000, 10) == pytest.approx((1000 + 20) / 1e6)
    assert cost_usd(OWN, "gpt-4.1-mini", 1000, 10, 600) == pytest.approx((1000 + 20) / 1e6)


def test_what_is_not_known_is_none_and_never_0() -> None:
    assert cost_usd(LISTED, "no-such-model", 1000, 10) is None
    assert cost_usd(Provider(base_url="https://far.invalid/v1"), "gpt-4.1-mini", 10, 10) is None
    for counts in ((None, 10), (10, None), (None, None)):
        assert cost_usd(LISTED, "gpt-4.1-mini", *counts) is None
    assert cost_usd(OWN, "half", 10, 10) is None
    assert cost_usd(OWN, "half", 10, 0) == pytest.approx(10 / 1e6)


def test_an_answer_of_another_program_has_the_price_of_who_gave_it() -> None:
    def usd(model: str, company: str | None) -> float | None:
        return listed_cost_usd(model, company, 10**6, 10**6)

    made = usd("gpt-4o", None)
    assert made is not None
    assert usd("gpt-4o", "openai") == usd("gpt-4o", "a-proxy-of-ours") == made
    assert usd("gpt-4o", "anthropic") is None  # which the list knows, and which has no such model
    assert usd("gpt-oss-20b", "Ollama") is None
    tuned = usd("ft:gpt-4o-mini-2024-07-18:acme::abc", "openai")
    assert tuned == usd("ft:gpt-4o-mini-2024-07-18:acme::abc", None)
    assert tuned != usd("gpt-4o-mini", "openai")


@pytest.mark.parametrize(
    ("tokens", "usd"), [(150_000, 1.25), (199_500, 1.25), (200_000, 1.25), (200_001, 2.5)]
)
def test_a_long_prompt_is_dearer_from_where_the_list_says(tokens: int, usd: float) -> None:
    provider = Provider(base_url="https://generativelanguage.googleapis.com/v1beta/openai")
    assert cost_usd(provider, "gemini-2.5-pro", tokens, 0) == pytest.approx(tokens * usd / 1e6)
