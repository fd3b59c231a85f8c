"""Whether a stored comparison shows that an agent may take a release's place. Pure.

Nothing is measured here and no holdout is opened: what a finished comparison says is read. Of
several comparisons the newest that has both agents decides, so that an old success cannot be
picked over a newer failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from assay.compare.reasons import signed
from assay.compare.result import CandidateResult, PairResult, Result
from assay.errors import AssayError, Step
from assay.evaluate.multiplicity import ordered_holm

FORCE = f"To promote it anyway, {Step.FORCE}, which is logged."


class UnprovenError(AssayError):
    """No stored comparison shows that the agent is fit for the release.

    Attributes:
        in_words: why, in a short sentence that names candidates by what they are and no comparison.
    """

    def __init__(self, what: str, *, fix: str, in_words: str) -> None:
        super().__init__(what, fix=fix)
        self.in_words = in_words


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a comparison says of an agent.

    Attributes:
        comparison: id of the comparison that was read.
        candidate: the agent's name in it.
        sentence: what it shows, in words.
        is_proven: it shows that the agent is fit; else it only measured it.
    """

    comparison: str
    candidate: str
    sentence: str
    is_proven: bool = True


def judge(results: Iterable[Result], agent: str, replaced: str | None, name: str = "") -> Evidence:
    """What speaks for `agent` in the place of `replaced`.

    Against an agent that it replaces: the comparison shows it to be no worse by the margin, at the
    level of its opening, so that comparing often does not make promotion easy, and by Holm over all
    candidates, so that comparing many does not; or recommends it, which may be for its price
    (`margin_for_cheaper`). As the first agent of a release: the comparison shows it to be no worse
    than the best (it is eligible); or than the model of that name whose recorded answers took part,
    which it replaces, whatever else would be better.

    Args:
        results: of finished comparisons, newest first.
        agent, replaced: ids of agents; None: the release is new.
        name: the release's.

    Raises:
        UnprovenError: nothing does; the message says what the comparison shows instead.
    """
    for result in results:
        new = _candidate(result, agent)
        old = None if replaced is None else _candidate(result, replaced)
        if new is None or (replaced is not None and old is None):
            continue
        if new.status != "complete" or (old is not None and old.status != "complete"):
            raise UnprovenError(
                f"in comparison {result.comparison[:16]} answers are missing after an outage, "
                "so it gives no evidence about the agent.",
                fix=f"Run {Step.COMPARE} again. {FORCE}",
                in_words="Answers are missing in its comparison.",
            )
        return _first(result, new, name) if old is None else _against(result, new, old)
    both = "the agent" if replaced is None else "both the agent and the one it would replace"
    raise UnprovenError(
        f"no stored comparison includes {both}.",
        fix=f"Run {Step.COMPARE if replaced is None else Step.WITH_SERVED}. {FORCE}",
        in_words="Not measured in a comparison."
        if replaced is None
        else "Not compared with the one that is served now.",
    )


def judge_forced(
    results: Callable[[], Iterable[Result]], agent: str, replaced: str | None, name: str = ""
) -> Evidence | None:
    """What is known of an agent that is promoted for a reason that somebody gives: as `judge`, or
    the newest comparison that measured it, so that its score stays known; None without any.

    Args:
        results: of finished comparisons, newest first; called again for a second look.
    """
    try:
        return judge(results(), agent, replaced, name)
    except UnprovenError as error:
        for result in results():
            found = _candidate(result, agent)
            if found is not None and found.score is not None and found.status == "complete":
                return Evidence(result.comparison, found.name, error.what, is_proven=False)
    return None


def _candidate(result: Result, agent: str) -> CandidateResult | None:
    return next((c for c in result.candidates if c.agent == agent), None)


def _first(result: Result, new: CandidateResult, name: str) -> Evidence:
    verdict, id = result.verdict, result.comparison
    if verdict.not_judged:
        raise UnprovenError(
            f"comparison {id[:16]} is not final: answers of {', '.join(verdict.not_judged)} are "
            "missing.",
            fix=f"Run {Step.COMPARE} again. {FORCE}",
            in_words="The comparison is not final: answers are missing.",
        )
    if verdict.outcome == "none":
        raise UnprovenError(
            f"comparison {id[:16]} recommends nothing: {verdict.reason}",
            fix=f"Improve a candidate and compare again. {FORCE}",
            in_words="The comparison recommends none of its candidates.",
        )
    if new.name == verdict.recommend:
        return _recommended(id, new)
    if any(one.model == name and new.name in one.no_worse for one in result.replacements):
        said = (
            f"comparison {id[:16]} shows {new.name} to be no worse than {name}, which it replaces."
        )
        return Evidence(id, new.name, said)
    if new.eligible:
        return Evidence(
            id, new.name, f"comparison {id[:16]} shows {new.name} to be no worse than the best."
        )
    if verdict.recommend is None:
        proven = "proven to be as good as the best."
        for_now = new.name == verdict.use_meanwhile
        raise UnprovenError(
            f"comparison {id[:16]} does not show {new.name} to be no worse than the best: "
            f"{verdict.reason}",
            fix=f"Compare on more examples. {FORCE}",
            in_words=f"The one to use for now, not {proven}" if for_now else f"Not {proven}",
        )
    pair = _pair(result, new.name, verdict.recommend)
    how = "is worse" if pair.call == "worse" else "is not shown to be no worse"
    said = "Shown to be worse than" if pair.call == "worse" else "Not proven to be as good as"
    raise UnprovenError(
        f"comparison {id[:16]} recommends {verdict.recommend}, and {new.name} {how}: "
        f"{_figures(pair)}.",
        fix=f"Promote {verdict.recommend}. {FORCE}",
        in_words=f"{said} {_plain(result, verdict.recommend)}, which the comparison recommends.",
    )


def _plain(result: Result, name: str) -> str:
    """What a candidate is called on pages."""
    return result.names.get(name, name)


def _recommended(id: str, new: CandidateResult, over: str = "") -> Evidence:
    return Evidence(id, new.name, f"comparison {id[:16]} recommends {new.name}{over}.")


def _against(result: Result, new: CandidateResult, old: CandidateResult) -> Evidence:
    pair, margin, id = _pair(result, new.name, old.name), result.margin, result.comparison
    if new.name == result.verdict.recommend and not result.verdict.not_judged:
        return _recommended(id, new, f" over {old.name}: {_figures(pair)}")
    if pair.call == "worse" or not _is_no_worse(result, pair):
        why = (
            "is worse than"
            if pair.call == "worse"
            else f"is not shown to be no worse (by {_points(margin)}) than"
        )
        said = "Shown to be worse than" if pair.call == "worse" else "Not proven to be as good as"
        opening = result.opening.number
        again = f", and this was opening {opening} of the holdout" if opening > 1 else ""
        raise UnprovenError(
            f"in comparison {id[:16]} {new.name} {why} {old.name}, which is served: "
            f"{_figures(pair)}{again}.",
            fix=f"Keep what is served, or compare on more examples. {FORCE}",
            in_words=f"{said} {_plain(result, old.name)}, which is served now.",
        )
    return Evidence(
        id,
        new.name,
        f"in comparison {id[:16]} {new.name} is no worse than {old.name}, which it replaces: "
        f"{_figures(pair)}.",
    )


def _is_no_worse(result: Result, pair: PairResult) -> bool:
    """By the margin, at the level of the opening; of a result without that p, by the 95 % interval
    of a first opening, whose level is not stricter.

    Each of several candidates could take the place, so that all are tested together, against the
    one that is served, as they are for eligibility: the winner on validation first.
    """
    if pair.a_not_worse is None:
        return result.opening.number == 1 and pair.low > -result.margin
    names = [c.name for c in result.candidates if c.status == "complete" and c.name != pair.b]
    p = [_pair(result, name, pair.b).a_not_worse for name in names]
    first = result.plan.tested_first
    adjusted = ordered_holm(
        [1.0 if one is None else one for one in p],
        names.index(first) if first in names else None,
    )
    return bool(adjusted[names.index(pair.a)] <= result.opening.alpha)


def _pair(result: Result, a: str, b: str) -> PairResult:
    """a against b, whichever was entered first."""
    for pair in result.pairs:
        if (pair.a, pair.b) == (a, b):
            return pair
        if (pair.a, pair.b) == (b, a):
            turned = {"better": "worse", "worse": "better"}.get(pair.call, pair.call)
            return pair.model_copy(
                update={
                    "a": a,
                    "b": b,
                    "difference": -pair.difference,
                    "low": -pair.high,
                    "high": -pair.low,
                    "call": turned,
                    "a_not_worse": pair.b_not_worse,
                    "b_not_worse": pair.a_not_worse,
                }
            )
    raise UnprovenError(
        f"comparison {result.comparison[:16]} does not compare {a} with {b}.",
        fix=f"Run {Step.COMPARE} again. {FORCE}",
        in_words=f"Not compared with {_plain(result, b)}.",
    )


def _figures(pair: PairResult) -> str:
    return f"{signed(pair.difference)} points, likely {signed(pair.low)} to {signed(pair.high)}"


def _points(value: float) -> str:
    return f"{100 * value:g} points"
