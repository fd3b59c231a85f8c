"""The studio as a process for tests: the real server and workers, language models scripted.

    python -m tests.studio.serving FOLDER [--fill] [--model FOLDER] [--record] [--idle]

It prints what `assay serve` prints. `--fill` makes the folder of `bench/studio_filled.py` first;
`--model` is what new projects take for their model; with `--record` models answer as those of the
built-in project would; with `--idle` nobody does the jobs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from assay.agent.engines import StreamEngines
from assay.errors import UsageError
from assay.project import comparisons, releases
from assay.project.start import from_file
from assay.project.workspace import Workspace
from assay.serve import server
from assay.studio.app import Studio
from tests.serve.scripted import ScriptedEngine, ScriptedEngines
from tests.studio.forked_workers import start_from_forks

PAUSE_S = 0.03
SLOW_S = 2.0
UNREADABLE = "unreadable"
"""Answers with this word cannot be read, where they take a while to be found."""


def answer(messages: Any, tools: Any, sampling: Any) -> str:
    """Words enough to be seen streaming; who asks at length has the time to stop it, who wants a
    call gets one, where there are tools."""
    said = messages[-1].content
    if tools and "call" in said:
        call = {"name": tools[0]["function"]["name"], "arguments": {"to": "Kiel", "cars": 2}}
        return f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
    count = 4000 if "at length" in said else 30
    return f"You said: {said} " + " ".join(f"word{n}" for n in range(count))


def record(messages: Any, tools: Any, sampling: Any) -> str:
    """An answer that looks well in a picture."""
    return '{"topic": "lost", "route": "PM-KY", "day": null, "people": null, "desk": "care"}'


def slow_readings(folder: Path) -> int:
    """How many answers that take a while to be found were found, in the studio of a folder."""
    marks = folder.parent / f"{folder.name}.slow"
    return marks.stat().st_size if marks.exists() else 0


def _slow_to_find(folder: Path) -> None:
    """Answers that all got wrong take a while to be found: what is asked next is there before."""
    chosen = comparisons.select_rows

    def slowly(rows: Any, which: Any, *rest: Any) -> Any:
        if which == "all-fail":
            time.sleep(SLOW_S)
            with (folder.parent / f"{folder.name}.slow").open("ab") as marks:
                marks.write(b".")
            if UNREADABLE in rest:
                raise UsageError("the answers cannot be read.")
        return chosen(rows, which, *rest)

    comparisons.select_rows = slowly


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fill", action="store_true")
    parser.add_argument("--model")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--idle", action="store_true")
    given = parser.parse_args()
    if given.idle:
        server.WorkerSupervisor = lambda *_, **__: nullcontext()  # type: ignore[assignment, misc]
    else:
        start_from_forks()
    if given.fill:
        sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
        from studio_filled import fill

        fill(given.folder)
        # The gate would load the starter twice; tests/project has it.
        releases._gate = lambda workspace, engines, progress: None  # type: ignore[assignment]
        _slow_to_find(given.folder)
    if given.model:
        from_file.STARTER_MODEL = given.model  # type: ignore[misc]
    workspace = Workspace(given.folder)
    language = ScriptedEngines(ScriptedEngine(record if given.record else answer, pause_s=PAUSE_S))
    engines = StreamEngines(workspace.store, language)
    server.serve(
        workspace,
        engines,
        lambda line: print(line, flush=True),
        port=0,
        pages=Studio(workspace, engines),
    )


if __name__ == "__main__":
    main()
