"""The way out: it cannot be turned inward, whatever a name, an address or a reply says."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.generate.remote.provider import ProviderServer, said, serving

from assay.config import Provider
from assay.errors import ConfigError
from assay.generate.remote.addresses import is_allowed
from assay.generate.remote.connection import WireError
from assay.generate.remote.outbound import ProviderClient


def asked(provider: Provider, within_s: float = 5.0) -> bytes:
    reply = ProviderClient("far", provider).send("/chat/completions", b"{}", {}, within_s=within_s)
    return reply.read()


def at(served: ProviderServer, host: str = "127.0.0.1", **fields: Any) -> Provider:
    """A provider of https unless private networks are listed."""
    private = fields.get("private_network")
    scheme = "http" if private else "https"
    return Provider(base_url=f"{scheme}://{host}:{served.port}/v1", **fields)


INSIDE = [
    "127.0.0.1",
    "localhost",
    "127.1",
    "2130706433",  # decimal
    "0x7f000001",
    "0177.0.0.1",  # octal
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[2002:7f00:1::]",
    "0.0.0.0",
    "169.254.169.254",
    "[fe80::1]",
    "10.0.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "[fd00::1]",
    "192.0.0.192",  # a cloud's metadata, in a network that some versions of Python call global
    "[64:ff9b:1::7f00:1]",  # NAT64 inside a network
    "[fec0::1]",
    "[3fff::1]",
    "[5f00::1]",
]


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "192.0.0.192", "100.100.100.200"],
)
def test_where_clouds_keep_their_metadata_is_never_spoken_to(address: str) -> None:
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    for private in (True, everything):
        for public in (True, False):
            assert not is_allowed(address, private=private, public=public)


@pytest.mark.parametrize("host", INSIDE)
def test_an_address_inside_is_not_spoken_to_however_it_is_spelled(host: str) -> None:
    with serving(lambda *_: said("x")) as served:
        with pytest.raises(ConfigError, match="not a public address"):
            asked(at(served, host))
        assert served.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com@127.0.0.1/v1",
        "https://user:secret@api.example.com/v1",
        "https://api.example.com\\@127.0.0.1/v1",
        "https://api.example.com/v1?x=http://127.0.0.1",
        "https://api.example.com/v1#@127.0.0.1",
        "https://api.example.com:99999/v1",
        "https://api.exam ple.com/v1",
        "https://аpi.example.com/v1",  # a Cyrillic letter
        "file:///etc/passwd",
        "gopher://127.0.0.1/v1",
        "//127.0.0.1/v1",
    ],
)
def test_an_address_with_two_readings_is_none(url: str) -> None:
    with pytest.raises(ValueError, match=r"base_url"):
        Provider(base_url=url)


def test_only_the_listed_networks_inside_are_spoken_to() -> None:
    with serving(lambda *_: said("x")) as served:
        assert b"x" in asked(at(served, private_network=["127.0.0.0/8"]))
        with pytest.raises(ConfigError, match="not a public address"):
            asked(at(served, private_network=["10.0.0.0/8"]))
    listed = (ipaddress.ip_network("100.64.0.0/10"),)
    assert is_allowed("100.64.1.1", private=listed, public=False)
    assert not is_allowed("10.0.0.1", private=listed, public=True)
    # Where clouds keep their metadata is never spoken to, listed or not.
    everything = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    for address in ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0"):
        assert not is_allowed(address, private=everything, public=True)


def test_one_bad_address_among_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that has a good address and a bad one is not tried until the good one is hit."""

    def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, 443)) for address in ("93.184.216.34", "127.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1"):
        asked(Provider(base_url="https://far.invalid/v1"))


def test_every_connection_is_checked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: what was good at first is bad when the connection was lost."""
    answers = ["127.0.0.1", "10.0.0.1"]

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (answers.pop(0), port))]

    with serving(lambda *_: said("x")) as served:
        provider = at(served, "far.invalid", private_network=["127.0.0.1/32"])
        outbound = ProviderClient("far", provider)
        connected = []
        connect = socket.socket.connect

        def noted(made: socket.socket, address: tuple[str, int]) -> None:
            connected.append(address[0])
            connect(made, address)

        monkeypatch.setattr(socket.socket, "connect", noted)
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        assert b"x" in outbound.send("/chat/completions", b"{}", {}, within_s=5).read()
        with pytest.raises(ConfigError, match=r"10\.0\.0\.1"):
            outbound.send("/chat/completions", b"{}", {}, within_s=5)
        assert connected == ["127.0.0.1"]  # a number: nothing is left to be resolved


@contextmanager
def dripping(data: bytes, pause: float) -> Iterator[int]:
    """A server that sends a byte at a time; gives its port."""
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            for byte in data:
                if over.wait(pause):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        over.set()
        thread.join(5)
        listening.close()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 500, "no answer within 0.4 s"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"y" * 500, "within 0.4 s"),
    ],
)
def test_a_reply_that_drips_ends_at_the_deadline(data: bytes, reason: str) -> None:
    with dripping(data, 0.004) as port:
        url = f"http://127.0.0.1:{port}/v1"
        with pytest.raises(WireError, match=reason):
            asked(Provider(base_url=url, private_network=True), within_s=0.4)


@pytest.mark.parametrize(
    "data",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", b""],
)
def test_what_is_no_http_is_an_outage(data: bytes) -> None:
    with dripping(data, 0.0) as port:
        url = f"http://127.0.0.1:{port}/v1"
        with pytest.raises(WireError, match="cut"):
            asked(Provider(base_url=url, private_network=True))


class Hanging:
    """Answers the first request of a connection; takes the next one, and hangs up after a while."""

    def __init__(self, works_s: float) -> None:
        self._works_s = works_s
        self.taken = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            if connection.recv(65536):
                self.taken += 1
                time.sleep(self._works_s)

    def close(self) -> None:
        self._listening.close()


@pytest.mark.parametrize("works_s", [0.0, 0.3])
def test_a_request_that_was_taken_is_not_sent_again(works_s: float) -> None:
    with closing(Hanging(works_s)) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        out = ProviderClient("far", Provider(base_url=url, private_network=True))
        replies = [out.send("/chat/completions", b"{}", {}, within_s=5) for _ in range(3)]
        for reply in replies:  # three connections are idle now
            assert reply.read() == b"{}"
        if works_s:  # it may have worked on it, and bills it
            with pytest.raises(WireError, match="cut"):
                out.send("/chat/completions", b"{}", {}, within_s=5)
        else:  # closed before the request came, as far as anyone can tell: once more, afresh
            assert out.send("/chat/completions", b"{}", {}, within_s=5).read() == b"{}"
        assert server.taken == 1
        out.close()


def test_a_reply_that_was_read_leaves_its_connection_alone() -> None:
    with closing(Hanging(0.3)) as server:
        url = f"http://127.0.0.1:{server.port}/v1"
        out = ProviderClient("far", Provider(base_url=url, private_network=True))
        first = out.send("/chat/completions", b"{}", {}, within_s=5)
        first.read()
        (connection,) = out._idle
        connection.set_limits(None, 5.0)  # another request's
        first.limit_silence(0.01)
        assert connection.timeout_reason() == "silent for 5 s"
        out.close()


class Authority:
    """A certificate authority of a company, and what it has signed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Company")])
        self.name, self.file = name, folder / "ca.pem"
        made = self._certificate(name, self.key, is_authority=True)
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def sign(self, who: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)])
        made = self._certificate(name, key, host=who)
        cert, secret = self.folder / f"{who}.pem", self.folder / f"{who}.key"
        cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert, secret

    def _certificate(
        self, name: x509.Name, key: Any, *, host: str = "", is_authority: bool = False
    ) -> x509.Certificate:
        today = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name if not is_authority else name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(days=1))
            .not_valid_after(today + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), True)
        )
        if host:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, False)
        return builder.sign(self.key, hashes.SHA256())


@contextmanager
def proxy() -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that tunnels everything to one place; gives its port and what it was told."""
    listening = socket.create_server(("127.0.0.1", 0))
    heads: list[bytes] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)

    def serve() -> None:
        try:
            client, _ = listening.accept()
        except OSError:  # nobody has come
            return
        head = client.recv(65536)
        heads.append(head)
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        far = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        threading.Thread(target=pump, args=(client, far), daemon=True).start()
        pump(far, client)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1], heads
    finally:
        listening.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Who are you\r\n\r\n", b"no HTTP\r\n\r\n"])
def test_a_proxy_that_refuses_is_hung_up_on(answer: bytes) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        asking = Provider(
            base_url="https://far.invalid/v1",
            proxy=f"http://127.0.0.1:{listening.getsockname()[1]}",
        )

        def refuse() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(65536)
                client.sendall(answer)
                client.settimeout(2.0)
                ends.append(client.recv(1))

        ends: list[bytes] = []
        refusing = threading.Thread(target=refuse)
        refusing.start()
        with pytest.raises(WireError, match=r"proxy's answer|HTTP 407") as caught:
            asked(asking)
        refusing.join()
    assert (ends, caught.value.reached) == ([b""], False)


def test_a_companys_own_certificates_and_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = Authority(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*company.sign("far.example"))
    server.load_verify_locations(company.file)
    server.verify_mode = ssl.CERT_REQUIRED
    cert, key = company.sign("us.example")
    real = socket.getaddrinfo

    def resolve(host: str, port: int, *args: Any, **fields: Any) -> list[Any]:
        return real("127.0.0.1" if host.endswith(".example") else host, port, *args, **fields)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    inside: dict[str, Any] = {"private_network": ["127.0.0.0/8"]}
    trusted = {**inside, "ca_file": str(company.file)}
    ours = {**trusted, "client_cert": str(cert), "client_key": str(key)}
    with serving(lambda *_: said("x"), tls=server) as served:

        def provider(host: str, **fields: Any) -> Provider:
            return Provider(base_url=f"https://{host}:{served.port}/v1", **fields)

        assert b"x" in asked(provider("far.example", **ours))
        with pytest.raises(WireError, match="not trusted") as caught:
            asked(provider("far.example", **inside))
        assert not caught.value.reached
        with pytest.raises(WireError, match="not trusted"):  # of another name
            asked(provider("other.example", **ours))
        with pytest.raises(WireError):  # nobody has introduced us
            asked(provider("far.example", **trusted))
        with proxy() as (port, heads):
            monkeypatch.setenv("PROXY", f"http://me:se%20cret@127.0.0.1:{port}")
            assert b"x" in asked(provider("far.example", **ours, proxy="${PROXY}"))
        head = heads[0].decode()
        assert head.startswith(f"CONNECT far.example:{served.port} HTTP/1.1\r\n")
        assert "Proxy-Authorization: Basic bWU6c2UgY3JldA==" in head
        with proxy() as (port, heads), pytest.raises(ConfigError, match="not a public address"):
            asked(Provider(base_url="https://10.0.0.1/v1", proxy=f"http://127.0.0.1:{port}"))
        assert heads == []
        with pytest.raises(ConfigError, match="certificate cannot be used"):
            asked(provider("far.example", **inside, ca_file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "fields",
    [
        {"headers": {"Authorization": "Bearer x"}},
        {"headers": {"Host": "inside"}},
        {"headers": {"X\r\nY": "z"}},
        {"headers": {"X": "a\r\nY: z"}},
        {"proxy": "http://me:secret@proxy.example.com"},
        {"proxy": "socks5://proxy.example.com"},
        {"private_network": ["10.0.0.1/8"]},
        {"client_key": "k.pem"},
    ],
)
def test_settings_that_would_do_harm_are_none(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="error"):
        Provider(base_url="https://api.example.com/v1", **fields)
    with pytest.raises(ValueError, match="proxy can only be used with https"):
        Provider(base_url="http://10.0.0.1", private_network=True, proxy="http://p:1")
