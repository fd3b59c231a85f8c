"""Candidates in lists: by what they need, cheapest first."""

from __future__ import annotations

from assay.candidates.registry import group_by_need, specs


def test_candidates_are_grouped_by_what_they_need_cheapest_first() -> None:
    names = ["fine-tune", "classifier", "few-shot", "not installed", "prompt", "remote"]
    assert list(group_by_need(names).items()) == [
        ("nothing to train", ["prompt", "few-shot"]),
        ("trained in seconds", ["classifier"]),
        ("trained in minutes to hours", ["fine-tune"]),
        ("a model at a provider", ["remote"]),
    ]


def test_every_candidate_is_in_one_group() -> None:
    found = [name for names in group_by_need(specs()).values() for name in names]
    assert found == list(specs())
