"""Which addresses a vLLM server may have: the name is resolved, what was checked is spoken to."""

from __future__ import annotations

import httpx

from assay.errors import ConfigError
from assay.generate.addresses import allowed, resolve


class GuardedTransport(httpx.HTTPTransport):
    """Speaks to loopback and private addresses, and to public ones over https.

    Link-local addresses, where clouds keep their metadata, are never spoken to.
    """

    def __init__(self, where: str, connections: int) -> None:
        super().__init__(limits=httpx.Limits(max_connections=connections), trust_env=False)
        self._where = where

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first of the host's addresses that takes it.

        Raises:
            ConfigError: the host has an address that is not allowed.
            httpx.TransportError: it has none, or none could be reached.
        """
        host, url = request.url.host, request.url
        try:
            addresses = resolve(host, url.port or (443 if url.scheme == "https" else 80))
        except OSError as error:
            raise httpx.ConnectError(f"{host} cannot be found ({error})") from None
        for address in addresses:
            if not allowed(address, private=True, public=url.scheme == "https"):
                raise ConfigError(
                    f"{host} is at {address}, where https is needed, or which is never spoken to.",
                    where=f"{self._where}.base_url",
                    fix="Use https for public addresses.",
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
