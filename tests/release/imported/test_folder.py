"""What a fault costs while traces are added, and what stays."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from tests.release.imported import samples

from assay.release.imported import folder as folder_of_traces
from assay.release.imported import otel
from assay.release.imported.folder import opened
from assay.release.imported.raw import Unusable

CONTENT = samples.span({}, samples.CONTENT)


def test_a_fault_costs_its_span_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = copy.deepcopy(CONTENT)
    spans = empty["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans[1]["events"][1]["attributes"] = []  # an instrumentation that captures no content
    _, found = otel.read(empty, tmp_path)
    assert isinstance(found, Unusable)
    assert "CAPTURE_MESSAGE_CONTENT" in found.reason

    def broken(span: Any, place: str) -> Any:
        if span.get("broken"):
            raise KeyError("x")
        return real(span, place)

    real = otel._call
    monkeypatch.setattr(otel, "_call", broken)
    good = copy.deepcopy(CONTENT)
    good["resourceSpans"][0]["scopeSpans"][0]["spans"].append({"broken": True})
    with opened(tmp_path / "kept") as kept:
        assert kept.add(samples.as_lines({"input": "a", "output": "b"})(tmp_path)).added == 1
        before = kept.size
        report = kept.add_record(good, otel.FORMAT, 5.0)
        assert (report.added, len(report.reasons)) == (1, 1)
        assert [len(list(kept.traces(until))) for until in (before, kept.size, None)] == [1, 2, 2]
        monkeypatch.setattr(folder_of_traces, "_key", lambda *_: raising())
        with pytest.raises(KeyError):
            kept.add_record(good, otel.FORMAT, 5.0)
        assert kept._read is not None  # nothing is read anew


def test_a_call_that_two_instrumentations_tell_is_one(tmp_path: Path) -> None:
    first = samples.span({**samples.NEWEST, "gen_ai.response.id": "r"})
    spans = first["resourceSpans"][0]["scopeSpans"][0]["spans"]
    spans += [{**spans[1], "spanId": "ab"}, {**spans[1], "traceId": "cd"}]  # a trace of its own
    with opened(tmp_path / "kept") as kept:
        report = kept.add_record(first, otel.FORMAT, 5.0)
        assert (report.added, report.known) == (2, 1)


def raising() -> Any:
    raise KeyError("x")
