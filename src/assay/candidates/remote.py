"""`remote`: the system prompt alone, on a provider's model."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates.building import Candidate, Context, as_trials
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
    """Validation, twice where a schema is tried on it as well, and what the answers are timed by;
    then the holdout."""
    runs = 1 + tries_schema(config)
    asked = (*[sizes.validation] * runs, sizes.holdout, sizes.unlabelled)
    return replace(
        prompted(config, sizes),
        answered_by="provider",
        requests=asked_rows(
            config.remote, sum(asked) + TIMED_ANSWERS, config, sizes, in_batches(*asked)
        ),
    )


SPEC = CandidateSpec(
    title="provider's model",
    explanation="A provider's model is told what to do. Rows are sent to the provider.",
    family="provider",
    estimate=estimate,
    needs=(PROVIDER,),
    sends=lambda config: [(model, MEASURED) for model in [config.remote] if model is not None],
    learns_from_rows=lambda config: False,
)


def build(context: Context) -> Candidate:
    """Ask the model `remote` of assay.yaml with the configured system prompt.

    A closed list of labels is not enforced: the protocols have no word for it. A schema is, where
    validation says so.

    Raises:
        ConfigError: its provider is not known, or nobody has agreed that rows go there.
    """
    model = provider_model(context)
    agent = context.chat_agent(model=model, choices=None)
    chosen = context.choose_constraint(agent, context.measure(agent))
    return Candidate(
        agent=chosen.agent,
        tried=as_trials(chosen.tried),
        scores=tuple(chosen.measurement.primary_scores),
        warnings=price_warnings(context, model),
    )
