"""Traces of other programs: imported into a folder, sorted into jobs, one made a project; ours
exported.

    import_traces([Path("spans.jsonl")], Path("imported-traces"), None, progress)
    jobs = list_jobs(Path("imported-traces"), providers, progress)
    make_project(Path("imported-traces"), [jobs[0].id], Path("support"), progress=progress)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from assay.agent.prices import cost_usd, listed_cost_usd
from assay.config import CONFIG_FILE, Provider
from assay.errors import UsageError
from assay.progress import SILENT, Progress
from assay.project.imported.job_files import JobFiles
from assay.project.imported.starting import make_project
from assay.project.workspace import Workspace
from assay.release import traces
from assay.release.imported import otel, reading
from assay.release.imported.folder import ImportReport, TraceFolder, opened
from assay.release.imported.job import Job
from assay.release.imported.jobs import Price, find_jobs
from assay.release.imported.trace import ImportedTrace, of_release
from assay.store.files import replacing

__all__ = [
    "ExportedTraces",
    "ImportReport",
    "Job",
    "JobFiles",
    "export_traces",
    "import_traces",
    "list_jobs",
    "make_project",
    "providers_in",
]
MOST_EXPORTED = 1_000_000


@dataclass(frozen=True, slots=True)
class ExportedTraces:
    """Traces of releases that were written to a file."""

    file: str
    written: int


def import_traces(
    files: Sequence[Path], to: Path, format: str | None, progress: Progress = SILENT
) -> Iterator[ImportReport]:
    """Add the traces of files to a folder; tells of each file once all of it is there.

    Args:
        format: of all files; None: found by the content of each record.

    Raises:
        UsageError: there is no such format, or the folder holds other files.
        DataError: there is no such file.
    """
    forced = None if format is None else reading.format_named(format)
    with opened(to) as folder:
        for file in files:
            yield folder.add(file, forced, progress)


def list_jobs(
    source: Path,
    providers: Mapping[str, Provider],
    progress: Progress = SILENT,
    *,
    until: int | None = None,
) -> list[Job]:
    """The jobs among the traces of a folder, those with the most calls first.

    Args:
        until: bytes of its traces that count; None: those that are there now.

    Raises:
        UsageError: there are no traces.
    """
    folder = TraceFolder(source)
    traces = partial(folder.traces, folder.size if until is None else until)
    return find_jobs(traces, _prices(providers), progress)


def _prices(providers: Mapping[str, Provider]) -> Price:
    """What a trace has cost: by the prices that a project names, else by the list."""
    named = [one for one in providers.values() if one.prices]

    def price(trace: ImportedTrace) -> float | None:
        if trace.model is None:
            return None
        counts = (trace.prompt_tokens, trace.completion_tokens, trace.cached_tokens)
        for provider in named:
            if trace.model in provider.prices:
                return cost_usd(provider, trace.model, *counts)
        return listed_cost_usd(trace.model, trace.provider, *counts)

    return price


def providers_in(folder: Path) -> Mapping[str, Provider]:
    """The providers of a folder's project; none where it is no project."""
    return Workspace(folder).providers if (folder / CONFIG_FILE).exists() else {}


def export_traces(workspace: Workspace, to: Path, release: str | None) -> ExportedTraces:
    """Write the kept traces of a release, or of all, as spans: one request to a collector a line.

    Raises:
        UsageError: there is something at `to`, or there are no traces.
    """
    if to.exists():
        raise UsageError(f"{to} already exists.", fix="Choose another name.")
    found = traces.select_traces(workspace.store, workspace.name, release, limit=MOST_EXPORTED)
    first = next(found, None)
    if first is None:
        raise UsageError(
            "there are no traces yet.", fix="`assay traces on RELEASE` starts keeping them."
        )
    written = 0
    with replacing(to, private=True) as file:
        for trace in chain((first,), found):
            line = json.dumps(otel.write(of_release(trace)), ensure_ascii=False)
            file.write(line.encode("utf-8", "replace") + b"\n")
            written += 1
    return ExportedTraces(str(to), written)
