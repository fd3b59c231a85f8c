"""What the user should do next, in a few sentences for page and terminal."""

from __future__ import annotations

import math

from assay.compare import reasons
from assay.compare.reasons import quoted
from assay.compare.report import remedy
from assay.compare.report.wording import RIGHT_ANSWERS, score_meaning, usd
from assay.compare.result import CandidateResult, Result
from assay.compare.scale import scale_of
from assay.compare.settling import FEWEST, MOST_EXAMPLES, two_digits
from assay.errors import Step
from assay.quantities import say_number


def say(result: Result) -> str:
    """The next step; commands stand in it as a `Step`."""
    verdict = result.verdict
    if verdict.not_judged:
        return "Compare again: it asks only for the answers that are missing."
    if verdict.outcome == "recommend":
        return _recommended(result)
    if verdict.outcome == "none":
        mend = remedy.first(result)
        if verdict.use_meanwhile:
            return (
                "Keep all of these out of this job for now: "
                f"{quoted(verdict.use_meanwhile)}, which reads no input, gives answers as good as "
                f"theirs. {mend}"
            )
        return f"Do not put any of these to work. {mend}"
    start = ""
    if meanwhile := next((c for c in result.candidates if c.name == verdict.use_meanwhile), None):
        condition = "" if result.good_enough is not None else f" {_if_enough(result, meanwhile)}"
        start = f"Use {quoted(meanwhile.name)} for now{condition}. {_reaches(result, meanwhile)}"
    elif verdict.shortlist:
        start = f"Keep all of these out of this job for now. {remedy.first(result)} "
    return (
        f"{start}Only if you must know which is the best: label {_wanted(result)} and bring them "
        f"with {Step.RENEW_HOLDOUT}; the examples that were measured on today then become training "
        "examples."
    )


def _recommended(result: Result) -> str:
    verdict, name = result.verdict, quoted(result.verdict.recommend or "")
    used = next((c for c in result.candidates if c.name == verdict.recommend), None)
    again = "Measure again when the job or the prices change."
    if used is not None and used.kind == "outside":
        return (
            f"The answers of {name} were brought in a file, so it cannot be put to work here: "
            "use it where it runs, and find out what it costs, which is not known here."
        )
    if used is None or (result.good_enough is not None and verdict.enough is not False):
        expected = (
            "" if used is None or not (wrong := _wrong(result, used)) else f": expect {wrong}"
        )
        return f"Put {name} to work{expected}. {again}"
    if result.good_enough is None:
        return f"Put {name} to work {_if_enough(result, used)}. {again}"
    return (
        f"You need {scale_of(result).first(result.good_enough)}; whether {name} reaches "
        f"that is not shown. Put it to work now only if less will do. {_to_show(result, used)} "
        f"{_to_raise(result, used)}"
    )


def _reaches(result: Result, used: CandidateResult) -> str:
    """Whether what is used for now is shown to be enough, and what would show it; "" where it is
    shown to be less."""
    enough, most = result.good_enough, result.verdict.score_high
    if enough is None or most is None or most < enough:
        return ""
    needed = f"You need {scale_of(result).first(enough)}"
    if result.verdict.enough:
        return f"{needed}; that it reaches this is shown. "
    return f"{needed}; whether it reaches that is not shown. {_to_show(result, used)} "


def _to_raise(result: Result, used: CandidateResult) -> str:
    """What may bring more than the best: of one that takes its answers from documents, these."""
    first = "More or cleaner training examples"
    if "documents" in used.needs:
        first = "Documents that hold more of the answers"
    models = any(one.prompt_tokens is not None or one.fine_tuned for one in result.candidates)
    model = "a stronger model" if models else "a candidate with a language model"
    return f"{first}, or {model}, may bring a higher score."


def _to_show(result: Result, used: CandidateResult) -> str:
    """How many examples of a new holdout would show that it is good enough, if it keeps its score:
    ranges shrink with the square root of their number."""
    enough, score, low = result.good_enough, used.score, result.verdict.enough_low
    if enough is None or score is None or low is None or score <= enough or low >= enough:
        return "To find out, measure on more new examples."
    error = result.plan.judge_error or 0.0  # of a judge: more examples do not narrow it
    if score - error <= enough:
        lead = 100 * (score - enough)
        return (
            f"New examples alone cannot show it: it scores {lead:.1f} points above what you need, "
            f"and the judge may be off by {100 * error:.1f}."
        )
    ratio = (score - error - low) / (score - error - enough)
    wanted = math.ceil(result.data.holdout * ratio**2)
    if wanted > MOST_EXAMPLES:
        return "To find out, measure on many more new examples."
    count = two_digits(max(wanted, FEWEST))
    return (
        f"If it keeps its score, about {count:,} new examples would show it: bring them with "
        f"{Step.RENEW_HOLDOUT}."
    )


def _wanted(result: Result) -> str:
    """What would settle it if the difference is as it looks, in groups where examples share one,
    and what it takes a person to label it."""
    verdict = result.verdict
    examples, groups = verdict.more_if_as_seen, verdict.more_groups_if_as_seen
    if examples is None:
        examples, groups = verdict.more_examples_needed, verdict.more_groups_needed
    if examples is None:
        return "new examples"
    work = _labelling(result, examples)
    if groups is None:
        return f"about {examples:,} new examples ({work})"
    return f"about {groups:,} new groups (about {examples:,} examples; {work})"


def _labelling(result: Result, examples: int) -> str:
    """How long a person takes to label them at a minute each, and what that costs, if the price of
    an hour is known: two digits, all that such an estimate is worth, the cost of the time as it is
    told."""
    hours, told = examples / 60, f"{examples} minutes"
    if examples >= 90:
        hours = float(f"{hours:.2g}")
        told = f"{say_number(hours)} hours"
    work = f"{told} of work at a minute each"
    price = (result.config.get("costs") or {}).get("person_hour_usd")
    cost = float(f"{hours * price:.2g}") if price else None
    return work if cost is None else f"{work}, about {usd(cost).removesuffix('.00')}"


def _if_enough(result: Result, used: CandidateResult) -> str:
    """A condition, where nobody has said what is good enough."""
    unsaid = f"you have not said what is good enough ({Step.SAY_ENOUGH})"
    if wrong := _wrong(result, used):
        return f"if the job can bear {wrong}; {unsaid}"
    return f"if its score is good enough for the job; {unsaid}"


def _wrong(result: Result, used: CandidateResult) -> str:
    """How many answers are wrong, and how many may be; "" where a score does not count them."""
    if used.score is None or score_meaning(result) != RIGHT_ANSWERS:
        return ""
    likely = ""
    if used.low is not None and used.score == 1:
        return f"that up to {reasons.in_100(1 - used.low)} answers are wrong (here none was)"
    if used.low is not None and used.high is not None:
        likely = f" (likely {100 * (1 - used.high):.0f} to {100 * (1 - used.low):.0f})"
    return f"that about {reasons.in_100(1 - used.score)} answers are wrong{likely}"
