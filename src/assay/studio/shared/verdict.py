"""A verdict in the words of somebody who owns the product, not the model."""

from __future__ import annotations

from collections.abc import Mapping

from assay.compare.report import assumptions, next_step, sizes, wording, worth
from assay.compare.result import CandidateResult, Result
from assay.errors import on_page
from assay.studio import widgets as w

STYLES = {"recommend": "accent", "none": "lost", "cannot_tell": "open"}
MEANINGS = {
    "right": "Measured on the holdout, which is locked and never used for building anything.",
    "interval": (
        "Where the score would probably be on all examples of this kind (95 % interval): of 100 "
        "such ranges, about 95 hold the true score."
    ),
    "month": (
        "The first year's cost divided by 12: people's hours, training, every request at your "
        "volume, the machine while it is on, and upkeep."
    ),
    "latency": "Half of the answers come faster than this, with one request at a time.",
    "even": "The number of requests after which the cost of training is recovered.",
    "effect": (
        "A candidate that truly leads by this much is recommended in 8 of 10 comparisons with so "
        "many examples, and one with a smaller lead less often. With 0 points, even candidates "
        "that are equally good are shown to be within the margin."
    ),
}


def find_recommended(result: Result) -> CandidateResult | None:
    """Whom the verdict says to use: at last, or meanwhile."""
    return next((c for c in result.candidates if c.name == result.verdict.named), None)


def _explain(one: CandidateResult) -> str:
    """What a candidate is, and its name for who types it.

    Args:
        one: of a result in words.
    """
    what = f"{one.explanation} " if one.explanation else ""
    return f"{what}Its name in commands and files: {one.title}."


def verdict_card(result: Result) -> None:
    """What to do, why, and the figures that matter.

    Args:
        result: in words, as for all of this module.
    """
    verdict, best = result.verdict, find_recommended(result)
    with w.card(STYLES[wording.tone(verdict)]):
        with w.row("spread"):
            w.text(wording.headline(verdict), "verdict", "h2")
        if best is not None:
            w.term(f"What is “{best.name}”?", _explain(best))
        with w.row("figures"):
            if best is not None:
                meaning = wording.score_meaning(result)
                w.figure(wording.in_100(best.score), meaning, MEANINGS["right"])
                range_ = " ".join(
                    filter(None, (MEANINGS["interval"], wording.chosen_range(result)))
                )
                w.figure(wording.interval(best), "likely range", range_)
                monthly = "a month on average in the first year"
                w.figure(wording.monthly(best), monthly, MEANINGS["month"])
                w.figure(
                    wording.seconds(best.latency_p50_s), "typical answer time", MEANINGS["latency"]
                )
        w.sentence(verdict.reason)
        w.sentence(on_page(f"Next: {next_step.say(result)}"), "strong")
        if spent := assumptions.of_first_year(best):
            w.sentence(spent)
        if assumed := assumptions.of_result(result):
            w.sentence(on_page(assumed), "soft note")
        if decided := worth.deciding(result):
            w.sentence(decided, "soft")
        w.sentence(worth.fine_tuning(result))
        for one in result.replacements:
            w.sentence(one.sentence)
        for warning in result.warnings:
            w.sentence(on_page(warning), "warn note")


def warn_of_other_documents() -> None:
    """That a comparison does not tell how candidates answer from the present documents."""
    w.text(
        "The documents, or how they are divided into passages, have changed since this comparison. "
        "Its scores were measured with the earlier ones; compare again to measure with the "
        "present ones.",
        "warn",
    )


def candidates_table(result: Result) -> None:
    """A table of all candidates by what they need, the best of each group first."""
    first, beside = result.candidates[0], sizes.columns(result)
    figures = (*wording.figures(first), *beside.get(first.name, {}))
    columns = [w.Number(name.capitalize()) for name in figures]
    score = w.Number(wording.score_column(result).capitalize())
    with w.table("Candidate", score, *columns, label="All candidates", grouped=True):
        for need, group in wording.group_by_need(result):
            with w.row_group(need.capitalize(), 2 + len(columns)):
                for one in group:
                    style = "chosen" if one.name == result.verdict.named else ""
                    _show_candidate(one, style, beside.get(one.name, {}))
    explained = (
        wording.points_meaning(result),
        wording.chosen_range(result),
        wording.unread_meaning(result),
        wording.MONTH,
        sizes.meaning(result),
    )
    w.text(" ".join(filter(None, explained)), "soft note")


def _show_candidate(one: CandidateResult, style: str, beside: Mapping[str, str]) -> None:
    with w.cells(style=style):
        with w.text("", tag="td"):
            w.term(one.name, _explain(one))
            for warning in one.warnings:
                w.sentence(on_page(warning), "note warn", "div")
        figures = (*wording.figures(one).values(), *beside.values())
        for value in (wording.in_100(one.score), *figures):
            w.text(value, "number", "td")


def fields_table(result: Result) -> None:
    """Of records, how often each candidate had each field right. Nothing in other tasks."""
    ranked = [one for one in wording.rank(result) if one.per_class]
    if result.data.task != "json" or not ranked:
        return
    columns = ("Right in 100, by field", *(w.Number(one.name) for one in ranked))
    with w.details("Which fields go wrong"), w.table(*columns, label="Fields"):
        for field in ranked[0].per_class:
            figures = (wording.in_100(one.per_class.get(field)) for one in ranked)
            w.line(field, *map(w.Number, figures))
