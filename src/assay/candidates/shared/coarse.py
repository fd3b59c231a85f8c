"""A tuned version held in fewer bits than it was trained in, as a candidate of its own."""

from __future__ import annotations

from dataclasses import replace

from assay.candidates import fine_tune
from assay.candidates.building import Candidate, Context, Stopwatch, Trial
from assay.candidates.spec import CandidateSpec, Sizes, Workload
from assay.config import Config

GATE_PROMPTS = 100
"""Validation prompts on which it has to answer like the version."""


def coarse_spec(bits: int, explanation: str) -> CandidateSpec:
    """The spec of `fine-tune` in `bits` a weight."""

    def estimate(config: Config, sizes: Sizes) -> Workload:
        return replace(fine_tune.SPEC.estimate(config, sizes), runs=(0.0, 0.0))

    return CandidateSpec(
        title=f"fine-tuned model, {bits} bits",
        explanation=explanation,
        family="training",
        answers_from_rows=True,
        version=fine_tune.SPEC.version,
        needs=fine_tune.SPEC.needs,
        estimate=estimate,
        sends=fine_tune.SPEC.sends,
    )


def build_coarse(context: Context, bits: int) -> Candidate:
    """Write the version that `fine-tune` has made in `bits` a weight, and measure it.

    Raises:
        ParityError: it does not answer like the version, whatever either scores.
        ModelError: llama.cpp cannot hold the model.
    """
    from assay.evaluate.parity import parity
    from assay.evaluate.targets import ServingTarget
    from assay.generate.stream_batch import StreamBatchEngine

    tuned = context.built.get("fine-tune") or fine_tune.build(context)
    watch = Stopwatch()
    agent = tuned.agent.model_copy(update={"model": f"{tuned.agent.model}/{bits}"})
    engine = context.bench.engines.for_agent(agent)
    assert isinstance(engine, StreamBatchEngine)
    seconds = watch.seconds()
    target = ServingTarget(engine.engine, engine.template, bits=bits)
    parity(
        context.bench, tuned.agent, context.judged, target, most=GATE_PROMPTS, by_score=False
    ).check()
    measured = context.measure(agent)
    return replace(
        tuned,
        agent=agent,
        tried=(Trial(f"{bits} bits", measured.score, True),),
        scores=tuple(measured.primary_scores),
        setup_seconds=tuned.setup_seconds + seconds,
    )
