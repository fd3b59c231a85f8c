"""The way out of this machine: a provider's key, and which addresses may be spoken to.

A name is resolved here, every address it has is checked, and the connection goes to an address that
was checked: a name that resolves to something else a moment later gains nothing. Redirects are
never followed. The key is read when it is needed; it is in no message, log or result.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path

import httpx

from assay.config import Provider
from assay.errors import ConfigError

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_KEY = re.compile(r"[!-~]+")


def read_key(name: str, provider: Provider, where: str | None = None) -> str | None:
    """The provider's key; None where the configuration names none.

    Args:
        where: it is described; None: in assay.yaml, among the providers.

    Raises:
        ConfigError: what was named holds no key; the message never repeats what it holds.
    """
    where = where or f"assay.yaml, providers.{name}"
    if provider.key_env is not None:
        key, source = os.environ.get(provider.key_env, ""), f"the variable {provider.key_env}"
    elif provider.key_file is not None:
        source = f"the file {provider.key_file}"
        try:
            key = Path(provider.key_file).expanduser().read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                f"{source} cannot be read.", where=where, fix="Name a text file that holds the key."
            ) from None
    else:
        return None
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"{source} is empty." if not key else f"{source} holds more than a key.",
            where=where,
            fix="Put the key there, one line without spaces.",
        )
    return key


class GuardedTransport(httpx.HTTPTransport):
    """Speaks to the addresses that a provider may have, and to no other.

    Public addresses over https; with `private_network` loopback and private ones too, and those
    over plain http as well. Link-local addresses, where clouds keep their metadata, never.

    Args:
        where: as of `read_key`.
        connections: at once; None: what the provider says.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        where: str | None = None,
        connections: int | None = None,
    ) -> None:
        most = connections or provider.concurrency
        super().__init__(limits=httpx.Limits(max_connections=most), trust_env=False)
        self._where = where or f"assay.yaml, providers.{name}"
        self._private = provider.private_network

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first of the host's addresses that takes it.

        Raises:
            ConfigError: the host has an address that is not allowed.
            httpx.TransportError: it has none, or none could be reached.
        """
        host, url = request.url.host, request.url
        addresses = _resolve(host, url.port or (443 if url.scheme == "https" else 80))
        for address in addresses:
            if not allowed(address, private=self._private, public=url.scheme == "https"):
                raise ConfigError(
                    f"{host} is at {address}, which is no public address"
                    + (" and https is needed there." if self._private else "."),
                    where=f"{self._where}.base_url",
                    fix="If it is meant, set private_network: true for this provider."
                    if not self._private
                    else "Use https for public addresses.",
                )
        request.extensions = {**request.extensions, "sni_hostname": host}
        for address in addresses[:-1]:
            request.url = url.copy_with(host=address)
            try:
                return super().handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue
        request.url = url.copy_with(host=addresses[-1])
        return super().handle_request(request)


def _resolve(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpx.ConnectError(f"{host} cannot be found ({error})") from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def allowed(address: str, *, private: bool, public: bool) -> bool:
    """Whether a numeric address may be spoken to.

    Args:
        private: loopback and private addresses may be.
        public: addresses of the public network may be.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        ip = inner or ip
    if ip.is_link_local or ip.is_multicast or ip.is_unspecified:
        return False
    if ip.is_loopback or ip.is_private:
        return private
    return public and ip.is_global
