"""examples/first_comparison.ipynb runs from top to bottom in a Jupyter kernel."""

from __future__ import annotations

from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROWS = 400
"""Of the notebook's 798: they show the same in half of the time."""
NOTEBOOK = Path(__file__).parent.parent / "examples" / "first_comparison.ipynb"


def html_of(cell: Any) -> str:
    """What the last value of a cell displays itself as."""
    shown = [output["data"] for output in cell.outputs if output.output_type == "execute_result"]
    return unescape(shown[0]["text/html"])


@pytest.mark.slow
def test_the_notebook_ends_in_a_verdict_and_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = {cell.id: cell for cell in notebook.cells if cell.cell_type == "code"}
    assert not any(cell.outputs or cell.execution_count for cell in cells.values())

    write, loop = cells["write"], 'open(encoding="utf-8"):'
    assert loop in write.source
    write.source = write.source.replace(loop, f"{loop[:-1]}.readlines()[:{ROWS}]:")

    where = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(
        notebook, kernel_name="python3", startup_timeout=300, timeout=540, resources=where
    )
    client.execute()

    said = "".join(output.get("text", "") for output in cells["checked"].outputs)
    assert f"{ROWS} of {ROWS} rows can be used" in said
    report = html_of(cells["compared"])
    assert report.startswith("<iframe srcdoc=")
    assert 'class="verdict ' in report
    assert "baseline-tfidf" in report
    assert "learning curve of baseline-tfidf" in html_of(cells["drawn"])
    assert (tmp_path / "desks" / "report.html").exists()
