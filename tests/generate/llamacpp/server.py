"""What tests of llama.cpp share: settings for two cores, a model, distributions by token id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.generate.tiny import byte_tokenizer

from assay.generate.llamacpp.request import body_of
from assay.generate.llamacpp.server import LlamaCppServer, ServerSettings
from assay.generate.llamacpp.slots import CacheOrigin, QueueTicket
from assay.generate.stream import Sampling
from assay.models.gguf_export import model_tensors, write_model

SERVER = ServerSettings(slots=2, context=512, threads=1, exact=True)


def write_tiny(path: Path, model: Any) -> Path:
    """A tiny model with the byte tokenizer as a GGUF file."""
    write_model(
        path,
        model.config,
        model_tensors(model),
        byte_tokenizer(),
        name="tiny",
        chat_template=None,
        stop_ids={258},
    )
    return path


def logprobs(
    server: LlamaCppServer, ids: list[int], steps: int, count: int, adapter: str | None = None
) -> list[dict[int, float]]:
    """Log-probabilities of the `count` most likely tokens at each of `steps` greedy steps."""
    told: list[dict[int, float]] = []

    def on_chunk(chunk: Any) -> bool:
        assert "error" not in chunk, chunk
        content = (chunk["choices"][0].get("logprobs") or {}).get("content") or []
        told.extend({t["id"]: t["logprob"] for t in raw["top_logprobs"]} for raw in content)
        return False

    slot = server.slots.acquire(CacheOrigin(adapter), ids, QueueTicket())
    assert slot is not None
    try:
        sampling = Sampling(max_new_tokens=steps, logprobs=count)
        # Tokens of half a character are not told of, so that each step asks for one token alone.
        for _ in range(steps):
            before = len(told)
            body = body_of(ids, sampling, server.settings.context)
            server.run({**body, "n_predict": 1}, slot, CacheOrigin(adapter), on_chunk)
            if len(told) == before:
                break
            ids = [*ids, max(told[-1], key=told[-1].__getitem__)]
    finally:
        server.slots.release(slot)
    return told
