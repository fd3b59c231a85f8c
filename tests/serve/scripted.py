"""Engines that say what they are told to, and what was asked of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from assay.errors import ModelError
from assay.example import Message
from assay.generate.stream import End, Piece, Sampling, TokenLogprob

Script = Callable[[Sequence[Message], Sequence[dict[str, Any]], Sampling], str]


def echo(messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling) -> str:
    """The last message."""
    return messages[-1].content


@dataclass
class ScriptedEngine:
    """One token a word; `asked` and `open` (streams under way) are for the test to look at."""

    script: Script = echo
    pause_s: float = 0.0
    error: Exception | None = None
    asked: list[tuple[tuple[Message, ...], tuple[dict[str, Any], ...], Sampling]] = field(
        default_factory=list
    )
    open: int = 0
    context_length: int = 1000

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        self.asked.append((tuple(messages), tuple(tools), sampling))
        if self.error:
            raise self.error
        return self._say(self.script(messages, tools, sampling), len(messages), sampling)

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
        self.asked.append(((Message("user", text),), (), sampling))
        return self._say(f"{text}!", 1, sampling)

    def _say(self, text: str, prompt: int, sampling: Sampling) -> Iterator[Piece | End]:
        self.open += 1
        try:
            words = text.split(" ")
            spelled = [word if i == 0 else f" {word}" for i, word in enumerate(words)]
            most = sampling.max_new_tokens
            for word in spelled[:most]:
                time.sleep(self.pause_s)
                token = TokenLogprob(word, -0.5, word.encode())
                asked = sampling.logprobs
                yield Piece(word, token, (token,) * asked) if asked is not None else Piece(word)
            if sampling.logprobs is not None:  # real engines tell of the token that ends it, too
                end = TokenLogprob("", -0.1, b"")
                yield Piece("", end, (end,) * sampling.logprobs)
            cut = most is not None and most < len(spelled)
            yield End("length" if cut else "stop", prompt, len(spelled[:most]), 0)
        finally:
            self.open -= 1


class ScriptedEngines:
    """One engine for every model."""

    def __init__(self, engine: ScriptedEngine | None = None) -> None:
        self.the = engine or ScriptedEngine()
        self.models: list[str] = []
        self.missing: set[str] = set()

    def engine(self, model: str) -> ScriptedEngine:
        if model in self.missing:
            raise ModelError("it cannot be loaded.")
        self.models.append(model)
        return self.the

    def close(self) -> None:
        pass


class ThreeNumbers:
    """An embedder of lengths."""

    dimension, limit = 3, 5

    def encode(self, texts: Any) -> Any:
        return np.array([[len(t), 0, 1] for t in texts], dtype=np.float32)

    def lengths(self, texts: Any) -> list[int]:
        return [len(t.split()) for t in texts]
