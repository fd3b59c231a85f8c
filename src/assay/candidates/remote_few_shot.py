"""`remote-few-shot`: the same few examples shown before every input, on a provider's model."""

from __future__ import annotations

from dataclasses import replace

from assay.agent.agent import Agent, as_shown
from assay.candidates.building import Candidate, Context
from assay.candidates.shared.examples import choose_count, spread
from assay.candidates.shared.provider import price_warnings, provider_model, tries_schema
from assay.candidates.spec import (
    MEASURED,
    PROVIDER,
    TIMED_ANSWERS,
    CandidateSpec,
    Sizes,
    Workload,
    asked_rows,
    in_batches,
    prompted,
)
from assay.config import Config


def estimate(config: Config, sizes: Sizes) -> Workload:
    """Validation for each number of examples, once more where a schema is tried on it; then the
    holdout, with as many examples as may be shown."""
    ks = config.few_shot.ks
    last = (*[sizes.validation] * tries_schema(config), sizes.holdout, sizes.unlabelled)
    runs = [(k, (sizes.validation,), 0) for k in ks] + [(max(ks), last, TIMED_ANSWERS)]
    return replace(
        prompted(config, sizes),
        answered_by="provider",
        requests=tuple(
            one
            for k, asked, timed in runs
            for one in asked_rows(
                config.remote, sum(asked) + timed, config, sizes, in_batches(*asked), shown=k
            )
        ),
    )


SPEC = CandidateSpec(
    title="provider's model with examples",
    explanation="A provider's model is shown the same few examples with every request. Rows, the "
    "shown ones among them, are sent to the provider.",
    family="provider",
    answers_from_rows=True,
    estimate=estimate,
    needs=(PROVIDER,),
    sends=lambda config: [
        (model, ("train", *MEASURED)) for model in [config.remote] if model is not None
    ],
)


def build(context: Context) -> Candidate:
    """Choose k of `few_shot.ks` on validation, with the examples that `few-shot` shows.

    Raises:
        ConfigError: the provider is not known, or nobody has agreed that rows go there.
    """
    model = provider_model(context)
    order = spread(context.answered, seed=context.config.data.split.seed)

    def agent_with(k: int) -> Agent:
        shown = tuple(as_shown(example) for example in order[:k])
        return context.chat_agent(model=model, choices=None, shown=shown)

    chosen = choose_count(context, agent_with)
    return replace(chosen, warnings=(*chosen.warnings, *price_warnings(context, model)))
