"""A classifier that is kept answers the same in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.candidates.test_classifier import context_of
from tests.generate.test_classical import asked

from assay.agent.engines import BatchEngines
from assay.candidates.registry import build
from assay.store.store import Store

TEXTS = ["my bank card is lost", "why this big fee", "", "nothing known", "card fee " * 30]
ASKED = """
import json, sys
from pathlib import Path
from assay.example import Message
from assay.generate.batch import Request
from assay.generate.registry import EngineResources, open_batch
from assay.store.store import Store

folder, model, texts = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
engine = open_batch(model, EngineResources(Store(Path(folder))))
answers = engine.answer([Request((Message("user", text),)) for text in texts])
print(json.dumps([engine.identity, [[a.text, a.logprob] for a in answers]]))
"""


@pytest.mark.parametrize("name", ["baseline-tfidf", "classifier", "encoder"])
def test_a_kept_classifier_answers_the_same_in_a_fresh_process(tmp_path: Path, name: str) -> None:
    agent = build(name, context_of(tmp_path)).agent
    engine = BatchEngines(Store(tmp_path / "state")).for_agent(agent)
    answers = engine.answer([asked(text) for text in TEXTS])
    command = [sys.executable, "-c", ASKED, str(tmp_path / "state"), agent.model, json.dumps(TEXTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    identity, again = json.loads(done.stdout)
    assert identity == engine.identity
    assert [text for text, _ in again] == [a.text for a in answers]
    # A vector is rounded otherwise beside others than alone: in float32, a millionth.
    assert [log for _, log in again] == pytest.approx([a.logprob for a in answers], abs=1e-6)
