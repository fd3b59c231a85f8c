"""What figures are called in front of people: one wording for page and terminal."""

from __future__ import annotations

import math

from assay.compare.result import CandidateResult, Result
from assay.evaluate.forgetting import SMALL, Ability, Forgetting

TITLES = {
    "prompt": "system prompt alone",
    "few-shot": "the same examples shown every time",
    "few-shot-nearest": "the most similar examples shown",
    "remote": "the system prompt on a provider's model",
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
    if 0 < amount < 0.0001:
        return "below $0.0001"
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
    if value < 0.00005:
        return "below 0.1 ms"
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


def forgetting(found: Forgetting) -> str:
    """What training cost the model in general, in one line."""
    text, followed = found.text, found.instructions
    lost = "It has lost general ability." if found.worse else "It has lost a little."
    return (
        f"Beside the job: perplexity on general text {perplexity(text.base)} before training, "
        f"{perplexity(text.tuned)} after; {count(followed, followed.base)} of {followed.items} "
        f"simple instructions followed before, {count(followed, followed.tuned)} after. "
        + (lost if found.worse or text.low > 0 else "No loss shows.")
    )


def text_lost(text: Ability) -> str:
    """How well general text is predicted now."""
    return (
        f"Its perplexity on general text is {perplexity(text.tuned)}, {perplexity(text.base)} "
        f"before training; {perplexity(text.lost)} times what it was (95 % interval "
        f"{perplexity(text.low)} to {perplexity(text.high)}; lower is better)."
    ) + _whether(text, SMALL)


def instructions_lost(followed: Ability) -> str:
    """How many of the simple instructions are followed now."""
    return (
        f"It follows {count(followed, followed.tuned)} of {followed.items} simple instructions, "
        f"{count(followed, followed.base)} before training ({-100 * followed.lost:+.1f} points of "
        f"100, 95 % interval {-100 * followed.high:+.1f} to {-100 * followed.low:+.1f})."
    ) + _whether(followed)


def _whether(ability: Ability, small: float = 0.0) -> str:
    if ability.low > 0:
        return " That is a loss." if ability.low > small else " That is a small loss."
    return " That is a gain." if ability.high < 0 else " No loss shows."


def perplexity(nats: float) -> str:
    """e to the power of nats: a perplexity, or of a difference the ratio of two. Of a ruined model
    it is vast, and stays a number."""
    return f"{math.exp(min(nats, 700.0)):.4g}"


def count(ability: Ability, share: float) -> int:
    """How many of the items a share is."""
    return round(share * ability.items)
