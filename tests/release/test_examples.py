"""Corrected traces become examples, or are rejected with their reason."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from assay.chat.template import TokenSequence
from assay.config import Config
from assay.errors import UsageError
from assay.release.examples import ExportedExamples, write_examples
from assay.release.traces import Trace


def trace(n: int, corrected: str, **fields: Any) -> Trace:
    given: dict[str, Any] = {
        "id": f"trace-{n}",
        "release": "tickets",
        "agent": "a" * 64,
        "messages": [{"role": "user", "content": f"Question {n}: where is my card?"}],
        "tools": [],
        "answer": {"role": "assistant", "content": "wrong"},
        "usage": None,
        "masked": 0,
        "sampled": False,
        "thumb": "down",
        "corrected": corrected,
        "at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return Trace(**given | fields)


def config() -> Config:
    return Config.model_validate(
        {
            "version": 1,
            "name": "p",
            "model": "m",
            "task": "label",
            "labels": ["card_arrival", "lost_card"],
            "data": {"file": "a.csv"},
            "graders": [{"name": "label-accuracy"}],
            "primary": "label-accuracy",
            "candidates": ["prompt"],
        }
    )


def test_rejected_ones_of_an_earlier_time_are_not_overwritten(tmp_path: Path) -> None:
    to = tmp_path / "new.jsonl"
    (tmp_path / "new.rejected.jsonl").write_text("kept")
    with pytest.raises(UsageError, match=r"new\.rejected\.jsonl, where rejected"):
        write_examples([trace(1, "no such label")], to, config=config())
    assert not to.exists()
    assert (tmp_path / "new.rejected.jsonl").read_text() == "kept"


def test_right_ones_are_written_and_wrong_ones_explained(tmp_path: Path) -> None:
    to = tmp_path / "new.jsonl"
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    found = [
        trace(1, "lost_card", masked=2),
        trace(2, "no such label"),
        trace(3, "card_arrival", tools=tools),
        trace(4, "lost_card", messages=[{"role": "user", "content": " "}]),
    ]
    done = write_examples(found, to, config=config())
    assert (done.written, done.rejected, done.masked) == (2, 2, 1)
    assert done.counts == {"empty-input": 1, "unknown-label": 1}
    rows = [json.loads(line) for line in to.read_text().splitlines()]
    assert [row["messages"][-1] for row in rows] == [
        {"role": "assistant", "content": "lost_card"},
        {"role": "assistant", "content": "card_arrival"},
    ]
    assert [row.get("tools") for row in rows] == [None, tools]
    assert done.rejected_file is not None
    why = [json.loads(line) for line in Path(done.rejected_file).read_text().splitlines()]
    assert [(row["trace"], row["problems"][0]["code"]) for row in why] == [
        ("trace-2", "unknown-label"),
        ("trace-4", "empty-input"),
    ]
    with pytest.raises(UsageError, match="already exists"):
        write_examples(found, to, config=None)


class Characters:
    """Stands for a chat template: a character is a token."""

    def render(self, messages: Any, tools: Any = ()) -> TokenSequence:
        count = sum(len(message.content) for message in messages)
        return TokenSequence([0] * count, [True] * count)

    def count_before(self, messages: Any) -> int:
        return sum(len(message.content) for message in messages)


def test_only_the_corrected_answer_is_learned(tmp_path: Path) -> None:
    before = [
        {"role": "user", "content": "Hello, it is about my card."},
        {"role": "assistant", "content": "Which?"},
        {"role": "user", "content": "The blue one, it is lost."},
    ]
    write_examples([trace(1, "lost_card", messages=before)], tmp_path / "new.jsonl", config=None)
    [row] = map(json.loads, (tmp_path / "new.jsonl").read_text().splitlines())
    assert [turn.get("weight") for turn in row["messages"]] == [None, 0, None, None]


def test_a_system_prompt_that_is_too_long_alone_is_named(tmp_path: Path) -> None:
    reader: Any = Characters()
    own = [{"role": "system", "content": "x" * 60}, {"role": "user", "content": "Where?"}]
    found = [trace(1, "lost_card"), trace(2, "lost_card", messages=own)]

    def rejected(file: str, prompt: str) -> ExportedExamples:
        settings = config().model_copy(update={"system_prompt": prompt})
        to = tmp_path / file
        return write_examples(found, to, config=settings, template=reader, context_length=50)

    done = rejected("long.jsonl", "y" * 1_234)
    assert done.counts == {"prompt-too-long": 1, "too-long": 1}  # who brings one is told of that
    assert done.prompt == (
        "the project's system prompt alone has 1,234 tokens, and the model reads at most 50, input "
        "and answer included. Shorten it in the settings (assay.yaml), or use a model with a "
        "longer context."
    )
    assert rejected("short.jsonl", "y" * 40).prompt is None


def test_one_alone_and_none_at_all(tmp_path: Path) -> None:
    done = write_examples([trace(1, "anything")], tmp_path / "one.jsonl", config=None)
    assert (done.written, done.rejected, done.rejected_file) == (1, 0, None)
    bad = write_examples([trace(1, "none of them")], tmp_path / "bad.jsonl", config=config())
    assert (bad.file, bad.written, bad.rejected) == (None, 0, 1)
    assert not (tmp_path / "bad.jsonl").exists()
    with pytest.raises(UsageError, match="no trace has a corrected answer"):
        write_examples([], tmp_path / "no.jsonl", config=None)
