"""One vLLM server over HTTP."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from assay import json_reader
from assay.config import Vllm
from assay.errors import ModelError, OutageError
from assay.generate.remote.connection import ActiveRequest, Reply, WireError
from assay.generate.remote.outbound import ProviderClient, read_key
from assay.generate.remote.wire import error_text
from assay.generate.stream import BusyError, End, Piece
from assay.quantities import say_count

RETRY_S = 5.0
"""When to ask again, where the server does not say."""
_WHERE = "assay.yaml, vllm"
_AWAY = (429, 502, 503, 504)
_MOST_BYTES = 2**30  # of a reply: of a long answer with the likeliest tokens at each place


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A line of the server's `/v1/models`: a base that it holds, or an adapter beside it."""

    id: str
    root: str
    context: int | None


class VllmServer:
    """One server: what it holds, adapters put beside it, completions asked of it.

    Attributes:
        url: as it is set.
        silence_s: how long it may say nothing.
        streams: answers under way; those that nobody holds any more leave by themselves.
    """

    def __init__(self, settings: Vllm) -> None:
        provider = settings.provider()
        self.url, self.silence_s = provider.base_url, settings.timeout_s
        root = self.url.removesuffix("/v1")
        self._api = self.url.removeprefix(root)
        self.streams: weakref.WeakSet[Iterator[Piece | End]] = weakref.WeakSet()
        self._at_once, self._lock = settings.at_once, RLock()
        key = read_key("vllm", provider, where=_WHERE)
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        at_root = provider.model_copy(update={"base_url": root})
        self._client = ProviderClient("vllm", at_root, _WHERE)

    def version(self) -> str:
        """Which vLLM it is; empty where it does not say."""
        status, raw = self._ask("/version")
        with suppress(ValueError, KeyError, TypeError):
            if status == 200:
                return str(json_reader.read(raw)["version"])
        return ""

    def models(self) -> list[ServedModel]:
        """The bases and adapters that the server holds."""
        status, raw = self._ask(f"{self._api}/models")
        if status != 200:
            raise ModelError(
                f"the vLLM server refuses the request (HTTP {status}).", where=self.url
            )
        try:
            return [
                ServedModel(
                    str(line["id"]),
                    str(line.get("root") or line["id"]),
                    line.get("max_model_len"),
                )
                for line in json_reader.read(raw)["data"]
            ]
        except (ValueError, KeyError, TypeError):
            raise ModelError("this is not a vLLM server.", where=self.url) from None

    def load_adapter(self, name: str, folder: Path, active: ActiveRequest) -> None:
        """Put an adapter beside the base; that it is there already is as good.

        Raises:
            ModelError: the server does not take it.
        """
        body = {"lora_name": name, "lora_path": str(folder)}
        status, raw = self._ask(f"{self._api}/load_lora_adapter", body, active)
        message = describe_error(raw)
        if status == 200 or "already been loaded" in message:
            return
        if status in (404, 405) and name not in message:
            raise ModelError(
                "the vLLM server does not accept adapters while it runs.",
                where=self.url,
                fix="Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.",
            )
        raise ModelError(
            f"the vLLM server cannot load this adapter (HTTP {status}): {message}",
            where=str(folder),
            fix="It must have access to the folder under this path and a large enough "
            "--max-lora-rank; or export the version (`assay export ID --to merged`) "
            "and serve that.",
        )

    def enter(self, stream: Iterator[Piece | End]) -> None:
        """Count an answer among those under way; raises BusyError where there are too many."""
        with self._lock:
            if len(self.streams) >= self._at_once:
                running = say_count(self._at_once, "request is", "requests are")
                raise BusyError(f"{running} already running on the vLLM server.", RETRY_S)
            self.streams.add(stream)

    def complete(self, body: dict[str, Any], active: ActiveRequest) -> Reply:
        """Begin a completion; the reply is open, whatever its status."""
        reply = self._send(f"{self._api}/completions", body, active)
        reply.most_bytes = _MOST_BYTES
        return reply

    def close(self) -> None:
        """Close the connections to the server; answers under way are cut."""
        for stream in list(self.streams):
            stream.fail()  # type: ignore[attr-defined]
        self._client.close()

    def _ask(
        self, path: str, body: dict[str, Any] | None = None, active: ActiveRequest | None = None
    ) -> tuple[int, bytes]:
        """Status and body of a whole reply."""
        reply = self._send(path, body, active or ActiveRequest())
        try:
            status, raw = reply.status, reply.read()
        except WireError as error:
            raise self._unreachable(error.reason) from None
        finally:
            reply.close()
        if status in _AWAY:
            raise self._unreachable(f"HTTP {status}")
        return status, raw

    def _send(self, path: str, body: dict[str, Any] | None, active: ActiveRequest) -> Reply:
        raw = None if body is None else json.dumps(body).encode()
        try:
            reply = self._client.send(
                path, raw, self._headers, within_s=self.silence_s, on_connection=active.use
            )
        except WireError as error:
            raise self._unreachable(error.reason) from None
        active.receive(reply)
        return reply

    def _unreachable(self, reason: str) -> OutageError:
        return OutageError(
            f"the vLLM server did not answer: {reason}.",
            plain="the vLLM server did not answer.",
            where=self.url,
            fix="Start it, or set another one under `vllm` in assay.yaml.",
        )


def describe_error(raw: bytes) -> str:
    """What a reply says of an error, on one line."""
    return " ".join(error_text(raw).split())[:300]
