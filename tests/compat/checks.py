"""What the file of a client is made of; the standard library alone.

    checks = Checks("openai")

    @checks.add("chat")
    def chat() -> None: ...          # returns, or raises what went wrong

    checks.run()                     # one JSON line for each on standard output

Each gets the server by OPENAI_BASE_URL and OPENAI_API_KEY, as the clients read them themselves.
Each limits every answer that it asks for: of a model this small some go on until the context is
full, minutes later. What has to be whole within its limit is asked for at temperature 0.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

NAMES = (
    *("chat", "stream", "tools", "structured output", "embeddings", "token ids"),
    *("responses", "previous response", "conversation"),
    *("files", "batches", "evals", "fine-tuning"),
)
"""What is looked at of a client, in the order of the table."""

MODEL = "smollm2-135m-instruct"
EMBEDDER = "all-minilm-l6-v2"
DIMENSION = 384
QUESTION = "Which city is the capital of France?"

Check = Callable[[], None]


class Checks:
    """What one client does.

    Attributes:
        package: as it is installed.
    """

    def __init__(self, package: str) -> None:
        self.package = package
        self._checks: dict[str, Check] = {}
        self._limits: dict[str, str | None] = {}

    def add(self, name: str, *, but: str | None = None) -> Callable[[Check], Check]:
        """Take a function as a check; the names are those of `NAMES`.

        Args:
            but: for the table: what has to be set for it, or what of it there is not.
        """
        assert name in NAMES, name

        def take(check: Check) -> Check:
            self._checks[name] = check
            self._limits[name] = but
            return check

        return take

    def run(self) -> None:
        """Run all, or those that are named on the command line."""
        _stay_on_loopback()
        wanted = sys.argv[1:] or list(NAMES)
        versions = {"version": version(self.package), "openai": version("openai")}
        _tell({"package": self.package, **versions})
        for name in NAMES:
            if name not in self._checks or name not in wanted:
                continue
            error = None
            try:
                self._checks[name]()
            except Exception as failed:  # whatever a client makes of it
                traceback.print_exc()
                error = f"{type(failed).__name__}: {failed}"[:2000]
            _tell({"check": name, "error": error, "but": self._limits[name]})


def expect(holds: bool, what: object) -> None:
    """Fail with what was found instead."""
    if not holds:
        raise AssertionError(f"found {what!r}")


def base_url() -> str:
    """Of the server, with `/v1`."""
    return os.environ["OPENAI_BASE_URL"]


def api_key() -> str:
    """An admin key of it."""
    return os.environ["OPENAI_API_KEY"]


def _tell(line: dict[str, Any]) -> None:
    sys.__stdout__.write(json.dumps(line) + "\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


def _stay_on_loopback() -> None:
    """Refuse every name and address but this machine's, so that what works needs nothing else."""
    look_up = socket.getaddrinfo

    def local(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in (None, "127.0.0.1", "::1", "localhost"):
            print(f"asked for {host!r}", file=sys.stderr)
            raise socket.gaierror(socket.EAI_NONAME, f"{host} is beyond this machine")
        return look_up(host, *args, **kwargs)

    socket.getaddrinfo = local
