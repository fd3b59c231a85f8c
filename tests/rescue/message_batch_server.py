"""A provider that answers in message batches, as Anthropic's reference describes them."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from tests.rescue.batch_server import BatchServer, Reply

PATH = "/v1/messages/batches"
STATUS = {"in_progress": "in_progress", "cancelling": "canceling"}
OUTCOME = {"cancelled": "canceled", "expired": "expired"}


class MessageBatchServer(BatchServer):
    """Message batches, kept in memory; a batch has no name, and its counts change at its end."""

    protocol, path = "anthropic", PATH
    lost: ClassVar = {one: f"far: the request is {outcome}" for one, outcome in OUTCOME.items()}

    def post(self, path: str, kind: str, body: bytes) -> Reply:
        if path == "/v1/messages":
            self.single[_text(json.loads(body))] += 1
            return 200, self._message(json.loads(body))
        if path.endswith("/cancel"):
            return self.cancel(path)
        assert path == PATH
        lines = [{**one, "body": one["params"]} for one in json.loads(body)["requests"]]
        assert len({one["custom_id"] for one in lines}) == len(lines)
        assert max(len(one["custom_id"]) for one in lines) <= 64
        for line in lines:
            self.asked[_text(line["body"])] += 1
        id = f"msgbatch_{len(self.batches)}"
        self.batches[id] = {
            "id": id,
            "status": "in_progress",
            "lines": lines,
            "looks": self.looks,
        }
        return 200, self._shown(self.batches[id])

    def get(self, path: str) -> Reply | str:
        path, _, query = path.partition("?")
        if path == PATH:
            newest = list(reversed(self.batches.values()))
            after = query.partition("after_id=")[2]
            start = next((n + 1 for n, one in enumerate(newest) if one["id"] == after), 0)
            page = [self._shown(one) for one in newest[start : start + 1]]
            return 200, {"data": page, "has_more": start + 1 < len(newest)}
        name = path.removeprefix(f"{PATH}/")
        if name.endswith("/results"):
            return self.files[name]
        batch = self.batches[name]
        batch["looks"] -= 1
        if batch["looks"] <= 0 and batch["status"] in ("in_progress", "cancelling"):
            self._end(batch)
        return 200, self._shown(batch)

    def confuse(self, id: str) -> None:
        """Let a newer batch be under way that has as many requests."""
        others = [{**one, "custom_id": f"x{one['custom_id']}"} for one in self.batches[id]["lines"]]
        self.batches["odd"] = {**self.batches[id], "id": "odd", "lines": others, "looks": 1}

    def _end(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.ends_as
        kept = 0 if self.ends_as == "failed" else self.kept
        results = [self._result(line) for line in batch["lines"][:kept]]
        other = OUTCOME.get(self.ends_as)
        if other is not None:
            results += [
                {"custom_id": one["custom_id"], "result": {"type": other}}
                for one in batch["lines"][kept:]
            ]
        if self.ends_as != "failed":
            self.files[f"{batch['id']}/results"] = "\n".join(map(json.dumps, reversed(results)))
        batch["results"] = results

    def _result(self, line: dict[str, Any]) -> dict[str, Any]:
        if self.status_of_line != 200:
            inner = {"type": "invalid_request_error", "message": "temperature: not supported"}
            failed = {"type": "errored", "error": {"type": "error", "error": inner}}
            return {"custom_id": line["custom_id"], "result": failed}
        result = {"type": "succeeded", "message": self._message(line["body"])}
        return {"custom_id": line["custom_id"], "result": result}

    def _message(self, params: dict[str, Any]) -> dict[str, Any]:
        text = self.answer({"messages": [{"content": _text(params)}]})
        return {
            "type": "message",
            "role": "assistant",
            "model": params["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 9, "output_tokens": 2},
        }

    def _shown(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch that fails is one whose results were archived."""
        outcomes = ("succeeded", "errored", "canceled", "expired")
        counts = dict.fromkeys(("processing", *outcomes), 0)
        results = batch.get("results")
        if results is None:
            counts["processing"] = len(batch["lines"])
        for one in results or ():
            counts[one["result"]["type"]] += 1
        url = f"https://elsewhere.example.com{PATH}/{batch['id']}/results"
        return {
            "id": batch["id"],
            "type": "message_batch",
            "processing_status": STATUS.get(batch["status"], "ended"),
            "request_counts": counts,
            "results_url": url if f"{batch['id']}/results" in self.files else None,
        }


def _text(params: dict[str, Any]) -> str:
    [block] = params["messages"][-1]["content"]
    text: str = block["text"]
    return text
