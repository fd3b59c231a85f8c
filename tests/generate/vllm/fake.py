"""A small server on loopback that speaks vLLM's protocol, over a model that transformers runs.

What it knows of the protocol: `/version`, `/v1/models`, `/v1/completions` for token ids, streamed,
with usage, `token_id:N` and llguidance grammars, `/v1/load_lora_adapter`; errors in vLLM's words
and statuses, as vLLM 0.32.0 was seen to give them.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from assay.chat.template import Template
from assay.config import Vllm
from assay.errors import AssayError
from assay.generate.stream import End, Sampling
from assay.generate.transformers import stream as transformers_stream
from assay.generate.transformers.stream import TransformersStreamEngine
from assay.models.load import LoadedModel, load

_JSON = re.compile(r"%llguidance \{\}\nstart: %json (.*)", re.DOTALL)
_CHOICES = re.compile(r"%llguidance \{\}\nstart: CHOICE\nCHOICE: (\".*\")", re.DOTALL)


@dataclass
class FakeVllm:
    """A running server.

    Attributes:
        base: the folder of the model that it holds.
        asked: bodies of completions, in order.
        loaded: adapters put beside the base, by name.
        open: answers under way.
        takes_adapters: whether it was started with the variable that lets it.
        before_load: called before an adapter is loaded.
        misbehave: what it does instead of answering: `429`, `cut`, `error` or nothing.
        is_down: for which completions it is.
        version: which vLLM it calls itself.
        most_open: the most answers that were under way at once.
        context: tokens that a prompt and its answer may have.
    """

    base: str
    port: int = 0
    key: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    loaded: dict[str, str] = field(default_factory=dict)
    open: int = 0
    takes_adapters: bool = True
    before_load: Callable[[], object] = lambda: None
    misbehave: str = ""
    is_down: Callable[[dict[str, Any]], bool] = lambda body: False
    version: str = "0.12.0"
    most_open: int = 0
    context: int = 400
    engines: dict[str, TransformersStreamEngine] = field(default_factory=dict)

    @property
    def settings(self) -> Vllm:
        return Vllm(base_url=f"http://127.0.0.1:{self.port}/v1", timeout_s=20)

    def engine(self, name: str) -> TransformersStreamEngine:
        if name not in self.engines:
            adapter = self.loaded.get(name)
            made = load(self.base, adapter=Path(adapter) if adapter else None)
            self.engines[name] = _engine(made)
        return self.engines[name]

    def restart(self) -> None:
        """As a server that was started again: its adapters are forgotten."""
        self.loaded.clear()
        self.engines.clear()


def _engine(loaded: LoadedModel) -> TransformersStreamEngine:
    template = Template.of(loaded.tokenizer)
    return TransformersStreamEngine(
        lambda: loaded, template, loaded.tokenizer, loaded.context_length, waiting=1024
    )


class _MaskedSampler(transformers_stream._Sampler):
    """Tells log-probabilities as vLLM does: under a grammar, among the tokens that it allows."""

    _allowed: Any = None

    def draw(self, logits: Tensor, allowed: Any) -> Tensor:
        self._allowed = allowed
        return super().draw(logits, allowed)

    def describe(self, logits: Tensor, token: Tensor) -> Tensor:
        if self._allowed is not None:
            logits = logits.masked_fill(~torch.from_numpy(self._allowed)[0], -math.inf)
        return super().describe(logits, token)


def _sampling(body: dict[str, Any]) -> Sampling:
    schema, choices = None, None
    grammar = (body.get("structured_outputs") or {}).get("grammar")
    if grammar and (found := _JSON.fullmatch(grammar)):
        schema = json.loads(found[1])
        assert schema.pop("x-guidance")["item_separator"] == ", "
    elif grammar and (found := _CHOICES.fullmatch(grammar)):
        choices = tuple(json.loads(one) for one in found[1].split(" | "))
    assert body["top_k"] == -1
    assert body["repetition_penalty"] == 1.0
    return Sampling(
        max_new_tokens=body["max_tokens"],
        temperature=body["temperature"],
        top_p=body["top_p"],
        seed=body.get("seed"),
        stop=tuple(body["stop"]),
        logprobs=body.get("logprobs"),
        presence_penalty=body["presence_penalty"],
        frequency_penalty=body["frequency_penalty"],
        logit_bias={int(token): bias for token, bias in body.get("logit_bias", {}).items()},
        schema=schema,
        choices=choices,
    )


@contextmanager
def fake_vllm(base: str) -> Iterator[FakeVllm]:
    """Serve the model in the folder `base`."""
    fake, counting = FakeVllm(base), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self._unknown():
                return
            if self.path == "/version":
                self._send(200, {"version": fake.version})
                return
            lines = [{"id": fake.base, "root": fake.base, "max_model_len": fake.context}]
            lines += [{"id": name, "root": path} for name, path in fake.loaded.items()]
            self._send(200, {"object": "list", "data": lines})

        def do_POST(self) -> None:
            try:
                self._post()
            except OSError:
                self.close_connection = True  # nobody reads: vLLM gives the answer up, too

        def _post(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._unknown():
                return
            if self.path == "/v1/load_lora_adapter" and fake.takes_adapters:
                self._load(body)
            elif self.path == "/v1/completions":
                self._complete(body)
            else:
                self._send(404, {"detail": "Not Found"})

        def _unknown(self) -> bool:
            if fake.key and self.headers.get("Authorization") != f"Bearer {fake.key}":
                self._send(401, {"error": "Unauthorized"})
                return True
            return False

        def _load(self, body: dict[str, Any]) -> None:
            fake.before_load()
            name, path = body["lora_name"], body["lora_path"]
            if name in fake.loaded:
                again = "If you want to load the adapter in place, set 'load_inplace' to True."
                self._refuse(400, f"The lora adapter '{name}' has already been loaded. {again}")
            elif not (Path(path) / "adapter_config.json").is_file():
                self._refuse(404, f"Loading lora {name} failed: No adapter found for {path}")
            elif json.loads((Path(path) / "adapter_config.json").read_text())["r"] > 16:
                said = "Worker failed with error 'LoRA rank 32 is greater than max_lora_rank 16.'"
                self._refuse(500, f"Call to add_lora method failed: {said}")
            else:
                fake.loaded[name] = path
                text = f"Success: LoRA adapter '{name}' added successfully."
                self._send(200, text.encode())

        def _complete(self, body: dict[str, Any]) -> None:
            name = body["model"]
            fake.asked.append(body)
            if fake.is_down(body):
                self._refuse(500, "EngineCore has died")
                return
            if name != fake.base and name not in fake.loaded:
                self._refuse(404, f"The model `{name}` does not exist. Valid aliases: <path>")
                return
            if fake.misbehave == "429":
                self._refuse(429, "too many requests", {"Retry-After": "7"})
                return
            engine = fake.engine(name)
            assert set(body["stop_token_ids"]) == engine.template.stop_ids
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            with counting:
                fake.open += 1
                fake.most_open = max(fake.most_open, fake.open)
            try:
                self._stream(engine.complete(body["prompt"], _sampling(body)), body)
            except AssayError as error:
                self._event({"error": {"message": str(error), "code": 500}})
            finally:
                with counting:
                    fake.open -= 1

        def _stream(self, stream: Any, body: dict[str, Any]) -> None:
            for number, part in enumerate(stream):
                if number == 2 and fake.misbehave == "error":
                    self._event({"error": {"message": "EngineCore has died", "code": 500}})
                    return
                if number == 2 and fake.misbehave == "cut":
                    self.close_connection = True
                    return
                if isinstance(part, End):
                    self._event(_chunk("", finish=part.finish))
                    usage = {
                        "prompt_tokens": part.prompt_tokens,
                        "completion_tokens": part.completion_tokens,
                        "prompt_tokens_details": None,
                    }
                    self._event({"choices": [], "usage": usage})
                    continue
                told = None
                if body.get("logprobs") is not None and part.token is not None:
                    assert body["return_tokens_as_token_ids"]
                    top = {f"token_id:{t.id}": max(t.logprob, -9999.0) for t in part.top}
                    own = f"token_id:{part.token.id}"
                    told = {
                        "tokens": [own],
                        "token_logprobs": [part.token.logprob],
                        "top_logprobs": [{**top, own: part.token.logprob}],
                        "text_offset": [0],
                    }
                self._event(_chunk(part.text, told))
            self._chunk_of(b"data: [DONE]\n\n")
            self._chunk_of(b"")

        def _event(self, event: dict[str, Any]) -> None:
            self._chunk_of(f"data: {json.dumps(event)}\n\n".encode())

        def _chunk_of(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def _refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
            error = {"message": message, "type": "BadRequestError", "param": None, "code": status}
            self._send(status, {"error": error}, headers)

        def _send(
            self, status: int, body: dict[str, Any] | bytes, headers: dict[str, str] | None = None
        ) -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    fake.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with patch.object(transformers_stream, "_Sampler", _MaskedSampler):
            yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _chunk(
    text: str, logprobs: dict[str, Any] | None = None, finish: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": finish}
    return {"object": "text_completion", "choices": [choice], "usage": None}
