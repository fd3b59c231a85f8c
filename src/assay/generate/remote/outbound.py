"""The way out of this machine: which addresses may be spoken to, and one HTTP request to them.

A name is resolved here, every address it has is checked, and the connection goes to an address that
was checked: a name that resolves to something else a moment later gains nothing. Redirects are
never followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import re
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from threading import Lock
from urllib.parse import unquote, urlencode, urlsplit

import certifi

from assay.config import Provider
from assay.config.names import VARIABLE, names_in
from assay.errors import ConfigError
from assay.generate.remote.addresses import Network, is_allowed, resolve
from assay.generate.remote.connection import Connection, Reply, WireError, time_left

_IDLE = 32  # connections kept open
_CLOSED_S = 0.05  # after a request was sent: until then an idle connection was closed before it
_KEY = re.compile(r"[!-~]+")


def read_key(name: str, provider: Provider, where: str | None = None) -> str | None:
    """The key from where the configuration says; None where it says nothing.

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
            key = Path(provider.key_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise ConfigError(
                f"{source} cannot be read.",
                where=where,
                fix="Use a text file that contains only the key.",
            ) from None
    else:
        return None
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise ConfigError(
            f"{source} is empty." if not key else f"{source} contains more than a key.",
            where=where,
            fix="Put the key there, one line without spaces.",
        )
    return key


OnConnection = Callable[[Connection | None], None]


class ProviderClient:
    """Requests to one provider, over connections that are kept open between them.

    Public addresses over https; those of `private_network` over plain http as well. Link-local
    addresses, where clouds keep their metadata, never.

    Args:
        where: the provider is described; None: in assay.yaml, among the providers.
    """

    def __init__(self, name: str, provider: Provider, where: str | None = None) -> None:
        self._where, self._provider = where or f"assay.yaml, providers.{name}", provider
        parts = urlsplit(provider.origin)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._https = parts.scheme == "https"
        self._base = urlsplit(provider.base_url).path
        self._query = urlencode(provider.query)
        shown = f"[{self._host}]" if ":" in self._host else self._host
        standard = self._port == (443 if self._https else 80)
        self._host_header = shown if standard else f"{shown}:{self._port}"
        private = provider.private_network
        self._private: bool | tuple[Network, ...] = (
            private if isinstance(private, bool) else tuple(map(ipaddress.ip_network, private))
        )
        self._idle: list[Connection] = []
        self._lock = Lock()

    def send(
        self,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        within_s: float,
        on_connection: OnConnection = lambda connection: None,
    ) -> Reply:
        """Send a request (POST with a body, else GET) and wait for the head of its reply.

        Args:
            path: below the provider's base_url; it may have a query of its own.
            within_s: for all of the reply, unless `Reply.limit_silence` is called.
            on_connection: called with the connection before it is made and before anything is sent,
                so that another thread can abort it until the reply's head is there (it may raise a
                `WireError`), and then with None: the connection may become another request's.

        Raises:
            ConfigError: the address is not allowed, or a certificate cannot be read.
            WireError: no reply came.
        """
        deadline = time.monotonic() + within_s
        method = "GET" if body is None else "POST"
        target = self._base + path
        if self._query:
            target += ("&" if "?" in path else "?") + self._query
        whole = self._request_bytes(method, target, headers, body)
        again = False
        while True:
            connection = None if again else self._idle_connection()
            fresh = connection is None
            if connection is None:
                connection = self._connect(deadline, within_s, on_connection)
            connection.set_limits(deadline, within_s)
            try:
                on_connection(connection)
            except WireError:
                connection.abort()
                raise
            sent: float | None = None
            try:
                connection.sendall(whole)
                sent = time.monotonic()
                response = http.client.HTTPResponse(connection, method=method)  # type: ignore[arg-type]
                response.begin()
            except (http.client.RemoteDisconnected, ConnectionError):
                connection.abort()
                # Repeated once, and only where the other side had closed an idle connection: who
                # takes the request and hangs up later may have worked on it, and bills it.
                if fresh or (sent is not None and time.monotonic() - sent > _CLOSED_S):
                    raise WireError("the answer was cut") from None
                again = True
                on_connection(None)
                continue
            except TimeoutError:
                connection.abort()
                raise WireError(f"no answer within {within_s:g} s") from None
            except (http.client.HTTPException, OSError, ValueError):
                connection.abort()
                raise WireError("the answer was cut or is not HTTP") from None
            on_connection(None)
            free = connection.abort if response.will_close else partial(self._put_back, connection)
            return Reply(response, connection, free)

    def _request_bytes(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> bytes:
        """Head and body in one piece: sent in two, they would be two packets."""
        sent = {
            "Host": self._host_header,
            "Accept-Encoding": "identity",
            "Accept": "application/json, text/event-stream",
        }
        if body is not None:
            sent |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        sent |= {**self.headers, **headers}
        lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {value}" for n, value in sent.items())]
        if any("\r" in line or "\n" in line for line in lines):
            raise WireError("a header has more than one line", reached=False)
        try:
            return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
        except UnicodeEncodeError:
            raise WireError(
                "a header has characters that are not allowed there", reached=False
            ) from None

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.abort()

    def _idle_connection(self) -> Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_idle():
                return connection
            connection.abort()

    def _put_back(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return
        connection.abort()

    @cached_property
    def headers(self) -> dict[str, str]:
        """Those of the configuration, variables filled in."""
        where = f"{self._where}.headers"
        return {n: fill_variables(text, where) for n, text in self._provider.headers.items()}

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Values of variables in headers and the proxy, which no message may repeat."""
        names = [
            v for name in names_in(self._provider) if name.kind == "text" for v in name.variables
        ]
        return tuple(os.environ[name] for name in names if os.environ.get(name))

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        provider = self._provider
        try:
            context = ssl.create_default_context(cafile=certifi.where())
            if provider.ca_file:
                context.load_verify_locations(provider.ca_file)
            if provider.client_cert:
                context.load_cert_chain(provider.client_cert, provider.client_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"a certificate cannot be used ({error.strerror or error}).",
                where=self._where,
                fix="ca_file, client_cert and client_key name PEM files.",
            ) from None
        return context

    def _connect(self, deadline: float, within_s: float, on_connection: OnConnection) -> Connection:
        try:
            dial = self._connect_by_proxy if self._provider.proxy else self._connect_directly
            raw = dial(deadline, on_connection)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._https:
                # Whoever hangs up in the middle of it must know of this socket, not the bare one.
                raw = self._tls.wrap_socket(
                    raw, server_hostname=self._host, do_handshake_on_connect=False
                )
                with _closing_on_error(raw):
                    on_connection(Connection(raw))
                    raw.settimeout(time_left(deadline))
                    raw.do_handshake()
        except TimeoutError:
            raise WireError(f"no connection within {within_s:g} s", reached=False) from None
        except OSError as error:
            raise WireError(f"cannot be reached ({_reason(error)})", reached=False) from None
        return Connection(raw)

    def _connect_directly(self, deadline: float, on_connection: OnConnection) -> socket.socket:
        """A connection to the host, at an address that may be spoken to."""
        return _dial(self._allowed_addresses(), self._port, deadline, on_connection)

    def _allowed_addresses(self) -> list[str]:
        addresses = resolve(self._host, self._port)
        for address in addresses:
            if not is_allowed(address, private=self._private, public=self._https):
                inside = not is_allowed(address, private=False, public=True)
                raise ConfigError(
                    f"{self._host} is at {address}, "
                    + (
                        "which is not a public address that may be contacted."
                        if inside
                        else "a public address, which requires https."
                    ),
                    where=f"{self._where}.base_url",
                    fix=f"If this is intended, add it: private_network: [{address}]."
                    if inside
                    else "Use https.",
                )
        return addresses

    def _connect_by_proxy(self, deadline: float, on_connection: OnConnection) -> socket.socket:
        """Through the proxy, which resolves what this machine cannot; what it can is checked.

        The proxy itself may be anywhere: whoever wrote the configuration has named it.
        """
        where = f"{self._where}.proxy"
        parts = urlsplit(fill_variables(str(self._provider.proxy), where))
        if parts.scheme != "http" or not parts.hostname:
            raise ConfigError(
                "this is not the address of a proxy.", where=where, fix="Use http://host:port."
            )
        with suppress(OSError):
            self._allowed_addresses()
        port = parts.port or 3128
        raw = _dial(resolve(parts.hostname, port), port, deadline, on_connection)
        target = self._host_header if ":" in self._host_header else f"{self._host_header}:443"
        head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            head += f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
        connection = Connection(raw)
        with _closing_on_error(raw):
            connection.set_limits(deadline, time_left(deadline))
            try:
                connection.sendall(f"{head}\r\n".encode())
                response = http.client.HTTPResponse(connection, method="CONNECT")  # type: ignore[arg-type]
                response.begin()
            except (http.client.HTTPException, ValueError):
                raise OSError("the proxy's answer is not HTTP") from None
            if response.status != 200:
                raise OSError(f"the proxy answered HTTP {response.status}")
        return raw


def _dial(
    addresses: Sequence[str], port: int, deadline: float, on_connection: OnConnection
) -> socket.socket:
    """A connection to the first of some numeric addresses that takes it."""
    for number, address in enumerate(addresses, start=1):
        raw = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            with _closing_on_error(raw):
                on_connection(Connection(raw))
                raw.settimeout(time_left(deadline))
                raw.connect((address, port))
            return raw
        except OSError:
            if number == len(addresses):
                raise
    raise OSError("it has no address")


@contextmanager
def _closing_on_error(raw: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        raw.close()
        raise


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    return error.strerror or str(error) or type(error).__name__


def fill_variables(text: str, where: str) -> str:
    """`${NAME}` replaced by the variable's value."""

    def value(found: re.Match[str]) -> str:
        given = os.environ.get(found[1])
        if not given or not given.isprintable() or not given.isascii():
            raise ConfigError(f"the variable {found[1]} is empty or not plain text.", where=where)
        return given

    return VARIABLE.sub(value, text)
