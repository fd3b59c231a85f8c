"""Whole dialogues in front of people: how many are right, and where the others depart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from assay.compare.findings import LEAST_UNITS
from assay.compare.reasons import quoted, seen
from assay.compare.report import wording
from assay.compare.rollout_section import CandidateRollout, DialogueShare, Rollout
from assay.compare.verdict import FEW_UNITS
from assay.evaluate.departures import How
from assay.quantities import say_count

MOST_TURNS = 3
"""Numbers of turns that are named, those at which most dialogues depart."""
HOW: dict[How, str] = {
    "missed": "no call where one is due",
    "function": "another function",
    "arguments": "other arguments",
    "needless": "a call where none is due",
    "unread": "a call that cannot be read",
    "refused": "the request is refused",
}


WORDS = ("first wrong turn", "what is wrong there")


class Line(NamedTuple):
    """A candidate's dialogues.

    Attributes:
        made: None without tools.
        where: at which turns dialogues depart; what: in which way.
    """

    candidate: str
    right: str
    before: str
    made: str | None
    where: str
    what: str


def columns(found: Rollout) -> tuple[str, ...]:
    """The heads of the table; the last two are of words, those between of numbers."""
    made = ("every call made in the end",) if found.tools else ()
    return ("candidate", "dialogues right", "turns right until then", *made, *WORDS)


def lines(found: Rollout) -> list[Line]:
    """One for each candidate that went on, the best first."""
    ranked = sorted(
        found.candidates,
        key=lambda one: (-one.success.score, -one.before_departure.score, one.candidate),
    )
    return [
        Line(
            one.candidate,
            _share(one.success),
            _share(one.before_departure),
            None if one.all_made is None else _share(one.all_made),
            _where(one),
            _what(one),
        )
        for one in ranked
    ]


def _where(one: CandidateRollout) -> str:
    """The turns at which most of its dialogues depart, each with how many do."""
    counted = sorted(enumerate(one.at_turn, start=1), key=lambda pair: (-pair[1], pair[0]))
    kept = [(turn, count) for turn, count in counted if count]
    told = [f"{turn} ({count:,})" for turn, count in kept[:MOST_TURNS]]
    if rest := sum(count for _, count in kept[MOST_TURNS:]):
        told.append(f"others ({rest:,})")
    return ", ".join(told) or "none"


def _what(one: CandidateRollout) -> str:
    wrong = sorted(one.departures.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{HOW[how]} ({count:,})" for how, count in wrong) or "nothing"


def summary(found: Rollout) -> str:
    """What was done with which dialogues, and who is left out."""
    dialogues = say_count(found.dialogues, "dialogue")
    end = (
        "From its first wrong turn on, the tools of this project answer."
        if found.tools
        else "It ends at its first wrong turn."
    )
    return " ".join(
        [
            f"{dialogues} of the holdout with {say_count(found.turns, 'turn')} of the assistant; a "
            f"call is due in {found.with_call:,} of the dialogues. Each candidate goes on by "
            "itself: its own answers become the conversation, the user says what was recorded, and "
            "a call that equals the recorded one gets the recorded result. A dialogue is right if "
            f"every call is, and none is made where none is due. {end} The verdict does not rest "
            "on this.",
            *_apart(found),
            *_few(found),
            *(f"{quoted(one.candidate)} was left out: {one.reason}." for one in found.left_out),
            *_paid(found.candidates),
        ]
    )


def _apart(found: Rollout) -> list[str]:
    """Groups whose rows do not make one dialogue, which a reader would take for one."""
    if not found.several:
        return []
    return [
        f"In {found.several:,} of {found.groups:,} groups the rows make several dialogues, because "
        "shorter rows are not the beginning of longer ones; each of these dialogues is gone "
        "through from its own first turn."
    ]


def _few(found: Rollout) -> list[str]:
    units = found.units or float(found.groups or found.dialogues)
    if units >= FEW_UNITS:
        return []
    what = "dialogue" if found.dialogues == 1 else "dialogues"
    count = seen(found.dialogues, found.groups, units, what=what)
    if units < LEAST_UNITS:
        return [f"Only {count}: too few to tell candidates apart."]
    return [f"Only {count}: below {FEW_UNITS}, ranges are rough."]


def _paid(candidates: Sequence[CandidateRollout]) -> list[str]:
    paid = [one for one in candidates if one.usd is not None]
    told = ", ".join(f"{quoted(one.candidate)} {wording.usd(one.usd)}" for one in paid)
    return [f"Its answers cost: {told}."] if paid else []


def _share(found: DialogueShare) -> str:
    score, low, high = map(wording.in_100, (found.score, found.low, found.high))
    return f"{score} ({low} – {high})"
