"""Spans that other programs send to a server: added to its folder of imported traces.

    receiver = TraceReceiver(workspace)
    report = receiver.add(record, size)       # a request to export spans, as OTLP/JSON has it

The folder is the one that `assay traces import` writes in the served folder, and a span that a file
has brought already is not added again.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from assay.defaults import IMPORTED_TRACES
from assay.project.workspace import Workspace
from assay.release.imported import otel
from assay.release.imported.folder import RecordReport, TraceFolder, writing

MOST_S = 5.0
"""For one request; what was added by then stays."""


class TraceReceiver:
    """Adds what is sent, one request after the other: whoever calls `add` sees to that."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @cached_property
    def _folder(self) -> TraceFolder:
        return TraceFolder(self._workspace.root / IMPORTED_TRACES)

    def add(self, record: dict[str, Any], size: int) -> RecordReport:
        """Add the calls among the spans of a request, redacted.

        Args:
            size: bytes of the request.

        Raises:
            QuotaError: the project may not take so much of the disk.
            StateError: another process adds to the folder.
            UsageError: the folder holds other files.
            StoreError: the disk is full, or the folder is damaged.
        """
        workspace = self._workspace
        with workspace.quota.room(workspace.name, size), writing(self._folder):
            return self._folder.add_record(record, otel.FORMAT, MOST_S)
