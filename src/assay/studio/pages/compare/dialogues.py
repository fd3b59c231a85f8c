"""Whole dialogues on the page Compare: how many are right, and where the others depart."""

from __future__ import annotations

from assay.compare.report import rollouts
from assay.compare.result import Result
from assay.studio import widgets as w


def dialogues_card(result: Result) -> None:
    """A line for each candidate; nothing where the comparison has scored no dialogues."""
    found = result.rollout
    if found is None:
        return
    with w.section("Whole dialogues", rollouts.summary(found)):
        if not found.candidates:
            return
        first, *numbers, where, what = (name.capitalize() for name in rollouts.columns(found))
        columns = (first, *map(w.Number, numbers), where, what)
        with w.table(*columns, label="Whole dialogues by candidate"):
            for line in rollouts.lines(found):
                name, *figures, where, what = (cell for cell in line if cell is not None)
                w.line(name, *map(w.Number, figures), where, what)
        w.text(
            "Of 100, with 95 % intervals over dialogues. Turns right until then: the share of a "
            "dialogue's turns before its first wrong one. In brackets: numbers of dialogues.",
            "note soft",
        )
