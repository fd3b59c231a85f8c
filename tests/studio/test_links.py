"""Links that lead each computer to itself are of no use to somebody elsewhere."""

from __future__ import annotations

import pytest

from assay.studio.pages.people.persons import is_of_this_computer


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8000", "127.1.2.3", "localhost:8000", "[::1]:8000", "a.localhost"]
)
def test_an_address_of_this_computer_is_known(host: str) -> None:
    assert is_of_this_computer(f"http://{host}")


@pytest.mark.parametrize("host", ["assay.example.com", "10.0.0.7:8000", "[fe80::1]"])
def test_other_addresses_lead_here_from_elsewhere(host: str) -> None:
    assert not is_of_this_computer(f"https://{host}")
