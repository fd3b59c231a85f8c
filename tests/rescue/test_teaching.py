"""What a model's answers would bring a student is estimated before they are paid for."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.generate.tiny import tiny_model
from tests.knowledge.wordy import Wordy
from tests.rescue.server import AccountServer, Body, small_account
from tests.rescue.test_recording import drafted, record
from tests.small import write_model

from assay import project
from assay.agent import runtime
from assay.candidates.shared import extraction as learning
from assay.config.yaml_text import edit
from assay.data.split import load_train, load_validation
from assay.example import Example
from assay.generate import call_extraction, extraction
from assay.progress import SILENT
from assay.project.project import Project
from assay.project.recording import RecordingDraft, teaching
from assay.project.recording.students import WORD_COUNTER, Student
from assay.project.recording.teaching import Teaching, estimate_further
from assay.project.start.init import Choices

LABELS = ("one", "two", "three")
_spelled = random.Random(0)
WORDS = {
    "".join(_spelled.choices("bdfgklmnprst", k=6)): label for label in LABELS for _ in range(200)
}
"""With the label that each stands for; a row begins with two of one label."""


def texts(count: int, seed: int) -> list[tuple[str, str]]:
    chance, found = random.Random(seed), []
    for _ in range(count):
        label = chance.choice(LABELS)
        words = chance.choices([word for word, of in WORDS.items() if of == label], k=2)
        found.append((" ".join([*words, *(f"w{chance.randrange(500)}" for _ in range(4))]), label))
    return found


def label_of(body: Body) -> str:
    return WORDS[body["messages"][-1]["content"].split()[0]]


@pytest.fixture
def labelled(tmp_path: Path) -> Project:
    model = str(write_model(tmp_path / "model"))
    rows = "".join(f"{text},{label}\n" for text, label in texts(420, seed=1))
    (tmp_path / "rows.csv").write_text("text,label\n" + rows)
    chosen = Choices(data=tmp_path / "rows.csv", input=["text"], output=["label"], model=model)
    return project.create(project.draft("labels", chosen), folder=tmp_path / "labels")


def asked(file: Path, inputs: list[str]) -> Path:
    rows = [{"messages": [{"role": "user", "content": text}]} for text in inputs]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def by_part(draft: RecordingDraft) -> dict[str, Teaching | None]:
    return {one.part: one.teaching for one in draft.parts}


def test_further_inputs_are_asked_first_where_they_bring_more(
    tmp_path: Path, labelled: Project
) -> None:
    labelled.split()
    train = [one.input for one in load_train(labelled.split_folder)]
    few = [text for text, _ in texts(10, seed=2)]
    data = asked(tmp_path / "more.jsonl", [f"{train[0]}!", *few, f"{few[0]}!"])
    with AccountServer(small_account(), answer=label_of).running() as server:
        draft = drafted(server, tmp_path / "kept", labelled, data=[data])
        assert [one.part for one in draft.parts] == ["holdout", "validation", "data", "train"]
        assert [one.part for one in draft.inputs] == [one.part for one in draft.parts]
        ten, own = by_part(draft)["data"], by_part(draft)["train"]
        assert by_part(draft)["holdout"] is None
        assert own is not None
        assert (own.gain, own.short) == (0.0, "little")
        assert ten is not None
        assert ten.says.startswith("10 answered inputs that are new bring")
        assert "if all of them are right" in ten.says
        assert "A fine-tuned student gains more or less" in ten.says
        assert ten.student == WORD_COUNTER.name
        assert ten.short.startswith("+")
        # What nearly repeats a training row or another input is asked last.
        last = [draft.inputs[2].examples[one].input for one in draft.inputs[2].hashes[-2:]]
        assert last == [f"{train[0]}!", f"{few[0]}!"]
        data = asked(tmp_path / "many.jsonl", [text for text, _ in texts(300, seed=3)])
        many = by_part(drafted(server, tmp_path / "kept", labelled, data=[data]))["data"]
        assert many is not None
        assert ten.gain is not None
        assert many.gain is not None
        assert many.low is not None
        assert many.high is not None
        assert 0 < ten.gain < many.gain
        assert many.low <= many.gain <= many.high
        # Where the project learns the answers to its training rows, these stay first.
        settings = labelled.root / "assay.yaml"
        own_text = settings.read_text()
        settings.write_text(edit(own_text, {"candidates": ["distill"], "recorded": "kept.jsonl"}))
        learns = drafted(server, tmp_path / "kept", project.open(labelled.root), data=[data])
        assert [one.part for one in learns.inputs][2:] == ["train", "data"]
        settings.write_text(own_text)
        # Once it has answered validation, how often it is right there counts: one that always says
        # the same is worse than the student, and is never told as a gain.
        server.answer = lambda body: "one"
        record(drafted(server, tmp_path / "kept", labelled, parts=["validation"]))
        known = by_part(drafted(server, tmp_path / "kept", labelled, data=[data]))["data"]
        ones = [one.output == "one" for one in load_validation(labelled.split_folder)]
        assert known is not None
        assert f"its answers get {sum(ones)} points of {len(ones)}." in known.says
        assert (known.gain, known.short) == (None, "not known")
        assert "not shown to be right more often than a classifier that counts" in known.says
        assert labelled.openings() == []


def test_an_estimate_stays_within_what_can_be_and_was_tried() -> None:
    rows = [Example.of(text, label) for text, label in texts(250, seed=5)]
    train, validation = rows[:150], rows[150:]
    own = float(WORD_COUNTER.scores(train, validation).mean())
    most, beyond = (
        estimate_further(train, validation, count, None, WORD_COUNTER) for count in (450, 100_000)
    )
    assert most.high is not None
    assert most.high <= 1 - own
    assert (beyond.gain, beyond.low, beyond.high) == (most.gain, most.low, most.high)
    assert "of which 450 are counted" in beyond.says
    # A teacher that errs brings less than one that does not, or it is not told.
    perfect, erring = (
        estimate_further(train, validation, 450, (n, 1000), WORD_COUNTER) for n in (1000, 750)
    )
    assert perfect.gain is not None
    assert (erring.gain or 0.0) < perfect.gain


def test_what_cannot_be_estimated_is_said(tmp_path: Path, labelled: Project) -> None:
    labelled.split()
    train = [one.input for one in load_train(labelled.split_folder)]
    again = asked(tmp_path / "again.jsonl", [f"{text}!" for text in train[:5]])
    other = asked(tmp_path / "other.jsonl", ["something else"])
    with AccountServer(small_account()).running() as server:
        nothing = by_part(drafted(server, tmp_path, labelled, data=[again]))["data"]
        assert nothing is not None
        assert (nothing.gain, nothing.short) == (0.0, "little")
        path = labelled.root / "assay.yaml"
        values = {"task": "text", "labels": None, "graders": [{"name": "exact"}]}
        path.write_text(
            edit(path.read_text(), {**values, "primary": "exact", "candidates": ["prompt"]})
        )
        texts_alone = project.open(labelled.root)
        draft = drafted(server, tmp_path, texts_alone, data=[other])
        unpriced = drafted(server, tmp_path, texts_alone, data=[other], settings={"prices": {}})
    unknown = by_part(draft)["data"]
    assert unknown is not None
    assert (unknown.gain, unknown.short) == (None, "not known")
    assert "no cheap student of texts" in unknown.says
    assert "These answers take 1 request, for about $" in unknown.says
    costless = by_part(unpriced)["data"]
    assert costless is not None
    assert "These answers take 1 request, at a price that is not known." in costless.says
    assert [one.part for one in draft.parts] == ["holdout", "validation", "train", "data"]


TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "mark",
        "parameters": {"type": "object", "properties": {"kind": {"enum": list(LABELS)}}},
    },
}


def as_row(text: str, label: str, task: str) -> dict[str, Any]:
    """An example of a task in OpenAI's form, whose answer has one field, the label."""
    answer: dict[str, Any] = {"role": "assistant", "content": json.dumps({"kind": label})}
    if task == "tools":
        call = {"name": "mark", "arguments": answer["content"]}
        calls = [{"id": "c", "type": "function", "function": call}]
        answer = {"role": "assistant", "content": None, "tool_calls": calls}
    row = {"messages": [{"role": "user", "content": text}, answer]}
    return row | ({"tools": [TOOL]} if task == "tools" else {})


@pytest.mark.parametrize(("task", "name"), [("json", "extract"), ("tools", "extract-call")])
def test_records_and_calls_are_estimated_by_the_candidate_that_extracts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, name: str
) -> None:
    for module in (runtime, extraction, call_extraction, learning):
        monkeypatch.setattr(module, "get_embedder", lambda name: Wordy())
    monkeypatch.setattr(teaching, "FEWEST_ROWS", 50)
    rows = [as_row(text, label, task) for text, label in texts(120, seed=1)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = write_model(tmp_path / "model")
    tiny_model(max_position_embeddings=2048).save_pretrained(model)  # tools are long in bytes
    chosen = Choices(data=tmp_path / "rows.jsonl", model=str(model))
    made = project.create(project.draft("made", chosen), folder=tmp_path / "made")
    assert made.config.task == task
    more = [{**row, "messages": row["messages"][:1]} for row in rows_of(task, 60)]
    data = tmp_path / "more.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in more))
    with AccountServer(small_account()).running() as server:
        draft = drafted(server, tmp_path / "kept", made, data=[data])
        assert not server.posted
    further = by_part(draft)["data"]
    assert further is not None
    assert further.gain is not None
    assert further.low is not None
    assert further.high is not None
    assert 0 < further.gain <= further.high
    assert further.says.startswith(f"60 answered inputs that are new bring {name} (")
    told = next(one for one in draft.to_dict()["parts"] if one["part"] == "data")["teaching"]
    assert told["student"].startswith(f"{name} (")
    assert told["gain"] == further.gain
    assert [one.part for one in draft.parts] == ["holdout", "validation", "data", "train"]
    # What the student has made is not kept in the project.
    assert not (made.root / ".assay" / "runs").exists()


def rows_of(task: str, count: int) -> list[dict[str, Any]]:
    return [as_row(text, label, task) for text, label in texts(count, seed=2)]


def test_no_further_training_begins_after_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [Example.of(text, label) for text, label in texts(200, seed=5)]
    trained: list[int] = []

    def scores(part: Any, validation: Any) -> Any:
        trained.append(len(part))
        return np.full(len(validation), len(part) / 400)

    student = Student("this one", scores, WORD_COUNTER.grade, 150, foretells_errors=False)
    told = estimate_further(rows[:150], rows[150:], 150, None, student, SILENT)
    assert trained == [150, 75, 75, 75]
    assert told.gain == pytest.approx(75 / 400)
    # Where trials have not foretold what errors take, a gain is told of right answers alone.
    erring = estimate_further(rows[:150], rows[150:], 150, (49, 50), student)
    assert erring.gain is None
    assert "if all of them are right. On validation its answers get 49 points of 50" in erring.says
    assert estimate_further(rows[:150], rows[150:], 150, (50, 50), student).gain == told.gain
    assert estimate_further(rows[:151], rows[150:], 150, None, student).gain is None
    trained.clear()
    monkeypatch.setattr(teaching, "MOST_SECONDS", -1.0)
    assert estimate_further(rows[:150], rows[150:], 150, None, student).gain == told.gain
    assert trained == [150, 75]
