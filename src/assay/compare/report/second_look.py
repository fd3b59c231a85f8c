"""Doubtful labels of the holdout in front of people: what was found, what follows, what to do."""

from __future__ import annotations

from collections import defaultdict

from assay.compare.reasons import quoted
from assay.compare.result import AnswerRow
from assay.errors import Step
from assay.evaluate.label_noise import SecondLook

NOBODY = (
    "No label was checked: this takes two candidates that are right on more than half of the "
    "rows and shown to be better than the floor."
)


def found(look: SecondLook, good_enough: float | None) -> str:
    """How many labels are doubtful, by whose word, the ceiling that follows, and whether that is
    below what the user called good enough."""
    doubtful, asked = len(look.ids), len(look.raters)
    every = "both" if asked == 2 else f"all {asked}"
    who = every if look.agreeing == asked else f"at least {look.agreeing} of {asked}"
    by = f"{who} candidates that know this job ({', '.join(map(quoted, look.raters))})"
    if not doubtful:
        return f"On none of {look.rows:,} rows do {by} agree on an answer that is not your label."
    be, them = ("is", "this label is") if doubtful == 1 else ("are", "these labels are")
    return (
        f"{doubtful:,} of {look.rows:,} rows {be} worth a second look: {by} give one and the same "
        f"answer, and your file gives another. If {them} wrong, not even a perfect candidate "
        f"scores more than {100 * look.ceiling:.1f} in 100 here (likely {100 * look.low:.1f} to "
        f"{100 * look.high:.1f} on other rows labelled in the same way)."
        f"{_too_low(look, good_enough)}"
    )


def _too_low(look: SecondLook, good_enough: float | None) -> str:
    if good_enough is None or look.ceiling >= good_enough:
        return ""
    return (
        " No candidate can then be shown to reach what you called good enough "
        f"({100 * good_enough:g} of 100), until such labels are corrected."
    )


def advice(look: SecondLook) -> str | None:
    """What to do about doubtful labels; None where there are none."""
    if not look.ids:
        return None
    return (
        "A person decides, for the candidates may be wrong together. "
        f"{Step.CORRECT_LABELS}. This holdout keeps its labels: correcting only those that "
        "candidates contradict would flatter the candidates."
    )


def summary(look: SecondLook, good_enough: float | None) -> str:
    """What was found, where the rows are listed, and what to do."""
    what = advice(look)
    return found(look, good_enough) + (
        f" `assay data second-look` lists them. {what}" if what else ""
    )


def said(row: AnswerRow, look: SecondLook) -> dict[str, list[str]]:
    """What those who know the job answered to a row: the names by answer, the most frequent first.
    Answers that mean the same in other letters stay apart."""
    names: dict[str, list[str]] = defaultdict(list)
    for name in look.raters:
        if name in row.answers:
            names[row.answers[name]].append(name)
    return dict(sorted(names.items(), key=lambda one: -len(one[1])))
