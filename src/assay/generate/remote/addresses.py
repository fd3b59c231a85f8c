"""Which addresses may be spoken to: a name is resolved, what was checked is what is spoken to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*names: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(name) for name in names)


_EMBEDDING = _networks("::/96", "64:ff9b::/96", "::ffff:0:0:0/96")
"""IPv6 networks whose last 32 bits are an IPv4 address: compatible, NAT64, translated."""
_METADATA = _networks(
    "100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128", "fd20:ce::254/128"
)
"""Where clouds keep their metadata besides link-local addresses: Alibaba, Oracle, AWS, Google."""
_UNICAST = ipaddress.ip_network("2000::/3")
"""All that is global unicast in IPv6; `is_global` takes what is not assigned for public, too."""
_NOT_PUBLIC = _networks("192.0.0.0/24", "3fff::/20")
"""Of the rest, what some versions of Python call global."""


def resolve(host: str, port: int) -> list[str]:
    """The numeric addresses of a name; raises OSError where there are none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(f"{host} cannot be found") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_allowed(address: str, *, private: bool | Sequence[Network], public: bool) -> bool:
    """Whether a numeric address may be spoken to.

    Args:
        private: loopback and private addresses may be; or the networks that may be.
        public: addresses of the public network may be.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and not (ip.is_loopback or ip.is_unspecified):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if _is_in(ip, _EMBEDDING):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified or _is_in(ip, _METADATA):
        return False
    if not isinstance(private, bool) and _is_in(ip, private):
        return True
    if ip.is_loopback or ip.is_private:
        return private is True
    assigned = ip.version == 4 or ip in _UNICAST
    return public and ip.is_global and assigned and not _is_in(ip, _NOT_PUBLIC)


def _is_in(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Sequence[Network]) -> bool:
    return any(ip in network for network in networks)
