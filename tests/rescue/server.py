"""A server on loopback that speaks the part of OpenAI's API that an account is fetched by, and
whose models answer by a rule.

Lists are paged by `after` and `limit`; faults are told what to do with each request.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

OTHER_KEY = "sk-proj-other5e2b7f00ofAnotherProject00"
KEY = "sk-proj-canary7f3e9a1cdoNotPrint0000"
MOST = 100


@dataclass
class Fault:
    """What is sent in the place of the right reply; `cut` sends half of it, `wait` sleeps first,
    `halfway` in the middle of it."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    wait: float = 0.0
    halfway: float = 0.0


def error(status: int, message: str, code: str | None = None, **headers: str) -> Fault:
    inner = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return Fault(status, json.dumps({"error": inner}).encode(), headers)


Faults = Callable[[str, int], Fault | None]
Body = dict[str, Any]


def count_words(text: str) -> int:
    return len(text.split())


def completion(
    body: Body, answer: str | Body, tokens_of: Callable[[str], int] = count_words
) -> Body:
    """A chat completion as OpenAI words it; log-probabilities are of words.

    Args:
        answer: a text, or the message of one that calls functions.
        tokens_of: how many tokens a text is billed as.
    """
    message: Body = {"role": "assistant", "content": answer} if isinstance(answer, str) else answer
    calls = message.get("tool_calls", ())
    text = message["content"] or " ".join(one["function"]["arguments"] for one in calls)
    words = [word if i == 0 else f" {word}" for i, word in enumerate(text.split(" "))]
    told = None
    if body.get("logprobs") and not calls:  # of calls it tells none
        each = [{"token": w, "bytes": list(w.encode()), "logprob": -0.25} for w in words]
        told = {"content": [one | {"top_logprobs": [dict(one)]} for one in each]}
    prompt = sum(tokens_of(turn["content"] or "") for turn in body["messages"])
    if "tools" in body:
        prompt += tokens_of(json.dumps(body["tools"]))
    said = tokens_of(text)
    return {
        "id": "chatcmpl-new",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls" if calls else "stop",
                "logprobs": told,
                "message": message,
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": said,
            "total_tokens": prompt + said,
        },
    }


@dataclass
class Account:
    """What the server holds: lists by path, objects by path, contents by path."""

    lists: dict[str, list[dict[str, Any]]]
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)


def chat_row(number: int) -> bytes:
    messages = [
        {"role": "user", "content": f"Wo ist Karte {number}? ü€"},
        {"role": "assistant", "content": "card_arrival" if number % 2 else "lost_card"},
    ]
    return json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n"


def small_account(completions: int = 7, items: int = 230) -> Account:
    """Two jobs and one that runs, two evals, stored completions, files of several purposes."""
    training = b"".join(chat_row(number) for number in range(400))
    result = base64.b64encode(b"step,train_loss\n1,0.5\n")
    contents = {
        "file-train": training,
        "file-eval": b'{"item": {"q": "1"}}\n',
        "file-result": result,
    }

    def file(id: str, purpose: str, size: int, name: str) -> dict[str, Any]:
        return {
            "id": id,
            "object": "file",
            "bytes": size,
            "created_at": 1700000000,
            "filename": name,
            "purpose": purpose,
            "status": "processed",
            "expires_at": None,
        }

    files = [
        file("file-train", "fine-tune", len(training), "tickets.jsonl"),
        file("file-eval", "evals", len(contents["file-eval"]), "../../etc/passwd"),
        file("file-result", "fine-tune-results", 22, "step_metrics.csv"),
        file("file-batch", "batch", 10, "batch.jsonl"),
    ]

    def job(id: str, **more: Any) -> dict[str, Any]:
        given = {
            "object": "fine_tuning.job",
            "id": id,
            "model": "gpt-4o-mini-2024-07-18",
            "created_at": 1721764800,
            "fine_tuned_model": None,
            "organization_id": "org-1",
            "result_files": [],
            "status": "succeeded",
            "validation_file": None,
            "seed": 1,
            "training_file": "file-train",
            "error": None,
            "finished_at": None,
            "hyperparameters": {"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 1.8},
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        }
        return given | more

    jobs = [
        job("ftjob-2", status="paused_by_moon", a_new_field={"of": [1, None]}),
        job(
            "ftjob-1",
            fine_tuned_model="ft:gpt-4o-mini-2024-07-18:acme::abc",
            result_files=["file-result"],
            trained_tokens=5768,
        ),
    ]
    events = [
        {
            "object": "fine_tuning.job.event",
            "id": f"ftevent-{n}",
            "created_at": n,
            "level": "info",
            "message": f"Step {n}",
            "data": {"step": n},
            "type": "metrics",
        }
        for n in range(150)
    ]
    checkpoint = {
        "object": "fine_tuning.job.checkpoint",
        "id": "ftckpt_1",
        "created_at": 1,
        "fine_tuned_model_checkpoint": "ft:gpt-4o-mini-2024-07-18:acme::abc:ckpt-step-90",
        "metrics": {"full_valid_loss": 0.13},
        "fine_tuning_job_id": "ftjob-1",
        "step_number": 90,
    }
    evals: list[dict[str, Any]] = [
        {
            "object": "eval",
            "id": f"eval_{n}",
            "name": f"Eval {n}",
            "created_at": n,
            "data_source_config": {"type": "custom", "schema": {}},
            "metadata": {},
            "testing_criteria": [],
        }
        for n in (1, 2)
    ]
    run = {
        "object": "eval.run",
        "id": "evalrun_1",
        "eval_id": "eval_1",
        "status": "completed",
        "model": "gpt-4o-mini",
        "name": "run",
        "created_at": 1,
        "metadata": {},
        "error": None,
        "per_model_usage": [],
        "per_testing_criteria_results": [],
        "report_url": "https://x",
        "result_counts": {"total": items, "errored": 0, "failed": 0, "passed": items},
        "data_source": {"type": "jsonl", "source": {"type": "file_id", "id": "file-eval"}},
    }
    output = [
        {
            "object": "eval.run.output_item",
            "id": f"outputitem_{n}",
            "created_at": n,
            "run_id": "evalrun_1",
            "eval_id": "eval_1",
            "status": "pass",
            "datasource_item_id": n,
            "datasource_item": {"q": "ü"},
            "results": [],
            "sample": {"input": [], "output": [{"role": "assistant", "content": f"answer {n}"}]},
        }
        for n in range(items)
    ]
    stored = [
        {
            "object": "chat.completion",
            "id": f"chatcmpl-{n}",
            "created": n,
            "model": "gpt-4o",
            "metadata": {},
            "usage": {},
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "logprobs": None,
                    "message": {"role": "assistant", "content": f"half \ud83d of {n}"},
                }
            ],
        }
        for n in range(completions)
    ]
    models = [
        {"id": "gpt-4o-mini-2024-07-18", "object": "model", "created": 1, "owned_by": "system"},
        {
            "id": "ft:gpt-4.1-2025-04-14:acme::old",
            "object": "model",
            "created": 1,
            "owned_by": "acme",
            "shutdown_date": "2027-01-05",
        },
    ]
    lists = {
        "/models": models,
        "/files": files,
        "/fine_tuning/jobs": jobs,
        "/evals": evals,
        "/fine_tuning/jobs/ftjob-1/events": events[::-1],
        "/fine_tuning/jobs/ftjob-1/checkpoints": [checkpoint],
        "/fine_tuning/jobs/ftjob-2/events": [],
        "/fine_tuning/jobs/ftjob-2/checkpoints": [],
        "/evals/eval_1/runs": [run],
        "/evals/eval_2/runs": [],
        "/evals/eval_1/runs/evalrun_1/output_items": output,
        "/chat/completions": stored,
    }
    for one in stored:
        message = {"id": f"{one['id']}-0", "role": "user", "content": f"<b>{one['id']}</b>"}
        lists[f"/chat/completions/{one['id']}/messages"] = [message]
    objects = {f"/fine_tuning/jobs/{one['id']}": one for one in jobs}
    objects |= {f"/files/{one['id']}": one for one in files}
    whole = {f"/files/{id}/content": body for id, body in contents.items()}
    return Account(lists, objects, whole)


@dataclass
class AccountServer:
    """A running server.

    Attributes:
        requests: path with query of each, in their order.
        faults: given the path with its query, and how often it was asked for before.
        methods: that were used.
        answer: what every model says to the body of a request; `posted`: these bodies, in order.
        tokens_of: how many tokens a text is billed as.
    """

    account: Account
    url: str = ""
    requests: list[str] = field(default_factory=list)
    methods: set[str] = field(default_factory=set)
    faults: Faults = lambda path, times: None
    answer: Callable[[Body], str | Body] = lambda body: "card_arrival"
    posted: list[Body] = field(default_factory=list)
    tokens_of: Callable[[str], int] = count_words

    @contextmanager
    def running(self) -> Iterator[AccountServer]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def asked(self, path: str) -> int:
        """How often a path was asked for, with whatever query."""
        return sum(one.partition("?")[0] == path for one in self.requests)

    def _page(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        items = self.account.lists[path]
        if path == "/models":
            return {"object": "list", "data": items}
        limit = int(query.get("limit", ["20"])[0])
        assert 1 <= limit <= MOST
        start = 0
        if after := query.get("after"):
            start = [one["id"] for one in items].index(after[0]) + 1
        page = items[start : start + limit]
        ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {}
        return {"object": "list", "data": page, "has_more": start + limit < len(items), **ends}

    def _reply(
        self, target: str, authorization: str, times: int, body: Body | None = None
    ) -> Fault:
        if authorization not in (f"Bearer {KEY}", f"Bearer {OTHER_KEY}"):
            return error(401, f"Incorrect API key provided: {authorization}", "invalid_api_key")
        fault = self.faults(target, times)
        if fault is not None and fault.body is not None:
            return fault
        fault = fault or Fault()
        if body is not None:
            fault.body = json.dumps(completion(body, self.answer(body), self.tokens_of)).encode()
            return fault
        parts = urlsplit(target)
        if parts.path in self.account.contents:
            fault.headers = {"Content-Type": "application/octet-stream", **fault.headers}
            fault.body = self.account.contents[parts.path]
        elif parts.path in self.account.lists:
            fault.body = json.dumps(self._page(parts.path, parse_qs(parts.query))).encode()
        elif parts.path in self.account.objects:
            fault.body = json.dumps(self.account.objects[parts.path]).encode()
        else:
            return error(404, f"No such thing: {parts.path}", "not_found")
        return fault

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        mine, counts, lock = self, Counter[str](), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                target = self.path.removeprefix("/v1")
                with lock:
                    mine.requests.append(target)
                    mine.methods.add(self.command)
                    times = counts[target]
                    counts[target] += 1
                asked = None
                if self.command == "POST" and target == "/chat/completions":
                    asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                    with lock:
                        mine.posted.append(asked)
                fault = mine._reply(target, self.headers.get("Authorization", ""), times, asked)
                time.sleep(fault.wait)
                body = fault.body or b""
                with suppress(OSError):
                    self.send_response(fault.status)
                    headers = {"Content-Type": "application/json", **fault.headers}
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body[: len(body) // 2])
                    time.sleep(fault.halfway)
                    self.wfile.write(b"" if fault.cut else body[len(body) // 2 :])
                    self.close_connection |= fault.cut

            do_POST = do_GET  # noqa: N815
            do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
