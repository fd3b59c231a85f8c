"""What a recording will take, before anything is sent: requests, tokens, money, time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from assay.agent.agent import Agent
from assay.agent.consent import count_private
from assay.agent.prices import cost_usd, price_of
from assay.agent.runtime import assemble_plain
from assay.candidates.spec import CHARACTERS_PER_TOKEN
from assay.compare.report.wording import usd
from assay.config import REMOTE, Provider, TokenPrice, is_remote, split_reference
from assay.errors import UsageError
from assay.example import Example, canonical_json
from assay.generate.batch import Request
from assay.generate.recorded import RecordedAnswer
from assay.progress import SILENT, Progress
from assay.project.estimate import REMOTE_SECONDS
from assay.project.recording.inputs import (
    BEST_FOR,
    Part,
    PartInputs,
    RecordingChoices,
    read_parts,
    typical_rows,
)
from assay.project.recording.teaching import Teaching, estimate_teaching
from assay.project.rescue.account import open_account
from assay.project.workspace import Workspace
from assay.quantities import say_count
from assay.rescue.client import Access
from assay.rescue.recording import Recording, recording_file

MAX_NEW_TOKENS = 1024
"""Of an answer, where no project says it."""
TOKENS_PER_TURN = 4
"""That a provider adds to each turn, and to the answer's beginning."""
LEAST_OBSERVED = 20
FINE_TUNED = "ft:"


@dataclass(frozen=True, slots=True)
class PartEstimate:
    """What one part takes.

    Attributes:
        rows: of the part; `recorded`: inputs that are answered already; `requests`: to be sent.
        prompt_tokens, completion_tokens: of these, about.
        usd: None where the price is not known.
        best_for: what the answers are good for.
        teaching: what they would bring a student; None of those that are for a comparison, and
            without a project.
    """

    part: Part
    rows: int
    recorded: int
    requests: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    best_for: str
    teaching: Teaching | None = None


@dataclass(frozen=True, slots=True)
class RecordingDraft:
    """A recording that could be made.

    Attributes:
        model: as the provider calls it.
        agent: how it is asked.
        inputs: by part, in the order in which they are asked.
        is_most: tokens of answers are the most that an answer may have, since nothing says how
            long answers are.
        seconds: about; `rate_is_observed`: by answers that have come, else by a guess.
        private: secrets and personal data in what would be sent, the holdout not looked at.
        spent_usd: by what is recorded already, as a budget counts it.
    """

    model: str
    access: Access
    to: Path
    choices: RecordingChoices
    agent: Agent
    inputs: tuple[PartInputs, ...]
    parts: tuple[PartEstimate, ...]
    is_most: bool
    seconds: float
    rate_is_observed: bool
    private: Mapping[str, int]
    spent_usd: float

    @property
    def file(self) -> Path:
        """Where the answers are kept."""
        return recording_file(self.to, self.model)

    @property
    def requests(self) -> int:
        """How many requests are to be sent."""
        return sum(part.requests for part in self.parts)

    @property
    def usd(self) -> float | None:
        """Of all requests; None where the price is not known."""
        known = [part.usd for part in self.parts if part.usd is not None]
        return sum(known) if len(known) == len(self.parts) else None

    @property
    def price(self) -> TokenPrice | None:
        """Of the model; None where it is not known."""
        found = price_of(self.access.provider, self.model)
        return None if None in (found.input, found.output) else found

    def to_dict(self) -> dict[str, Any]:
        """The estimate as it is printed by `--json`."""
        return {
            "model": self.model,
            "base_url": self.access.provider.base_url,
            "file": str(self.file),
            "parts": [asdict(part) for part in self.parts],
            "requests": self.requests,
            "usd": self.usd,
            "is_most": self.is_most,
            "seconds": self.seconds,
            "rate_is_observed": self.rate_is_observed,
            "private": dict(self.private),
            "spent_usd": self.spent_usd,
        }


def open_model(
    model: str,
    folder: Path,
    *,
    provider: str | None = None,
    base_url: str | None = None,
    price: TokenPrice | None = None,
    consent: Sequence[str] = (),
) -> tuple[str, Access]:
    """A model's name at its provider, and the access to it; nothing is sent.

    Args:
        model: `remote:PROVIDER/MODEL`, or the name that a provider gives it.
        provider, base_url: as `open_account`.
        price: in the place of the price list's.
        consent: providers that the project in `folder` agrees to, from now on.

    Raises:
        UsageError, ConfigError, ConsentError, SecretError: as `open_account`.
    """
    if is_remote(model):
        named, model = split_reference(model)
        if provider not in (None, named):
            raise UsageError(
                f"{model} is at {named}, not at {provider}.", fix="Leave --provider out."
            )
        provider = named
    for one in consent:
        Workspace(folder).providers.agree(one)
    access = open_account(base_url, provider, folder)
    return model, with_price(access, model, price)


def with_price(access: Access, model: str, price: TokenPrice | None) -> Access:
    """The access where a model costs so much; None: what the price list says."""
    if price is None:
        return access
    prices = {**access.provider.prices, model: price}
    return replace(access, provider=access.provider.model_copy(update={"prices": prices}))


def draft_recording(
    model: str, access: Access, to: Path, choices: RecordingChoices, progress: Progress = SILENT
) -> RecordingDraft:
    """Read the inputs and reckon what their answers take; the holdout stays closed.

    Raises:
        DataError: a file of inputs or the project's rows cannot be read.
        UsageError: this model was recorded before, at another address.
    """
    agent = _agent(model, access.name, choices)
    recording = Recording(recording_file(to, model))
    recording.check_address(access.provider.base_url)
    inputs, taught = estimate_teaching(choices, read_parts(choices, progress), recording, progress)
    typical = typical_rows(choices, inputs)
    provider, share = access.provider, choices.price_share
    reckoner = Reckoner(agent, model, provider, recording.answers, inputs, typical, share)
    parts = tuple(_part(one, recording, reckoner, taught.get(one.part)) for one in inputs)
    rate, answers = recording.seconds_per_answer(), recording.answers.values()
    sent = [e for one in inputs for h, e in one.examples.items() if not recording.has(h)]
    offered = {canonical_json(tool): tool for one in sent for tool in one.tools}
    private = count_private([m for one in sent for m in one.prompt], list(offered.values()))
    return RecordingDraft(
        model=model,
        access=access,
        to=to,
        choices=choices,
        agent=agent,
        inputs=tuple(inputs),
        parts=parts,
        is_most=reckoner.is_most,
        seconds=sum(part.requests for part in parts) * (rate or REMOTE_SECONDS),
        rate_is_observed=rate is not None,
        private=private,
        spent_usd=reckoner.spent_usd(answers),
    )


class Reckoner:
    """Tokens and money of requests, as good as what is known of answers that have come.

    Args:
        answers: that are recorded already, by the hash of their input.
        inputs: with the rows whose answers tell how long prompts are in the provider's tokens.
        typical: rows like those of the holdout.
        share: of the price of single requests that is paid.

    Attributes:
        is_most: answers are taken to be as long as they may be.
    """

    def __init__(
        self,
        agent: Agent,
        model: str,
        provider: Provider,
        answers: Mapping[str, RecordedAnswer],
        inputs: Sequence[PartInputs] = (),
        typical: Sequence[Example] = (),
        share: float = 1.0,
    ) -> None:
        self._share = share
        self._agent, self._model, self._provider = agent, model, provider
        shown = {h: e for one in inputs for h, e in one.examples.items()}
        counted = [
            (one.answer.prompt_tokens, shown[h])
            for h, one in answers.items()
            if h in shown and one.answer.prompt_tokens is not None
        ]
        self._factor = 1.0
        if len(counted) >= LEAST_OBSERVED:
            guessed = sum(map(_guess, assemble_plain(agent, [example for _, example in counted])))
            self._factor = sum(tokens for tokens, _ in counted) / guessed
        seen = [n for one in answers.values() if (n := one.answer.completion_tokens) is not None]
        targets = [len(e.output) / CHARACTERS_PER_TOKEN + 1 for e in typical if e.output]
        self.is_most = len(seen) < LEAST_OBSERVED and not targets
        self.completion = float(agent.max_new_tokens)
        if not self.is_most:
            self.completion = fmean(seen if len(seen) >= LEAST_OBSERVED else targets)
        prompts = list(map(_guess, assemble_plain(agent, typical)))
        self._typical = fmean(prompts) if prompts else 0.0

    def prompt(self, examples: Sequence[Example], unseen: int = 0) -> float:
        """Tokens of the prompts of some examples, and of so many that nobody has looked at."""
        guessed = sum(map(_guess, assemble_plain(self._agent, examples)))
        return self._factor * (guessed + unseen * self._typical)

    def usd(self, requests: int, prompt: float, completion: float) -> float | None:
        """What so many requests cost, by the tokens of all of them."""
        if not requests:
            return 0.0
        size = round(prompt / requests)
        each = self._priced(size, round(completion / requests))
        return None if each is None else requests * each

    def most_usd(self, request: Request) -> float | None:
        """What a request cannot exceed: no token is shorter than a byte."""
        turns = [message.to_dict() for message in request.messages]
        said = json.dumps([turns, list(request.tools)])
        return self._priced(len(said), request.max_new_tokens)

    def cost(self, answer: RecordedAnswer) -> float | None:
        """What an answer cost, by the tokens that the provider has told."""
        told = answer.answer
        return self._priced(told.prompt_tokens, told.completion_tokens, told.cached_tokens)

    def _priced(
        self, prompt: int | None, completion: int | None, cached: int | None = None
    ) -> float | None:
        usd = cost_usd(self._provider, self._model, prompt, completion, cached)
        return None if usd is None else usd * self._share

    def spent_usd(self, answers: Iterable[RecordedAnswer]) -> float:
        """What a budget counts for answers; one that came without a price has today's."""
        return sum(one.spent_usd or self.cost(one) or 0.0 for one in answers)


def _part(
    inputs: PartInputs, recording: Recording, reckoner: Reckoner, teaching: Teaching | None
) -> PartEstimate:
    left = [one for one in inputs.hashes if not recording.has(one)]
    known = [inputs.examples[one] for one in left if one in inputs.examples]
    prompt = reckoner.prompt(known, unseen=len(left) - len(known))
    completion = len(left) * reckoner.completion
    cost = reckoner.usd(len(left), prompt, completion)
    if teaching is not None and teaching.gain is None:
        price = "at a price that is not known" if cost is None else f"for about {usd(cost)}"
        said = f"{teaching.says} These answers take {say_count(len(left), 'request')}, {price}."
        teaching = replace(teaching, says=said)
    return PartEstimate(
        part=inputs.part,
        rows=inputs.rows,
        recorded=len(inputs.hashes) - len(left),
        requests=len(left),
        prompt_tokens=round(prompt),
        completion_tokens=round(completion),
        usd=cost,
        best_for=BEST_FOR[inputs.part],
        teaching=teaching,
    )


def _agent(model: str, provider: str, choices: RecordingChoices) -> Agent:
    config = None if choices.project is None else choices.project.config
    prompt = choices.prompt
    if prompt is None:
        tuned = model.startswith(FINE_TUNED)
        prompt = "" if config is None or tuned else config.system_prompt
    limit = choices.max_new_tokens
    if limit is None:
        limit = MAX_NEW_TOKENS if config is None else config.generate.max_new_tokens
    return Agent(model=f"{REMOTE}{provider}/{model}", system_prompt=prompt, max_new_tokens=limit)


def _guess(request: Request) -> float:
    characters = sum(len(message.content) for message in request.messages)
    for message in request.messages:
        characters += sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    if request.tools:
        characters += len(json.dumps(list(request.tools)))
    turns = len(request.messages) + 1
    return characters / CHARACTERS_PER_TOKEN + TOKENS_PER_TURN * turns
