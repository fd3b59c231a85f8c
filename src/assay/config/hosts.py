"""Names of hosts, as far as they say who can be reached there."""

from __future__ import annotations

from ipaddress import ip_address

DEFAULT_ADDRESS = "http://127.0.0.1:8000"
"""Of a server that was told no other host and port."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a host, by its name or number; nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
