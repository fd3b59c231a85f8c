"""What a request has cost, wherever its answers came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from assay.accounts.costs import price_request
from assay.agent.prices import PriceList
from assay.agent.providers import Providers
from assay.config import Provider, TokenPrice
from assay.generate.stream import End
from assay.store.store import Store

HERE = End("stop", 100, 10)
THERE = End("stop", 1000, 500, model="remote:far/big")
UNPRICED = End("stop", 1000, 500, model="remote:far/other")


@pytest.mark.parametrize(
    ("ends", "hour", "usd"),
    [
        ([HERE], 3.6, 0.002),
        ([HERE], None, None),
        ([THERE], 3.6, 0.002),  # nobody here was at work
        ([THERE], None, 0.002),
        ([HERE, THERE], 3.6, 0.004),
        ([UNPRICED], 3.6, None),
        ([HERE, UNPRICED], 3.6, None),
    ],
)
def test_tokens_elsewhere_and_time_here(
    tmp_path: Path, ends: list[End], hour: float | None, usd: float | None
) -> None:
    prices = {"big": TokenPrice(input=1.0, output=2.0), "other": TokenPrice()}
    far = Provider(base_url="https://far.invalid/v1", prices=prices)
    found = price_request(PriceList(Providers({"far": far}, Store(tmp_path))), hour, ends, 2.0)
    assert found == (None if usd is None else pytest.approx(usd))
