"""What a model's answers would bring a student is estimated before they are paid for."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tests.rescue.server import AccountServer, Body, small_account
from tests.rescue.test_recording import drafted, record
from tests.small import write_model

from assay import project
from assay.config.yaml_text import edit
from assay.data.split import load_train, load_validation
from assay.example import Example
from assay.project.project import Project
from assay.project.recording import RecordingDraft
from assay.project.recording.teaching import Teaching, _scores, estimate_further
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
        assert f"rows' own answer {sum(ones)} times in {len(ones)}." in known.says
        assert (known.gain, known.short) == (None, "not known")
        assert "not shown to be right more often than this student" in known.says
        assert labelled.openings() == []


def test_an_estimate_stays_within_what_can_be_and_was_tried() -> None:
    rows = [Example.of(text, label) for text, label in texts(250, seed=5)]
    train, validation = rows[:150], rows[150:]
    own = float(_scores(train, validation).mean())
    most, beyond = (estimate_further(train, validation, count, None) for count in (450, 100_000))
    assert most.high is not None
    assert most.high <= 1 - own
    assert (beyond.gain, beyond.low, beyond.high) == (most.gain, most.low, most.high)
    assert "of which 450 are counted" in beyond.says
    # A teacher that errs brings less than one that does not, or it is not told.
    perfect, erring = (estimate_further(train, validation, 450, (n, 1000)) for n in (1000, 750))
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
        draft = drafted(server, tmp_path, project.open(labelled.root), data=[other])
    unknown = by_part(draft)["data"]
    assert unknown is not None
    assert (unknown.gain, unknown.short) == (None, "not known")
    assert "no labels" in unknown.says
    assert [one.part for one in draft.parts] == ["holdout", "validation", "train", "data"]
