"""The result's part on models of which only answers were brought."""

from __future__ import annotations

from assay.config.strict import ClosedModel


class Replacement(ClosedModel):
    """Who may take the place of a model of which only answers were brought.

    Attributes:
        replaced, score: that model, and what it scores.
        model: as its provider calls it, where its answers are a recording; null in results that are
            older than this field, too.
        no_worse: shown not to be worse by the margin, all of them together at the level of the
            opening, the best first; `worse`: called worse; `not_shown`: neither, the best first.
        settled_by: how many examples would show the first of `not_shown` to be no worse; null where
            somebody is shown, where it looks worse by the margin or more, and in results that are
            older than this field.
    """

    replaced: str
    model: str | None = None
    score: float
    no_worse: list[str]
    worse: list[str]
    not_shown: list[str]
    settled_by: str | None = None
    sentence: str
