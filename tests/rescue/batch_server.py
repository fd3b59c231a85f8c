"""A provider that answers in batches, as OpenAI's reference describes them.

with BatchServer(answer).running() as server: ...
killed(work, 3)
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import ModuleType
from typing import Any, ClassVar

from tests.rescue.server import completion

from assay.evaluate import run
from assay.generate.remote import provider_batch
from assay.generate.remote.outbound import ProviderClient

Reply = tuple[int, Any]


class BatchServer:
    """Files, batches and their answers, kept in memory.

    Attributes:
        looks: how often a batch is looked at before it is over.
        done: how many of its answers are told of until then.
        ends_as: its status then; `kept` of its answers are there.
        failing: methods and paths, or how these begin: the next such request is done, and answered
            with 500.
        asked: how often each input was asked, over all batches.
        single: how often each input was asked by a request of its own.
    """

    protocol, path = "openai", "/v1/batches"
    lost: ClassVar = {
        "cancelled": "the batch is cancelled",
        "expired": "far: it could not be executed in time",
    }
    """What is said of requests without an answer."""

    def __init__(self, answer: Callable[[dict[str, Any]], str]) -> None:
        self.answer = answer
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()
        self.single: Counter[str] = Counter()
        self.looks, self.ends_as, self.kept = 2, "completed", 1_000_000
        self.done = 0
        self.failing: list[str] = []
        self.status_of_line = 200
        self.url = ""

    @contextmanager
    def running(self) -> Iterator[BatchServer]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()

    def post(self, path: str, kind: str, body: bytes) -> Reply:
        if path == "/v1/files":
            mark = b"--" + kind.partition("boundary=")[2].encode()
            purpose, content = (part.partition(b"\r\n\r\n")[2] for part in body.split(mark)[1:3])
            assert purpose.strip() == b"batch"
            id = f"file-{len(self.files)}"
            self.files[id] = content.decode().strip()
            return 200, {"id": id, "object": "file"}
        if path == "/v1/chat/completions":
            asked = json.loads(body)
            self.single[asked["messages"][-1]["content"]] += 1
            return 200, completion(asked, self.answer(asked))
        if path.endswith("/cancel"):
            return self.cancel(path)
        assert path == "/v1/batches"
        made = json.loads(body)
        assert made["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[made["input_file_id"]].splitlines()]
        for line in lines:
            self.asked[line["body"]["messages"][-1]["content"]] += 1
        id = f"batch_{len(self.batches)}"
        total = {"total": len(lines), "completed": 0, "failed": 0}
        self.batches[id] = {
            "id": id,
            "status": "in_progress",
            "metadata": made["metadata"],
            "request_counts": total,
            "lines": lines,
            "looks": self.looks,
        }
        return 200, self._shown(self.batches[id])

    def get(self, path: str) -> Reply | str:
        path, _, query = path.partition("?")
        if path == "/v1/batches":
            newest = list(reversed(self.batches.values()))
            after = query.partition("after=")[2]
            start = next((n + 1 for n, one in enumerate(newest) if one["id"] == after), 0)
            page = [self._shown(one) for one in newest[start : start + 1]]
            return 200, {"data": page, "has_more": start + 1 < len(newest)}
        name = path.removeprefix("/v1/batches/")
        if name in self.batches:
            batch = self.batches[name]
            batch["looks"] -= 1
            if self.done:
                batch["request_counts"]["completed"] = self.done
            if batch["looks"] <= 0 and batch["status"] in ("in_progress", "cancelling"):
                self._end(batch)
            return 200, self._shown(batch)
        return self.files[path.removeprefix("/v1/files/").removesuffix("/content")]

    def cancel(self, path: str) -> Reply:
        """It is over when it is looked at next."""
        batch = self.batches[path.removeprefix(f"{self.path}/").removesuffix("/cancel")]
        if batch["status"] != "in_progress":
            return 409, {"error": {"message": "it is over"}}
        batch["status"], batch["looks"], self.ends_as = "cancelling", 1, "cancelled"
        return 200, self._shown(batch)

    def confuse(self, id: str) -> None:
        """Let the counts of a batch be none, and a newer batch be odd."""
        self.batches[id]["request_counts"] = ["?"]
        self.batches["odd"] = {"id": "odd", "metadata": "?"}

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.ends_as
        if self.ends_as == "failed":
            batch["errors"] = {"data": [{"message": "the file is not valid"}]}
            return
        answers = [self._answered(line) for line in reversed(batch["lines"][: self.kept])]
        batch["output_file_id"] = f"{batch['id']}-out"
        self.files[f"{batch['id']}-out"] = "\n".join(map(json.dumps, answers))
        if self.ends_as == "expired":
            late = batch["lines"][self.kept :]
            error = {"code": "batch_expired", "message": "it could not be executed in time"}
            batch["error_file_id"] = f"{batch['id']}-errors"
            lines = [{"custom_id": n["custom_id"], "response": None, "error": error} for n in late]
            self.files[f"{batch['id']}-errors"] = "\n".join(map(json.dumps, lines))

    def _answered(self, line: dict[str, Any]) -> dict[str, Any]:
        body: Any = {"error": {"message": "logprobs is not supported", "param": "logprobs"}}
        if self.status_of_line == 200:
            body = completion(line["body"], self.answer(line["body"]))
        reply = {"status_code": self.status_of_line, "body": body}
        return {"custom_id": line["custom_id"], "response": reply, "error": None}

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in batch.items() if name not in ("lines", "looks")}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        account = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._send(account.post(self.path, self.headers["Content-Type"], body))

            def do_GET(self) -> None:
                self._send(account.get(self.path))

            def _send(self, reply: Reply | str) -> None:
                status, value = (200, reply) if isinstance(reply, str) else reply
                for prefix in account.failing:
                    if f"{self.command} {self.path}".startswith(prefix):
                        account.failing.remove(prefix)
                        status, value = 500, {"error": {"message": "oops"}}
                        break
                raw = (value if isinstance(value, str) else json.dumps(value)).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def killed(work: Callable[[], object], step: int, *writes: tuple[ModuleType, str]) -> bool:
    """Whether SIGKILL before the step-th request or write ended a work in another process.

    Args:
        writes: modules with the names of further functions that count.
    """
    child = os.fork()
    if child == 0:
        steps = 0

        def counted(call: Any) -> Any:
            def counting(*args: Any, **named: Any) -> Any:
                nonlocal steps
                steps += 1
                if steps == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **named)

            return counting

        try:
            ProviderClient.send = counted(ProviderClient.send)  # type: ignore[method-assign]
            for module, name in (
                *((one, "write_atomic") for one in (provider_batch, run)),
                *writes,
            ):
                setattr(module, name, counted(getattr(module, name)))
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
