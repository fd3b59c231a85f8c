"""GET requests to an account: repeated with patience, bounded in bytes, and stopped at once.

    client = AccountClient(Access("openai", provider, key))
    page = client.json("/evals", {"limit": 100})
    client.stream("/files/file-1/content", read)

Only GET is ever sent. Many threads may ask at the same time; they share what a reply has said about
the pace.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Any, TypeVar
from urllib.parse import urlencode

from assay import json_reader
from assay.config import Provider
from assay.errors import OutageError, Step
from assay.generate.remote import openai
from assay.generate.remote.connection import ActiveRequest, OversizeError, Reply, WireError
from assay.generate.remote.outbound import ProviderClient
from assay.generate.remote.redaction import redact
from assay.generate.remote.wire import error_fields, error_text, refusal
from assay.log_lines import printable
from assay.rescue.owner import Owner
from assay.version import VERSION

T = TypeVar("T")

BASE_URL = "--base-url"
"""What names the address of an account that is no provider of a project."""
MOST_JSON = 64 * 2**20
"""Bytes of a reply that is parsed."""
MOST_ATTEMPTS = 7
LONGEST_BACKOFF_S = 30.0
LONGEST_PAUSE_S = 900.0
"""Where a longer one is asked for, the run ends, and goes on another time."""
LONGEST_SPARING_S = 60.0
"""What is waited before a limit is reached, because a reply says that nothing is left of it."""
REPLY_S, SILENCE_S = 300.0, 60.0
"""Until the head of a reply is there; then only silence is limited: a line may be slow."""
PATIENCE_S, LEAST_RATE = 600.0, 1024
"""After so long, fewer bytes a second on average are none."""
_SHOWN = 300  # characters of what a server says
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LIMITS = ("requests", "tokens")


@dataclass(frozen=True, slots=True)
class Access:
    """Where an account is, and the key that opens it.

    Attributes:
        where: what names the address, for errors.
    """

    name: str
    provider: Provider
    key: str | None = field(repr=False)
    where: str = BASE_URL


class RefusedError(Exception):
    """Something that cannot be had.

    Attributes:
        reason: a sentence that may be shown; it holds no key.
        status: of HTTP; None where there was no reply, or one that is of no use.
        parameter: of the request, which the server does not take as it is.
    """

    def __init__(self, reason: str, status: int | None = None, parameter: Any = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.parameter = reason, status, parameter


class FailedError(RefusedError):
    """The server had no usable reply, however often it was asked."""


class TooLargeError(RefusedError):
    """A reply with more bytes than are read of one."""


class StoppedError(Exception):
    """Nobody waits for the reply any more."""


class AccountClient:
    """Asks one account.

    Args:
        backoff_s: before the second attempt; it doubles with each further one.
    """

    def __init__(self, access: Access, *, backoff_s: float = 0.5) -> None:
        self.access, self._backoff_s = access, backoff_s
        provider = access.provider
        self._client = ProviderClient(access.name, provider, access.where)
        self._headers = {"User-Agent": f"assay/{VERSION}"}
        if access.key is not None:
            named = {str(provider.key_header): access.key}
            self._headers |= named if provider.key_header else openai.key_headers(access.key)
        self._lock, self._stopped = Lock(), Event()
        self._active: set[ActiveRequest] = set()
        self._not_before = 0.0

    def owner(self) -> Owner:
        """Whose account it is, as far as the requests say it.

        Raises:
            ConfigError: a variable that a header names cannot be used.
        """
        sent = {name.lower(): value for name, value in self._client.headers.items()}
        return Owner(
            self.access.provider.base_url,
            self.access.key,
            sent.get("openai-organization"),
            sent.get("openai-project"),
        )

    def json(self, path: str, parameters: Mapping[str, Any] | None = None) -> Any:
        """The JSON of a reply.

        Raises:
            RefusedError: the server has none for us; a FailedError where it only failed.
            TooLargeError: it is larger than `MOST_JSON`.
            OutageError: the server cannot be reached or asks for a long pause, or the key is wrong.
            ConfigError: the address may not be spoken to.
            StoppedError: somebody has called `stop`.
        """
        target = f"{path}?{urlencode(parameters)}" if parameters else path
        return self._ask(target, "application/json", self._read_json)

    def stream(self, path: str, read: Callable[[Reply], T]) -> T:
        """What `read` makes of a reply of status 200; raises as `json` does.

        Args:
            read: called anew for each attempt; it reads the reply to its end, and may raise a
                WireError for what is to be tried again.
        """
        return self._ask(path, "application/binary", read)

    def stop(self) -> None:
        """Hang up, and ask no more; may be called from any thread."""
        self._stopped.set()
        with self._lock:
            active = list(self._active)
        for one in active:
            one.stop()

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._client.close()

    def clean(self, text: str) -> str:
        """What a server says, as one short line without the key."""
        text = redact(text[:4000], (self.access.key, *self._client.secrets))
        line = printable(" ".join(text.split()))
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]} ..."

    def _read_json(self, reply: Reply) -> Any:
        raw = b"".join(parts_of(reply))
        try:
            return json_reader.read(raw)
        except ValueError:
            kind = reply.header("content-type").partition(";")[0].strip()
            if kind in ("", "application/json"):
                raise WireError("the reply is cut, not JSON, or nested too deep") from None
            shown = self.clean(kind)[:100]
            raise RefusedError(f"it answers with {shown}, not JSON.", 200) from None

    def _ask(self, path: str, accepted: str, read: Callable[[Reply], T]) -> T:
        headers = {**self._headers, "Accept": accepted}
        attempt = 0
        while True:
            self._wait_for_limits()
            try:
                with self._under_way() as active:
                    reply = self._send(path, headers, active)
                    if reply.status == 200:
                        return read(reply)
                    raw = _start_of(reply)
                fault = self._fault(reply, raw)
            except OversizeError as error:
                self._check_stopped()
                raise TooLargeError(f"{error.reason}.") from None
            except WireError as error:
                self._check_stopped()
                fault = _Fault(RefusedError(f"{error.reason}."), reached=error.reached)
            attempt += 1
            if not fault.is_retryable:
                raise fault.error
            if fault.pause > LONGEST_PAUSE_S:
                raise self.outage(f"it asks for a pause of {fault.pause / 60:.0f} minutes.")
            if attempt >= MOST_ATTEMPTS:
                raise self._given_up(fault)
            backoff = min(LONGEST_BACKOFF_S, self._backoff_s * 2 ** (attempt - 1))
            pause = max(fault.pause, backoff * random.uniform(0.5, 1.0))
            if fault.is_limit:  # whoever asks meanwhile would only be refused, too
                self._hold(pause)
            self._wait(pause)

    def _send(self, path: str, headers: Mapping[str, str], active: ActiveRequest) -> Reply:
        reply = self._client.send(path, None, headers, within_s=REPLY_S, on_connection=active.use)
        active.receive(reply)
        reply.most_bytes = MOST_JSON
        if reply.status == 200:
            spare = _reset_s(reply, only_spent=True)
            if spare:
                self._hold(min(spare, LONGEST_SPARING_S))
        return reply

    @contextmanager
    def _under_way(self) -> Iterator[ActiveRequest]:
        active = ActiveRequest()
        with self._lock:
            self._active.add(active)
        try:
            self._check_stopped()
            yield active
        finally:
            active.abort()  # unless the reply was read to its end
            with self._lock:
                self._active.discard(active)

    def _fault(self, reply: Reply, raw: bytes) -> _Fault:
        """What a reply of another status than 200 means."""
        said = self.clean(error_text(raw))
        fields = error_fields(raw)
        code = fields.get("code")
        if reply.status == 401 and code in ("invalid_api_key", "account_deactivated"):
            raise self.outage(f"the key is refused (HTTP 401, {code}).", fix="Check the key.")
        known = refusal(reply.status, {"retry-after": reply.header("retry-after")}, said)
        pause = known.pause or 0.0
        if reply.status == 429 and not pause:
            # The header that OpenAI's own client reads first.
            pause = parse_duration(f"{reply.header('retry-after-ms').strip()}ms")
            pause = pause or _reset_s(reply, only_spent=False)
        what = _MEANINGS.get(reply.status) or (
            "it redirects, and redirects are not followed"
            if 300 <= reply.status < 400
            else "the server refuses"
        )
        reason = f"{what} (HTTP {reply.status})" + (f": {said}" if said else ".")
        return _Fault(
            RefusedError(reason, reply.status, fields.get("param")),
            is_retryable=known.is_retryable,
            pause=pause,
            is_limit=reply.status == 429,
        )

    def _given_up(self, fault: _Fault) -> Exception:
        reason = f"{MOST_ATTEMPTS} attempts failed, the last: {fault.error.reason}"
        if not fault.reached or fault.is_limit:
            return self.outage(reason)
        return FailedError(reason, fault.error.status)

    def outage(self, what: str, fix: str = "") -> OutageError:
        """An error that ends the run for now; the next one goes on."""
        return OutageError(
            what,
            where=self.access.provider.base_url,
            fix=f"{fix} What was fetched is kept; {Step.FETCH_AGAIN}.".strip(),
        )

    def _hold(self, seconds: float) -> None:
        """No request is begun for so long."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def _wait_for_limits(self) -> None:
        """Until no request is held back any more, which another reply may put off meanwhile."""
        while True:
            with self._lock:
                left = self._not_before - time.monotonic()
            self._wait(max(0.0, left))
            if left <= 0:
                return

    def _wait(self, seconds: float) -> None:
        self._stopped.wait(seconds)
        self._check_stopped()

    def _check_stopped(self) -> None:
        if self._stopped.is_set():
            raise StoppedError


_MEANINGS = {
    400: "the server refuses the request; it may have expired",
    401: "the key may not do this",
    403: "the key may not read this",
    404: "it is not there: deleted, expired, closed, or another project's",
    410: "it is gone for good",
    429: "too many requests",
}


@dataclass(frozen=True, slots=True)
class _Fault:
    """An attempt without a reply that can be used."""

    error: RefusedError
    is_retryable: bool = True
    pause: float = 0.0
    is_limit: bool = False
    reached: bool = True


def parts_of(reply: Reply) -> Iterator[bytes]:
    """A body as it comes, however long that takes; a WireError where it hardly comes."""
    come, began = 0, time.monotonic()
    reply.limit_silence(SILENCE_S)
    for part in reply.chunks():
        come += len(part)
        yield part
        seconds = time.monotonic() - began
        if seconds > PATIENCE_S and come < LEAST_RATE * seconds:
            raise WireError(f"{come} bytes in {seconds:.0f} s are too few")


def _start_of(reply: Reply) -> bytes:
    """The first bytes of an error's body, which says in them what is wrong."""
    found = b""
    try:
        for part in reply.chunks():
            found += part
            if len(found) > 20_000:
                break
    except WireError:
        pass
    return found


def _reset_s(reply: Reply, *, only_spent: bool) -> float:
    """Seconds until limits are reset of which nothing is left; 0: none is known.

    Args:
        only_spent: the headers have to say that nothing is left of a limit.
    """
    found = 0.0
    for what in _LIMITS:
        left = reply.header(f"x-ratelimit-remaining-{what}").strip()
        if left == "0" or (not left and not only_spent):
            found = max(found, parse_duration(reply.header(f"x-ratelimit-reset-{what}")))
    return found


def parse_duration(text: str) -> float:
    """Seconds of `6m0s`, `1.5s` or `12ms`, as OpenAI's limits are told; 0 for anything else."""
    text = text.strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return float(sum(float(number) * _SECONDS[unit] for number, unit in parts))
