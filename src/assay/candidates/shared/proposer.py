"""A language model that writes system prompts, within what the project has agreed to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from assay.agent.agent import Agent
from assay.agent.consent import check_consent
from assay.agent.prices import cost_usd
from assay.agent.providers import provider_of
from assay.candidates.building import Context
from assay.candidates.spec import (
    CandidateSpec,
    ProviderRequests,
    Sendings,
    Sizes,
    Workload,
    prompted,
    unshown_answer_tokens,
)
from assay.config import Config, is_remote, split_reference
from assay.errors import ConfigError, OutageError
from assay.evaluate.run import run
from assay.generate.batch import Answer, Request

PROPOSAL_TOKENS = 1500
_INSTRUCTION_TOKENS = 500
_ROW_TOKENS = 500
"""Of a row that a proposer is shown, at most about: its input, the right answer, the one given and
what graders say of it, each shortened."""


def search_spec(
    title: str,
    explanation: str,
    searched: Callable[[Config], int],
    *,
    shown: int,
    most_usd: Callable[[Config], float | None] = lambda config: None,
) -> CandidateSpec:
    """The spec of a search for a better system prompt, with a proposer or without.

    Args:
        searched: answers that the search takes, beside those on validation.
        shown: rows that a proposer reads before it writes a prompt.
        most_usd: that it may cost.
    """

    def estimate(config: Config, sizes: Sizes) -> Workload:
        plain, tokens = prompted(config, sizes), unshown_answer_tokens(config, sizes)
        requests: tuple[ProviderRequests, ...] = ()
        search = config.prompt_search
        if search.proposer is not None and is_remote(search.proposer):
            prompt = _INSTRUCTION_TOKENS + max(sizes.system_tokens, PROPOSAL_TOKENS)
            row = min(sizes.input_tokens + 3 * sizes.output_tokens, _ROW_TOKENS)
            requests = (
                ProviderRequests(
                    search.proposer,
                    search.proposals,
                    prompt + shown * row,
                    PROPOSAL_TOKENS,
                    most_usd(config),
                ),
            )
        return replace(plain, answer_tokens=tokens, searched=searched(config), requests=requests)

    def sends(config: Config) -> Sendings:
        proposer = config.prompt_search.proposer
        return [] if proposer is None else [(proposer, ("train",))]

    return CandidateSpec(title, explanation, "prompt", estimate, sends=sends)


class Proposer:
    """Asks a model for prompts; what it has answered before is not asked again.

    Args:
        model: at a provider, or of this machine.

    Raises:
        ConfigError: there is no such provider, or the project has not agreed to it.
    """

    def __init__(self, context: Context, model: str) -> None:
        self.model, self._context = model, context
        self._engine = context.bench.engines.for_agent(Agent(model=model))

    def answer(self, request: Request) -> Answer:
        """The model's answer to a request that may hold training rows.

        Raises:
            ConsentError: the rows may not leave.
            OutageError: it did not answer.
        """
        bench = self._context.bench
        if is_remote(self.model):
            check_consent(self.model, bench.engines.providers, [request], bench.progress)
        [answer] = run(
            [request],
            self._engine,
            agent_id=f"proposer-{self.model}",
            folder=bench.store.folder / "runs",
            store=bench.store,
            progress=bench.progress,
        )
        if answer.finish == "error":
            silent = f"the proposer {self.model} did not answer"
            raise OutageError(
                f"{silent} ({answer.error}).",
                plain=f"{silent}.",
                fix="Run the same command again to request only what is missing.",
            )
        return answer

    def cost(self, prompt_tokens: int | None, completion_tokens: int | None) -> float:
        """USD of an answer of so many tokens; 0 of a model of this machine.

        Raises:
            ConfigError: its price is not known.
        """
        if not is_remote(self.model):
            return 0.0
        name, model = split_reference(self.model)
        provider = provider_of(self._context.bench.engines.providers, name)
        usd = cost_usd(provider, model, prompt_tokens, completion_tokens, None)
        if usd is None:
            raise ConfigError(
                f"the price of {self.model} is not known, so its budget cannot be kept.",
                where="assay.yaml, prompt_search.budget_usd",
                fix=f"Set it in `providers.{name}`, or remove the budget.",
            )
        return usd
