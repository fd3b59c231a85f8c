"""Agents that were kept, asked by a process that knows nothing but the folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from assay.example import Example
from assay.store.store import Store

_SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
from assay.agent.engines import BatchEngines
from assay.agent.runtime import assemble
from assay.agent.versions import find_version, load_agent
from assay.example import Example
from assay.store.store import Store

folder, owner, *labels = sys.argv[1:]
store = Store(Path(folder))
engines = BatchEngines(store, dtype="float32")
rows = [Example.from_dict(row) for row in json.load(sys.stdin)]
said = []
for label in labels:
    agent = load_agent(store, find_version(store, label).agent)
    engine = engines.for_agent(agent)
    requests = assemble(agent, rows, store, owner)
    answers = engine.answer([replace(request, logprobs=0) for request in requests])
    said.append([engine.identity, [[a.text, a.logprob] for a in answers]])
print(json.dumps(said))
"""

Said = list[tuple[str, float | None]]
"""Answers: text and log-probability."""


def ask_in_fresh_process(
    store: Store, owner: str, labels: Sequence[str], rows: Sequence[Example]
) -> list[tuple[dict[str, str], Said]]:
    """What the agent of each label answers to rows, asked for log-probabilities, too; local models
    in float32.

    Returns:
        of each label, its engine's identity and the answers.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT, str(store.folder), owner, *labels],
        input=json.dumps([row.to_dict() for row in rows]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        (identity, [(text, logprob) for text, logprob in answers])
        for identity, answers in json.loads(done.stdout)
    ]
