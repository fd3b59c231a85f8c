"""What may favour one candidate without any interval showing it, in sentences for the report.

A judge prefers what it would have said itself (Panickssery, Bowman and Feng 2024, "LLM evaluators
recognize and favor their own generations", arXiv:2404.13076), and how far it errs in general is
known only where people have judged as well. A model that has learned from a judge's rewards has
learned to please it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from assay.agent.routing import leaves
from assay.candidates.building import Candidate
from assay.candidates.shared.reward_judge import judges_of_setting
from assay.evaluate.graders.judge import JudgeSettings
from assay.evaluate.judging import JudgeAgreement
from assay.evaluate.measure import Bench
from assay.models.versions import base_of, find_version, version_id


def partial_judges(
    built: Sequence[Candidate], judges: Sequence[JudgeAgreement], bench: Bench
) -> Iterator[str]:
    """A sentence on each judge that nobody has checked, that decides, or that judges its own."""
    measured = {judge.name: judge for judge in judges}
    for spec in bench.config.graders:
        if spec.name != "judge":
            continue
        model = JudgeSettings.model_validate(spec.settings).model
        found = measured.get(spec.label)
        if found is None or found.error_high is None:
            yield (
                f"The judge {spec.label} has not been compared with people, so the ranges of its "
                "scores do not include its errors."
            )
        elif spec.label == bench.config.primary:
            yield (
                f"A model judges here ({model}): what is shown is shown of its scores. Their "
                f"ranges contain its errors, if it errs no more than on the {found.pairs} pairs "
                "that people judged. A difference between two candidates of less than "
                f"{200 * found.error_high:.0f} points can still be an error of the judge."
            )
        own = [f"`{one.name}`" for one in built if model in _models(one, bench)]
        if own:
            yield (
                f"The judge {spec.label} judges what comes from itself: {', '.join(own)} "
                f"{'answers' if len(own) == 1 else 'answer'} with {model} or learned from it. A "
                "model prefers what it would have said itself, by more than the ranges contain. "
                "Let another model judge."
            )
        pleased = [f"`{one.name}`" for one in built if model in _rewarding(one, bench)]
        if pleased:
            yield (
                f"The judge {spec.label} judges what it has rewarded: {', '.join(pleased)} learned "
                f"to please {model}, which is not the same as to answer well. The ranges do not "
                "contain the difference. Let another model judge."
            )


def _answering(candidate: Candidate, bench: Bench) -> set[str]:
    """The models that a candidate answers with; none is known of answers from outside."""
    if candidate.agent.kind == "outside":
        return set()
    return {leaf.model for leaf in leaves(candidate.agent, bench.store).values()}


def _models(candidate: Candidate, bench: Bench) -> set[str]:
    """The models that a candidate answers with, those they were trained from, and its teacher."""
    models = _answering(candidate, bench)
    models |= {base_of(bench.store, model) for model in models}
    teacher = bench.config.fine_tune.teacher
    return models | ({teacher} if candidate.fine_tuned and teacher else set())


def _rewarding(candidate: Candidate, bench: Bench) -> set[str]:
    """The models whose rewards a candidate has learned from."""
    found = set()
    for model in _answering(candidate, bench):
        id = version_id(model)
        settings = {} if id is None else find_version(bench.store, id).record.settings
        if settings.get("method") == "reinforcement":
            reward = settings.get("reinforcement", {}).get("reward")
            found |= {judge.model for judge in judges_of_setting(reward)}
    return found
