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


def _config(**more: Any) -> Config:
    return Config.model_validate(
        {
            "name": "test",
            "task": "label",
            "data": {"file": "data.csv"},
            "candidates": ["prompt"],
            "graders": [{"name": "exact"}],
            "primary": "exact",
            **more,
        }
    )


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
    config = _config()
    flat = {name for name, spec in specs().items() if not spec.learns_from_rows(config)}
    always = {"prompt", "rag", "quote", "remote", "baseline-majority"}
    assert flat == {*always, "cascade", "rules"}
    check_learns("fine-tune", config)
    with pytest.raises(UsageError, match="prompt does not learn from examples"):
        check_learns("prompt", config)


@pytest.mark.parametrize(
    ("route", "name", "learns"),
    [
        ({"cheap": "prompt", "strong": "remote"}, "cascade", False),
        ({"cheap": "prompt", "strong": "support@2"}, "cascade", False),
        ({"cheap": "classifier", "strong": "remote"}, "cascade", True),
        ({"cheap": "prompt", "strong": "remote"}, "router", True),
        ({"rules": [{"longer_than": 9, "to": "remote"}], "otherwise": "prompt"}, "rules", False),
        ({"rules": [{"longer_than": 9, "to": "few-shot"}], "otherwise": "prompt"}, "rules", True),
        ({"rules": [{"labels": ["a"], "to": "remote"}], "otherwise": "prompt"}, "rules", True),
    ],
)
def test_a_route_learns_where_an_arm_does_or_it_trains_a_model_itself(
    route: dict[str, Any], name: str, learns: bool
) -> None:
    assert specs()[name].learns_from_rows(_config(route=route)) == learns


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
