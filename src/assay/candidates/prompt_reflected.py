"""`prompt-reflected`: the system prompt evolves by reflection on what went wrong (GEPA).

Reflective prompt evolution (Agrawal et al. 2025, arXiv:2507.19457) by the library of its authors: a
proposer is shown a few training rows with the answers of the present prompt and what the graders
say of them, and writes a better one; it stays where it scores more on these rows, and prompts that
are best on some row of a further part of train are the parents of later ones. The best three and
the project's own prompt meet on validation, where a tie goes to the project's own.

The proposer is `prompt_search.proposer`, at a provider if the project has agreed, or the project's
own model. The search ends after `prompt_search.proposals` prompts, `prompt_search.answers` answers
of the project's model, or `prompt_search.budget_usd`, whichever comes first. All answers are kept,
so that a search that was stopped goes on where it was.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.agent.agent import Agent
from assay.agent.lineage import HANDFUL
from assay.candidates.building import Candidate, Context
from assay.candidates.prompt_optimised import choose_prompt, variants
from assay.candidates.shared.proposer import PROPOSAL_TOKENS, Proposer, search_spec
from assay.config import Config
from assay.evaluate.measure import Measurement, RefusalError
from assay.example import Example, Message
from assay.generate.batch import Request

MINIBATCH = 4
"""Training rows that are reflected on at once."""
PARETO_ROWS = 24
"""Training rows on which prompts that stay are compared."""
FINALISTS = 3
_COMPONENT = "system prompt"
_SHOWN_CHARACTERS = 600

SPEC = search_spec(
    "prompt by reflection",
    "A model reads what went wrong and rewrites the system prompt, again and again.",
    searched=lambda config: config.prompt_search.answers,
    shown=MINIBATCH,
    most_usd=lambda config: config.prompt_search.budget_usd,
)


def build(context: Context) -> Candidate:
    """Evolve the prompt on train, choose among the best on validation.

    Raises:
        ConfigError: the proposer may not be asked, or its price is not known beside a budget.
        OutageError: it did not answer.
        ModelError: the model refuses every request, whatever the prompt.
    """
    rows = list(context.answered)
    random.Random(context.config.data.split.seed).shuffle(rows)
    search = _Search(context, Proposer(context, _proposer(context.config)))
    found = search.evolve(_seed(context.config, rows), rows)
    return choose_prompt(context, found, curated=len(rows) > HANDFUL, warnings=search.warnings())


def _proposer(config: Config) -> str:
    return config.prompt_search.proposer or config.model


def _seed(config: Config, rows: Sequence[Example]) -> str:
    """The project's own prompt, or the first that says something where it has none."""
    return next(prompt for prompt in variants(config, rows) if prompt.strip())


@dataclass
class _Search:
    """What GEPA asks for, an adapter in its words: answers with scores, and what to reflect on.

    Attributes:
        proposed: prompts that the proposer was asked for.
        usd: that it has cost.
        spent: whether the next proposal might cost more than there is left.
        error: that a proposal ended in. GEPA would log it and go on.
    """

    context: Context
    proposer: Proposer
    proposed: int = 0
    usd: float = 0.0
    spent: bool = False
    error: Exception | None = None
    propose_new_texts: None = None

    def agent(self, prompt: str) -> Agent:
        """The project's agent with another system prompt."""
        return self.context.chat_agent(system_prompt=prompt)

    def evolve(self, seed: str, rows: Sequence[Example]) -> list[str]:
        """The best prompts on the rows that prompts are compared on, the best first."""
        import gepa

        settings = self.context.config.prompt_search
        compared = rows[: min(PARETO_ROWS, max(len(rows) // 2, 1))]
        reflected = rows[len(compared) :] or compared
        with self.context.progress.task("prompts", settings.proposals, "proposed") as self._bar:
            found = gepa.optimize(
                seed_candidate={_COMPONENT: seed},
                trainset=list(reflected),
                valset=list(compared),
                adapter=self,
                reflection_lm=self._reflect,
                reflection_minibatch_size=min(MINIBATCH, len(reflected)),
                max_metric_calls=settings.answers,
                stop_callbacks=lambda state: self._is_over(),
                logger=self,
                seed=self.context.config.data.split.seed,
            )
        if self.error is not None:
            raise self.error
        order = sorted(
            range(len(found.candidates)), key=lambda i: (-found.val_aggregate_scores[i], i)
        )
        return [found.candidates[i][_COMPONENT] for i in order[:FINALISTS]]

    def evaluate(
        self, batch: list[Example], candidate: dict[str, str], capture_traces: bool = False
    ) -> Any:
        """Answers to rows and their primary scores; 0 where every request is refused."""
        from gepa import EvaluationBatch

        try:
            agent = self.agent(candidate[_COMPONENT])
            measured = self.context.bench.measure(agent, batch, in_batches=False)
        except RefusalError:
            return EvaluationBatch([""] * len(batch), [0.0] * len(batch), [""] * len(batch))
        texts = [answer.text for answer in measured.answers]
        says = [_feedback(measured, place, e) for place, e in enumerate(batch)]
        reasons = [
            say if read else f"The answer could not be read. {say}"
            for say, read in zip(says, measured.parsed, strict=True)
        ]
        traces = [
            {
                "Inputs": _shorten(e.input),
                "Generated Outputs": _shorten(text),
                "Feedback": reason,
            }
            for e, text, reason in zip(batch, texts, reasons, strict=True)
        ]
        scores = list(measured.scores[measured.primary])
        return EvaluationBatch(texts, scores, traces if capture_traces else None)

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """What the proposer is shown of the rows that were answered."""
        return {name: list(eval_batch.trajectories) for name in components_to_update}

    def log(self, message: str) -> None:
        """Nothing: progress is told by what is proposed."""

    def warnings(self) -> tuple[str, ...]:
        """A sentence where money ended the search."""
        if not self.spent:
            return ()
        return (f"The search ended after {self.usd:.2f} USD, see prompt_search.budget_usd.",)

    def _is_over(self) -> bool:
        most = self.context.config.prompt_search.proposals
        return self.spent or self.error is not None or self.proposed >= most

    def _reflect(self, prompt: Any) -> str:
        if self._is_over():
            return ""
        try:
            return self._propose(prompt)
        except Exception as error:
            self.error = error
            return ""

    def _propose(self, prompt: Any) -> str:
        text = prompt if isinstance(prompt, str) else "\n".join(m["content"] for m in prompt)
        budget = self.context.config.prompt_search.budget_usd
        # A token has two characters or more in all but the oddest texts.
        most = self.proposer.cost(len(text) // 2, PROPOSAL_TOKENS) if budget is not None else 0.0
        if budget is not None and self.usd + most > budget:
            self.spent = True
            return ""
        self.proposed += 1
        self._bar.advance()
        request = Request((Message("user", text),), max_new_tokens=PROPOSAL_TOKENS)
        answer = self.proposer.answer(request)
        if budget is not None:
            self.usd += self.proposer.cost(answer.prompt_tokens, answer.completion_tokens)
        return answer.text


def _feedback(measured: Measurement, place: int, example: Example) -> str:
    """The right answer, every grader's score, and what the grader says of it, such as the rules
    that were broken."""
    says = []
    for name, values in measured.scores.items():
        note = measured.notes[name][place]
        says.append(f"{name} {values[place]:.2g}" + (f" ({_shorten(note)})" if note else ""))
    told = ", ".join(says)
    return f"Right would have been: {_shorten(example.output)}\nGraders (0 to 1): {told}."


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
