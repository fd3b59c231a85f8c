"""One vLLM server over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import Any

import httpx

from assay.config import Vllm
from assay.errors import ConfigError, ModelError
from assay.generate.remote.addresses import is_allowed, resolve
from assay.generate.remote.outbound import read_key
from assay.generate.vllm.request import reason

_WHERE = "assay.yaml, vllm"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A line of the server's `/v1/models`: a base that it holds, or an adapter beside it."""

    id: str
    root: str
    context: int | None


class VllmServer:
    """One server over HTTP: what it holds, adapters put beside it, completions asked of it."""

    def __init__(self, settings: Vllm) -> None:
        provider = settings.provider()
        self.url = provider.base_url
        self._settings = settings
        self.places = BoundedSemaphore(settings.at_once)
        self.at_once = settings.at_once
        key = read_key("vllm", provider, where=_WHERE)
        self._client = httpx.Client(
            transport=GuardedTransport(settings.at_once + 1),
            timeout=settings.timeout_s,
            follow_redirects=False,
            trust_env=False,
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
        )
        self._abandoned: SimpleQueue[tuple[httpx.Response | None] | None] = SimpleQueue()
        Thread(target=self._close_abandoned, name="assay-vllm", daemon=True).start()

    def models(self) -> list[ServedModel]:
        """The bases and adapters that the server holds."""
        reply = self._send(self._client.build_request("GET", f"{self.url}/models"))
        try:
            return [
                ServedModel(
                    str(line["id"]),
                    str(line.get("root") or line["id"]),
                    line.get("max_model_len"),
                )
                for line in reply.json()["data"]
            ]
        except (ValueError, KeyError, TypeError):
            raise ModelError("this is no vLLM server.", where=self.url) from None

    def load_adapter(self, name: str, folder: Path) -> None:
        """Put an adapter beside the base; that it is there already is as good.

        Raises:
            ModelError: the server does not take it.
        """
        body = {"lora_name": name, "lora_path": str(folder)}
        request = self._client.build_request("POST", f"{self.url}/load_lora_adapter", json=body)
        reply = self._send(request, refusals=(400, 404, 405, 422, 500))
        if reply.status_code == 200 or "already been loaded" in reply.text:
            return
        if reply.status_code in (404, 405) and name not in reply.text:
            raise ModelError(
                "the vLLM server takes no adapters while it runs.",
                where=self.url,
                fix="Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.",
            )
        raise ModelError(
            f"the vLLM server cannot load this adapter: {reason(reply.text)}",
            where=str(folder),
            fix="It must see the folder under this path, and have a --max-lora-rank that is large "
            "enough; or export the version (`assay export ID --to merged`) and serve that.",
        )

    def complete(self, body: dict[str, Any]) -> httpx.Response:
        """Begin a completion; the reply is open, whatever its status."""
        request = self._client.build_request("POST", f"{self.url}/completions", json=body)
        return self._send(request, stream=True, refusals=range(400, 600))

    def abandon(self, reply: httpx.Response | None) -> None:
        """Close a reply that nobody reads any more, and free its place, in another thread."""
        self._abandoned.put((reply,))

    def close(self) -> None:
        """Close the connections to the server."""
        self._abandoned.put(None)
        self._client.close()

    def _close_abandoned(self) -> None:
        while (left := self._abandoned.get()) is not None:
            (reply,) = left
            with suppress(httpx.HTTPError):  # the next one must be closed all the same
                if reply is not None:
                    reply.close()
            self.places.release()

    def _send(
        self, request: httpx.Request, *, stream: bool = False, refusals: Sequence[int] = ()
    ) -> httpx.Response:
        try:
            reply = self._client.send(request, stream=stream)
        except (httpx.HTTPError, RuntimeError) as error:  # RuntimeError: it was closed
            raise ModelError(
                f"the vLLM server cannot be reached ({error}).",
                where=self.url,
                fix="Start it, or name another in assay.yaml, vllm.",
            ) from None
        if reply.status_code != 200 and reply.status_code not in refusals:
            raise ModelError(
                f"the vLLM server refuses the request (HTTP {reply.status_code}).", where=self.url
            )
        return reply


class GuardedTransport(httpx.HTTPTransport):
    """Speaks to loopback and private addresses, and to public ones over https.

    Link-local addresses, where clouds keep their metadata, are never spoken to.
    """

    def __init__(self, connections: int) -> None:
        super().__init__(limits=httpx.Limits(max_connections=connections), trust_env=False)

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
            if not is_allowed(address, private=True, public=url.scheme == "https"):
                raise ConfigError(
                    f"{host} is at {address}, where https is needed, or which is never spoken to.",
                    where=f"{_WHERE}.base_url",
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
