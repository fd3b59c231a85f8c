"""What `result.json` says of whole dialogues: counts and shares, no holdout text."""

from __future__ import annotations

from pydantic import Field

from assay.config.strict import ClosedModel
from assay.evaluate.departures import How


class DialogueShare(ClosedModel):
    """A mean over dialogues with its 95 % interval, drawn over groups."""

    score: float
    low: float
    high: float


class CandidateRollout(ClosedModel):
    """How one candidate went on with the dialogues.

    Attributes:
        success: share of the dialogues in which every turn was right.
        before_departure: share of a dialogue's turns before the first wrong one, the mean.
        all_made: share of those in which every recorded call was made in the end, whatever else
            was called, or every turn was right (by a reference, for one); null without tools, where
            a dialogue ends at its first wrong turn.
        departures: dialogues by what was wrong with their first wrong turn.
        at_turn: dialogues by the number of that turn: the first of the list is turn 1.
        answers: that were asked for.
        usd: what a provider takes for them; null on this machine, of routes, and where the price is
            not known.
    """

    candidate: str
    success: DialogueShare
    before_departure: DialogueShare
    all_made: DialogueShare | None = None
    departures: dict[How, int] = Field(default_factory=dict)
    at_turn: list[int] = Field(default_factory=list)
    answers: int
    usd: float | None = None


class Omission(ClosedModel):
    """A candidate without figures, and why; `again`: the same command asks for what is missing."""

    candidate: str
    reason: str
    again: bool = False


class Rollout(ClosedModel):
    """Whole dialogues of the holdout, gone on with by every candidate.

    Attributes:
        groups: of dialogues that are not independent; null where each is alone.
        units: groups of equal size that would say as much; null where each is alone.
        several: groups with more than one dialogue: shorter rows are not the beginning of longer
            ones.
        turns: of the assistant, in all of them; with_call: dialogues in which a call is due.
        tools: whether tools of the user answered calls that differ from the recorded ones.
    """

    dialogues: int
    groups: int | None = None
    units: float | None = None
    several: int = 0
    turns: int
    with_call: int
    tools: bool
    candidates: list[CandidateRollout] = Field(default_factory=list)
    left_out: list[Omission] = Field(default_factory=list)
