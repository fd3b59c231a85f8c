"""Candidates in lists: by what they need, cheapest first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from assay.candidates import fine_tune
from assay.candidates.registry import check_learns, group_by_need, specs
from assay.candidates.shared import training_work
from assay.candidates.spec import DOCUMENTS_OF_TEXT
from assay.config import Config
from assay.errors import UsageError
from assay.train.methods import registry
from assay.train.methods.spec import MethodSpec


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


def test_what_is_the_same_with_more_rows_has_no_learning_curve() -> None:
    flat = {name for name, spec in specs().items() if not spec.learns_from_rows}
    assert flat == {"prompt", "rag", "quote", "remote"}
    check_learns("fine-tune")
    with pytest.raises(UsageError, match="prompt does not learn from examples"):
        check_learns("prompt")


def test_a_package_s_method_that_learns_documents_is_reckoned_as_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = MethodSpec("own-text", "learn", "For a test.", "documents", "cross-entropy")
    monkeypatch.setattr(registry, "specs", lambda: {own.name: own})
    tuning = SimpleNamespace(method=own.name)
    config = cast(Config, SimpleNamespace(fine_tune=tuning, knowledge=None))
    assert not DOCUMENTS_OF_TEXT.is_met(config)
    monkeypatch.setattr(training_work, "of_documents", lambda *_: "documents")
    assert fine_tune.estimate(config, cast(Any, None)) == cast(Any, "documents")
