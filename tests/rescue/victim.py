"""Dies with SIGKILL again and again while an account is fetched, until nothing is left to fetch.

    python -m tests.rescue.victim FOLDER URL SEED

Each child dies before another step: a file that is opened to be written, renamed, removed or
brought to the disk, or bytes that come. Prints as JSON, after each death, what is complete, and
waits for a line; in the end how many have died.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from pathlib import Path
from threading import Lock
from typing import Any

from tests.rescue.server import KEY

from assay.config import Provider
from assay.generate.remote import connection
from assay.progress import SILENT
from assay.rescue import lists
from assay.rescue.account import Rescue
from assay.rescue.client import Access, AccountClient
from assay.rescue.folder import opened
from assay.rescue.manifest import Manifest
from assay.rescue.report import write_report

STEPS = frozenset({"os.rename", "os.remove", "os.truncate"})


def fetch(folder: Path, url: str) -> None:
    provider = Provider(base_url=url, private_network=["127.0.0.0/8"])
    with opened(folder) as own:
        manifest = Manifest(own)
        client = AccountClient(Access("openai", provider, KEY), backoff_s=0.01)
        manifest.bind(client.owner())
        Rescue(client, manifest, SILENT).run()
        write_report(manifest)


def die_at(step: int) -> None:
    """Count steps of all threads, and die before one of them."""
    left, lock = [step], Lock()

    def count() -> None:
        with lock:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        is_write = (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if is_write or event in STEPS:
            count()

    def counting(call: Any) -> Any:
        def counted(*args: Any) -> Any:
            count()
            return call(*args)

        return counted

    sys.addaudithook(hook)
    os.fsync = counting(os.fsync)
    os.write = counting(os.write)
    connection.Connection.recv_into = counting(connection.Connection.recv_into)  # type: ignore[method-assign]


def complete_in(folder: Path) -> list[tuple[str, str]]:
    if not (folder / "manifest.jsonl").exists():
        return []
    lines = (folder / "manifest.jsonl").read_bytes().split(b"\n")[:-1]
    entries = [json.loads(line) for line in lines]
    return [(one["kind"], one["id"]) for one in entries if one.get("status") == "complete"]


def main() -> None:
    folder, url, chance = Path(sys.argv[1]), sys.argv[2], random.Random(int(sys.argv[3]))
    killed, lists.LIMIT = 0, 10  # more pages to die between
    while True:
        step = chance.randrange(3, 60)
        child = os.fork()
        if child == 0:
            die_at(step)
            fetch(folder, url)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            print(json.dumps({"killed": killed}), flush=True)
            sys.exit(os.WEXITSTATUS(status))
        killed += 1
        print(json.dumps(complete_in(folder)), flush=True)
        if sys.stdin.readline() == "":  # the test has looked at the server
            sys.exit(1)


if __name__ == "__main__":
    main()
