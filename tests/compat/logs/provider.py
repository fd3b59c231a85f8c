"""A stand-in for a provider: answers every question the same, in the protocol that is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

ANSWER = "cards"
QUESTION = "Where is my card?"
SYSTEM = "Name the desk that answers the message of the customer, and nothing else."
PARAMETERS = {"type": "object", "properties": {"card": {"type": "integer"}}, "required": ["card"]}
CALL = {"name": "find", "arguments": '{"card": 3}'}
JSON = "application/json"
_NUMBERS = count(1)


def _chat(asked: dict[str, Any], id: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": ANSWER}
    reason = "stop"
    if asked.get("tools"):
        call = {"id": "call_1", "type": "function", "function": CALL}
        message, reason = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
    return {
        "id": id,
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 1, "total_tokens": 31},
    }


def _response(asked: dict[str, Any], id: str) -> dict[str, Any]:
    text = {"type": "output_text", "text": ANSWER, "annotations": []}
    message = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
    output = [{"type": "reasoning", "id": "rs_1", "summary": []}, {**message, "content": [text]}]
    if asked.get("tools"):
        call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed"}
        output = [{**call, **CALL}]
    return {
        "id": id,
        "object": "response",
        "created_at": 1,
        "model": asked["model"],
        "status": "completed",
        "output": output,
        "instructions": asked.get("instructions"),
        "previous_response_id": asked.get("previous_response_id"),
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": asked.get("tools") or [],
        "metadata": {},
        "usage": {
            "input_tokens": 30,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 31,
        },
    }


def _message(asked: dict[str, Any], id: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": ANSWER}]
    if asked.get("tools"):
        input = json.loads(CALL["arguments"])
        content = [{"type": "tool_use", "id": "toolu_1", "name": CALL["name"], "input": input}]
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": "tool_use" if asked.get("tools") else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 30, "output_tokens": 1},
    }


def _chunks(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks of a chat that is streamed: of its text, word by word, and its end."""
    head = {**whole, "object": "chat.completion.chunk", "usage": None}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": ANSWER}]
    made = [{**head, "choices": [{"index": 0, "delta": one}]} for one in deltas]
    last = {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return [*made, last, {**head, "choices": [], "usage": whole["usage"]}]


def _events(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The first and the last event of a response that is streamed."""
    begun = {**whole, "status": "in_progress", "output": []}
    return [
        {"type": "response.created", "response": begun, "sequence_number": 0},
        {"type": "response.completed", "response": whole, "sequence_number": 1},
    ]


_ANSWERS = {
    "/chat/completions": ("chatcmpl", _chat, _chunks),
    "/responses": ("resp", _response, _events),
    "/messages": ("msg", _message, None),
}


def _answer(path: str, asked: dict[str, Any]) -> tuple[str, str]:
    kind, answer, pieces = next(one for end, one in _ANSWERS.items() if path.endswith(end))
    whole = answer(asked, f"{kind}_{next(_NUMBERS)}")
    if not asked.get("stream"):
        return json.dumps(whole), JSON
    assert pieces is not None
    events = "".join(f"data: {json.dumps(one)}\n\n" for one in pieces(whole))
    return f"{events}data: [DONE]\n\n", "text/event-stream"


@contextmanager
def serving(answer: Callable[[str, dict[str, Any]], tuple[str, str]]) -> Iterator[str]:
    """The address of a server, as long as it runs.

    Args:
        answer: to the path and the JSON of a request: a body and its type.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body, type = answer(self.path, asked)
            sent = body.encode()
            self.send_response(200)
            self.send_header("Content-Type", type)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def provider() -> AbstractContextManager[str]:
    """Its address, as long as it runs."""
    return serving(_answer)
