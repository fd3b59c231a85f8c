"""Extraction as a candidate: every field by the way that validation prefers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.candidates.test_distill import context_of
from tests.knowledge.wordy import Wordy

from assay.agent import runtime
from assay.agent.lineage import rows_held
from assay.candidates import registry
from assay.candidates.building import Context
from assay.candidates.shared import extraction as learning
from assay.example import Example
from assay.generate import extraction

NAMES = (
    "Ann", "Bob Lee", "Cy", "Dee Dee", "Eve", "Finn Hall", "Gus", "Hal Moss", "Ivy", "Jan Ole",
)  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["call", "mail"]}, "to": {"type": "object"}},
    "required": ["kind", "to"],
}


def example(n: int, name: str) -> Example:
    """A message, and its record: a name, a number, a kind, and a flag that few have."""
    text = f"{('please call', 'write a letter to')[n % 2]} {name} {n + 2} times"
    record: dict[str, Any] = {"kind": ("call", "mail")[n % 2], "to": {"name": name, "times": n + 2}}
    if n % 3 == 0:
        text += ", it is urgent"
        record["urgent"] = True
    return Example.of(text, json.dumps(record), id=f"{n} {name}")


def context(folder: Path, **fields: Any) -> Context:
    graders = {"graders": [{"name": "record-exact"}], "primary": "record-exact"}
    made = context_of(folder, {}, task="json", output_schema=SCHEMA, **graders, **fields)
    train = tuple(example(n, name) for name in NAMES for n in range(6))
    validation = tuple(example(n + 1, name) for n, name in enumerate(("Max", "Zoe Zed", "Pia")))
    return replace(made, train=train, validation=validation)


@pytest.fixture
def by_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runtime, extraction, learning):
        monkeypatch.setattr(module, "get_embedder", lambda name: Wordy())


@pytest.mark.usefixtures("by_words")
def test_it_finds_values_that_no_row_has_and_absent_ones(tmp_path: Path) -> None:
    made = context(tmp_path)
    built = registry.build("extract", made)
    assert built.scores == (1.0, 1.0, 1.0)
    chosen = {trial.setting for trial in built.tried if trial.chosen}
    assert {"to.name by spans", "urgent by words"} <= chosen
    # Every way finds the times, and the others would say none but those of the examples.
    assert {one.score for one in built.tried if one.setting.startswith("to.times by ")} == {1.0}
    assert "to.times by spans" in chosen
    assert built.agent.constrained
    assert list(rows_held(built.agent, made.store)) == [row.content_hash() for row in made.train]
    assert registry.build("extract", made).agent == built.agent


@pytest.mark.usefixtures("by_words")
def test_rows_without_a_record_are_left_out(tmp_path: Path) -> None:
    made = context(tmp_path)
    broken = Example.of("please call Tom 3 times", "no record", id="broken")
    built = registry.build("extract", replace(made, train=(broken, *made.train)))
    assert built.scores == (1.0, 1.0, 1.0)
    from assay.errors import AssayError

    with pytest.raises(AssayError, match="no answer among the training examples is JSON"):
        registry.build("extract", replace(made, train=(broken,)))
