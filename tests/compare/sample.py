"""A result with every part filled in, for tests of what reads results."""

from __future__ import annotations

import random

from assay.candidates.registry import explanation_of, need_of, plain_name, specs
from assay.compare.curve_section import Curve, CurvePoint
from assay.compare.data_section import DataSection, QuarantineCounts
from assay.compare.entries import Entry, Terms
from assay.compare.planning import planned_effect
from assay.compare.result import (
    AnswerRow,
    CandidateResult,
    Confusion,
    Cost,
    Figure,
    Opening,
    OpeningRecord,
    Plan,
    Result,
    ValidationFigure,
)
from assay.compare.rollout_section import CandidateRollout, DialogueShare, Omission, Rollout
from assay.compare.verdict import decide
from assay.evaluate.label_noise import Rater, SecondLook, doubtful_rows
from assay.evaluate.prediction_powered import (
    PoweredDifference,
    PoweredScore,
    PredictionPowered,
)
from assay.evaluate.stats import wilson

LABELS = ["card_arrival", "lost_card", "refund <b>now</b>"]
TRUE_SCORES = {
    "baseline-majority": 0.35,
    "baseline-tfidf": 0.7,
    "prompt": 0.4,
    "few-shot": 0.6,
    "fine-tune": 0.86,
}


def sample_rows(n: int = 300, seed: int = 0) -> list[AnswerRow]:
    """Answers whose inputs try to break out of the page."""
    rng = random.Random(seed)
    rows = []
    for i in range(n):
        right = {name: float(rng.random() < p) for name, p in TRUE_SCORES.items()}
        target = LABELS[i % 3]
        wrong = LABELS[(i + 1) % 3]
        rows.append(
            AnswerRow(
                id=f"row-{i}",
                line=i + 2,
                input=f"Message {i}: <script>alert(1)</script> where is my card?",
                reference=target,
                answers={name: target if ok else wrong for name, ok in right.items()},
                scores=right,
            )
        )
    return rows


def sample_second_look(rows: list[AnswerRow]) -> SecondLook:
    """What three of the candidates doubt together."""
    raters = [
        Rater(name, [r.answers[name] for r in rows], [r.scores[name] for r in rows])
        for name in ("baseline-tfidf", "few-shot", "fine-tune")
    ]
    doubtful = doubtful_rows(raters)
    kept = doubtful.count(False)
    low, high = wilson(kept, len(rows))
    return SecondLook(
        raters=[rater.name for rater in raters],
        agreeing=3,
        rows=len(rows),
        ids=[row.id for row, doubted in zip(rows, doubtful, strict=True) if doubted],
        ceiling=kept / len(rows),
        low=low,
        high=high,
    )


def sample_powered(labelled: int) -> PredictionPowered:
    """Two candidates' figures, and that of their difference."""
    a, b = "baseline-tfidf", "few-shot"
    return PredictionPowered(
        model="remote:far/<b>annotator</b>",
        labelled=labelled,
        unlabelled=2000,
        twins=12,
        annotator_score=0.91,
        usd=3.2,
        scores=[
            PoweredScore(candidate=a, score=0.712, low=0.681, high=0.743, worth=811),
            PoweredScore(candidate=b, score=0.605, low=0.573, high=0.637, worth=777),
        ],
        pairs=[PoweredDifference(a=a, b=b, difference=0.107, low=0.083, high=0.131, worth=903)],
    )


def sample_rollout() -> Rollout:
    """One candidate's dialogues, and why another has none."""
    return Rollout(
        dialogues=40,
        groups=38,
        turns=210,
        with_call=37,
        tools=True,
        candidates=[
            CandidateRollout(
                candidate="few-shot",
                success=DialogueShare(score=0.55, low=0.391, high=0.702),
                before_departure=DialogueShare(score=0.713, low=0.584, high=0.829),
                all_made=DialogueShare(score=0.625, low=0.462, high=0.771),
                departures={"arguments": 12, "missed": 6},
                at_turn=[2, 9, 0, 3, 4],
                answers=260,
                usd=0.42,
            )
        ],
        left_out=[Omission(candidate="prompt", reason="answers are missing <i>", again=True)],
    )


def sample_result(n: int = 300, good_enough: float | None = 0.7) -> Result:
    """A result that the real verdict drew from `sample_rows`."""
    rows = sample_rows(n)
    costs = {"prompt": 130.0, "few-shot": 190.0, "fine-tune": 760.0, "baseline-tfidf": 720.0}
    entries = [
        Entry(
            name=name,
            scores=[row.scores[name] for row in rows],
            floor=name == "baseline-majority",
            fine_tuned=name == "fine-tune",
            setup_cost=costs.get(name),
            running_cost=1.2 if name in costs else None,
            title=plain_name(name) or "",
        )
        for name in TRUE_SCORES
    ]
    terms = Terms(good_enough=good_enough)
    decision, effect = decide(entries, None, terms), planned_effect(n, None, terms)
    candidates = [
        CandidateResult(
            name=figures.name,
            kind=figures.name,
            explanation=explanation_of(figures.name),
            needs=need_of(figures.name),
            agent="a" * 64,
            baseline=figures.name.startswith("baseline"),
            floor=figures.name == "baseline-majority",
            fine_tuned=figures.name == "fine-tune",
            score=figures.score,
            low=figures.low,
            high=figures.high,
            latency_p50_s=0.3,
            latency_p95_s=0.6,
            latency_requests=6,
            cost_per_1000=0.01 if figures.name in costs else None,
            yearly_cost=figures.cost_to_own,
            cost=Cost(curation_usd=costs.get(figures.name)),
            setup_seconds=12.0,
            metrics={"label-accuracy": Figure(score=0.5, low=0.4, high=0.6)},
            corpus={"macro-f1": 0.5},
            per_class=dict.fromkeys(LABELS, 0.5),
            validation=[ValidationFigure(setting="constrained", score=0.5, chosen=True)],
        )
        for figures in decision.candidates
    ]
    plan = Plan(
        candidates=list(TRUE_SCORES),
        primary="label-accuracy",
        margin=0.02,
        alpha=0.05,
        level=decision.level,
        opening=1,
        good_enough=good_enough,
        monthly_requests=10_000,
        holdout=n,
        groups=None,
        minimum_detectable_effect=effect,
        discordance=0.3,
        written_at="2026-01-01T00:00:00+00:00",
        sha256="b" * 64,
    )
    return Result(
        comparison="c" * 64,
        project="support",
        created_at="2026-01-01T00:00:00+00:00",
        assay_version="0.1.0",
        task="label",
        primary="label-accuracy",
        margin=0.02,
        good_enough=good_enough,
        monthly_requests=10_000,
        candidates=candidates,
        names={name: plain_name(name) or name for name in specs()},
        pairs=list(decision.pairs),
        minimum_detectable_effect=effect,
        opening=Opening(number=1, alpha=decision.level),
        openings=[
            OpeningRecord(
                number=1, at=plan.written_at, reason="first", comparison="c" * 64, alpha=0.03
            )
        ],
        plan=plan,
        verdict=decision.verdict,
        second_look=sample_second_look(rows),
        prediction_powered=sample_powered(n),
        rollout=sample_rollout(),
        curves=[
            Curve(
                candidate="fine-tune",
                points=[
                    CurvePoint(step=s, epoch=s / 20, train_loss=2 / (1 + s / 9))
                    for s in range(1, 81)
                ]
                + [
                    CurvePoint(step=s, epoch=s / 20, validation_loss=2.2 / (1 + s / 10))
                    for s in (20, 40, 60, 80)
                ],
                best_step=60,
            )
        ],
        confusions=[
            Confusion(
                candidate="fine-tune",
                labels=LABELS,
                counts=[[80, 12, 8, 0], [5, 90, 3, 2], [0, 9, 91, 0]],
            )
        ],
        data=DataSection(
            file="tickets.csv",
            format="csv",
            task="label",
            rows=1500,
            rejected=3,
            train=1000,
            validation=200,
            holdout=n,
            official_split=False,
            holdout_sha256="d" * 64,
            train_sha256="e" * 64,
            problems={"empty-output": 3},
            duplicates={"exact": 4, "near": 9},
            quarantine=QuarantineCounts(exact=2, near=1, train_removed=3, share_removed=0.003),
        ),
        environment={"python": "3.11", "packages": {"torch": "2"}},
        config={"name": "support"},
    )
