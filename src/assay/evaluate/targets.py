"""Where a version may answer, as the gate sees it: a folder, a GGUF file, a serving engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

from assay.chat.template import Template
from assay.errors import ModelError
from assay.generate.batch import Answer, Request
from assay.generate.llamacpp.engine import AdapterServer, LlamaCppEngine
from assay.generate.llamacpp.server import LlamaCppServer, ServerSettings
from assay.generate.stream import Piece, Sampling, StreamEngine
from assay.generate.stream_batch import StreamBatchEngine
from assay.generate.transformers.batch import TransformersBatchEngine
from assay.models.load import LoadedModel

TOLD = 50
"""Most likely tokens asked for where distributions are compared."""


class ServingTarget:
    """An engine that serves.

    Args:
        render: the ids its model reads, where the engine does not render by `assay.chat` itself.
        bits: of a weight.
    """

    def __init__(
        self,
        engine: StreamEngine,
        template: Template,
        render: Callable[[Request], list[int]] | None = None,
        at_once: int = 8,
        bits: int = 16,
    ) -> None:
        self._engine, self._template, self._at_once = engine, template, at_once
        self._render, self.bits = render, bits

    def render(self, request: Request) -> list[int]:
        """The token ids that its model would read."""
        if self._render is not None:
            return self._render(request)
        return self._template.prompt(request.messages, request.tools)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer for each request, in their order."""
        return StreamBatchEngine(self._engine, self._template, {}, self._at_once).answer(requests)

    def expects(self, ids: Sequence[int]) -> dict[int, float]:
        """Log-probabilities of the tokens most likely to come after `ids`, by id."""
        asked = Sampling(max_new_tokens=1, logprobs=TOLD)
        found: dict[int, float] = {}
        for part in self._engine.complete(ids, asked):  # to its end: one token
            if isinstance(part, Piece) and part.top and not found:
                found = {top.id: top.logprob for top in part.top if top.id is not None}
        return found


class GgufTarget(ServingTarget):
    """A GGUF file as any llama.cpp would read it: its own template and its own tokenizer render."""

    def __init__(
        self,
        file: Path,
        template: Template,
        tokenizer: Any,
        settings: ServerSettings,
        bits: int = 16,
    ) -> None:
        family = AdapterServer(file, settings, 0)
        self._server: LlamaCppServer = family.server(None)
        engine = LlamaCppEngine(family, template, tokenizer)
        super().__init__(engine, template, self._by_llama_cpp, settings.slots, bits)

    def _by_llama_cpp(self, request: Request) -> list[int]:
        messages = [message.to_dict() for message in request.messages]
        asked: dict[str, Any] = {"messages": messages}
        if request.tools:
            asked["tools"] = list(request.tools)
        text = self._post("/apply-template", asked)["prompt"]
        spelled = {"content": text, "add_special": True, "parse_special": True}
        ids: list[int] = self._post("/tokenize", spelled)["tokens"]
        return ids

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        reply = httpx.post(
            self._server.address + path,
            content=json.dumps(body),
            headers={"Authorization": f"Bearer {self._server.key}"},
            timeout=60,
            trust_env=False,  # a proxy must see neither the prompts nor the key
        )
        if reply.status_code != 200:
            raise ModelError(f"llama.cpp cannot render a prompt ({reply.text[:200]}).")
        return reply.json()


class FolderTarget:
    """A folder of weights as transformers and PEFT read it.

    Args:
        loaded: read from that folder.
        template: made of the tokenizer in that folder.
    """

    bits = 16

    def __init__(self, loaded: LoadedModel, template: Template) -> None:
        self._engine = TransformersBatchEngine(loaded, template)

    def render(self, request: Request) -> list[int]:
        """The token ids that its model would read."""
        return self._engine.template.prompt(request.messages, request.tools)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """One answer for each request, in their order."""
        return self._engine.answer(requests)

    def expects(self, ids: Sequence[int]) -> dict[int, float]:
        """Log-probabilities of all tokens after `ids`, by id."""
        import torch

        model = self._engine.model
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([list(ids)], device=model.device)).logits[0, -1]
        return dict(enumerate(logits.double().log_softmax(-1).tolist()))
