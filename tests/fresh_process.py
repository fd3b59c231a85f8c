"""Agents that were kept, asked by a process that knows nothing but the folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import IO

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

for line in sys.stdin:
    folder, owner, labels, rows = json.loads(line)
    store = Store(Path(folder))
    engines = BatchEngines(store, dtype="float32")
    rows = [Example.from_dict(row) for row in rows]
    said = []
    for label in labels:
        agent = load_agent(store, find_version(store, label).agent)
        engine = engines.for_agent(agent)
        requests = assemble(agent, rows, store, owner)
        answers = engine.answer([replace(request, logprobs=0) for request in requests])
        said.append([engine.identity, [[a.text, a.logprob] for a in answers]])
    print(json.dumps(said), flush=True)
"""

Said = list[tuple[str, float | None]]
"""Answers: text and log-probability."""


class FreshProcess:
    """One that has built nothing, and knows nothing of the folder that it is asked of next."""

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process, self._errors = process, errors

    def ask(
        self, store: Store, owner: str, labels: Sequence[str], rows: Sequence[Example]
    ) -> list[tuple[dict[str, str], Said]]:
        """What the agent of each label answers to rows, asked for log-probabilities, too; local
        models in float32.

        Returns:
            of each label, its engine's identity and the answers.
        """
        asked = str(store.folder), owner, list(labels), [row.to_dict() for row in rows]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise AssertionError(self._errors.read())
        return [
            (identity, [(text, logprob) for text, logprob in answers])
            for identity, answers in json.loads(line)
        ]


@contextmanager
def fresh_process() -> Iterator[FreshProcess]:
    """Started once for all that is asked: its libraries take seconds to load."""
    command = [sys.executable, "-P", "-c", _SCRIPT]
    with (
        TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        yield FreshProcess(process, errors)
