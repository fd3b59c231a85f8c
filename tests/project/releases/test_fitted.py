"""What answers without a language model is promoted, answers over HTTP as it was measured, and is
rolled back."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from tests.knowledge.wordy import Wordy
from tests.models.tiny_embedder import write_embedder
from tests.serve.running import running
from tests.small import ANIMALS, write_model

from assay import project
from assay.agent import runtime
from assay.agent.versions import save_agent
from assay.candidates import nearest_answer, registry
from assay.candidates.shared import extraction as learning
from assay.generate import extraction, nearest
from assay.project import releases
from assay.project.start.init import Choices

ROWS = 90


def project_of(folder: Path, name: str) -> project.Project:
    """Sentences and the animal in each: as a label, of `extract` as a record."""
    rng = random.Random(0)
    data = folder / "pets.jsonl"
    with data.open("w", encoding="utf-8") as file:
        for number in range(ROWS):
            animal = rng.choice(ANIMALS)
            output = {"animal": animal, "house": number} if name == "extract" else animal
            row = {"input": f"the {animal} lives in house {number}", "output": output}
            file.write(json.dumps(row) + "\n")
    choices = Choices(data=data, model=str(write_model(folder / "model")))
    made = project.create(project.draft("pets", choices), folder=folder / "pets")
    path = made.root / "assay.yaml"
    path.write_text(
        f"{path.read_text()}\nclassifier: {{embedder: {json.dumps(str(write_embedder(folder)))}}}\n"
    )
    return project.open(made.root)


@pytest.mark.parametrize("name", ["classifier", "nearest-answer", "extract", "encoder"])
def test_it_answers_as_measured_and_rolls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in (runtime, nearest, nearest_answer, extraction, learning):
        monkeypatch.setattr(module, "get_embedder", lambda _: Wordy())
    made = project_of(tmp_path, name)
    context, workspace = made.context(), project.open_workspace(made.root)
    agents = {kind: registry.build(kind, context).agent for kind in ("baseline-majority", name)}
    measured = {kind: context.measure(agent) for kind, agent in agents.items()}
    for kind, agent in agents.items():
        save_agent(workspace.store, kind, agent, message="a test")
        releases.promote(workspace, "support", f"{kind}@1", force="a test")
    assert measured[name].score > measured["baseline-majority"].score

    with running(made.root, lambda served: served.engines()) as server:

        def served() -> list[str | None]:
            return [
                server.client()
                .chat.completions.create(
                    model="support", messages=[{"role": "user", "content": row.input}]
                )
                .choices[0]
                .message.content
                for row in context.judged
            ]

        assert served() == [answer.text for answer in measured[name].answers]
        releases.rollback(workspace, "support")
        assert served() == [answer.text for answer in measured["baseline-majority"].answers]
