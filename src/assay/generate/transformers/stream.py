"""Answers one at a time through transformers: for what llama.cpp cannot hold.

Simple rather than fast: one answer is generated at a time, token by token, the others wait in line
and are let in between answers.
"""

from __future__ import annotations

import math
import random
import time
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
from assay.models.device import best_device, index_tensors, start_reading, to_device
from assay.models.load import LoadedModel
from assay.prefix.batch import Batch
from assay.prefix.plain import PlainDecoder

if TYPE_CHECKING:
    import numpy as np
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
        self.ahead = False  # until the model is loaded; see `TransformersBatchEngine`
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
                self.ahead = model.device.type == "cuda"
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
        if closed.is_set():
            return
        room, most = self.context_length - len(ids), sampling.max_new_tokens
        limit = room if most is None else min(most, room)
        is_ahead = self.ahead and constraint is None
        detokenizer = Detokenizer(self._tokenizer, sampling.stop)
        decoder, stopped = PlainDecoder(model), False
        count, logprob = 0, 0.0
        with decoder.running():
            logits = decoder.begin(Batch((0,), (tuple(ids),), (None,), limit))[0]
            sampler = _Sampler(sampling, logits)
        for chosen in range(1, limit + 1):
            with decoder.running():
                allowed = self._grammars.masks([constraint], len(logits))
                token = sampler.draw(logits, allowed)
                figures = start_reading(sampler.describe(logits, token))
                if is_ahead and chosen < limit:
                    logits = decoder.step([0], token[None])[0]
            number, own, *logs = figures()
            place = int(number)
            ends = place in self.template.stop_ids
            if constraint and not ends:
                constraint.accept(place)
            if sampling.confidence and not ends:  # the model's own, as in `TransformersBatchEngine`
                count, logprob = count + 1, logprob + own
            text = detokenizer.add(place, ends=ends)
            stopped = ends or detokenizer.stopped
            yield Piece(text, *self._describe_token(place, logs, sampling.logprobs))
            if stopped or closed.is_set():
                break
            if not is_ahead and chosen < limit:
                with decoder.running():
                    logits = decoder.step([0], token[None])[0]
        if rest := detokenizer.rest():
            yield Piece(rest)
        end = End("stop" if stopped else "length", len(ids), len(detokenizer.tokens))
        if sampling.confidence:
            end = replace(end, logprob=logprob, scored_tokens=count)
        yield end

    def _describe_token(
        self, token: int, logs: list[float], count: int | None
    ) -> tuple[TokenLogprob | None, tuple[TokenLogprob, ...]]:
        if count is None:
            return None, ()
        own, best, of_best = logs[0], logs[1 : 1 + count], logs[1 + count :]
        named = [self._name(int(t), log) for t, log in zip(best, of_best, strict=True)]
        return self._name(token, own), tuple(named)

    def _name(self, token: int, logprob: float) -> TokenLogprob:
        text = "" if token in self.template.stop_ids else self._tokenizer.decode([token])
        return TokenLogprob(text, logprob, text.encode(), token)


class _Sampler:
    """Chooses the tokens of an answer where the logits are; nothing is read there.

    Args:
        logits: [V] of any token, on the device.
    """

    def __init__(self, sampling: Sampling, logits: Tensor) -> None:
        import torch

        self._sampling, self._chance = sampling, random.Random(sampling.seed)
        known = {t: bias for t, bias in sampling.logit_bias.items() if 0 <= t < len(logits)}
        bias = torch.tensor(list(known.values()), dtype=torch.float64)
        self._bias = to_device(bias, logits.device)
        (self._biased,) = index_tensors(logits.device, list(known))
        self._times: Tensor | None = None
        if sampling.presence_penalty or sampling.frequency_penalty:
            self._times = logits.new_zeros(len(logits), dtype=torch.float64)

    def draw(self, logits: Tensor, allowed: np.ndarray[Any, Any] | None) -> Tensor:
        """[] the next token, given logits [V] and, under a grammar, what may follow [1, V]."""
        import torch

        sampling, scores = self._sampling, logits.double()
        if len(self._biased):
            scores = scores.index_add(0, self._biased, self._bias)
        if self._times is not None:
            penalty = sampling.presence_penalty + self._times * sampling.frequency_penalty
            scores = torch.where(self._times > 0, scores - penalty, scores)
        if allowed is not None:
            hidden = to_device(~torch.from_numpy(allowed)[0], logits.device)
            scores = scores.masked_fill(hidden, -math.inf)
        token = self._draw(scores) if sampling.temperature > 0 else scores.argmax()
        if self._times is not None:
            self._times.index_add_(0, token[None], self._times.new_ones(1))
        return token

    def _draw(self, scores: Tensor) -> Tensor:
        """By the inverse of the cumulative distribution of the likeliest, in float64."""
        import torch

        weights, order = torch.softmax(scores / self._sampling.temperature, -1).sort(
            descending=True
        )
        kept = weights.cumsum(0) - weights < self._sampling.top_p
        sums = (weights * kept).cumsum(0)
        place = torch.searchsorted(sums, self._chance.random() * sums[-1:], right=True)
        return order[torch.minimum(place, kept.sum() - 1)][0]

    def describe(self, logits: Tensor, token: Tensor) -> Tensor:
        """[2 + n] the token and its log-probability; if asked for, that of float64, the likeliest
        tokens and theirs."""
        import torch

        count, one = self._sampling.logprobs, token[None]
        found = [one, logits.log_softmax(-1)[one]]
        if count is not None:
            logs = logits.double().log_softmax(-1)
            best = logs.topk(count)
            found += [logs[one], best.indices, best.values]
        # One reading of all, for each waits for the device; float64 holds them as they are.
        return torch.cat([some.double() for some in found])


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
