"""What is removed while an ingest runs is nowhere on disk, and stays so.

Another process adds and changes documents without a pause, the removed one among those it is told
of until then; a removal waits for it, and what is looked at afterwards is every file there is.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.figures import Figure
from tests.invariants.test_knowledge import CANARY, opened, traces

from assay.errors import NotFoundError

ROOT = Path(__file__).parents[2]
ADDS = """
import sys, time
from pathlib import Path
from tests.invariants.test_knowledge import opened
folder = Path(sys.argv[1])
base, number = opened(folder), 0
while not (folder / "over").exists():
    number += 1
    for name in range(6):
        (folder / "docs" / f"{name}.txt").write_text(f"Edition {number} of document {name}. " * 20)
    base.add([folder / "docs"])
    (folder / "adds").write_text(str(number))
"""
PATIENCE_S = 300


def removed_while_adding(folder: Path, times: int) -> int:
    """Removes a document again and again while another process adds; how many adds there were."""
    docs = folder / "docs"
    docs.mkdir(parents=True)
    adding = subprocess.Popen(
        [sys.executable, "-c", ADDS, str(folder)], cwd=ROOT, stderr=subprocess.PIPE
    )
    adds, base = folder / "adds", opened(folder)

    def added(more: int) -> int:
        """Wait until so many more ingests have ended."""
        start = int(adds.read_text() or 0) if adds.exists() else 0
        deadline = time.monotonic() + PATIENCE_S
        while not adds.exists() or int(adds.read_text() or 0) < start + more:
            assert adding.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return int(adds.read_text())

    secret = docs / "secret.txt"
    try:
        for turn in range(times):
            secret.write_text(f"The {CANARY} is kept here, for the time {turn}. " * 30)
            added(2)  # one that has seen the whole file has ended
            assert any(d.path == str(secret) for d in base.documents())
            secret.unlink()  # while an ingest may be reading it
            base.remove([str(secret)])
            with pytest.raises(NotFoundError):
                base.remove([str(secret)])
            added(2)  # whatever was under way when it was removed has ended
            assert not any(d.path == str(secret) for d in base.documents())
            [found] = base.search([CANARY], k=50)
            assert not any(CANARY in passage.text for passage in found)
    finally:
        (folder / "over").touch()
        _, errors = adding.communicate(timeout=PATIENCE_S)
    assert adding.returncode == 0, errors.decode()
    left = list(traces(folder))
    assert left == [], left
    return int(adds.read_text())


@pytest.mark.slow
def test_a_document_removed_while_others_are_added_is_nowhere(tmp_path: Path) -> None:
    assert removed_while_adding(tmp_path, 1) >= 4


@pytest.mark.soak
def test_documents_removed_again_and_again(tmp_path: Path, figure: Figure) -> None:
    adds = removed_while_adding(tmp_path, 20)
    figure("removals proved on disk while an ingest runs", f"20, beside {adds} ingests")
