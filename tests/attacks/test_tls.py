"""Wrong certificates, on the way out and on the way in: nothing goes to whom it should not."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.attacks.certificates import Authority, Pair
from tests.figures import Figure
from tests.generate.remote.provider import KEY, said, serving
from tests.serve.process import server

from assay.generate.remote.connection import WireError
from assay.generate.remote.outbound import ProviderClient

HERE = "127.0.0.1"


def context(pair: Pair, clients: Authority | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.cert, pair.key)
    if clients is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(clients.cert)
    return made


def asked(tls: ssl.SSLContext, host: str = HERE, **fields: Any) -> tuple[str, int]:
    """What came of a request with a key, and how many requests the provider has read."""
    with serving(lambda *_: said("x"), tls=tls) as far:
        provider = far.provider(**fields)
        url = f"https://{host}:{far.port}/v1"
        outbound = ProviderClient("far", provider.model_copy(update={"base_url": url}))
        try:
            headers = {"Authorization": f"Bearer {KEY}"}
            outbound.send("/chat/completions", b"{}", headers, within_s=5).read()
            return "answered", len(far.keys)
        except WireError as error:
            return error.reason, len(far.keys)
        finally:
            outbound.close()


Make = Callable[[Authority, Path], Pair]
WRONG: dict[str, tuple[Make, str]] = {
    "expired": (lambda ca, _: ca.issue(HERE, days=(-9, -1)), "expired"),
    "not good yet": (lambda ca, _: ca.issue(HERE, days=(1, 9)), "not yet valid"),
    "another host": (lambda ca, _: ca.issue("far.example.com"), "IP address mismatch"),
    "another address": (lambda ca, _: ca.issue("127.0.0.2"), "IP address mismatch"),
    "a wildcard": (lambda ca, _: ca.issue("*"), "IP address mismatch"),
    "for clients": (
        lambda ca, _: ca.issue(HERE, use=ExtendedKeyUsageOID.CLIENT_AUTH),
        "unsuitable|purpose",
    ),
    "of another authority": (
        lambda _, folder: Authority(folder, "stranger").issue(HERE),
        "local issuer",
    ),
    "of one of the same name": (
        lambda _, folder: Authority(folder / "other", "company").issue(HERE),
        "signature failure|local issuer",
    ),
    "without its intermediate": (
        lambda ca, folder: Authority(folder, "middle", above=ca).issue(HERE),
        "local issuer",
    ),
    "signed by a leaf": (
        lambda ca, folder: by_leaf(ca, folder),
        "invalid CA|local issuer|not a CA",
    ),
}


def by_leaf(ca: Authority, folder: Path) -> Pair:
    """Whoever has a certificate for his own host signs one for another with it."""
    leaf = ca.issue("mine.example.com", label="mine")
    forger = Authority(folder, "forger")
    forger._name = load_pem_x509_certificate(leaf.cert.read_bytes()).subject
    key: Any = load_pem_private_key(leaf.key.read_bytes(), None)
    forger._key = key
    forger.cert = leaf.cert
    return forger.issue(HERE, with_chain=forger)


@pytest.mark.parametrize("name", WRONG)
def test_a_provider_with_a_wrong_certificate_is_sent_nothing(
    tmp_path: Path, figure: Figure, name: str
) -> None:
    (tmp_path / "other").mkdir()
    ca = Authority(tmp_path, "company")
    make, reason = WRONG[name]
    said_why, requests = asked(context(make(ca, tmp_path)), ca_file=str(ca.cert))
    assert requests == 0
    assert KEY not in said_why
    assert re.search(f"not trusted.*({reason})", said_why), said_why
    figure(f"a provider whose certificate is {name}", "sent nothing")


def test_good_chains_are_taken(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "company")
    middle = Authority(tmp_path, "middle", above=ca)
    for pair in (ca.issue(HERE), middle.issue(HERE, with_chain=middle)):
        assert asked(context(pair), ca_file=str(ca.cert)) == ("answered", 1)
    without, _ = asked(context(ca.issue(HERE)))  # a company's authority is named, or not trusted
    assert "not trusted" in without


def test_old_protocols_are_not_spoken_to_a_provider(tmp_path: Path) -> None:
    ca = Authority(tmp_path, "company")
    tls = context(ca.issue(HERE))
    tls.set_ciphers("ALL:@SECLEVEL=0")
    with suppress(ValueError):
        tls.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    tls.maximum_version = ssl.TLSVersion.TLSv1_1
    why, requests = asked(tls, ca_file=str(ca.cert))
    assert "TLS" in why
    assert requests == 0


def test_a_plain_http_provider_behind_https_is_sent_nothing() -> None:
    with serving(lambda *_: said("x")) as far:
        url = f"https://{HERE}:{far.port}/v1"
        outbound = ProviderClient("far", far.provider().model_copy(update={"base_url": url}))
        with pytest.raises(WireError, match="TLS"):
            outbound.send("/chat/completions", b"{}", {}, within_s=5)
        assert not far.asked


def test_our_own_certificate_is_asked_for(tmp_path: Path) -> None:
    """mTLS: none, one of a stranger, an expired one and one of a host are all sent away."""
    ca, stranger = Authority(tmp_path, "company"), Authority(tmp_path, "stranger")
    tls = context(ca.issue(HERE), clients=ca)
    client = ExtendedKeyUsageOID.CLIENT_AUTH
    good = ca.issue("us", use=client, label="good")
    assert asked(tls, **ours(ca, good)) == ("answered", 1)
    for bad in (
        None,
        stranger.issue("us", use=client, label="strange"),
        ca.issue("us", use=client, days=(-9, -1), label="late"),
        ca.issue("us", label="host"),
    ):
        why, requests = asked(tls, **ours(ca, bad))
        assert why != "answered"
        assert requests == 0


def ours(ca: Authority, pair: Pair | None) -> dict[str, str]:
    told = {"ca_file": str(ca.cert)}
    if pair is None:
        return told
    return told | {"client_cert": str(pair.cert), "client_key": str(pair.key)}


@pytest.mark.slow
def test_the_server_speaks_no_old_protocol_and_none_in_clear(
    tmp_path: Path, figure: Figure
) -> None:
    ca = Authority(tmp_path, "company")
    pair = ca.issue(HERE)
    options = ("--tls-cert", pair.cert.name, "--tls-key", pair.key.name)
    with server(tmp_path, *options) as running:
        port = int(running.url.rpartition(":")[2])
        trusted = ssl.create_default_context(cafile=ca.cert)
        health = f"{running.url}/healthz"
        assert httpx.get(health, verify=trusted).json() == {"status": "ok"}
        with pytest.raises(httpx.ConnectError):  # who does not know the authority
            httpx.get(health)
        refused = 0
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.set_ciphers("ALL:@SECLEVEL=0")
            old.minimum_version = old.maximum_version = version
            refused += handshake(port, old) is None
        weak = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        weak.check_hostname, weak.verify_mode = False, ssl.CERT_NONE
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("NULL:aNULL:RC4:3DES:EXPORT:@SECLEVEL=0")
        refused += handshake(port, weak) is None
        assert refused == 3
        assert handshake(port, trusted) in ("TLSv1.2", "TLSv1.3")
        with socket.create_connection((HERE, port)) as plain:
            plain.settimeout(10)
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            with suppress(ConnectionError):
                assert b"HTTP" not in plain.recv(100)
        # Many who begin a handshake and do not go on stand in nobody's way.
        idle = [socket.create_connection((HERE, port)) for _ in range(100)]
        began = time.monotonic()
        assert httpx.get(health, verify=trusted, timeout=10).status_code == 200
        assert time.monotonic() - began < 10
        for connection in idle:
            connection.close()
    figure("old protocols and ciphers offered to the server, refused", f"{refused} of 3")


def handshake(port: int, tls: ssl.SSLContext) -> str | None:
    """The protocol that is agreed on; None: none is."""
    with socket.create_connection((HERE, port), timeout=10) as raw:
        try:
            with tls.wrap_socket(raw, server_hostname=HERE) as connection:
                return connection.version()
        except (ssl.SSLError, OSError):
            return None
