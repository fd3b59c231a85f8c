"""What figures are called in front of people: one wording for page and terminal."""

from __future__ import annotations

from assay.compare.result import CandidateResult, Result

TITLES = {
    "prompt": "system prompt alone",
    "few-shot": "the same examples shown every time",
    "few-shot-nearest": "the most similar examples shown",
    "fine-tune": "a model trained on your examples",
    "baseline-majority": "always the most frequent answer",
    "baseline-tfidf": "a classical word-count classifier",
    "outside": "answers brought from elsewhere",
}
CALLS = {
    "better": "better",
    "worse": "worse",
    "equivalent": "no difference that matters",
    "cannot_tell": "cannot tell",
}


def headline(result: Result) -> str:
    """The verdict in a few words."""
    verdict = result.verdict
    if verdict.outcome == "recommend":
        return f"Use {verdict.recommend}"
    return "None of these" if verdict.outcome == "none" else "Cannot tell yet"


def next_action(result: Result) -> str:
    """What to do now."""
    verdict = result.verdict
    if verdict.outcome == "recommend":
        return f"Serve {verdict.recommend}, and measure again when the job or the prices change."
    if verdict.outcome == "none":
        if verdict.use_meanwhile:
            return (
                f"Use {verdict.use_meanwhile}, which costs next to nothing, and keep a language "
                "model out of this job for now."
            )
        return (
            "Do not put any of these to work. More or cleaner training examples, a better prompt "
            "or a stronger model may change that; see the answers below for what goes wrong."
        )
    more = verdict.more_examples_needed
    wanted = f"Collect about {more:,} more labelled examples" if more else "Collect more examples"
    meanwhile = f"; meanwhile use {verdict.use_meanwhile}" if verdict.use_meanwhile else ""
    return f"{wanted}, then `assay data renew-holdout`{meanwhile}."


def in_100(score: float | None) -> str:
    """A score as a count of a hundred."""
    return "–" if score is None else f"{100 * score:.1f}"


def interval(candidate: CandidateResult) -> str:
    """Both ends of a score's interval, of a hundred."""
    if candidate.low is None or candidate.high is None:
        return "–"
    return f"{100 * candidate.low:.1f} – {100 * candidate.high:.1f}"


def usd(amount: float | None) -> str:
    """Money with as many digits as it deserves; unknown is said, never 0."""
    if amount is None:
        return "unknown"
    if amount == 0:
        return "$0"
    if amount < 0.01:
        return f"${amount:.4f}"
    return f"${amount:,.2f}" if amount < 100 else f"${amount:,.0f}"


def monthly(candidate: CandidateResult) -> str:
    """A twelfth of the first year's cost to own."""
    return usd(None if candidate.yearly_cost is None else candidate.yearly_cost / 12)


def seconds(value: float | None) -> str:
    """A duration in the unit that reads best."""
    if value is None:
        return "–"
    if value == 0:
        return "none"
    if value < 0.0095:
        return f"{1000 * value:.1f} ms"
    if value < 0.995:
        return f"{1000 * value:.0f} ms"
    if value < 90:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def score_meaning(result: Result) -> str:
    """What a score is, in words."""
    binary = result.primary in ("label-accuracy", "record-exact", "exact", "json-valid")
    return "right answers in 100" if binary else f"mean {result.primary}, of 100"


def fine_tuning(result: Result) -> str:
    """Whether fine-tuning is worth it, and from how many requests on."""
    worth, even = result.verdict.fine_tuning_worth_it, result.verdict.break_even_requests
    if worth is None:
        return "Whether fine-tuning is worth it cannot be said from this comparison."
    if worth:
        paid = f" It has paid for itself after {even:,.0f} requests." if even else ""
        return f"Fine-tuning is worth it here.{paid}"
    return "Fine-tuning is not worth it here."
