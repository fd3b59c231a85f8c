"""`assay traces import`, `jobs`, `project` and `export`: traces of other programs, and ours."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from assay.cli.options import AsJson, Folder, open_workspace, with_json
from assay.cli.output import as_json, print_table, shorten
from assay.cli.progress import Terminal
from assay.defaults import IMPORTED_TRACES, STARTER_MODEL
from assay.errors import UsageError
from assay.log_lines import printable
from assay.quantities import say_count

IMPORTED = Path(IMPORTED_TRACES)
SHOWN = 60
Source = Annotated[Path, typer.Option("--from", help="Folder of imported traces.")]


def import_(
    files: Annotated[list[Path], typer.Argument(help="Files of traces, JSON or JSON Lines.")],
    to: Annotated[
        Path, typer.Option(help="Folder to write; the same command goes on in it.")
    ] = IMPORTED,
    format: Annotated[
        str | None,
        typer.Option(
            help="otel, litellm, langfuse, openai-stored or plain. Default: found by the content."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Import traces of other programs, with personal data replaced before anything is written.

    The exit code is 1 if no trace of the files could be used.
    """
    from assay.project import imported

    reports = []
    for report in imported.import_traces(files, to, format, Terminal()):
        reports.append(report)
        if not json:
            _print_import(report)
    if json:
        as_json(reports)
    elif any(report.added + report.known for report in reports):
        print(f"`assay traces jobs --from {shlex.quote(str(to))}` shows the jobs that they are of.")
    if not any(report.added + report.known for report in reports):
        raise typer.Exit(1)


def _print_import(report: Any) -> None:
    formats = ", ".join(f"{name} {count:,}" for name, count in report.formats.items())
    added = f"{report.file}: {say_count(report.added, 'trace')} added"
    print(f"{added} ({formats})." if formats else f"{added}.")
    if report.known:
        print(f"  {say_count(report.known, 'was', 'were')} here before.")
    if report.other:
        print(
            f"  {say_count(report.other, 'record is', 'records are')} left out: no call of a model."
        )
    if report.masked:
        print(f"  Secrets or items of personal data replaced: {report.masked:,}.")
    if report.rejected:
        print(
            f"  {report.rejected:,} could not be used; for the reasons see {report.rejected_file}."
        )


def _print_jobs(jobs: list[Any]) -> None:
    rows = []
    for job in jobs:
        shown = shorten(job.system or job.input, SHOWN)
        seconds = None if job.median_s is None else f"{job.median_s:.2f} / {job.p95_s:.2f}"
        usd = None if job.usd is None else _usd(job.usd)
        rows.append((job.id, shown, f"{job.calls:,}", usd, seconds, f"{job.answers:,}", job.task))
    columns = ("id", "job", "calls", "USD", "median / p95 s", "answers", "task")
    print_table(columns, rows, numbers=("calls", "USD", "median / p95 s", "answers"))
    for job in jobs:
        print(f"\n{job.id}: {printable(job.cheaper)}")
        for note in job.notes():
            print(f"  {printable(note)}")


def _usd(usd: float) -> str:
    if usd >= 1:
        return f"{usd:,.2f}"
    return "<0.0001" if 0 < usd < 0.0001 else f"{usd:.4f}"


@with_json(_print_jobs)
def jobs_(source: Source = IMPORTED, folder: Folder = Path(".")) -> Any:
    """List the jobs among imported traces: volume, cost, latency, and what could be cheaper.

    Costs that the traces do not tell are computed by the prices of --project, else by the list.
    """
    from assay.project import imported

    return imported.list_jobs(source, imported.providers_in(folder), Terminal())


def _print_project(made: Any) -> None:
    for line in made.sentences():
        print(line)
    if step := made.next_step():
        print(f"Next: {step}")


@with_json(_print_project)
def project_(
    jobs: Annotated[
        list[str],
        typer.Argument(metavar="JOB", help="Id of a job, or how it begins. Several: one task."),
    ],
    to: Annotated[Path, typer.Option(help="Folder to make; its name is the project's.")],
    source: Source = IMPORTED,
    model: Annotated[
        str, typer.Option(help="The language model to be specialised.")
    ] = STARTER_MODEL,
) -> Any:
    """Make a project of a job, measured by the answers that people have corrected or rated up.

    Where there are too few of them, it writes the inputs to be labelled instead.
    """
    from assay.project import imported

    return imported.make_project(source, jobs, to, model=model, progress=Terminal())


@with_json(lambda done: f"{say_count(done.written, 'trace')} written to {done.file}.")
def export_(
    to: Annotated[Path, typer.Argument(help="The file to write.")],
    release: Annotated[str | None, typer.Option(help="The release. Default: all.")] = None,
    format: Annotated[str, typer.Option(help="otel: OpenTelemetry's GenAI spans.")] = "otel",
    folder: Folder = Path("."),
) -> Any:
    """Write kept traces as GenAI spans in OTLP/JSON, one request to a collector a line."""
    from assay.project import imported

    if format != "otel":
        raise UsageError(f"{format!r} is no format to export.", fix="Use otel.")
    return imported.export_traces(open_workspace(folder), to, release)


COMMANDS = {"import": import_, "jobs": jobs_, "project": project_, "export": export_}
"""Of the group `traces`, by name."""
