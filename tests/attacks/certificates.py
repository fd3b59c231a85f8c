"""Certificate authorities that are made for a test, and good and bad certificates of theirs."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


@dataclass
class Pair:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; of `above`, or its own root.

    Args:
        folder: where files are put.
    """

    def __init__(self, folder: Path, name: str, above: Authority | None = None) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        by, key = (above._name, above._key) if above else (self._name, self._key)
        made = _certificate(self._name, self._key, by, key, days=(-1, 1), authority=True)
        self.cert = folder / f"{name}.ca.pem"
        self.cert.write_bytes(made)

    def issue(
        self,
        host: str,
        *,
        days: tuple[int, int] = (-1, 1),
        with_chain: Authority | None = None,
        use: Any = ExtendedKeyUsageOID.SERVER_AUTH,
        label: str = "leaf",
    ) -> Pair:
        """A certificate for a host name or address.

        Args:
            days: from and until when it is good, counted from today.
            with_chain: whose certificate is put behind it.
            label: of the files.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        made = _certificate(name, key, self._name, self._key, days=days, host=host, use=use)
        pair = Pair(self._folder / f"{label}.pem", self._folder / f"{label}.key")
        pair.cert.write_bytes(made + (with_chain.cert.read_bytes() if with_chain else b""))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return pair


def _certificate(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    days: tuple[int, int],
    authority: bool = False,
    host: str = "",
    use: Any = None,
) -> bytes:
    today = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today + datetime.timedelta(days=days[0]))
        .not_valid_after(today + datetime.timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), True)
    )
    if use is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), False)
    if host:
        try:
            one: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            one = x509.DNSName(host)
        builder = builder.add_extension(x509.SubjectAlternativeName([one]), False)
    signed = builder.sign(issuer_key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
