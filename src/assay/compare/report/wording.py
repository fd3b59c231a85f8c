"""What figures are called in front of people: one wording for page and terminal."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from assay.compare.reasons import quoted, signed
from assay.compare.result import CandidateResult, Outcome, Result, Verdict
from assay.compare.routing_section import Routing
from assay.compare.scale import scale_of
from assay.evaluate.documents import Mean, Share
from assay.evaluate.factorial import Effect, Factorial
from assay.evaluate.judging import JudgeAgreement
from assay.evaluate.routing import ScoreDifference
from assay.quantities import say_count, say_number, say_share


def headline(verdict: Verdict) -> str:
    """The verdict in a few words, the same wherever the comparison is spoken of."""
    name = quoted(verdict.named or "")
    if verdict.not_judged:
        return f"Use {name} so far (not final)" if name else "Cannot tell yet (not final)"
    if verdict.outcome == "recommend":
        if verdict.enough is False:
            return f"Best so far: {name}; not shown to be enough"
        condition = " if it is good enough" if verdict.enough is None else ""
        return f"Use {name}{condition}"
    if verdict.outcome == "none":
        return "Use none of these"
    if verdict.use_meanwhile:
        return f"Use {name} for now; not proven"
    return "Use none of these for now; not proven" if verdict.shortlist else "Cannot tell yet"


def tone(verdict: Verdict) -> Outcome:
    """The outcome in whose colour the headline stands: a recommendation that is not final, or not
    shown to be enough, is no all clear."""
    is_open = verdict.outcome == "recommend" and (verdict.enough is False or verdict.not_judged)
    return "cannot_tell" if is_open else verdict.outcome


def known_answers(result: Result) -> str | None:
    """How many holdout rows could be answered by copying, which flatters whatever looks rows or
    documents up; None where there are none, or nobody looked."""
    found, rows = result.data.verbatim, result.data.holdout
    parts = []
    if found.answers:
        parts.append(f"the answer of {found.answers:,} stands word for word in a training row")
    if found.documents:
        stand = "stands with its answer", "stand with their answer"
        parts.append(f"{say_count(found.documents, *stand)} in a document")
    if not parts:
        return None
    return f"Of {rows:,} holdout rows, {' and '.join(parts)}: these can be answered by copying."


def place(id: str, line: int) -> str:
    """What a holdout example is called: by its line, as on the page Data and in an editor, and by
    the name that its file gives it, if any."""
    if not line:
        return f"Example {id}"
    return f"Line {line:,}" if re.fullmatch(r"row-\d+", id) else f"Line {line:,} ({id})"


def ordinal(number: int) -> str:
    """As "second", of numbers from 1 on."""
    words = ("first", "second", "third", "fourth", "fifth")
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10)
    return words[number - 1] if number <= len(words) else f"{number}{ending or 'th'}"


def unread(candidate: CandidateResult) -> str:
    """How many requests have no answer that can be read."""
    if candidate.status == "incomplete":
        return f"{candidate.missing or 'all'} missing"
    return str(candidate.failed) if candidate.failed else "–"


def figures(candidate: CandidateResult) -> dict[str, str]:
    """What a table of candidates says of one beside its score, by column."""
    return {
        "likely range": interval(candidate),
        "unread": unread(candidate),
        "one answer": seconds(candidate.latency_p50_s),
        "a month": monthly(candidate),
    }


def in_100(score: float | None) -> str:
    """A score as a count of a hundred."""
    return "–" if score is None else f"{100 * score:.1f}"


def interval(candidate: CandidateResult) -> str:
    """Both ends of a score's interval, of a hundred."""
    if candidate.low is None or candidate.high is None:
        return "–"
    return f"{100 * candidate.low:.1f} – {100 * candidate.high:.1f}"


def chosen_range(result: Result) -> str | None:
    """Why the range of the one that is named reaches lower than the others' would; None where it
    is not corrected."""
    rivals = sum(c.score is not None and not c.floor for c in result.candidates)
    if result.verdict.score_low is None or rivals < 2:
        return None
    named = result.verdict.named
    return (
        f"The range of {quoted(named or '')} reaches lower than its score alone would give: of "
        f"{rivals} candidates that could be recommended, the one that is picked afterwards often "
        "owes a part of its score to luck."
    )


def unread_meaning(result: Result) -> str:
    """What the column of unread answers counts."""
    what = {
        "label": "that are not one of the labels",
        "json": "that are not a record of the form that was asked for",
        "tools": "that begin a call which cannot be read",
    }.get(result.task, "whose form the grader could not read")
    return f"Unread: answers {what}."


def effect(found: Effect) -> str:
    """Points of a hundred, with both ends of the interval."""
    return f"{signed(found.difference)} ({signed(found.low)} to {signed(found.high)})"


def mean(found: Mean) -> str:
    """A mean of a hundred, with both ends of its interval; nothing of no examples."""
    if found.mean is None or found.low is None or found.high is None:
        return "–"
    return f"{100 * found.mean:.1f} ({100 * found.low:.1f} – {100 * found.high:.1f})"


def share(found: Share) -> str:
    """How many of how many, with both ends of the share's interval, of a hundred."""
    if found.low is None or found.high is None:
        return "no such examples"
    return f"{found.count} of {found.of} ({100 * found.low:.0f} – {100 * found.high:.0f} in 100)"


def together(square: Factorial) -> str:
    """What two candidates add to one another, in one line."""
    low, high = square.interaction.low, square.interaction.high
    what = "help one another" if low > 0 else "do in part the same" if high < 0 else "just add up"
    sure = "" if low > 0 or high < 0 else ", as far as this shows"
    return (
        f"{square.a} adds {effect(square.a_alone)} points to {square.neither} and "
        f"{effect(square.a_beside)} on top of {square.b}; {square.b} adds "
        f"{effect(square.b_alone)} and {effect(square.b_beside)}. Together: "
        f"{effect(square.interaction)}, so the two {what}{sure}."
    )


def judge(found: JudgeAgreement) -> str:
    """What a grading model is worth, in a few sentences."""
    error = "The intervals of its scores do not include its errors."
    if found.error is not None and found.error_high is not None:
        error = (
            f"Its scores are off theirs by {100 * found.error:.0f} points on average, likely at "
            f"most {100 * found.error_high:.0f}; their intervals are wider by that on each side."
        )
    return (
        f"{found.name} is a model that judges ({found.model}); its 50 of 100 points stand for as "
        f"good as the expected answer. On {found.pairs} pairs that people judged, its agreement "
        f"with them is a kappa of {found.kappa:.2f} "
        f"({found.low:.2f} to {found.high:.2f}); it says the same in {share(found.agreement)}. "
        f"In {share(found.undecided)} its verdict depends on the order. An instruction hidden in "
        f"an answer turned it in {share(found.flips)}. {error}"
    )


def rank(result: Result) -> list[CandidateResult]:
    """The best first; those without a score last."""
    return sorted(result.candidates, key=lambda c: (c.score is None, -(c.score or 0.0), c.name))


def group_by_need(result: Result) -> list[tuple[str, list[CandidateResult]]]:
    """Candidates by what they need beside the rows, the best of each group first; the group of the
    one that is named first, then that whose cheapest one costs least to own, unknown costs last."""
    groups: dict[str, list[CandidateResult]] = {}
    for candidate in rank(result):
        groups.setdefault(candidate.needs or "saved agents", []).append(candidate)

    def place(group: tuple[str, list[CandidateResult]]) -> tuple[bool, float]:
        least = min(math.inf if c.yearly_cost is None else c.yearly_cost for c in group[1])
        return all(c.name != result.verdict.named for c in group[1]), least

    return sorted(groups.items(), key=place)


def found_documents(candidate: CandidateResult) -> str | None:
    """How well documents were found, in one line; None where that is not known."""
    found = candidate.retrieval
    if found is None:
        return None
    hits = ", ".join(f"hit@{k} {in_100(hit.mean)}" for k, hit in found.hits.items())
    return (
        f"{candidate.name} found the right document: {hits}, MRR {in_100(found.mrr.mean)}, "
        f"nDCG@10 {in_100(found.ndcg_at_10.mean)}; it was given in {in_100(found.given.mean)} "
        f"of 100 ({say_count(found.mrr.examples, 'example')})."
    )


def moment(at: str) -> str:
    """When something was, as the studio says it: "28 Nov 2026, 19:17 UTC"."""
    return f"{datetime.fromisoformat(at).astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def probability(p: float) -> str:
    """A p-value: below what anybody acts upon, that it is below."""
    return "below 0.0001" if p < 0.0001 else say_number(p, 2)


def usd(amount: float | None) -> str:
    """Money with as many digits as it deserves; unknown is said, never 0."""
    if amount is None:
        return "unknown"
    if amount == 0:
        return "$0"
    if 0 < amount < 0.0001:
        return "below $0.0001"
    if amount < 0.01:
        return f"${amount:.4f}"
    return f"${amount:,.2f}" if amount < 100 else f"${amount:,.0f}"


def monthly_usd(amount: float | None) -> str:
    """Money of every month, so exact that twelve times that is what is said of the year: of less
    than a dollar three digits."""
    if amount is None or not 0.01 <= amount < 1:
        return usd(amount)
    return f"${float(f'{amount:.3g}'):.4f}".removesuffix("0").removesuffix("0")


def monthly(candidate: CandidateResult) -> str:
    """A twelfth of the first year's cost to own."""
    return monthly_usd(None if candidate.yearly_cost is None else candidate.yearly_cost / 12)


def seconds(value: float | None) -> str:
    """A duration in the unit that reads best."""
    if value is None:
        return "–"
    if value == 0:
        return "none"
    if value < 0.00005:
        return "below 0.1 ms"
    if value < 0.0095:
        return f"{1000 * value:.1f} ms"
    if value < 0.995:
        return f"{1000 * value:.0f} ms"
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def slow_answers(candidate: CandidateResult) -> str:
    """How long the slow ones of the timed answers took; nothing where their number is not known."""
    timed, slow = candidate.latency_requests, seconds(candidate.latency_p95_s)
    if timed is None:
        return ""
    within = math.ceil(0.95 * timed)
    return (
        f"({within} of {timed} within {slow})"
        if within < timed
        else f"(the slowest of {timed} that were timed: {slow})"
    )


MONTH = "A month: the first year's cost divided by 12, though a part of it is paid once."
RIGHT_ANSWERS = "right answers in 100"
"""What a score is where each answer is right or wrong."""


def score_meaning(result: Result) -> str:
    """What a score is, in words."""
    points = scale_of(result).points
    return f"points of 100 {points} ({result.primary})" if points else RIGHT_ANSWERS


def score_column(result: Result) -> str:
    """The head of a column of scores: short, so that the others have room beside it."""
    return "points of 100" if scale_of(result).points else RIGHT_ANSWERS


def points_meaning(result: Result) -> str:
    """What points stand for, under a column of them; "" where answers are right or wrong."""
    points = scale_of(result).points
    return f"Points of 100: {points} ({result.primary})." if points else ""


def routing(found: Routing) -> str:
    """What a route was worth, in a few sentences."""
    worth, arms = found.worth, found.arms
    shares = ", ".join(f"{100 * arm.answers:.0f} % of the answers by {arm.name}" for arm in arms)
    single = arms[worth.best_arm]
    said = [
        f"{found.candidate}: {in_100(worth.quality.value)} of 100 "
        f"({in_100(worth.quality.low)} – {in_100(worth.quality.high)}), {shares}.",
        _beside("random mixing at the same cost", worth.random),
        _beside(f"the best single one, {single.name} ({in_100(single.score)}),", worth.best_single),
    ]
    if found.target is not None and found.against_target is not None:
        kept = {"better": "is kept", "worse": "is missed", "tie": "may be kept or missed"}
        said.append(
            f"{say_share(found.target)} of {arms[-1].name}'s quality, which the threshold was "
            f"chosen for on validation, {kept[found.against_target.call]}."
        )
    if found.curve is not None:
        everywhere = " on average over all thresholds"
        said.append(_beside("random mixing", found.curve.area, everywhere))
    said.append(
        f"Always choosing right would reach {in_100(worth.oracle.quality)} with "
        f"{100 * worth.oracle.share:.0f} % beyond {arms[0].name}."
    )
    return " ".join(said)


def _beside(what: str, against: ScoreDifference, where: str = "") -> str:
    apart = against.difference
    interval = f"{signed(apart.low)} to {signed(apart.high)}"
    if against.call == "tie":
        return f"Beside {what} it is{where} a tie ({signed(apart.value)} points, {interval})."
    word = "ahead of" if against.call == "better" else "behind"
    return f"It is{where} {word} {what} by {100 * abs(apart.value):.1f} points ({interval})."
