"""What `assay serve` holds in memory: at rest, after its first answer, and after many requests.

    python bench/serve_memory.py [--requests 1000] [--json]

A server process over an empty folder answers mixed requests of nine clients with different
prompts (chats, completions, embeddings, lists, uploads, refusals) from the starter. Resident memory
is the process's own, shared files included; what files it maps and what it has itself is told
apart (Linux).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

STARTER, EMBEDDER = "smollm2-135m-instruct", "all-minilm-l6-v2"
CLIENTS = 9
MB = 2**20


@contextmanager
def served(folder: Path) -> Iterator[tuple[psutil.Process, httpx.Client]]:
    """A server process, and who asks it with its admin key."""
    output = folder / "output.txt"
    command = [sys.executable, "-P", "-m", "assay.cli.main", "serve", "--port", "0"]
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, env=os.environ)
    try:
        while not (found := re.search(r"Listening on (\S+)", output.read_text())):
            if process.poll() is not None:
                raise SystemExit(output.read_text())
            time.sleep(0.05)
        key = re.search(r"assay-[A-Za-z0-9_-]{16,}", output.read_text())
        headers = {"Authorization": f"Bearer {key[0] if key else ''}"}
        with httpx.Client(base_url=found[1], headers=headers, timeout=300) as http:
            yield psutil.Process(process.pid), http
    finally:
        process.terminate()
        process.wait()


def ask(http: httpx.Client, number: int) -> None:
    """One of the mixed requests."""
    client = number % CLIENTS
    text = f"You are assistant {client}. " + "Answer in one word. " * (1 + number % 7)
    kind = number % 10
    if kind < 4:
        turns = [{"role": "system", "content": text}, {"role": "user", "content": f"{number}?"}]
        body: dict[str, Any] = {"model": STARTER, "messages": turns, "max_tokens": 4}
        sent = http.post("/v1/chat/completions", json=body)
    elif kind == 4:
        body = {"model": STARTER, "prompt": text, "max_tokens": 2}
        sent = http.post("/v1/completions", json=body)
    elif kind == 5:
        sent = http.post("/v1/embeddings", json={"model": EMBEDDER, "input": [text] * 4})
    elif kind == 6:
        sent = http.get("/v1/models")
    elif kind == 7:
        files = {"file": ("a.txt", text.encode() * 20)}
        sent = http.post("/v1/files", files=files, data={"purpose": "user_data"})
    elif kind == 8:
        sent = http.post("/v1/responses", json={"model": STARTER, "input": [{}] * 50})
        assert sent.status_code == 400, sent.text
        return
    else:
        sent = http.get("/v1/files", params={"limit": 5})
    assert sent.status_code == 200, sent.text


def memory(process: psutil.Process) -> dict[str, int]:
    """MB: resident, and its own (anonymous)."""
    own = process.memory_full_info()
    return {"resident": own.rss // MB, "own": (own.rss - getattr(own, "shared", 0)) // MB}


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (process, http):
        rows.append({"after": 0, **memory(process)})
        steps = {1, 30, 100, 300, *range(1000, given.requests + 1, 1000), given.requests}
        for number in range(1, given.requests + 1):
            ask(http, number)
            if number in steps:
                rows.append({"after": number, **memory(process)})
    if given.json:
        print(json.dumps(rows))
        return
    print(f"{'requests':>9} {'resident':>9} {'own':>6}   MB")
    for row in rows:
        print("{after:9} {resident:9} {own:6}".format(**row))


if __name__ == "__main__":
    main()
