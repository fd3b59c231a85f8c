"""Answers from a model on this machine, through transformers.

Requests are rendered, grouped by the prefixes they share, and generated in batches; a prefix is
run through the model once (see docs/models.md). An answer does not depend on what else was
asked: not on the order, the batch, or the seeds of others (in float32 up to rounding).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from threading import Lock
from typing import TYPE_CHECKING, Any

from assay.chat.template import Template
from assay.errors import ModelError
from assay.generate.batch import Answer, Request
from assay.generate.constrained import Constraint, Grammars
from assay.generate.stream import RequestRefusedError
from assay.models.device import (
    available_bytes,
    best_device,
    index_tensors,
    ran_out,
    start_reading,
    to_device,
)
from assay.models.load import LoadedModel, key_width
from assay.prefix.batch import Batch, Decoder
from assay.progress import SILENT, Progress, Task

if TYPE_CHECKING:
    from torch import Tensor

BATCH_TOKENS = 32_768
"""Tokens of their own that the rows of a batch hold together; the shared prefix not counted."""
SHARE_OF_MEMORY = 0.25
"""Of the free memory, for keys and values of one batch."""
DRAWN_TOGETHER = {"cpu": 2, "cuda": 16}
"""Rows whose distributions are held in float64 at once: a core is slower with more than its cache
holds; on a GPU each time costs several kernels."""


@dataclass(frozen=True, slots=True)
class Draw:
    """An answer as the tokens that were drawn.

    Attributes:
        prompt: tokens of the rendered request.
        ids: of the answer, the token that ended it included.
        text: the answer, without that token.
    """

    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    text: str


@dataclass(slots=True)
class _Row:
    """One answer in the making.

    Attributes:
        chosen: its tokens, those that were not read yet among them.
    """

    place: int
    limit: int
    temperature: float
    chance: random.Random
    constraint: Constraint | None
    chosen: int = 0
    tokens: list[int] = field(default_factory=list)
    logprob: float = 0.0
    stopped: bool = False

    @property
    def finished(self) -> bool:
        return self.stopped or self.chosen >= self.limit


class TransformersBatchEngine:
    """An engine over a loaded transformers model.

    Args:
        loaded: the model; it is moved to `device`.
        template: its chat template.
        batch_tokens: see `BATCH_TOKENS`; less is used when memory is short.
        device: `cuda`, `cpu` or None for the best there is.
        share: False runs every prompt whole, to compare with.
        repeatable: `batch_tokens` holds however much memory is free, so that the same requests go
            through the model in the same batches, and give the same bits, at any other time.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        template: Template,
        *,
        batch_tokens: int = BATCH_TOKENS,
        device: str | None = None,
        share: bool = True,
        repeatable: bool = False,
    ) -> None:
        from assay.prefix.decode import SharedDecoder, can_share
        from assay.prefix.plain import PlainDecoder

        self.loaded, self.template, self.batch_tokens = loaded, template, batch_tokens
        self.repeatable = repeatable
        model = loaded.model
        if hasattr(model, "get_base_model"):  # PEFT's wrapper; its layers are inside the base
            model = model.get_base_model()
        self.device = device or best_device()
        self.model = model.to(self.device).eval()
        # On a GPU the next pass begins before the tokens of this one are read, so that it never
        # waits for what is done here; a row that has ended by then is computed once more.
        self.ahead = self.model.device.type == "cuda"
        self.sharing = share and can_share(self.model)
        self._decoder: Decoder = (
            SharedDecoder(self.model) if self.sharing else PlainDecoder(self.model)
        )
        self._grammars = Grammars(
            loaded.tokenizer, self.model.get_output_embeddings().weight.shape[0], template.stop_ids
        )
        self._lock = Lock()

    @property
    def identity(self) -> dict[str, str]:
        """All that can change an answer and is not in the request."""
        return {
            "engine": "transformers",
            "model": self.loaded.ref,
            "weights": self.loaded.weights_sha256,
            "template": self.template.sha256,
            "dtype": self.loaded.dtype,
            "device": self.device,
            "prefix": "shared" if self.sharing else "whole",
            "batch_tokens": str(self.batch_tokens),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "llguidance": version("llguidance"),
        }

    def prompt_length(self, request: Request) -> int:
        """Tokens of the rendered request."""
        return len(self.template.prompt(request.messages, request.tools))

    def _constraint(self, request: Request) -> Constraint | None:
        rules = None
        if request.calls:
            from assay.generate.call_grammar import call_grammar

            rules = call_grammar(request.tools, self.template.call_form).over_tokens
        return self._grammars.constraint(request.schema, request.choices, rules)

    def answer(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Answer]:
        """One answer for each request, in their order.

        A request that does not fit into the model's context comes back with finish `refused`; one
        that leaves less room than `max_new_tokens` is generated up to the context's end.

        Raises:
            ConfigError: a schema that constrained decoding cannot follow.
            DataError: messages that the chat template refuses.
            ModelError: memory does not suffice for a single request.
        """
        prompts, rows, answers = self._rows(requests, progress)
        for row in rows:
            answers[row.place] = self._answer(row, len(prompts[row.place]))
        return [answers[place] for place in range(len(requests))]

    def draw(self, requests: Sequence[Request], progress: Progress = SILENT) -> list[Draw]:
        """As `answer`, with the tokens of each answer.

        Raises:
            ConfigError, DataError, ModelError: as `answer`.
            ValueError: a request is refused.
        """
        prompts, rows, refused = self._rows(requests, progress)
        if refused:
            raise ValueError(f"{len(refused)} requests are refused")
        return [
            Draw(prompts[row.place], tuple(row.tokens), self._text(row))
            for row in sorted(rows, key=lambda row: row.place)
        ]

    def _rows(
        self, requests: Sequence[Request], progress: Progress
    ) -> tuple[list[tuple[int, ...]], list[_Row], dict[int, Answer]]:
        """The prompts, what was generated, and by place the answers of requests refused."""
        prompts = [tuple(self.template.prompt(r.messages, r.tools)) for r in requests]
        context = self.loaded.context_length
        answers: dict[int, Answer] = {}
        rows: list[_Row] = []
        for place, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
            if len(prompt) >= context:
                answers[place] = _too_long(len(prompt), context)
                continue
            try:
                constraint = self._constraint(request)
            except RequestRefusedError as error:
                answers[place] = Answer("", "refused", error=str(error))
                continue
            limit = min(request.max_new_tokens, context - len(prompt))
            rows.append(
                _Row(
                    place,
                    limit,
                    request.temperature,
                    random.Random(request.seed),
                    constraint,
                )
            )
        with (
            self._lock,
            self._decoder.running(),
            progress.task("generating", len(requests), "answers") as task,
        ):
            task.advance(len(answers))
            batches = self._decoder.batches(
                [prompts[row.place] for row in rows], [row.limit for row in rows], self._slots()
            )
            for batch in batches:
                self._finish(batch, [rows[i] for i in batch.members], task)
        return prompts, rows, answers

    def _finish(self, batch: Batch, rows: list[_Row], task: Task) -> None:
        """Generate a batch to its end; in halves when memory does not suffice for the whole."""
        states = [row.chance.getstate() for row in rows]
        try:
            self._generate(batch, rows, task)
            return
        except RuntimeError as error:
            if not ran_out(error):
                raise
            if len(rows) == 1:
                raise ModelError(
                    f"there is not enough memory for a single request of {len(batch.prompts[0])} "
                    "tokens.",
                    fix="Use a smaller model or a shorter prompt, or close other programs.",
                ) from None
        for row, state in zip(rows, states, strict=True):
            row.tokens.clear()
            row.chosen, row.logprob, row.stopped = 0, 0.0, False
            row.chance.setstate(state)
            if row.constraint:
                row.constraint.reset()
        middle = len(rows) // 2
        for half, part in zip(batch.halves(), (rows[:middle], rows[middle:]), strict=True):
            self._finish(half, part, task)

    def _generate(self, batch: Batch, rows: list[_Row], task: Task) -> None:
        held = rows  # the decoder's rows, finished ones among them until they are dropped
        going = rows
        logits = self._decoder.begin(batch)
        while going:
            tokens, figures = self._choose(logits, going)
            ahead = self.ahead and not any(row.constraint for row in going)
            if not ahead:
                self._take(figures(), going)
            following = _unfinished(going)
            if following:
                if 2 * len(following) <= len(held):
                    self._decoder.keep(_unfinished(held))
                    held = [going[i] for i in following]
                (places,) = index_tensors(tokens.device, following)
                logits = self._decoder.step(_unfinished(held), tokens[places])
            if ahead:
                self._take(figures(), going)
            done, going = len(going), [going[i] for i in following]
            if ahead and len(left := _unfinished(going)) < len(going):
                (places,) = index_tensors(tokens.device, left)
                logits, going = logits[places], [going[i] for i in left]
            task.advance(done - len(going))

    def _choose(
        self, logits: Tensor, rows: list[_Row]
    ) -> tuple[Tensor, Callable[[], list[list[float]]]]:
        """The next token of each row, given logits [n, V].

        Returns:
            The tokens [n], on the device, and what waits for them: it gives them once more, and
            their log-probabilities. These are the model's own: before temperature and constraint.
        """
        import torch

        norms = torch.logsumexp(logits, dim=-1)
        allowed = self._grammars.masks([row.constraint for row in rows], logits.shape[-1])
        scores = logits
        if allowed is not None:
            hidden = to_device(~torch.from_numpy(allowed), logits.device)
            scores = logits.masked_fill(hidden, -torch.inf)
        chosen = scores.argmax(-1)
        if drawn := [i for i, row in enumerate(rows) if row.temperature > 0]:
            (index,) = index_tensors(logits.device, drawn)
            chosen[index] = _draw(scores[index], [rows[i] for i in drawn])
        for row in rows:
            row.chosen += 1
        logprobs = logits.gather(1, chosen[:, None])[:, 0] - norms
        # One reading of both, for each waits for the device; float64 holds them as they are.
        return chosen, start_reading(torch.stack([chosen.double(), logprobs.double()]))

    def _take(self, figures: list[list[float]], rows: list[_Row]) -> None:
        """Append to each row the token that was chosen for it."""
        tokens, logs = figures
        for row, token, logprob in zip(rows, map(int, tokens), logs, strict=True):
            row.tokens.append(token)
            row.stopped = token in self.template.stop_ids
            row.logprob += 0.0 if row.stopped else logprob
            if row.constraint and not row.stopped:
                row.constraint.accept(token)

    def _answer(self, row: _Row, prompt_tokens: int) -> Answer:
        return Answer(
            text=self._text(row),
            finish="stop" if row.stopped else "length",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(row.tokens),
            logprob=row.logprob,
        )

    def _text(self, row: _Row) -> str:
        kept = row.tokens[:-1] if row.stopped else row.tokens
        text: str = self.loaded.tokenizer.decode(
            kept, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def _slots(self) -> int:
        """Tokens whose keys and values a batch may hold."""
        if self.repeatable:
            return self.batch_tokens
        config: Any = self.model.config
        layers, width = config.get_text_config().num_hidden_layers, self.model.dtype.itemsize
        each = 2 * layers * key_width(config) * width
        fits = SHARE_OF_MEMORY * available_bytes(self.model.device) / each
        return max(1, min(self.batch_tokens, int(fits)))


def _unfinished(rows: Sequence[_Row]) -> list[int]:
    """Places of the rows that go on, as far as is known."""
    return [place for place, row in enumerate(rows) if not row.finished]


def _draw(scores: Tensor, rows: Sequence[_Row]) -> Tensor:
    """[n] a token for each row, drawn from softmax(scores [n, V] / temperature) by one number of
    the row's own chance.

    Inverse of the cumulative distribution in float64, so that the draw depends on nothing but the
    scores and the seed; on a GPU up to rounding, where few rows are drawn at once.
    """
    import torch

    known = [[row.temperature, row.chance.random()] for row in rows]
    settings = to_device(torch.tensor(known, dtype=torch.float64), scores.device)
    drawn, count = [], DRAWN_TOGETHER[scores.device.type]
    for low in range(0, len(rows), count):
        some = slice(low, low + count)
        temperature, chance = torch.split(settings[some], 1, dim=1)
        weights = torch.softmax(scores[some].double() / temperature, dim=-1)
        if weights.is_cuda and len(weights) == 1:
            weights = weights.repeat(2, 1)  # CUDA adds up a lone row in an order that varies
        sums = weights.cumsum(-1)[: len(chance)]
        places = torch.searchsorted(sums, chance * sums[:, -1:], right=True)
        drawn.append(places[:, 0].clamp_max(sums.shape[1] - 1))
    return torch.cat(drawn)


def _too_long(tokens: int, context: int) -> Answer:
    return Answer(
        text="",
        finish="refused",
        prompt_tokens=tokens,
        error=f"the request has {tokens} tokens, but prompt and answer may have at most "
        f"{context} together. Shorten the prompt or show fewer examples.",
    )
