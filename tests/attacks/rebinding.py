"""A name whose addresses change from one question to the next, asked through the real resolver.

    unshare --map-root-user --net --mount python -m tests.attacks.rebinding FOLDER

In namespaces of its own, with its own resolv.conf, a small DNS server on loopback answers for
far.example. A provider stands at 93.184.216.34, which is public, and victims at loopback, private
and metadata addresses. Prints JSON: for each plan of answers, what became of the requests
(`said`), how many the provider had, and how many connections the victims.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, cycle, repeat
from pathlib import Path

from tests.attacks.certificates import Authority

from assay.config import Provider
from assay.errors import AssayError
from assay.generate.remote.connection import WireError
from assay.generate.remote.outbound import ProviderClient

NAME = "far.example"
PUBLIC, METADATA, PRIVATE = "93.184.216.34", "169.254.169.254", "10.9.8.7"
MAPPED, TRANSLATED = "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"
ROUNDS = 6

Answers = Sequence[str]
PLANS: dict[str, tuple[list[Answers], bool]] = {
    # What each question in turn is answered; the last goes on, or all begin again.
    "public": ([[PUBLIC]], False),
    "then loopback": ([[PUBLIC], ["127.0.0.1"]], False),
    "then metadata": ([[PUBLIC], [METADATA]], False),
    "then private": ([[PUBLIC], [PRIVATE]], False),
    "then IPv6 loopback": ([[PUBLIC], ["::1"]], False),
    "then mapped metadata": ([[PUBLIC], [MAPPED]], False),
    "then translated metadata": ([[PUBLIC], [TRANSLATED]], False),
    "then 0.0.0.0": ([[PUBLIC], ["0.0.0.0"]], False),
    "by turns": ([[PUBLIC], ["127.0.0.1"]], True),
    "both at once": ([[PUBLIC, "127.0.0.1"]], False),
    "both at once, public by IPv4": ([[PUBLIC, "::1"]], False),
}


class Resolver:
    """Answers questions for the name as a plan says, good for no second."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        self._plan: Iterator[Answers] = repeat(())
        self._now: dict[int, Answers] = {}
        threading.Thread(target=self._serve, daemon=True).start()

    def follow(self, plan: Iterator[Answers]) -> None:
        self._plan, self._now = plan, {}

    def _serve(self) -> None:
        while True:
            asked, who = self._socket.recvfrom(4096)
            self._socket.sendto(self._reply(asked), who)

    def _reply(self, asked: bytes) -> bytes:
        end = asked.index(b"\0", 12)
        kind = struct.unpack(">H", asked[end + 1 : end + 3])[0]
        # A program asks for A and AAAA at once: they are answered by one step of the plan.
        if kind not in self._now:
            self._now = dict.fromkeys((1, 28), next(self._plan))
        answers = self._now.pop(kind, ())
        records = []
        for address in map(ipaddress.ip_address, answers):
            if (kind, address.version) in ((1, 4), (28, 6)):
                data = address.packed
                records.append(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(data)) + data)
        head = asked[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0)
        return head + asked[12 : end + 5] + b"".join(records)


class Listener:
    """Counts whoever connects; where it has a certificate it answers."""

    def __init__(self, address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.connections = 0
        self._tls = tls
        self._listening = socket.create_server((address, port), family=family)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listening.accept()
            self.connections += 1
            with suppress(OSError), connection:
                if self._tls is not None:
                    with self._tls.wrap_socket(connection, server_side=True) as safe:
                        safe.recv(65536)
                        safe.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}")


def run(*command: str) -> None:
    subprocess.run(command, check=True)


def main(folder: Path) -> None:
    """See above."""
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    (folder / "nsswitch.conf").write_text("hosts: dns\n")
    for name in ("resolv.conf", "nsswitch.conf"):
        run("mount", "--bind", str(folder / name), str(Path("/etc", name).resolve()))
    run("ip", "link", "set", "lo", "up")
    for address in (PUBLIC, METADATA, PRIVATE):
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    ca = Authority(folder, "company")
    pair = ca.issue(NAME)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.cert, pair.key)
    resolver = Resolver()
    provider = Listener(PUBLIC, 443, tls)
    inside = ("127.0.0.1", METADATA, PRIVATE, "::1")
    victims = [Listener(address, port, tls) for address in inside for port in (80, 443)]
    told = Provider(base_url=f"https://{NAME}/v1", ca_file=str(ca.cert))
    results = {}
    for plan, (steps, again) in PLANS.items():
        resolver.follow(cycle(steps) if again else chain(steps, repeat(steps[-1])))
        before, hurt = provider.connections, sum(v.connections for v in victims)
        said = []
        outbound = ProviderClient("far", told)
        for _ in range(ROUNDS):
            try:
                outbound.send("/chat/completions", b"{}", {}, within_s=5).read()
                said.append("answered")
            except (AssayError, WireError) as error:
                said.append(type(error).__name__)
        outbound.close()
        results[plan] = {
            "said": said,
            "provider": provider.connections - before,
            "victims": sum(v.connections for v in victims) - hurt,
        }
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
