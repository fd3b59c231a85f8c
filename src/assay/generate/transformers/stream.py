"""Answers one at a time through transformers: for what llama.cpp cannot hold.

Simple rather than fast: one answer is generated at a time, token by token, the others wait in line
and are let in between answers.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from threading import BoundedSemaphore, Event, Lock
from typing import TYPE_CHECKING, Any

from assay.chat.template import Template
from assay.example import Message
from assay.generate.constrained import Constraint, Grammars
from assay.generate.prompts import chat_ids, check_room, text_ids
from assay.generate.stream import BusyError, End, Piece, Sampling, TokenLogprob
from assay.models.device import best_device, index_tensors
from assay.models.load import LoadedModel
from assay.prefix.batch import Batch
from assay.prefix.plain import PlainDecoder

if TYPE_CHECKING:
    from torch import Tensor

WAITING = 32
"""Answers that may wait for their turn."""
_LOOK_UP_S = 0.1
"""How often one that waits looks whether it was closed."""


class TransformersStreamEngine:
    """One loaded model; see `StreamEngine`.

    Args:
        read: loads the model, an adapter merged; called when it is needed, and again after
            `unload`.
        context_length: tokens that prompt and answer may have together.
        room: held while the model is loaded.
    """

    def __init__(
        self,
        read: Callable[[], LoadedModel],
        template: Template,
        tokenizer: Any,
        context_length: int,
        waiting: int = WAITING,
        room: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.template, self.context_length = template, context_length
        self.used = time.monotonic()
        self._read, self._tokenizer, self._room = read, tokenizer, room
        self._model: Any = None
        self._turn = Lock()
        self._places = BoundedSemaphore(waiting + 1)

    @property
    def is_loaded(self) -> bool:
        """Whether the model is in memory."""
        return self._model is not None

    def unload(self) -> None:
        """Forget the model; an answer under way keeps it to its end."""
        self._model = None

    def _load(self) -> Any:
        model = self._model
        if model is None:
            with self._room():
                model = self._read().model.to(best_device()).eval()
                rows = model.get_output_embeddings().weight.shape[0]
                self._grammars = Grammars(self._tokenizer, rows, self.template.stop_ids)
                self._model = model
        return model

    def chat(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]], sampling: Sampling
    ) -> Iterator[Piece | End]:
        """Continue a conversation, rendered by the model's chat template."""
        ids = chat_ids(self.template, messages, tools, self.context_length, sampling.owner)
        if sampling.calls:
            from assay.generate.call_grammar import with_grammar

            sampling = with_grammar(sampling, tools, self.template)
        return self._answer(ids, sampling)

    def complete(self, prompt: str | Sequence[int], sampling: Sampling) -> Iterator[Piece | End]:
        """Continue a text or token ids as they are."""
        ids = list(text_ids(self._tokenizer, prompt, self.context_length))
        return self._answer(ids, sampling)

    def _answer(self, ids: list[int], sampling: Sampling) -> Iterator[Piece | End]:
        closed = Event()
        return _Stream(self._answer_in_turn(ids, sampling, closed), closed)

    def _answer_in_turn(
        self, ids: list[int], sampling: Sampling, closed: Event
    ) -> Generator[Piece | End]:
        check_room(ids, self.context_length)
        if not self._places.acquire(blocking=False):
            raise BusyError("the queue of this model is full.", retry_after_s=10)
        try:
            while not self._turn.acquire(timeout=_LOOK_UP_S):
                if closed.is_set():
                    return
            try:
                self.used = time.monotonic()
                yield from self._generate(ids, sampling, closed)
            finally:
                self._turn.release()
        finally:
            self._places.release()

    def _constraint(self, sampling: Sampling) -> Constraint | None:
        rules = None if sampling.grammar is None else sampling.grammar.over_tokens
        return self._grammars.constraint(sampling.answer_schema, sampling.choices, rules)

    def _generate(self, ids: list[int], sampling: Sampling, closed: Event) -> Iterator[Piece | End]:
        model, constraint = self._load(), self._constraint(sampling)
        room, most = self.context_length - len(ids), sampling.max_new_tokens
        limit = room if most is None else min(most, room)
        chance = random.Random(sampling.seed)
        detokenizer = Detokenizer(self._tokenizer, sampling.stop)
        decoder, stopped = PlainDecoder(model), False
        count, logprob = 0, 0.0
        while len(detokenizer.tokens) < limit and not (stopped or closed.is_set()):
            with decoder.running():
                if detokenizer.tokens:
                    last = index_tensors(model.device, detokenizer.tokens[-1:])
                    logits = decoder.step([0], *last)[0].cpu()
                else:
                    logits = decoder.begin(Batch((0,), (tuple(ids),), (None,), limit))[0].cpu()
            token = self._draw(logits, detokenizer.tokens, sampling, constraint, chance)
            ends = token in self.template.stop_ids
            if constraint and not ends:
                constraint.accept(token)
            if sampling.confidence and not ends:  # the model's own, as in `TransformersBatchEngine`
                count, logprob = count + 1, logprob + float(logits.log_softmax(-1)[token])
            text = detokenizer.add(token, ends=ends)
            stopped = ends or detokenizer.stopped
            yield Piece(text, *self._describe_token(logits, token, sampling.logprobs))
        if rest := detokenizer.rest():
            yield Piece(rest)
        end = End("stop" if stopped else "length", len(ids), len(detokenizer.tokens))
        if sampling.confidence:
            end = replace(end, logprob=logprob, scored_tokens=count)
        yield end

    def _draw(
        self,
        logits: Tensor,
        tokens: list[int],
        sampling: Sampling,
        constraint: Constraint | None,
        chance: random.Random,
    ) -> int:
        import torch

        scores = logits.double()
        for token, bias in sampling.logit_bias.items():
            if 0 <= token < len(scores):
                scores[token] += bias
        for token, count in Counter(tokens).items():
            scores[token] -= sampling.presence_penalty + count * sampling.frequency_penalty
        allowed = self._grammars.masks([constraint], scores.shape[-1])
        if allowed is not None:
            scores = scores.masked_fill(~torch.from_numpy(allowed)[0], -math.inf)
        if sampling.temperature <= 0:
            return int(scores.argmax())
        weights, order = torch.softmax(scores / sampling.temperature, -1).sort(descending=True)
        before = weights.cumsum(0) - weights
        kept = weights[before < sampling.top_p]
        place = torch.searchsorted(kept.cumsum(0), chance.random() * float(kept.sum()), right=True)
        return int(order[min(int(place), len(kept) - 1)])

    def _describe_token(
        self, logits: Tensor, token: int, count: int | None
    ) -> tuple[TokenLogprob | None, tuple[TokenLogprob, ...]]:
        if count is None:
            return None, ()
        logs = logits.double().log_softmax(-1)
        best = logs.topk(count).indices.tolist() if count else []
        named = [self._name(t, float(logs[t])) for t in (token, *best)]
        return named[0], tuple(named[1:])

    def _name(self, token: int, logprob: float) -> TokenLogprob:
        text = "" if token in self.template.stop_ids else self._tokenizer.decode([token])
        return TokenLogprob(text, logprob, text.encode(), token)


class _Stream(Iterator[Piece | End]):
    """One answer; `close` may be called from any thread, also while it is waited for."""

    def __init__(self, pieces: Generator[Piece | End], closed: Event) -> None:
        self._pieces, self._closed = pieces, closed

    def __next__(self) -> Piece | End:
        return next(self._pieces)

    def close(self) -> None:
        """End it, at the next token where one is being made."""
        self._closed.set()
        with suppress(ValueError):  # it runs in another thread, which sees the mark
            self._pieces.close()


class Detokenizer:
    """Tokens as text, told in whole characters, held back where a stop text may have begun."""

    def __init__(self, tokenizer: Any, stop: Sequence[str]) -> None:
        self.tokens: list[int] = []
        self.stopped = False
        self._tokenizer, self._stop = tokenizer, [s for s in stop if s]
        self._kept: list[int] = []
        self._emitted = 0
        self._text = ""

    def add(self, token: int, *, ends: bool) -> str:
        """What can be told after one more token; `ends` if it is one that ends the answer."""
        self.tokens.append(token)
        if not ends:
            self._kept.append(token)
        text = self._tokenizer.decode(
            self._kept, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        places = [place for s in self._stop if (place := text.find(s)) >= 0]
        if places:
            self.stopped, text = True, text[: min(places)]
        self._text = text
        return self._take_until(len(text) if self.stopped or ends else self._settled_length(text))

    def rest(self) -> str:
        """What was held back, once nothing follows."""
        return self._take_until(len(self._text))

    def _settled_length(self, text: str) -> int:
        end = len(text.rstrip("\ufffd"))
        for stop in self._stop:
            for size in range(min(len(stop) - 1, end), 0, -1):
                if text.endswith(stop[:size], 0, end):
                    end -= size
                    break
        return end

    def _take_until(self, end: int) -> str:
        part = self._text[self._emitted : end]
        self._emitted = max(self._emitted, end)
        return part
