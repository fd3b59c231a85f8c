"""The result of a comparison: `result.json`, the contract with everything that reads it.

Fractions are between 0 and 1, money is USD, times are seconds; a difference is a − b. Null means
not known, never 0. Additions keep `schema_version`; a change of meaning raises it.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from assay.compare.curve_section import Curve
from assay.compare.data_section import DataSection
from assay.compare.replacement_section import Replacement
from assay.compare.rollout_section import Rollout
from assay.compare.routing_section import Routing
from assay.compare.sensitivity import Sensitivity
from assay.evaluate.documents import Abstention, Retrieval, Support
from assay.evaluate.factorial import Factorial
from assay.evaluate.forgetting import Forgetting
from assay.evaluate.judging import JudgeAgreement
from assay.evaluate.label_noise import SecondLook
from assay.evaluate.prediction_powered import PredictionPowered

Call = Literal["better", "worse", "equivalent", "cannot_tell"]
Outcome = Literal["recommend", "none", "cannot_tell"]


class ResultPart(BaseModel):
    """A part of the result; unknown keys are refused so that a typo cannot pass for a figure."""

    model_config = ConfigDict(extra="forbid")


class Figure(ResultPart):
    """A mean of per-example scores with its interval, the error of a judge included."""

    score: float
    low: float
    high: float


class Cost(ResultPart):
    """What a candidate costs to own for a year, by part; each part null where unknown.

    Attributes:
        requests_usd: machine time of the answers, and what a provider takes for them.
        idle_usd: hours in which the machine is kept on beyond those; null in results that are
            older than this field.
    """

    curation_usd: float | None = None
    training_usd: float | None = None
    requests_usd: float | None = None
    idle_usd: float | None = None
    upkeep_usd: float | None = None


class ValidationFigure(ResultPart):
    """One setting that was tried on validation, and whether it was chosen."""

    setting: str
    score: float
    chosen: bool


class SeedResult(ResultPart):
    """A training with one seed, its version's score on validation, and whether it took part."""

    seed: int
    score: float
    chosen: bool


class CandidateResult(ResultPart):
    """One candidate, measured on the holdout.

    Attributes:
        kind: the name it was built by; of a saved agent, the name it was saved under.
        title: what it is, in a few words; empty in results that are older than this field.
        explanation: what it is and does; empty of saved agents and in older results.
        needs: beside the rows, in a few words; empty of saved agents and in older results.
        baseline: takes part unasked; `floor`: only to be beaten.
        eligible: shown to be no worse than the best by the margin, at the level of the opening;
            null in results that are older than this field.
        failed: answers that could not be parsed, and requests that were refused (scored 0).
        refused: of these, requests that the model does not take: too long, or held back.
        missing: holdout rows that an outage left without an answer.
        status: `incomplete` when answers are missing, or nothing was answered at all; then no call
            is made of it, and the result is not final.
        latency_p95_s: of the requests that were timed, one at a time, 95 in 100 took no longer: the
            slowest of fewer than 20; `latency_requests`: how many, null in older results.
        cost_per_1000: of 1000 answers at the stated volume, the machine's idle hours included.
        yearly_cost: of the first year, the sum of the parts of `cost`.
        tokens_per_s: of answers, of this machine at full load; null where it does not answer.
        model_bytes: what the weights take as they are served; null likewise, and of routes.
        metrics: mean of every grader on the holdout, by its label.
        corpus: scores that are no mean of examples (macro-F1, corpus chrF); shown, never deciding.
        per_class: for label tasks, recall by class; for json tasks, accuracy by field.
        validation: settings tried on validation.
        seeds: trainings that differ in their seed alone; the one that is best on validation took
            part. Empty where nothing was trained, and in results that are older than this field.
        forgetting: what training cost the model in general; null where there was none or the
            result is older than this field.
        retrieval: how well documents were found; null without knowledge, or where no row names one.
        support: scores of answers with and without support in the passages; of text tasks.
        abstention: null without `knowledge.abstain`, or where no row says what answers it.
        warnings: sentences a reader must see beside the figure.
    """

    name: str
    kind: str
    title: str = ""
    explanation: str = ""
    needs: str = ""
    agent: str
    baseline: bool = False
    floor: bool = False
    fine_tuned: bool = False
    score: float | None
    low: float | None
    high: float | None
    eligible: bool | None = None
    failed: int = 0
    refused: int = 0
    missing: int = 0
    status: Literal["complete", "incomplete"] = "complete"
    latency_p50_s: float | None = None
    latency_p95_s: float | None = None
    latency_requests: int | None = None
    cost_per_1000: float | None = None
    yearly_cost: float | None = None
    cost: Cost = Cost()
    setup_seconds: float | None = None
    prompt_tokens: float | None = None
    completion_tokens: float | None = None
    tokens_per_s: float | None = None
    model_bytes: int | None = None
    metrics: dict[str, Figure] = {}
    corpus: dict[str, float] = {}
    per_class: dict[str, float] = {}
    validation: list[ValidationFigure] = []
    seeds: list[SeedResult] = []
    forgetting: Forgetting | None = None
    retrieval: Retrieval | None = None
    support: Support | None = None
    abstention: Abstention | None = None
    warnings: list[str] = []


class PairResult(ResultPart):
    """Candidate a against candidate b on the same examples; `difference` is a − b.

    Attributes:
        a_not_worse, b_not_worse: one-sided p of "worse than the other by the margin or more", of
            this pair alone; null in results that are older than these fields.
    """

    a: str
    b: str
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    p_equivalence: float
    a_not_worse: float | None = None
    b_not_worse: float | None = None
    call: Call
    a_only: int | None = None
    b_only: int | None = None

    def turned(self) -> PairResult:
        """The same pair with b named first."""
        calls: dict[Call, Call] = {"better": "worse", "worse": "better"}
        return self.model_copy(
            update={
                "a": self.b,
                "b": self.a,
                "difference": -self.difference,
                "low": -self.high,
                "high": -self.low,
                "a_not_worse": self.b_not_worse,
                "b_not_worse": self.a_not_worse,
                "call": calls.get(self.call, self.call),
                "a_only": self.b_only,
                "b_only": self.a_only,
            }
        )


class Verdict(ResultPart):
    """The outcome of a comparison and its reasons.

    Attributes:
        recommend: the candidate to use, when outcome is `recommend`.
        as_good: those shown to be as good as the recommended one, itself among them; of these the
            cheapest to own was taken, of several that cost practically the same the best score.
        shortlist: those that cannot be told apart, best first, when `cannot_tell`; without those
            surely below `good_enough`.
        use_meanwhile: what to use until more is known: the cheapest of those whose score is at most
            the margin, or one example, behind the best; costs within 1 % are equal, and the best
            score decides. Null where the best has nothing right, or is at most as far ahead of one
            that reads no input.
        fine_tuning_worth_it: of fine-tuning as it was done here, however its trainings differ by
            chance; null where that is not known. `version_worth_it`: of the one version that took
            part; null in results that are older than this field, too.
        break_even_requests: requests after which fine-tuning's set-up has paid for itself against
            the cheapest eligible alternative; null when unknown or never.
        score_low, score_high: interval of the score of the one that is named, corrected for its
            having been chosen among the others.
        enough: the one that is named is shown, at the level of the opening, to reach `good_enough`:
            `enough_low`, its lower limit at that level, does; null where none was set.
        may_lose: at most so much of a score is lost by using `use_meanwhile` if another is better.
        more_examples_needed: examples of a new holdout that would settle it if there is no
            difference, when `cannot_tell`; `more_if_as_seen`: if it is as large as it looks.
        more_groups_needed, more_groups_if_as_seen: both in groups; null where examples are
            independent.
        not_judged: candidates that answers are missing of. While there are any, the verdict is not
            final: the same command asks for what is missing and concludes anew.
        reason: the plain sentence; `reason_in_words`: with what the candidates are, as the report
            calls them; null in results that are older than this field.
    """

    outcome: Outcome
    recommend: str | None = None
    as_good: list[str] = []
    shortlist: list[str] = []
    use_meanwhile: str | None = None
    fine_tuning_worth_it: bool | None = None
    version_worth_it: bool | None = None
    break_even_requests: float | None = None
    score_low: float | None = None
    score_high: float | None = None
    enough: bool | None = None
    enough_low: float | None = None
    may_lose: float | None = None
    more_examples_needed: int | None = None
    more_if_as_seen: int | None = None
    more_groups_needed: int | None = None
    more_groups_if_as_seen: int | None = None
    not_judged: list[str] = []
    reason: str
    reason_in_words: str | None = None

    @property
    def named(self) -> str | None:
        """The candidate to use, at last or for now; null where the verdict names none."""
        return self.recommend or self.use_meanwhile


class Opening(ResultPart):
    """Which opening of this holdout it was, and the level that it leaves."""

    number: int
    alpha: float


class OpeningRecord(ResultPart):
    """One line of the log of openings."""

    number: int
    at: str
    reason: str
    comparison: str
    alpha: float


class Confusion(ResultPart):
    """Label tasks: counts[i][j] = examples of labels[i] answered as labels[j]; the last column is
    `other` (no label of the set)."""

    candidate: str
    labels: list[str]
    counts: list[list[int]]


class Plan(ResultPart):
    """What was fixed and written down before the holdout was opened.

    Attributes:
        tested_first: the winner on validation, whose eligibility is tested at 0.8 of the level;
            null where nothing was scored there, or the plan is older than this rule.
        judge_error: by so much every interval of a score is wider, since a judge decides, whose
            scores may be off people's by it; null where none does.
        unlabelled: inputs that a model labels; null where there are none.
        rollout: what answers the calls of whole dialogues; null where none are gone on with.
        tests: sha256 of all that answers and tests rest on, which costs are no part of, unless
            `margin_for_cheaper` is set or inputs without labels are used; comparisons of the same
            tests share an opening.
        opened_by: the comparison of the same tests that opened the holdout, before costs, prices or
            requests a month were changed; null where this one opened it. Both null in older plans.
        minimum_detectable_effect: the smallest lead with which the best candidate would be
            recommended with a power of 0.8.
        rivals, stated_rivals: numbers of candidates, on which that depended in older plans.
        stated_effect: the same as stated before anything was built, of candidates that disagree as
            often as `stated_discordance` says; each null in plans older than the field.
    """

    candidates: list[str]
    tested_first: str | None = None
    primary: str
    margin: float
    margin_for_cheaper: float | None = None
    alpha: float
    level: float
    opening: int
    good_enough: float | None
    monthly_requests: int
    judge_error: float | None = None
    unlabelled: int | None = None
    rollout: Literal["recorded", "tools"] | None = None
    tests: str | None = None
    opened_by: str | None = None
    holdout: int
    groups: int | None
    minimum_detectable_effect: float
    rivals: int | None = None
    stated_effect: float | None = None
    stated_rivals: int | None = None
    stated_discordance: float | None = None
    discordance: float
    written_at: str
    sha256: str


class Result(ResultPart):
    """All of `result.json`: what was measured, and what follows.

    Attributes:
        names: what candidates are called where people read, by the names that are typed; those that
            only warnings or routes name are among them. In warnings their typed names stand in
            backquotes. Empty in results that are older than this field.
        additions: what two candidates add to one another, such as fine-tuning and retrieval; they
            explain and decide nothing.
        replacements: one for each candidate of which only answers were brought.
        sensitivity: how far the choice of the cheapest rests on assumptions about costs; null where
            there was no choice between known costs.
        judges: what is known of grading models whose agreement with people was measured.
        second_look: doubtful labels of the holdout; null where fewer than two candidates know the
            job, and in results that are older than this field.
        prediction_powered: intervals that unlabelled inputs make narrower, beside those of the
            verdict, which does not rest on them; null where the project names no such inputs, or
            labels of the holdout are missing or cannot be graded (`warnings` says so).
        rollout: scores of whole dialogues, which decide nothing; null where none were asked for.
    """

    schema_version: Literal[1] = 1
    comparison: str
    project: str
    created_at: str
    assay_version: str
    task: str
    primary: str
    margin: float
    good_enough: float | None
    monthly_requests: int
    candidates: list[CandidateResult]
    names: dict[str, str] = {}
    pairs: list[PairResult]
    minimum_detectable_effect: float
    opening: Opening
    openings: list[OpeningRecord]
    plan: Plan
    verdict: Verdict
    replacements: list[Replacement] = []
    sensitivity: Sensitivity | None = None
    curves: list[Curve] = []
    routing: list[Routing] = []
    confusions: list[Confusion] = []
    additions: list[Factorial] = []
    judges: list[JudgeAgreement] = []
    second_look: SecondLook | None = None
    prediction_powered: PredictionPowered | None = None
    rollout: Rollout | None = None
    data: DataSection
    environment: dict[str, Any]
    config: dict[str, Any]
    warnings: list[str] = []


class AnswerRow(ResultPart):
    """One line of `answers.jsonl.gz`: one holdout example and every candidate's answer to it.

    Attributes:
        line: first line of the example in its file, counted from 1, as when it was locked; 0 where
            that is not known.
        input: as `assay.chat.plain_calls.say_input` says it; in older files without calls.
        arms: of candidates that route, which of their arms answered.
    """

    id: str
    line: int = 0
    input: str
    reference: str
    group: str | None = None
    answers: dict[str, str]
    scores: dict[str, float]
    arms: dict[str, str] = {}
