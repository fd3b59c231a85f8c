"""What inputs without labels add to a comparison: every candidate answers them, a model labels
them, and intervals become narrower (`evaluate/prediction_powered.py`).

They are answered before the holdout is opened, so that an outage costs no opening. A model labels
an input once, whatever candidates there are, and an answer is scored against its label by the
grader that decides: equal answers get equal scores, on labelled and unlabelled inputs alike. Of the
holdout it is asked once the verdict is drawn, so that nothing that fails then keeps a verdict back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, compress

import numpy as np

from assay.agent.agent import Agent
from assay.agent.prices import cost_usd
from assay.agent.providers import provider_of
from assay.candidates.building import Candidate, Context
from assay.compare.account import all_groups
from assay.compare.entries import Entry, Terms
from assay.compare.holdout import HOLDOUT
from assay.compare.pairs import measure
from assay.compare.result import Plan, Result
from assay.config import Unlabelled, is_remote, split_reference
from assay.data.unlabelled import UnlabelledInputs, without_twins
from assay.errors import AssayError, DataError, OutageError
from assay.evaluate.graders import grade
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.prediction_powered import (
    LEAST_LABELLED,
    LEAST_UNLABELLED,
    UNLIKE,
    PoweredDifference,
    PoweredScore,
    PredictionPowered,
    Sample,
    powered_means,
    shift_p,
)
from assay.evaluate.run import incomplete
from assay.evaluate.stats import Floats, group_numbers
from assay.example import Example, Message
from assay.generate.batch import Answer
from assay.progress import begin_stage
from assay.quantities import say_count

MOST_TWINS = 0.05
"""Share of the inputs that may be twins of labelled rows: what is left without them is drawn from
where the holdout was only as far as they are few."""
RESAMPLES = 5_000


@dataclass(frozen=True, slots=True)
class AnsweredInputs:
    """Unlabelled inputs with the annotator's labels and the candidates' answers.

    Attributes:
        annotator: the agent that labels.
        labels: its answers, one an input.
        answers: of each candidate that can answer new inputs, by name.
    """

    inputs: UnlabelledInputs
    annotator: Agent
    labels: list[Answer]
    answers: dict[str, list[Answer]]


def annotator_of(settings: Unlabelled, context: Context) -> Agent:
    """The agent that labels: its model with the project's prompt, held to labels and schema where
    it answers on this machine."""
    remote = is_remote(settings.model)
    tight = not remote and context.config.generate.constrained != "off"
    changes: dict[str, object] = {"choices": None} if remote else {}
    agent = context.chat_agent(model=settings.model, **changes)
    held = tight and (agent.output_schema is not None or agent.choices is not None)
    return agent.model_copy(update={"constrained": held})


def answer_inputs(
    annotator: Agent, inputs: UnlabelledInputs, built: Sequence[Candidate], bench: Bench
) -> AnsweredInputs:
    """Let the annotator label the inputs, and every candidate answer them.

    Raises:
        OutageError: an input was left without an answer or a label.
    """
    bench.progress.say(f"Unlabelled inputs: labels of {annotator.model}")
    begin_stage(bench.progress, "inputs", "")
    labels = _answers(annotator, inputs.examples, bench)
    answers = {}
    for one in built:
        if one.agent.kind != "outside":
            bench.progress.say(f"Unlabelled inputs: {one.name}")
            begin_stage(bench.progress, "inputs", one.name)
            answers[one.name] = _answers(one.agent, inputs.examples, bench)
    return AnsweredInputs(inputs, annotator, labels, answers)


def _answers(agent: Agent, examples: Sequence[Example], bench: Bench) -> list[Answer]:
    answers, _ = bench.answer(agent, examples)
    if missing := incomplete(answers):
        raise OutageError(
            f"{agent.model} left {missing} of {say_count(len(answers), 'input')} unanswered.",
            fix="Run the same command again to request only these.",
        )
    return answers


def add_intervals(
    result: Result,
    answered: AnsweredInputs,
    measured: Mapping[str, Measurement],
    examples: Sequence[Example],
    bench: Bench,
) -> Result:
    """The result with the intervals of scores and differences, or with why there are none.

    It stays without either, and has a warning, where labels of the holdout are missing or cannot be
    graded. Why is said and not kept: it may quote a row.

    Args:
        measured: every candidate's measurement on `examples`, the holdout, by its name.
    """
    try:
        found = _intervals(result.plan, answered, measured, examples, bench)
    except AssayError as error:
        bench.progress.say(str(error))
        warning = (
            "There are no figures with unlabelled inputs: labels of the annotator are missing or "
            "cannot be graded. Run the same command again to request only what is missing."
        )
        return result.model_copy(update={"warnings": [*result.warnings, warning]})
    return result.model_copy(update={"prediction_powered": found})


def _intervals(
    plan: Plan,
    answered: AnsweredInputs,
    measured: Mapping[str, Measurement],
    examples: Sequence[Example],
    bench: Bench,
) -> PredictionPowered:
    primary, unlabelled = bench.config.primary, answered.inputs.examples
    bench.progress.say(f"{HOLDOUT}labels of {answered.annotator.model}")
    labels = _answers(answered.annotator, examples, bench)
    fresh = {example.id for example in without_twins(unlabelled, examples, bench.progress)}
    kept = [example.id in fresh for example in unlabelled]
    found = PredictionPowered(
        model=answered.annotator.model,
        labelled=len(examples),
        unlabelled=len(fresh),
        twins=len(unlabelled) - len(fresh) + answered.inputs.twins,
        annotator_score=float(_scores(labels, examples, bench).mean()),
        usd=usd_of(answered.annotator, [*labels, *answered.labels], bench),
    )
    names = [name for name in answered.answers if not measured[name].incomplete]
    if not names:
        return found.model_copy(update={"withheld": "no candidate has answered everything"})
    if not all(measured[names[0]].counted[primary]):
        why = f"the grader {primary} cannot score some rows of the holdout"
        return found.model_copy(update={"withheld": why})
    on_holdout = _labelled(examples, labels)
    inputs = list(compress(unlabelled, kept))
    on_inputs = _labelled(inputs, list(compress(answered.labels, kept)))
    true = [np.array(measured[name].scores[primary]) for name in names]
    known = [_scores(measured[name].answers, on_holdout, bench) for name in names]
    new = [
        _scores(list(compress(answered.answers[name], kept)), on_inputs, bench) for name in names
    ]
    groups = all_groups(examples) if plan.groups is not None else None
    predicted = Sample(with_differences(known), groups)
    rest = Sample(with_differences(new), _groups(inputs))
    if reason := reason_to_withhold(predicted, rest, found):
        return found.model_copy(update={"withheld": reason})
    scores = Sample(with_differences(true), groups)
    return _with_intervals(found, names, scores, predicted, rest, plan.judge_error or 0.0)


def _with_intervals(
    found: PredictionPowered,
    names: Sequence[str],
    scores: Sample,
    predicted: Sample,
    rest: Sample,
    judge_error: float,
) -> PredictionPowered:
    """The intervals; how many labelled rows they are worth is told by those without the model.

    Args:
        judge_error: of a judge that decides, by which its mean score may be off people's.
    """
    couples = list(combinations(names, 2))
    least = np.array([0.0] * len(names) + [-1.0] * len(couples))
    means = powered_means(scores.values, predicted, rest, least=least)
    entries = [Entry(name, scores.values[:, i]) for i, name in enumerate(names)]
    members = None if scores.groups is None else group_numbers(scores.groups)
    alone = measure(entries, members, Terms(resamples=RESAMPLES), Terms().alpha)
    widths = [limits.high - limits.low for limits in map(alone.intervals.__getitem__, names)]
    widths += [alone.pairs[couple].high - alone.pairs[couple].low for couple in couples]
    mean, low, high = (part.tolist() for part in (means.mean, means.low, means.high))
    worth = [
        round(len(scores.values) * (width / (most - less)) ** 2)
        for width, less, most in zip(widths, low, high, strict=True)
    ]
    count = len(names)
    return found.model_copy(
        update={
            "scores": [
                PoweredScore(
                    candidate=name,
                    score=mean[i],
                    low=max(0.0, low[i] - judge_error),
                    high=min(1.0, high[i] + judge_error),
                    worth=worth[i],
                )
                for i, name in enumerate(names)
            ],
            "pairs": [
                PoweredDifference(
                    a=a, b=b, difference=mean[i], low=low[i], high=high[i], worth=worth[i]
                )
                for i, (a, b) in enumerate(couples, start=count)
            ],
        }
    )


def reason_to_withhold(predicted: Sample, rest: Sample, found: PredictionPowered) -> str | None:
    """Why no interval is given; None where one can be."""
    if predicted.units < LEAST_LABELLED:
        return (
            f"at least {LEAST_LABELLED} independent labelled rows are needed (a group counts once)"
        )
    if rest.units < LEAST_UNLABELLED:
        return f"at least {LEAST_UNLABELLED} independent inputs are needed (a group counts once)"
    if found.twins > MOST_TWINS * (found.twins + found.unlabelled):
        return (
            f"{found.twins:,} of {found.twins + found.unlabelled:,} inputs are equal or near to a "
            "labelled row, and the inputs that are left are not drawn as the holdout was"
        )
    if shift_p(predicted, rest) < UNLIKE:
        return (
            "the inputs do not look like the holdout: by the labels of the model, candidates score "
            "differently on the two, by more than chance. Both must come from one source"
        )
    return None


def with_differences(scores: Sequence[Floats]) -> Floats:
    """[rows, columns]: the scores of each candidate, then those of each pair, first − second."""
    return np.column_stack([*scores, *(a - b for a, b in combinations(scores, 2))])


def _labelled(examples: Sequence[Example], labels: Sequence[Answer]) -> list[Example]:
    """The examples with what the annotator says as the one right answer."""
    return [
        replace(
            example,
            messages=(*example.prompt, Message("assistant", label.text.strip())),
            references=(),
        )
        for example, label in zip(examples, labels, strict=True)
    ]


def _scores(answers: Sequence[Answer], examples: Sequence[Example], bench: Bench) -> Floats:
    """What the grader that decides says of each answer; 0 of one that was refused, and where the
    grader cannot use the label."""
    spec, context = bench.config.primary_grader(), bench.grading
    texts = [answer.text for answer in answers]
    try:
        scores = grade(spec, texts, examples, context).scores
    except DataError:  # the grader names one label that it cannot use: find all of them
        scores = []
        for text, example in zip(texts, examples, strict=True):
            try:
                scores += grade(spec, [text], [example], context).scores
            except DataError:
                scores.append(0.0)
    refused = np.array([answer.finish == "refused" for answer in answers])
    return np.where(refused, 0.0, np.array(scores, dtype=float))


def _groups(examples: Sequence[Example]) -> list[str] | None:
    """The group of each row; None where every one is alone."""
    return None if all(e.group is None for e in examples) else all_groups(examples)


def usd_of(agent: Agent, answers: Sequence[Answer], bench: Bench) -> float | None:
    """What a provider takes for answers; None on this machine, or where it is not known."""
    if not is_remote(agent.model):
        return None
    name, model = split_reference(agent.model)
    provider = provider_of(bench.engines.providers, name)
    costs = [
        cost_usd(provider, model, one.prompt_tokens, one.completion_tokens, one.cached_tokens)
        for one in answers
    ]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None
