"""From measurements to the result: scores, prices, verdict, and what the report shows of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress

import numpy as np

from assay.agent.agent import Agent
from assay.candidates.building import Candidate
from assay.candidates.registry import explanation_of, need_of
from assay.compare.costs import CostDrivers, Price, price
from assay.compare.curve_section import Curve, CurvePoint
from assay.compare.data_section import DataSection
from assay.compare.documents import DocumentFigures, document_figures, squares
from assay.compare.drivers import cost_drivers, tokens_per_second, usd_per_request
from assay.compare.entries import Entry, Terms
from assay.compare.environment import environment
from assay.compare.holdout import openings
from assay.compare.performance import Performance
from assay.compare.plain_names import plain_names
from assay.compare.planning import dump_settings
from assay.compare.result import (
    CandidateResult,
    Confusion,
    Cost,
    Figure,
    Opening,
    PairResult,
    Plan,
    Result,
    SeedResult,
    ValidationFigure,
    Verdict,
)
from assay.compare.routes import routing_of
from assay.compare.routing_section import Routing
from assay.compare.scale import scale_of_metric
from assay.compare.second_look import find_second_look
from assay.compare.sensitivity import Sensitivity, find_sensitivity
from assay.compare.verdict import CandidateFigures, decide
from assay.config import Config
from assay.evaluate.aggregate import (
    confusion_counts,
    corpus_scores,
    scores_by_class,
    seen_labels,
)
from assay.evaluate.forgetting import Forgetting
from assay.evaluate.judging import JudgeAgreement
from assay.evaluate.measure import Bench, Measurement
from assay.evaluate.resampling import studentise, units
from assay.example import Example
from assay.generate.local import weight_bytes
from assay.quantities import say_count
from assay.version import VERSION

METRIC_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Participant:
    """One candidate with everything measured of it.

    Attributes:
        arms: of a route, how fast each agent answers that it asks, by id.
    """

    candidate: Candidate
    measurement: Measurement
    performance: Performance
    forgetting: Forgetting | None
    arms: Mapping[str, Performance] = field(default_factory=dict)


def build_result(
    id: str,
    plan: Plan,
    taken: Sequence[Participant],
    examples: Sequence[Example],
    data: DataSection,
    bench: Bench,
    warnings: Sequence[str],
    judges: Sequence[JudgeAgreement] = (),
) -> Result:
    """Decide, and assemble the result that the report is made from."""
    config = bench.config
    row_groups = all_groups(examples) if plan.groups is not None else None
    counted = taken[0].measurement.counted[config.primary]
    groups = None if row_groups is None else list(compress(row_groups, counted))
    drivers = [cost_drivers(one.candidate, one.performance, bench) for one in taken]
    prices = [price(one, config.costs, config.monthly_requests) for one in drivers]
    names = plain_names([one.candidate for one in taken], config)
    entries = [_entry(one, cost, names) for one, cost in zip(taken, prices, strict=True)]
    decision = decide(entries, groups, _terms(plan, config))
    candidates = [
        _candidate(
            one,
            told,
            cost,
            figures,
            row_groups,
            examples,
            config,
            {judge.name: judge.error_high or 0.0 for judge in judges},
            document_figures(one.candidate.agent, one.measurement, examples, row_groups, bench),
            _weight_bytes(one.candidate.agent, bench),
        )
        for one, told, cost, figures in zip(
            taken, drivers, prices, decision.candidates, strict=True
        )
    ]
    return Result(
        comparison=id,
        project=config.name,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        assay_version=VERSION,
        task=config.task,
        primary=config.primary,
        margin=config.margin,
        good_enough=config.good_enough,
        monthly_requests=config.monthly_requests,
        candidates=candidates,
        names=names,
        pairs=list(decision.pairs),
        minimum_detectable_effect=plan.minimum_detectable_effect,
        opening=Opening(number=plan.opening, alpha=plan.level),
        openings=[one.record for one in openings(bench.store, data.holdout_sha256)],
        plan=plan,
        verdict=decision.verdict,
        replacements=list(decision.replacements),
        sensitivity=_sensitivity(decision.verdict, taken, drivers, config),
        curves=[_curve(one.candidate) for one in taken if one.candidate.curve],
        routing=_routing(taken, examples, row_groups, bench),
        confusions=_confusions(taken, examples, config),
        additions=squares({one.candidate.name: one.measurement for one in taken}, groups),
        judges=list(judges),
        second_look=find_second_look(
            {one.candidate.name: one.measurement for one in taken},
            _above_floor(decision.pairs, entries),
            examples,
            groups,
            config,
        ),
        data=data,
        environment=environment(bench.engines.server),
        config=dump_settings(config),
        warnings=[*warnings, *decision.warnings],
    )


def _sensitivity(
    verdict: Verdict, taken: Sequence[Participant], drivers: Sequence[CostDrivers], config: Config
) -> Sensitivity | None:
    """Of the choice of the cheapest, where there was one."""
    if verdict.recommend is None:
        return None
    told = {one.candidate.name: known for one, known in zip(taken, drivers, strict=True)}
    as_good = {name: told[name] for name in verdict.as_good}
    return find_sensitivity(as_good, verdict.recommend, config.costs, config.monthly_requests)


def _routing(
    taken: Sequence[Participant],
    examples: Sequence[Example],
    groups: Sequence[str] | None,
    bench: Bench,
) -> list[Routing]:
    """The account of every candidate that routes."""
    found = []
    for one in taken:
        costs = {
            id: usd_per_request(part, one.arms[id], bench)
            for id, part in one.candidate.arms.items()
        }
        found.append(routing_of(one.candidate, one.measurement, examples, groups, costs, bench))
    return [routing for routing in found if routing is not None]


def all_groups(examples: Sequence[Example]) -> list[str]:
    """A row without a group is a group of its own."""
    return [e.group if e.group is not None else f"row {i}" for i, e in enumerate(examples)]


def _terms(plan: Plan, config: Config) -> Terms:
    return Terms(
        margin=plan.margin,
        margin_for_cheaper=plan.margin_for_cheaper,
        alpha=plan.alpha,
        opening=plan.opening,
        good_enough=plan.good_enough,
        monthly_requests=plan.monthly_requests,
        discordance=plan.discordance,
        tested_first=plan.tested_first,
        judge_error=plan.judge_error or 0.0,
        scale=scale_of_metric(plan.primary, config.graders),
    )


def _above_floor(pairs: Sequence[PairResult], entries: Sequence[Entry]) -> set[str]:
    """The candidates that are shown to be better than every floor; all, where there is none."""
    complete = [entry for entry in entries if not entry.incomplete]
    floors = {entry.name for entry in complete if entry.floor}
    shown = {(pair.a, pair.b) for pair in pairs if pair.call == "better"}
    shown |= {(pair.b, pair.a) for pair in pairs if pair.call == "worse"}
    return {
        entry.name
        for entry in complete
        if not entry.floor and all((entry.name, floor) in shown for floor in floors)
    }


def _weight_bytes(agent: Agent, bench: Bench) -> int | None:
    if agent.kind != "chat":
        return None
    return weight_bytes(agent.model, bench.store)


def _entry(one: Participant, cost: Price, names: Mapping[str, str]) -> Entry:
    return Entry(
        name=one.candidate.name,
        scores=one.measurement.primary_scores,
        floor=one.candidate.floor,
        outside=one.candidate.kind == "outside",
        recorded=one.candidate.recorded,
        fine_tuned=one.candidate.fine_tuned,
        incomplete=one.measurement.incomplete,
        setup_cost=cost.setup,
        running_cost=cost.running,
        title=names[one.candidate.name],
        answer_seconds=one.performance.p50_s,
        trainings=len(one.candidate.seeds),
        training_spread=one.candidate.seed_spread,
    )


def _candidate(
    one: Participant,
    drivers: CostDrivers,
    cost: Price,
    figures: CandidateFigures,
    groups: Sequence[str] | None,
    examples: Sequence[Example],
    config: Config,
    judge_errors: Mapping[str, float],
    documents: DocumentFigures,
    weights: int | None,
) -> CandidateResult:
    candidate, measurement, speed = one.candidate, one.measurement, one.performance
    return CandidateResult(
        name=candidate.name,
        kind=candidate.kind,
        title=candidate.title,
        explanation=explanation_of(candidate.kind),
        needs=need_of(candidate.kind),
        agent=candidate.agent.id,
        baseline=candidate.baseline,
        floor=candidate.floor,
        fine_tuned=candidate.fine_tuned,
        score=figures.score,
        low=figures.low,
        high=figures.high,
        eligible=figures.eligible,
        failed=measurement.failed,
        refused=measurement.refused,
        missing=measurement.missing,
        status="incomplete" if measurement.incomplete else "complete",
        latency_p50_s=speed.p50_s,
        latency_p95_s=speed.p95_s,
        latency_requests=speed.timed,
        cost_per_1000=cost.of_1000(config.monthly_requests),
        yearly_cost=cost.yearly,
        cost=Cost(
            curation_usd=cost.curation,
            training_usd=cost.training,
            requests_usd=cost.requests,
            idle_usd=cost.idle,
            upkeep_usd=cost.upkeep,
        ),
        setup_seconds=None if candidate.kind == "outside" else candidate.setup_seconds,
        prompt_tokens=speed.prompt_tokens,
        completion_tokens=speed.completion_tokens,
        tokens_per_s=tokens_per_second(drivers, speed),
        model_bytes=weights,
        metrics=_metrics(measurement, figures, groups, judge_errors),
        corpus=corpus_scores(config.task, _texts(one), examples, config.labels),
        per_class=scores_by_class(config.task, _texts(one), examples, config.labels),
        validation=[
            ValidationFigure(setting=t.setting, score=t.score, chosen=t.chosen)
            for t in candidate.tried
        ],
        seeds=[SeedResult(seed=s.seed, score=s.score, chosen=s.chosen) for s in candidate.seeds],
        forgetting=one.forgetting,
        retrieval=documents.retrieval,
        support=documents.support,
        abstention=documents.abstention,
        warnings=[*candidate.warnings, *_unanswered(measurement)],
    )


def _unanswered(measurement: Measurement) -> Iterator[str]:
    """Sentences on the rows without an answer. What a provider says of them may quote a row, and
    stays out of the result; the run has said it."""
    requests = say_count(len(measurement.answers), "request")
    if measurement.refused:
        yield (
            f"{measurement.refused} of {requests} {_were(measurement.refused)} refused by the "
            "model (too long, or held back), which scores 0."
        )
    if measurement.missing:
        yield (
            f"{measurement.missing} of {requests} {_were(measurement.missing)} left without an "
            "answer by an outage."
        )


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _metrics(
    measurement: Measurement,
    decided: CandidateFigures,
    groups: Sequence[str] | None,
    judge_errors: Mapping[str, float],
) -> dict[str, Figure]:
    """Every grader's mean over the examples that count for it, with its own interval.

    Args:
        decided: figures of the primary grader, whose interval is that of the verdict.
        judge_errors: by which the intervals of judges are wider, by the grader's label.
    """
    if measurement.incomplete:
        return {}
    figures = {}
    for label, scores in measurement.scores.items():
        counted = measurement.counted[label]
        if label == measurement.primary and decided.score is not None:
            low, high = decided.low or 0.0, decided.high or 0.0
            figures[label] = Figure(score=decided.score, low=low, high=high)
            continue
        if not any(counted):
            continue
        column = np.array([[score] for score in compress(scores, counted)])
        kept = None if groups is None else list(compress(groups, counted))
        rng = np.random.default_rng(0)
        mean = studentise(units(column, kept), METRIC_RESAMPLES, rng, least=0.0, most=1.0)
        (least,), (most,) = mean.interval(0.05)
        error = judge_errors.get(label, 0.0)
        figures[label] = Figure(
            score=float(mean.mean[0]),
            low=max(0.0, float(least) - error),
            high=min(1.0, float(most) + error),
        )
    return figures


def _curve(candidate: Candidate) -> Curve:
    points = [
        CurvePoint(
            step=p.step,
            epoch=p.epoch,
            train_loss=p.train_loss,
            validation_loss=p.validation_loss,
        )
        for p in candidate.curve
    ]
    return Curve(candidate=candidate.name, points=points, best_step=candidate.best_step)


def _confusions(
    taken: Sequence[Participant], examples: Sequence[Example], config: Config
) -> list[Confusion]:
    """Confusion matrices of all complete candidates of a label task."""
    if config.task != "label":
        return []
    labels = list(config.labels or seen_labels(examples))
    return [
        Confusion(
            candidate=one.candidate.name,
            labels=labels,
            counts=confusion_counts(_texts(one), examples, labels),
        )
        for one in taken
        if not one.measurement.incomplete
    ]


def _texts(one: Participant) -> list[str]:
    return [answer.text for answer in one.measurement.answers]
