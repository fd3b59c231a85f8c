"""Data sets of the hub: read as they stream when they can be, else a clear error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from assay.config import Columns
from assay.data.read import detect, read
from assay.errors import DataError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """A stand-in for `datasets`; what it was asked for."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def load_dataset(name: str, **options: Any) -> Iterator[dict[str, Any]]:
        calls.append((name, options))
        if name == "org/missing":
            raise FileNotFoundError("Dataset 'org/missing' doesn't exist on the Hub")
        return iter([{"text": f"t{i}", "label": i} for i in range(3)])

    module = ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return calls


def test_rows_stream_in(asked: list[tuple[str, dict[str, Any]]]) -> None:
    assert detect("hf:org/name:test").format == "hf"
    rows = list(read("hf:org/name:test", columns=Columns(input=["text"], output=["label"])))
    assert [(r.example.input, r.example.output, r.line) for r in rows if r.example] == [
        ("t0", "0", 1),
        ("t1", "1", 2),
        ("t2", "2", 3),
    ]
    assert set(asked[0][1].items()) == {("split", "test"), ("streaming", True)}
    list(read("hf:org/name"))
    assert asked[-1] == ("org/name", {"split": "train", "streaming": True})


def test_a_data_set_that_is_not_there(asked: list[tuple[str, dict[str, Any]]]) -> None:
    with pytest.raises(DataError, match=r"doesn't exist on the Hub.*download the file"):
        detect("hf:org/missing")


@pytest.mark.parametrize("address", ["hf:", "hf:a/b/c", "hf:/name"])
def test_what_is_no_name(address: str) -> None:
    with pytest.raises(DataError, match="not the name of a data set"):
        read(address)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install datasets"):
        read("hf:org/name")
