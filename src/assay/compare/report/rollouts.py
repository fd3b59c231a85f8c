"""Whole dialogues in front of people: how many are right, and where the others depart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from assay.compare.reasons import quoted
from assay.compare.report import wording
from assay.compare.rollout_section import CandidateRollout, DialogueShare, Rollout
from assay.evaluate.departures import How

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
    dialogues = "1 dialogue" if found.dialogues == 1 else f"{found.dialogues:,} dialogues"
    end = (
        "From its first wrong turn on, the tools of this project answer."
        if found.tools
        else "It ends at its first wrong turn."
    )
    return " ".join(
        [
            f"{dialogues} of the holdout with {found.turns:,} turns of the assistant; a call is "
            f"due in {found.with_call:,} of the dialogues. Each candidate goes on by itself: its "
            "own answers become the conversation, the user says what was recorded, and a call that "
            "equals the recorded one gets the recorded result. A dialogue is right if every call "
            f"is, and none is made where none is due. {end} The verdict does not rest on this.",
            *(f"{quoted(one.candidate)} was left out: {one.reason}." for one in found.left_out),
            *_paid(found.candidates),
        ]
    )


def _paid(candidates: Sequence[CandidateRollout]) -> list[str]:
    paid = [one for one in candidates if one.usd is not None]
    told = ", ".join(f"{quoted(one.candidate)} {wording.usd(one.usd)}" for one in paid)
    return [f"Its answers cost: {told}."] if paid else []


def _share(found: DialogueShare) -> str:
    score, low, high = map(wording.in_100, (found.score, found.low, found.high))
    return f"{score} ({low} – {high})"
