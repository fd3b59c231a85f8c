"""Progress where nobody passes one: lines in a notebook, silence elsewhere."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from assay import progress
from assay.progress import DEFAULT


class ZMQInteractiveShell:
    """Named as the class of what answers the cells of a notebook."""


class Cell:
    """What `IPython.display` shows under a cell."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def display(self, data: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.update(data, raw=raw)
        return self

    def update(self, data: dict[str, str], *, raw: bool) -> None:
        self.lines.append(data["text/plain"])


def opened(monkeypatch: pytest.MonkeyPatch, shell: Any) -> Cell:
    cell = Cell()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", cell)
    return cell


def test_a_task_is_a_line_under_the_cell_of_a_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell, now = opened(monkeypatch, ZMQInteractiveShell()), [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with DEFAULT.task("training", 10, "steps") as bar:
        for _ in range(5):
            now[0] += 2
            bar.advance(1, loss=0.5)
    DEFAULT.say("Trained.")
    assert cell.lines[0] == "training …"
    assert cell.lines[-2:] == ["training: 5 of 10 steps, 0.5/s, 10 s left, loss 0.5", ""]
    assert capsys.readouterr().out == "Trained.\n"


@pytest.mark.parametrize("shell", [None, object()], ids=["a script", "a terminal's IPython"])
def test_elsewhere_there_is_silence(
    shell: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = opened(monkeypatch, shell)
    with DEFAULT.task("training", 10, "steps") as bar:
        bar.advance(1)
    DEFAULT.say("Trained.")
    assert cell.lines == []
    assert capsys.readouterr().out == ""
