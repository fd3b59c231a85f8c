"""An engine of another package: a folder on `sys.path` with a module and its entry point."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ENGINE = """
from assay.generate.batch import Answer


class Echo:
    def __init__(self, model):
        self.identity = {"engine": "toy", "model": model}

    def prompt_length(self, request):
        return 0

    def answer(self, requests, progress=None):
        return [Answer(r.messages[-1].content.split()[-1].upper()) for r in requests]


def open_batch(model, resources):
    return Echo(model)
"""
STREAM = """

class Letters:
    context_length = 64

    def chat(self, messages, tools, sampling):
        from assay.generate.stream import End, Piece

        for letter in messages[-1].content:
            yield Piece(letter)
        yield End("stop", 1, 1)


def open_stream(model, resources):
    return Letters()
"""


def install_engine(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    package: str = "toy_engine",
    scheme: str = "toy",
    source: str = ENGINE,
) -> None:
    """Install a package whose engine answers with the last word of a question in capitals."""
    monkeypatch.syspath_prepend(folder)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[assay.engines]\n{scheme} = {package}\n")
    (folder / f"{package}.py").write_text(source)
    monkeypatch.delitem(sys.modules, package, raising=False)
